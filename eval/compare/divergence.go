// Package compare owns what lies between two models: how far their predictions
// are apart on texts (Kullback–Leibler divergence, agreement of the most probable
// token, perplexity), and whether results of theirs on the same documents differ
// by more than chance (McNemar's test, bootstrap). It does not own models (package
// open) or tasks (package harness).
package compare

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"leolm/eval"
	"leolm/infer"
	"leolm/internal/textcheck"
	"leolm/open"
)

// Options say how texts are cut.
type Options struct {
	// Window is the number of tokens that are read together; 0: 512, or the contexts if they are smaller. Of every window
	// but a text's first, the first quarter is read only.
	Window int
	// BOS puts the token of that name before every text.
	BOS bool
	// MaxTokens is the largest number of tokens of each source; 0: 4 million.
	MaxTokens int
	Progress  func(tokens int)
}

const (
	defaultWindow = 512
	defaultTokens = 4 << 20
	// rowsAtATime is how many rows of logits of each model exist at a time.
	rowsAtATime = 32
)

// VocabularyError says that two models do not speak of the same tokens, so that their predictions cannot be compared.
type VocabularyError struct{ A, B string }

func (e *VocabularyError) Error() string {
	return fmt.Sprintf("%s and %s have different vocabularies: their predictions are about other tokens", e.A, e.B)
}

// Text is a document and where it came from.
type Text struct{ Source, Text string }

// Row is the comparison on some of the tokens.
type Row struct {
	Source    string `json:"source,omitempty"`   // a file; "" for all
	Language  string `json:"language,omitempty"` // of the documents; "" for all
	Documents int    `json:"documents"`
	Tokens    int    `json:"tokens"`
	Bytes     int    `json:"bytes"`
	// KL is the divergence of B from A, Σ p_A·ln(p_A/p_B) over the vocabulary, in nats a token.
	KL       float64   `json:"kl_mean"`
	KLStdErr *float64  `json:"kl_stderr"`
	Quantile Quantiles `json:"kl_quantiles"`
	// Same is the share of tokens where both hold the same token most probable.
	Same        float64 `json:"top1_agreement"`
	PerplexityA float64 `json:"perplexity_a"`
	PerplexityB float64 `json:"perplexity_b"`
	BitsA       float64 `json:"bits_per_byte_a"`
	BitsB       float64 `json:"bits_per_byte_b"`
}

