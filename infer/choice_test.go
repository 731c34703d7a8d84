package infer

import (
	"context"
	"math"
	"slices"
	"testing"

	"leolm/device"
	"leolm/sample"
	"leolm/tensor"
)

// finder is a device that finds the largest logits of rows.
type finder struct {
	device.Runner
	asked     int  // rows
	tied, odd bool // what it says does not decide
}

func (f *finder) TopLogits(logits *device.Tensor, vocab, k int) []device.TopLogits {
	v := make([]float32, logits.Rows*logits.Cols)
	f.Read(logits, v)
	out := make([]device.TopLogits, logits.Rows)
	for i := range out {
		out[i] = device.TopOf(v[i*logits.Cols:i*logits.Cols+vocab], k)
		if f.tied {
			for j := range out[i].Logits {
				out[i].Logits[j] = out[i].Logits[k-1]
			}
		}
		out[i].Odd = f.odd
	}
	f.asked += len(out)
	return out
}

// TestDeviceFindsTheLargest: answers are those of whole rows, where the device finds the largest logits, where these do not
// decide, alone and in a scheduler beside answers that need whole rows.
func TestDeviceFindsTheLargest(t *testing.T) {
	plainEngine := testEngine(t, 1, tensor.F32, tensor.F32)
	prompt := tokens(30, 3)
	for _, c := range []struct {
		params sample.Params
		top    int
		asks   bool
	}{
		{sample.Params{}, -1, true}, {sample.Params{}, 5, true}, {sample.Params{Temperature: 1, TopK: 40, TopP: 0.95, Seed: 3}, 0, true},
		{sample.Params{Temperature: 1, Seed: 3}, 2, false}, {sample.Params{RepetitionPenalty: 1.2}, -1, false}, {sample.Params{}, device.MostTop, false},
		{sample.Params{MinNewTokens: 4}, 1, true},
	} {
		req := func() *Request {
			return &Request{Prompt: prompt, Params: c.params, MaxNewTokens: 12, TopLogProbs: c.top, Draft: &PromptLookup{}, Speculate: 3}
		}
		answer := func(e *Engine) (ids []int32, tokens []Token) {
			s := e.NewSession()
			defer s.Close()
			r, err := e.Generate(context.Background(), s, plain{}, req(), func(tok Token) error {
				tokens = append(tokens, tok)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return r.IDs, tokens
		}
		want, wantTokens := answer(plainEngine)
		for _, f := range []*finder{{}, {tied: true}, {odd: true}} {
			e := testEngine(t, 1, tensor.F32, tensor.F32)
			f.Runner = e.dev
			e.dev = f
			got, gotTokens := answer(e)
			if !slices.Equal(got, want) || f.asked > 0 != c.asks {
				t.Errorf("%+v: tokens %v, want %v; the device was asked for %d rows", c, got, want, f.asked)
			}
			for i, w := range wantTokens {
				g := gotTokens[i]
				if math.Abs(g.LogProb-w.LogProb) > 1e-5 || len(g.Top) != len(w.Top) {
					t.Errorf("%+v: token %d has log-probability %v with %d others, want %v with %d", c, i, g.LogProb, len(g.Top), w.LogProb, len(w.Top))
				}
				for j := range min(len(g.Top), len(w.Top)) {
					if g.Top[j].ID != w.Top[j].ID || math.Abs(g.Top[j].LogProb-w.Top[j].LogProb) > 1e-5 {
						t.Errorf("%+v: token %d, place %d: %v, want %v", c, i, j, g.Top[j], w.Top[j])
					}
				}
			}
			f.asked = 0
			s := NewScheduler(e, SchedulerOptions{})
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			whole := req()
			whole.Params = sample.Params{Temperature: 1, Seed: 9}
			tickets, err := s.Submit(ctx, func() Text { return plain{} }, req(), whole)
			if err != nil {
				t.Fatal(err)
			}
			alone, err := s.Submit(ctx, func() Text { return plain{} }, req())
			if err != nil {
				t.Fatal(err)
			}
			for _, ticket := range append(alone, tickets[0]) {
				if r, err := ticket.Result(); err != nil || !slices.Equal(r.IDs, want) {
					t.Errorf("%+v in a scheduler: %v, %v, want %v", c, r.IDs, err, want)
				}
			}
			if _, err := tickets[1].Result(); err != nil {
				t.Error(err)
			}
			stop()
			<-ended
		}
	}
}
