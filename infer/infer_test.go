package infer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/checkpoint"
	"leolm/device/cpu"
	"leolm/internal/kernel/amx/amxtest"
	"leolm/llama"
	"leolm/sample"
	"leolm/tensor"
)

// testModel writes a random Llama and loads it with matrices stored as dt.
func testModel(t testing.TB, dev *cpu.Device, dt tensor.DType, change ...func(*checkpoint.Config)) *llama.Model {
	t.Helper()
	cfg := checkpoint.Config{
		Architecture: "llama", HiddenSize: 64, IntermediateSize: 96, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 32,
		VocabSize: 160, MaxPositions: 1024, RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: []int{2}, PAD: -1,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := checkpoint.Open(randomModel(t, cfg, 0.15))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := llama.Load(t.Context(), dev, c, llama.LoadOptions{Convert: func(string, tensor.DType) tensor.DType { return dt }})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testEngine makes an engine; pageLen is the length of its pages if that is not the usual one.
func testEngine(t testing.TB, workers int, weights, cache tensor.DType, pageLen ...int) *Engine {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: workers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dev.Close)
	opt := Options{CacheType: cache, Sessions: 12, PrefillChunk: 100}
	if len(pageLen) > 0 {
		opt.PageLen = pageLen[0]
	}
	e, err := NewEngine(dev, testModel(t, dev, weights), opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func tokens(n int, seed uint64) []int32 {
	rng := rand.New(rand.NewPCG(seed, 3))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(160))
	}
	return ids
}

func prefill(t *testing.T, e *Engine, ids []int32) []float32 {
	t.Helper()
	s := e.NewSession()
	defer s.Close()
	logits, err := e.Prefill(context.Background(), s, ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(logits)
}

// The logits of a token depend on the tokens before it and on nothing else: not on the chunks of
// the prompt, the other sequences of a batch, the number of workers, or on whether the cache was
// truncated, forked or saved.
func TestLogitsDoNotDependOnTheWay(t *testing.T) {
	ctx := context.Background()
	for _, weights := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		for _, cache := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.Q8_0} {
			t.Run(fmt.Sprintf("%v/%v", weights, cache), func(t *testing.T) {
				e := testEngine(t, 2, weights, cache)
				ids := tokens(600, 1) // three pages
				want := prefill(t, e, ids)
				for _, l := range want {
					if math.IsNaN(float64(l)) {
						t.Fatal("NaN")
					}
				}
				same := func(what string, got []float32) {
					t.Helper()
					if !slices.Equal(got, want) {
						t.Errorf("%s: logits differ", what)
					}
				}
				e1 := testEngine(t, 1, weights, cache)
				same("one worker", prefill(t, e1, ids))

				s := e.NewSession()
				if _, err := e.Prefill(ctx, s, ids[:570], nil); err != nil {
					t.Fatal(err)
				}
				var got []float32
				for _, id := range ids[570:] {
					var err error
					if got, err = e.Step([]Feed{{s, []int32{id}, WantLast}}); err != nil {
						t.Fatal(err)
					}
				}
				same("token by token", got)

				for _, pageLen := range []int{32, 128, 512} {
					p := testEngine(t, 2, weights, cache, pageLen)
					s := p.NewSession()
					if _, err := p.Prefill(ctx, s, ids[:597], nil); err != nil {
						t.Fatal(err)
					}
					var got []float32
					for _, id := range ids[597:] {
						var err error
						if got, err = p.Step([]Feed{{s, []int32{id}, WantLast}}); err != nil {
							t.Fatal(err)
						}
					}
					same(fmt.Sprintf("pages of %d", pageLen), got)
					f, err := s.Fork()
					if err != nil {
						t.Fatal(err)
					}
					f.Truncate(599)
					if got, err = p.Step([]Feed{{f, ids[599:], WantLast}}); err != nil {
						t.Fatal(err)
					}
					same(fmt.Sprintf("forked in pages of %d", pageLen), got)
				}

				// The same token again, in a batch with sequences of other lengths.
				s.Truncate(599)
				feeds := []Feed{}
				for i, n := range []int{1, 7, 300} {
					o := e.NewSession()
					defer o.Close()
					feeds = append(feeds, Feed{o, tokens(n, uint64(i+5)), WantNone})
				}
				feeds = append(feeds, Feed{s, ids[599:], WantLast})
				got, err := e.Step(feeds)
				if err != nil {
					t.Fatal(err)
				}
				same("in a batch", got)

				s.Truncate(599)
				f, err := s.Fork()
				if err != nil {
					t.Fatal(err)
				}
				// What the fork appends must not reach the original.
				if _, err := e.Step([]Feed{{f, tokens(40, 9), WantLast}}); err != nil {
					t.Fatal(err)
				}
				f.Close()
				var buf bytes.Buffer
				if err := s.Save(&buf); err != nil {
					t.Fatal(err)
				}
				r, err := e.LoadSession(&buf)
				if err != nil {
					t.Fatal(err)
				}
				for what, x := range map[string]*Session{"after a fork": s, "saved and loaded": r} {
					if got, err = e.Step([]Feed{{x, ids[599:], WantLast}}); err != nil {
						t.Fatal(err)
					}
					same(what, got)
					x.Close()
				}
			})
		}
	}
}

