package infer

import (
	"context"
	"errors"
	"math"
	"testing"

	"leolm/sample"
	"leolm/tensor"
)

// Sampling and beam search report NaN logits as such, and do not blame bans or
// masks.
func TestNaNIsNamed(t *testing.T) {
	e := testEngine(t, 1, tensor.F32, tensor.F32)
	e.model.Config.RMSEps = math.NaN()
	prompt := tokens(10, 3)
	s := e.NewSession()
	res, err := e.Generate(context.Background(), s, idText{}, &Request{Prompt: prompt, MaxNewTokens: 3, TopLogProbs: -1}, nil)
	var bad *sample.LogitsError
	if !errors.As(err, &bad) || bad.NaN != e.model.Vocab {
		t.Errorf("Generate: %v", err)
	}
	if len(res.IDs) != 0 {
		t.Errorf("tokens %v", res.IDs)
	}
	bad = nil
	s.Close() // the scheduler owns the engine from now on
	sched, _ := start(t, e, SchedulerOptions{})
	if _, err := sched.Beam(context.Background(), prompt, sample.BeamParams{Beams: 2, LengthPenalty: 1, MaxNewTokens: 3}); !errors.As(err, &bad) {
		t.Errorf("Beam: %v", err)
	}
}

// idText writes nothing.
type idText struct{}

func (idText) Append(dst []byte, _ int32) []byte { return dst }
func (idText) Flush(dst []byte) []byte           { return dst }