// Quantiles of the divergences.
type Quantiles struct {
	Median float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// sums are what tokens add up to.
type sums struct {
	documents, tokens, bytes, same int
	nllA, nllB                     float64
	kl                             []float32
}

type group struct{ source, language string }

// Models compares two models on texts, which next yields until it returns false.
func Models(ctx context.Context, a, b *open.Model, next func() (Text, bool, error), opt Options) ([]Row, error) {
	if a.Tokenizer.Fingerprint() != b.Tokenizer.Fingerprint() || a.Engine.Model().Vocab != b.Engine.Model().Vocab {
		return nil, &VocabularyError{a.Name, b.Name}
	}
	size := min(a.Engine.Context(), b.Engine.Context())
	if opt.Window == 0 {
		opt.Window = min(defaultWindow, size)
	}
	if opt.Window < 2 || opt.Window > size {
		return nil, fmt.Errorf("a window of %d tokens: 2 to %d, the smaller context, are possible", opt.Window, size)
	}
	if opt.BOS && a.Tokenizer.BOS() < 0 {
		return nil, fmt.Errorf("the tokenizer has no BOS token")
	}
	if opt.MaxTokens <= 0 {
		opt.MaxTokens = defaultTokens
	}
	p := &pair{a: a.Engine, b: b.Engine, opt: &opt}
	groups := map[group]*sums{}
	var order []group
	left := map[string]int{} // tokens of a source that may be compared yet
	for {
		t, ok, err := next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if _, known := left[t.Source]; !known {
			left[t.Source] = opt.MaxTokens
		}
		if left[t.Source] <= 0 {
			continue
		}
		g := group{t.Source, textcheck.Detect(t.Text).Lang}
		if groups[g] == nil {
			groups[g] = &sums{}
			order = append(order, g)
		}
		var ids []int32
		if opt.BOS {
			ids = append(ids, a.Tokenizer.BOS())
		}
		ids, starts := a.Tokenizer.EncodeTrusted(ids, nil, t.Text, nil)
		if len(ids) < 2 {
			continue
		}
		ids = ids[:min(len(ids), left[t.Source]+1)]
		left[t.Source] -= len(ids) - 1
		if err := p.document(ctx, ids, groups[g]); err != nil {
			return nil, err
		}
		groups[g].documents++
		groups[g].bytes += bytesOf(starts, len(ids), len(t.Text), opt.BOS)
	}
	if p.tokens == 0 {
		return nil, fmt.Errorf("the texts have no tokens to compare")
	}
	return table(order, groups), nil
}

// bytesOf is the length of the part of a text that n tokens predict: without a BOS token nothing predicts the first.
func bytesOf(starts []int32, n, size int, bos bool) int {
	first := 0
	if bos {
		n-- // starts has no place of it
	} else if len(starts) > 1 {
		first = int(starts[1])
	}
	if n < len(starts) {
		size = int(starts[n])
	}
	return size - first
}

// table makes rows of each source and language, of each language, and of all.
func table(order []group, groups map[group]*sums) []Row {
	var out []Row
	total := &sums{}
	languages := map[string]*sums{}
	var names []string
	sources := map[string]bool{}
	for _, g := range order {
		s := groups[g]
		if s.tokens == 0 {
			continue
		}
		sources[g.source] = true
		out = append(out, s.row(g.source, g.language))
		if languages[g.language] == nil {
			languages[g.language] = &sums{}
			names = append(names, g.language)
		}
		languages[g.language].add(s)
		total.add(s)
	}
	if len(sources) > 1 {
		slices.Sort(names)
		for _, name := range names {
			out = append(out, languages[name].row("", name))
		}
	}
	if len(out) > 1 {
		out = append(out, total.row("", ""))
	}
	return out
}

func (s *sums) add(t *sums) {
	s.documents += t.documents
	s.tokens += t.tokens
	s.bytes += t.bytes
	s.same += t.same
	s.nllA += t.nllA
	s.nllB += t.nllB
	s.kl = append(s.kl, t.kl...)
}

func (s *sums) row(source, language string) Row {
	n := float64(s.tokens)
	r := Row{
		Source: source, Language: language, Documents: s.documents, Tokens: s.tokens, Bytes: s.bytes, Same: float64(s.same) / n,
		PerplexityA: math.Exp(s.nllA / n), PerplexityB: math.Exp(s.nllB / n),
		BitsA: s.nllA / math.Ln2 / float64(s.bytes), BitsB: s.nllB / math.Ln2 / float64(s.bytes),
	}
	sum := 0.0
	for _, x := range s.kl {
		sum += float64(x)
	}
	r.KL = sum / n
	if s.tokens > 1 {
		square := 0.0
		for _, x := range s.kl {
			square += (float64(x) - r.KL) * (float64(x) - r.KL)
		}
		se := math.Sqrt(square/(n-1)) / math.Sqrt(n)
		r.KLStdErr = &se
	}
	sorted := slices.Sorted(slices.Values(s.kl))
	at := func(q float64) float64 { return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]) }
	r.Quantile = Quantiles{at(.5), at(.9), at(.95), at(.99), float64(sorted[len(sorted)-1])}
	return r
}

// pair runs two engines over the same tokens.
type pair struct {
	a, b   *infer.Engine
	opt    *Options
	tokens int
}

// document compares all tokens of a document but the first.
func (p *pair) document(ctx context.Context, ids []int32, s *sums) error {
	for done := 1; done < len(ids); {
		begin := 0
		if done > 1 {
			begin = done - max(p.opt.Window/4, 1)
		}
		end := min(len(ids), begin+p.opt.Window+1) // the last token is predicted only
		if err := p.window(ctx, ids[begin:end], done-begin, s); err != nil {
			return err
		}
		done = end
	}
	return nil
}