// TestMatrixUnits: on matrix units, which take one row as they take many, a token's logits do not depend on the way.
func TestMatrixUnits(t *testing.T) {
	amxtest.Run(t, func(t *testing.T) {
		e := testEngine(t, 2, tensor.BF16, tensor.BF16)
		ids := tokens(45, 1)
		want := prefill(t, e, ids)
		s := e.NewSession()
		defer s.Close()
		if _, err := e.Prefill(t.Context(), s, ids[:40], nil); err != nil {
			t.Fatal(err)
		}
		var got []float32
		for _, id := range ids[40:] {
			var err error
			if got, err = e.Step([]Feed{{s, []int32{id}, WantLast}}); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Error("token by token: logits differ")
		}
	})
}

func TestScoreIsTheLogProbabilityThatGenerationSees(t *testing.T) {
	ctx := context.Background()
	e := testEngine(t, 2, tensor.Q8_0, tensor.F16)
	ids := tokens(230, 4)
	s := e.NewSession()
	lps, err := e.Score(ctx, s, ids)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	// In two parts: the second continues where the first ended.
	head, err := e.Score(ctx, s, ids[:77])
	if err != nil {
		t.Fatal(err)
	}
	tail, err := e.Score(ctx, s, ids[77:])
	if err != nil {
		t.Fatal(err)
	}
	both := append(head, tail...)
	one := e.NewSession()
	for i, id := range ids {
		if i > 0 {
			logits := slices.Clone(e.logits)
			want := LogProb(logits, id)
			for what, got := range map[string]float32{"whole": lps[i], "in two parts": both[i]} {
				if math.Abs(float64(got-want)) > 1e-5 {
					t.Fatalf("%s: token %d has log-probability %v, step by step %v", what, i, got, want)
				}
			}
		}
		if _, err := e.Step([]Feed{{one, []int32{id}, WantLast}}); err != nil {
			t.Fatal(err)
		}
	}
	if lps[0] != 0 {
		t.Error("the first token of an empty session has a log-probability")
	}
}

// plain is a Text that writes ids as numbers.
type plain struct{}

func (plain) Append(dst []byte, id int32) []byte { return fmt.Appendf(dst, "%d ", id) }
func (plain) Flush(dst []byte) []byte            { return dst }

