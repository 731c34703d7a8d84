package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"leolm/internal/llmclient"
)

// NoLogProbsError says that an endpoint does not score texts: it needs completions with echo and logprobs. Without them
// every choice of a task would look equal, and the result would be chance.
type NoLogProbsError struct {
	URL string
	Why string
}

func (e *NoLogProbsError) Error() string {
	return fmt.Sprintf("%s does not score texts: %s (completions with echo and logprobs are needed)", e.URL, e.Why)
}

// Score implements Scorer. The first thing sent is a probe: an endpoint that can't score is a *NoLogProbsError.
func (e *Endpoint) Score(ctx context.Context, reqs []ScoreRequest, done func(i int, s Score) error) error {
	if err := e.probe(ctx); err != nil {
		return err
	}
	return each(ctx, e.opt.Concurrency, len(reqs), func(ctx context.Context, i int) (Score, error) {
		before, after := splitContext(reqs[i])
		s, err := e.score(ctx, before+after, len(before))
		s.Err = err
		return s, err
	}, done)
}

// ScoreRolling implements Scorer. An endpoint cuts no windows: a text must fit into its context, and the first token,
// which has nothing before it, is not scored unless the endpoint puts a token of its own there.
func (e *Endpoint) ScoreRolling(ctx context.Context, texts []string, done func(i int, s Score) error) error {
	if err := e.probe(ctx); err != nil {
		return err
	}
	return each(ctx, e.opt.Concurrency, len(texts), func(ctx context.Context, i int) (Score, error) {
		s, err := e.score(ctx, texts[i], 0)
		s.Err = err
		return s, err
	}, done)
}

// probe scores a text that any model knows something about.
func (e *Endpoint) probe(ctx context.Context) error {
	s, err := e.score(ctx, "Eins, zwei, drei, vier", 0)
	var api *llmclient.APIError
	switch {
	case errors.As(err, &api) && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusNotImplemented}, api.Status):
		return &NoLogProbsError{e.opt.URL, api.Message}
	case err != nil:
		return err
	case s.LogProb == 0:
		return &NoLogProbsError{e.opt.URL, "all log-probabilities are 0"}
	}
	return nil
}

// score asks for the log-probabilities of a text and adds up those from byte from on.
func (e *Endpoint) score(ctx context.Context, text string, from int) (Score, error) {
	zero, one := 0.0, 1
	// Many servers refuse to generate nothing, so one token comes along that nobody wants.
	c, err := e.client.Complete(ctx, llmclient.CompletionRequest{Prompt: text, Temperature: &zero, MaxTokens: 1, Echo: true, LogProbs: &one})
	if broke := e.spent(c.Response); err == nil {
		err = broke
	}
	if err != nil {
		return Score{}, err
	}
	// The token that nobody wants is left out, where the endpoint counts as it lists.
	if lp, n := c.LogProbs, int(c.Usage.Prompt); lp != nil && n > 0 && n+int(c.Usage.Completion) == len(lp.Tokens) && len(lp.LogProb) == len(lp.Tokens) {
		lp.Tokens, lp.LogProb, lp.Top, lp.Offset = lp.Tokens[:n], lp.LogProb[:n], lp.Top[:min(n, len(lp.Top))], lp.Offset[:min(n, len(lp.Offset))]
	}
	return e.sum(c.LogProbs, text, from)
}