// window feeds ids but the last to both models, and compares the predictions of those from from on.
func (p *pair) window(ctx context.Context, ids []int32, from int, s *sums) error {
	sa, sb := p.a.NewSession(), p.b.NewSession()
	defer sa.Close()
	defer sb.Close()
	for at := 0; at < len(ids)-1; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, want := min(rowsAtATime, len(ids)-1-at), infer.WantAll
		if at < from-1 {
			n, want = min(rowsAtATime, from-1-at), infer.WantNone
		}
		feed := ids[at : at+n]
		la, err := p.a.Step([]infer.Feed{{Session: sa, IDs: feed, Want: want}})
		if err != nil {
			return err
		}
		lb, err := p.b.Step([]infer.Feed{{Session: sb, IDs: feed, Want: want}})
		if err != nil {
			return err
		}
		if want == infer.WantAll {
			p.rows(la, lb, ids[at+1:at+n+1], s)
		}
		at += n
	}
	return nil
}

// rows compares rows of logits in front of the given tokens.
func (p *pair) rows(la, lb []float32, next []int32, s *sums) {
	vocab := p.a.Model().Vocab
	type result struct {
		kl, a, b float64
		same     bool
	}
	out := make([]result, len(next))
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(next))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(next); i += workers {
				r := &out[i]
				r.kl, r.a, r.b, r.same = divergence(la[i*vocab:(i+1)*vocab], lb[i*vocab:(i+1)*vocab], next[i])
			}
		})
	}
	wg.Wait()
	for _, r := range out { // in order: a sum does not depend on the threads
		s.kl = append(s.kl, float32(r.kl))
		s.nllA -= r.a
		s.nllB -= r.b
		if r.same {
			s.same++
		}
	}
	s.tokens += len(next)
	p.tokens += len(next)
	if p.opt.Progress != nil {
		p.opt.Progress(p.tokens)
	}
}

// divergence compares two predictions: the divergence of b from a, the log-probabilities of the token that came, and
// whether both hold the same one most probable.
func divergence(a, b []float32, token int32) (kl, lpA, lpB float64, same bool) {
	za, topA := logSum(a)
	zb, topB := logSum(b)
	for i := range a {
		pa := float64(a[i]) - za
		if p := math.Exp(pa); p > 0 {
			kl += p * (pa - (float64(b[i]) - zb))
		}
	}
	return max(kl, 0), float64(a[token]) - za, float64(b[token]) - zb, topA == topB
}

// logSum is the logarithm of the sum of exponentials, and the first place of the largest.
func logSum(xs []float32) (z float64, top int) {
	for i, x := range xs {
		if x > xs[top] {
			top = i
		}
	}
	sum := 0.0
	for _, x := range xs {
		sum += math.Exp(float64(x - xs[top]))
	}
	return float64(xs[top]) + math.Log(sum), top
}

// Artifact makes the artifact of a comparison of models; the second one is its subject.
func Artifact(rows []Row, a, b eval.Identity, leo eval.Software, config map[string]any) *eval.Artifact {
	out := eval.NewArtifact("compare", b, leo)
	out.TaskVersion, out.Config, out.Complete = "1", config, true
	out.Inputs = []eval.Input{{Role: "reference model", Name: a.String(), Hash: a.Weights}}
	for i := range rows {
		r := &rows[i]
		name := r.Source
		if r.Language != "" {
			name += " " + r.Language
		}
		for _, m := range []struct {
			name  string
			v     float64
			unit  string
			lower bool
		}{
			{"kl_mean", r.KL, "nats", true}, {"kl_p99", r.Quantile.P99, "nats", true}, {"top1_agreement", r.Same, "fraction", false},
			{"perplexity_a", r.PerplexityA, "", true}, {"perplexity_b", r.PerplexityB, "", true},
		} {
			out.Add(eval.Metric{Name: m.name, Group: name, Value: &m.v, N: r.Tokens, Unit: m.unit, Lower: m.lower})
		}
	}
	return out
}