func generate(t *testing.T, e *Engine, req *Request) *Result {
	t.Helper()
	s := e.NewSession()
	defer s.Close()
	text := ""
	res, err := e.Generate(context.Background(), s, plain{}, req, func(tok Token) error {
		text += tok.Text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if text != res.Text {
		t.Fatalf("streamed %q, whole %q", text, res.Text)
	}
	return res
}

func TestSpeculationChangesNothingButTheSpeed(t *testing.T) {
	e := testEngine(t, 2, tensor.BF16, tensor.F16)
	prompt := append(tokens(20, 1), tokens(20, 1)...)
	draft := NewDraftModel(e) // the model itself: greedy guesses are always right
	for _, p := range []sample.Params{{}, {Temperature: 1.3, TopK: 20, Seed: 5, RepetitionPenalty: 1.2}} {
		req := Request{Prompt: prompt, Params: p, MaxNewTokens: 60, TopLogProbs: -1}
		want := generate(t, e, &req)
		for name, d := range map[string]Proposer{"look-up": &PromptLookup{}, "draft model": draft} {
			req.Draft, req.Speculate = d, 5
			got := generate(t, e, &req)
			if !slices.Equal(got.IDs, want.IDs) || got.Finish != want.Finish {
				t.Errorf("%s, temperature %v: %v, without speculation %v", name, p.Temperature, got.IDs, want.IDs)
			}
			if name == "draft model" && p.Temperature == 0 && got.Stats.Accepted != got.Stats.Proposed {
				t.Errorf("a draft by the model itself: %d of %d guesses right", got.Stats.Accepted, got.Stats.Proposed)
			}
		}
	}
}

func TestAnswersEndWhereTheyShould(t *testing.T) {
	e := testEngine(t, 2, tensor.F32, tensor.F32)
	prompt := tokens(10, 2)
	free := generate(t, e, &Request{Prompt: prompt, MaxNewTokens: 30, TopLogProbs: -1})
	if free.Finish != FinishLength || len(free.IDs) != 30 {
		t.Fatalf("%d tokens, finish %q", len(free.IDs), free.Finish)
	}
	stop := free.IDs[12]
	at := slices.Index(free.IDs, stop)
	res := generate(t, e, &Request{Prompt: prompt, StopIDs: []int32{stop}, TopLogProbs: -1})
	if res.Finish != FinishStop || !slices.Equal(res.IDs, free.IDs[:at+1]) {
		t.Errorf("stop id: %v, finish %q", res.IDs, res.Finish)
	}
	word := fmt.Sprintf("%d %d ", free.IDs[5], free.IDs[6])
	res = generate(t, e, &Request{Prompt: prompt, Stops: []string{word}, TopLogProbs: -1})
	if res.Finish != FinishStop || res.StopString != word {
		t.Errorf("stop string: %q, finish %q", res.Text, res.Finish)
	}
	res = generate(t, e, &Request{Prompt: prompt, TopLogProbs: 3})
	if res.Finish != FinishContext || len(res.IDs)+len(prompt) != e.Context() {
		t.Errorf("full context: %d + %d tokens, finish %q", len(prompt), len(res.IDs), res.Finish)
	}
	s := e.NewSession()
	defer s.Close()
	_, err := e.Generate(context.Background(), s, plain{}, &Request{Prompt: tokens(1024, 1)}, nil)
	var ce *ContextError
	if !errors.As(err, &ce) || ce.Tokens != 1025 || ce.Limit != 1024 {
		t.Errorf("a prompt that leaves no room: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	res, err = e.Generate(ctx, s, plain{}, &Request{Prompt: prompt, TopLogProbs: -1}, func(Token) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(res.IDs) != 3 {
		t.Errorf("canceled: %d tokens, %v", len(res.IDs), err)
	}
	if _, err := e.Step([]Feed{{s, []int32{160}, WantLast}}); err == nil {
		t.Error("a token outside the vocabulary was taken")
	}
}

// With as many beams as there are sequences, beam search is exhaustive search.
func TestBeamSearchFindsTheBest(t *testing.T) {
	ctx := context.Background()
	e := testEngine(t, 2, tensor.F32, tensor.F32)
	prompt := tokens(10, 3)
	found := beamAlone(t, e, prompt, sample.BeamParams{Beams: 8, LengthPenalty: 1, MaxNewTokens: 3})
	greedy := generate(t, e, &Request{Prompt: prompt, MaxNewTokens: 3, TopLogProbs: -1})
	score := func(ids []int32) float64 {
		s := e.NewSession()
		defer s.Close()
		lps, err := e.Score(ctx, s, append(slices.Clone(prompt), ids...))
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		for _, lp := range lps[len(prompt):] {
			sum += float64(lp)
		}
		return sum / float64(len(ids))
	}
	if len(found) == 0 || score(found[0].IDs) < score(greedy.IDs)-1e-6 {
		t.Fatalf("beam search found %v, greedy %v scores better", found, greedy.IDs)
	}
	for _, f := range found {
		if got := score(f.IDs); math.Abs(got-f.Score) > 1e-4 {
			t.Errorf("%v: score %v, recomputed %v", f.IDs, f.Score, got)
		}
	}
	if e.CacheBytes() == 0 {
		t.Error("no cache was used")
	}
}

func TestDamagedSessionsAreErrors(t *testing.T) {
	e := testEngine(t, 1, tensor.F32, tensor.F16)
	s := e.NewSession()
	defer s.Close()
	if _, err := e.Prefill(context.Background(), s, tokens(50, 1), nil); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := s.Save(&buf); err != nil {
		t.Fatal(err)
	}
	data := buf.Bytes()
	other := testEngine(t, 1, tensor.F32, tensor.Q8_0)
	if _, err := other.LoadSession(bytes.NewReader(data)); err == nil {
		t.Error("a session with another cache type was loaded")
	}
	for n := range []int{0, 5, 12, 60, 200, len(data) - 1} {
		if _, err := e.LoadSession(bytes.NewReader(data[:n])); err == nil {
			t.Errorf("the first %d bytes were taken for a session", n)
		}
	}
}

// In the steady state a decoding step allocates nothing.
func TestDecodingAllocatesNothing(t *testing.T) {
	for _, c := range []struct{ weights, cache tensor.DType }{{tensor.Q4_0, tensor.F16}, {tensor.BF16, tensor.BF16}, {tensor.Q8_0, tensor.Q8_0}} {
		e := testEngine(t, 2, c.weights, c.cache)
		s := e.NewSession()
		if _, err := e.Prefill(context.Background(), s, tokens(20, 1), nil); err != nil {
			t.Fatal(err)
		}
		feeds := []Feed{{Session: s, IDs: []int32{5}, Want: WantLast}}
		step := func() {
			if _, err := e.Step(feeds); err != nil {
				t.Fatal(err)
			}
		}
		for range 30 { // buffers and lists grow
			step()
		}
		if n := testing.AllocsPerRun(50, step); n >= 1 {
			t.Errorf("%v weights, %v cache: %v allocations a step", c.weights, c.cache, n)
		}
	}
}
