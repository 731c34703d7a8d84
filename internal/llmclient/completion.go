package llmclient

import (
	"context"
	"encoding/json"
	"fmt"
)

// CompletionRequest is a plain continuation of a prompt. With Echo the answer begins with the prompt, and LogProbs covers
// the prompt's tokens too: that is how an endpoint scores texts.
type CompletionRequest struct {
	Model       string   `json:"model"` // empty: the client's
	Prompt      string   `json:"prompt"`
	Temperature *float64 `json:"temperature,omitempty"`
	MaxTokens   int      `json:"max_tokens,omitempty"`
	Seed        *int64   `json:"seed,omitempty"`
	Stop        []string `json:"stop,omitempty"`
	Echo        bool     `json:"echo,omitempty"`
	LogProbs    *int     `json:"logprobs,omitempty"` // most probable tokens at each place
}

// Completion is the answer to a CompletionRequest.
type Completion struct {
	Response
	LogProbs *LogProbs // nil if the endpoint sends none
}

// LogProbs are the tokens of a text. The lists are parallel; a nil value of LogProb is what the endpoint does not know: the
// first token of a text has nothing before it.
type LogProbs struct {
	Tokens  []string             `json:"tokens"`
	LogProb []*float64           `json:"token_logprobs"`
	Top     []map[string]float64 `json:"top_logprobs"`
	Offset  []int                `json:"text_offset"` // of each token in the text, in characters
}

// Complete sends a request to the completions endpoint. Errors are treated as in Chat.
func (c *Client) Complete(ctx context.Context, req CompletionRequest) (Completion, error) {
	if req.Model == "" {
		req.Model = c.Model
	}
	var r Completion
	attempts, err := c.send(ctx, "/completions", req, func(target string, data []byte) (err error) {
		r, err = completionResponse(target, data)
		return err
	})
	r.Attempts = attempts
	return r, err
}

func completionResponse(target string, data []byte) (Completion, error) {
	var doc struct {
		Model   string
		Usage   Usage
		Choices []struct {
			Text     *string
			Finish   string    `json:"finish_reason"`
			LogProbs *LogProbs `json:"logprobs"`
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return Completion{}, fmt.Errorf("%s: the answer is not JSON: %w", target, err)
	}
	if len(doc.Choices) == 0 || doc.Choices[0].Text == nil {
		return Completion{}, fmt.Errorf("%s: an answer without text: %.200s", target, data)
	}
	first := doc.Choices[0]
	return Completion{
		Response: Response{Text: *first.Text, Finish: first.Finish, Model: doc.Model, Usage: doc.Usage},
		LogProbs: first.LogProbs,
	}, nil
}
