// Package eval owns measuring models: what a model under evaluation is (Model:
// a model in this process or an endpoint), log-likelihoods of texts and their
// perplexity, and the Artifact that a result is kept in. It does not own models
// (package catalog), running them (package infer), single tasks (the packages
// below this one) or reports about the results.
package eval

import (
	"context"
	"fmt"
	"math"
	"unicode/utf8"

	"leolm/infer"
	"leolm/tokenizer"
)

// PerplexityOptions determine how a text is cut into windows.
type PerplexityOptions struct {
	// Window is the length of a window in tokens, Stride the distance between
	// windows: after the first window, every token is scored with at least
	// Window−Stride tokens before it. 0: the engine's context, and half the window.
	Window, Stride int
	// BOS puts the tokenizer's beginning-of-sequence token before every
	// document, so that the first token is scored too. Without it the first token
	// has no context and is left out, together with its bytes.
	BOS bool
}

// Perplexity is the likelihood of a set of texts. Bits per byte and per
// character compare models with different tokenizers; perplexity does not.
type Perplexity struct {
	Documents  int     `json:"documents"`
	Tokens     int     `json:"tokens"` // scored
	Bytes      int     `json:"bytes"`  // of UTF-8, scored
	Characters int     `json:"characters"`
	NLL        float64 `json:"nll"` // negative log-likelihood in nats
}

// Add adds the numbers of q.
func (p *Perplexity) Add(q Perplexity) {
	p.Documents += q.Documents
	p.Tokens += q.Tokens
	p.Bytes += q.Bytes
	p.Characters += q.Characters
	p.NLL += q.NLL
}

// BitsPerByte is NLL in bits over Bytes.
func (p *Perplexity) BitsPerByte() float64 { return p.NLL / math.Ln2 / float64(p.Bytes) }

// BitsPerCharacter is NLL in bits over Characters.
func (p *Perplexity) BitsPerCharacter() float64 { return p.NLL / math.Ln2 / float64(p.Characters) }

// PerToken is the mean loss in nats.
func (p *Perplexity) PerToken() float64 { return p.NLL / float64(p.Tokens) }

// Value is the perplexity: e to the power of the mean loss.
func (p *Perplexity) Value() float64 { return math.Exp(p.PerToken()) }

// ScoreText measures one document.
func ScoreText(ctx context.Context, e *infer.Engine, tok *tokenizer.Tokenizer, text string, opt PerplexityOptions) (Perplexity, error) {
	window, stride := opt.Window, opt.Stride
	if window == 0 {
		window = e.Context()
	}
	if stride == 0 {
		stride = max(1, window/2)
	}
	if window < 2 || window > e.Context() || stride < 1 || stride >= window {
		return Perplexity{}, fmt.Errorf("window %d and stride %d: the window must be 2 to %d tokens (the context), the stride at least 1 and smaller than the window", window, stride, e.Context())
	}
	var ids []int32
	if opt.BOS {
		if tok.BOS() < 0 {
			return Perplexity{}, fmt.Errorf("the tokenizer has no BOS token; measure without it")
		}
		ids = append(ids, tok.BOS())
	}
	ids, offs := tok.EncodeTrusted(ids, nil, text, nil)
	p := Perplexity{Documents: 1}
	// The first token is not scored without BOS, so its bytes do not count.
	skipped := 0
	if !opt.BOS {
		skipped = len(text)
		if len(offs) > 1 {
			skipped = int(offs[1])
		}
	}
	p.Bytes = len(text) - skipped
	p.Characters = utf8.RuneCountInString(text[skipped:])
	s := e.NewSession()
	defer s.Close()
	for done := 1; done < len(ids); {
		// The window ends at most stride tokens after those already scored.
		end := min(len(ids), max(window, done+stride))
		if done == 1 {
			end = min(len(ids), window)
		}
		begin := max(0, end-window)
		s.Close()
		lps, err := e.Score(ctx, s, ids[begin:end])
		if err != nil {
			return p, err
		}
		for _, lp := range lps[done-begin:] {
			p.NLL -= float64(lp)
			p.Tokens++
		}
		done = end
	}
	return p, nil
}
