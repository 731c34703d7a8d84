package eval_test

import (
	"errors"
	"log/slog"
	"math"
	"net/http/httptest"
	"testing"

	"leolm/catalog"
	"leolm/chat"
	"leolm/eval"
	"leolm/open"
	"leolm/serve"
)

// A model answers and scores the same here and behind Leo's own server, whatever its tokens are pieces of.
func TestServedModelIsTheSame(t *testing.T) {
	m, err := open.Open(t.Context(), "", open.Options{Together: 8})
	if errors.Is(err, catalog.ErrNoModel) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := serve.New(t.Context(), serve.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s)
	defer web.Close()
	local := eval.NewLocal(m, eval.LocalOptions{})
	defer local.Close()
	models := []eval.Model{local, eval.NewEndpoint(eval.EndpointOptions{URL: web.URL + "/v1", Model: "leo-mini", Attempts: 2})}

	var scores []eval.ScoreRequest
	for _, a := range []string{"Frage: Was scheint am Himmel?\nAntwort:", "äöü €", "😀 und 漢字", "Der Mond ", "Ein Vul", "„Ja“ — ", "a\tb\n", "\u00a0x"} {
		for _, b := range []string{" der Mond", "kan", " ß", "😀", "€uro", " 漢 字", "\n\nnein", "  zwei", "\u0301é"} {
			scores = append(scores, eval.ScoreRequest{Context: a, Continuation: b})
		}
	}
	requests := []eval.Request{
		{Messages: []chat.Message{{Role: chat.User, Content: "Was ist ein Vulkan?"}}, MaxNewTokens: 20},
		{Messages: []chat.Message{{Role: chat.User, Content: "Erzähle vom Mond."}}, MaxNewTokens: 20},
		{Prompt: "Der Mond", MaxNewTokens: 9},
	}
	var gotScores [2][]eval.Score
	var gotAnswers [2][]eval.Answer
	for k, m := range models {
		gotScores[k], gotAnswers[k] = make([]eval.Score, len(scores)), make([]eval.Answer, len(requests))
		if err := m.Score(t.Context(), scores, func(i int, s eval.Score) error { gotScores[k][i] = s; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := m.Generate(t.Context(), requests, func(i int, a eval.Answer) error { gotAnswers[k][i] = a; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range scores {
		a, b := gotScores[0][i], gotScores[1][i]
		if math.Abs(a.LogProb-b.LogProb) > 1e-6 || a.Tokens != b.Tokens || a.Greedy != b.Greedy || a.Err != nil || b.Err != nil {
			t.Errorf("%q: %+v here, %+v served", r, a, b)
		}
	}
	for i := range requests {
		a, b := gotAnswers[0][i], gotAnswers[1][i]
		if a.Text != b.Text || a.NewTokens != b.NewTokens || a.CutOff() != b.CutOff() || a.Text == "" {
			t.Errorf("request %d: %+v here, %+v served", i, a, b)
		}
	}
}