// sum adds up the log-probabilities of the tokens that begin at byte from of the text or behind it.
func (e *Endpoint) sum(lp *llmclient.LogProbs, text string, from int) (Score, error) {
	if lp == nil || len(lp.Tokens) == 0 {
		return Score{}, &NoLogProbsError{e.opt.URL, "its answer has none for the prompt"}
	}
	if len(lp.LogProb) != len(lp.Tokens) || len(lp.Top) > 0 && len(lp.Top) != len(lp.Tokens) {
		return Score{}, fmt.Errorf("%s: log-probabilities of %d of %d tokens", e.opt.URL, len(lp.LogProb), len(lp.Tokens))
	}
	starts, err := tokenStarts(lp, text, from)
	if err != nil {
		return Score{}, fmt.Errorf("%s: %w", e.opt.URL, err)
	}
	s := Score{Greedy: len(lp.Top) > 0}
	for i, at := range starts {
		if at < from || at >= len(text) {
			continue
		}
		v := lp.LogProb[i]
		if v == nil && i == 0 && from == 0 {
			continue // nothing stands before the first token
		}
		if v == nil || math.IsNaN(*v) {
			return s, fmt.Errorf("%s: no log-probability of token %d (%q)", e.opt.URL, i, lp.Tokens[i])
		}
		s.LogProb += *v
		s.Tokens++
		if s.Greedy {
			for _, other := range lp.Top[i] {
				s.Greedy = s.Greedy && other <= *v
			}
		}
	}
	if s.Tokens == 0 {
		return s, errors.New("the continuation begins inside the last token of the context")
	}
	s.Uneven = from > 0 && !slices.Contains(starts, from)
	return s, nil
}

// tokenStarts returns the byte of the text where each token begins, that of a token behind the text being its length.
func tokenStarts(lp *llmclient.LogProbs, text string, from int) ([]int, error) {
	if starts, err := align(lp.Tokens, text, from); err == nil {
		return starts, nil
	} else if len(lp.Offset) != len(lp.Tokens) {
		return nil, err
	}
	// Offsets count characters, and servers that count a piece of a character as one are not exact behind it: they are
	// the second choice.
	bytes := make([]int, 0, len(text)+1)
	for i := range text {
		bytes = append(bytes, i)
	}
	bytes = append(bytes, len(text))
	starts := make([]int, len(lp.Tokens))
	for i, c := range lp.Offset {
		if c < 0 {
			return nil, fmt.Errorf("its offset of token %d is %d", i, c)
		}
		starts[i] = bytes[min(c, len(bytes)-1)]
	}
	return starts, nil
}

// align finds the tokens in the text by what they say. A first token that is not in it is the endpoint's own (BOS), and one
// with a space before it may be SentencePiece's. Tokens that are pieces of a character say U+FFFD, or "bytes:": a run of
// them ends where the next token begins.
func align(tokens []string, text string, from int) ([]int, error) {
	starts := make([]int, len(tokens))
	at := 0
	for i := 0; i < len(tokens); i++ {
		starts[i] = at
		t := tokens[i]
		bare := strings.TrimPrefix(t, " ")
		switch {
		case at == len(text):
		case strings.HasPrefix(text[at:], t):
			at += len(t)
		case piece(t):
			k := 1
			for i+k < len(tokens) && piece(tokens[i+k]) {
				k++
			}
			next := ""
			if i+k < len(tokens) {
				next = tokens[i+k]
			}
			k = min(k, len(text)-at) // pieces behind the text have no byte of it
			end := pieceEnd(text, at, k, next)
			if end-at != k && at < from && from < end {
				return nil, fmt.Errorf("its tokens %d to %d are pieces of characters on both sides of the join", i, i+k-1)
			}
			for j := range k {
				starts[i+j] = at + j*(end-at)/k
			}
			at, i = end, i+k-1
		case at == 0 && bare != t && strings.HasPrefix(text, bare):
			at = len(bare)
		case i == 0:
		default:
			return nil, fmt.Errorf("its token %d (%q) is not in the text at byte %d", i, t, at)
		}
	}
	return starts, nil
}

// piece reports whether a token is a piece of a character.
func piece(t string) bool {
	return strings.ContainsRune(t, utf8.RuneError) || strings.HasPrefix(t, "bytes:")
}

// pieceEnd is where a run of k pieces that begins at a byte ends: the first place behind whole characters, one byte for each
// piece at least, where the next token stands.
func pieceEnd(text string, at, k int, next string) int {
	for end := at; end < len(text); {
		_, n := utf8.DecodeRuneInString(text[end:])
		if end += n; end-at >= k && strings.HasPrefix(text[end:], next) {
			return end
		}
	}
	return len(text)
}
