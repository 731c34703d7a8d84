package infer

import (
	"context"
	"fmt"
	"math"

	"leolm/internal/sysmem"
	"leolm/sample"
)

// BeamAnswer is one result of a beam search.
type BeamAnswer struct {
	IDs   []int32
	Score float64 // sum of log-probabilities over length^LengthPenalty
}

// Beam answers prompt with beam search and returns the answers, best first. Beams share the cached pages of their
// common prefix. Beams that would not fit into memory are a *device.MemoryError.
func (e *Engine) Beam(ctx context.Context, prompt []int32, p sample.BeamParams) ([]BeamAnswer, error) {
	if p.MaxNewTokens <= 0 || p.MaxNewTokens > e.opt.Context-len(prompt) {
		p.MaxNewTokens = e.opt.Context - len(prompt)
	}
	// The logits of all beams, their log-probabilities, and each beam's candidates.
	if err := sysmem.Need(fmt.Sprintf("%d beams over %d tokens", p.Beams, e.model.Vocab), 16*float64(p.Beams)*float64(e.model.Vocab)); err != nil {
		return nil, err
	}
	b, err := sample.NewBeamSearch(p)
	if err != nil {
		return nil, err
	}
	root := e.NewSession()
	logits, err := e.Prefill(ctx, root, prompt, nil)
	sessions := []*Session{root}
	defer func() {
		for _, s := range sessions {
			s.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	v := e.model.Vocab
	for {
		running := b.Running()
		lps := make([][]float32, len(running))
		for i := range running {
			if err := sample.CheckLogits(logits[i*v : (i+1)*v]); err != nil {
				return nil, err
			}
			lps[i] = logSoftmax(logits[i*v : (i+1)*v])
		}
		if err := b.Step(lps); err != nil {
			return nil, err
		}
		if b.Done() {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next := make([]*Session, 0, len(b.Running()))
		var feeds []Feed
		for _, h := range b.Running() {
			s, err := sessions[h.Parent].Fork()
			if err != nil {
				for _, s := range next {
					s.Close()
				}
				return nil, err
			}
			next = append(next, s)
			feeds = append(feeds, Feed{s, h.Tokens[len(h.Tokens)-1:], WantLast})
		}
		for _, s := range sessions {
			s.Close()
		}
		sessions = next
		if logits, err = e.Step(feeds); err != nil {
			return nil, err
		}
	}
	var out []BeamAnswer
	for _, h := range b.Finished() {
		out = append(out, BeamAnswer{IDs: h.Tokens, Score: float64(h.Score)})
	}
	return out, nil
}

// logSoftmax sums in float64 and returns float32, the type of beam scores.
func logSoftmax(logits []float32) []float32 {
	top := logits[ArgMax(logits)]
	var sum float64
	for _, l := range logits {
		sum += math.Exp(float64(l - top))
	}
	lse := float64(top) + math.Log(sum)
	out := make([]float32, len(logits))
	for i, l := range logits {
		out[i] = float32(float64(l) - lse)
	}
	return out
}
