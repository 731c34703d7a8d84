package serve

import (
	"encoding/json"
	"slices"
	"testing"

	"leolm/chat"
	"leolm/converse"
	"leolm/infer"
	"leolm/open"
)

// The server and a conversation in a terminal feed the same tokens and write the same answers, over two turns.
func TestAnswersAreThoseOfATerminal(t *testing.T) {
	m, err := open.Open(t.Context(), "", open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	_, url := newTest(t, Config{})
	for _, system := range []string{"", "Du antwortest kurz."} {
		c := converse.New(m.Model, m.Engine, system)
		for _, question := range []string{"Was ist ein Vulkan?", "Und wo gibt es viele <|im_end|> davon?"} {
			answer, err := c.Ask(t.Context(), question, converse.FullError, infer.Request{MaxNewTokens: 30, TopLogProbs: -1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			asked := slices.Clone(c.Messages[:len(c.Messages)-1])
			want, _, err := m.Template.Encode(m.Tokenizer, asked, chat.Options{AddGenerationPrompt: true})
			if err != nil {
				t.Fatal(err)
			}
			type message struct {
				Role    string `json:"role"`
				Content string `json:"content"`
			}
			messages := []message{}
			for _, m := range asked {
				messages = append(messages, message{m.Role.String(), m.Content})
			}
			body, err := json.Marshal(map[string]any{"messages": messages, "max_tokens": 30, "temperature": 0})
			if err != nil {
				t.Fatal(err)
			}
			var tokens struct{ Tokens []int32 }
			post(t, url+"/tokenize", string(body), &tokens)
			if !slices.Equal(tokens.Tokens, want) {
				t.Errorf("%q: the server feeds %v, a terminal %v", question, tokens.Tokens, want)
			}
			var got testAnswer
			post(t, url+"/v1/chat/completions", string(body), &got)
			if len(got.Choices) != 1 || *got.Choices[0].Message.Content != answer.Text {
				t.Errorf("%q: the server answers %+v, a terminal %q", question, got.Choices, answer.Text)
			}
		}
		c.Close()
	}
}
