package sample

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unit and goldenLogits compute what testdata/golden.py computes.
func unit(seed, i uint64) float64 {
	z := seed*0x9E3779B97F4A7C15 + (i+1)*0xD1B54A32D192ED03
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float64((z^z>>31)>>40) / (1 << 24)
}

func goldenLogits(seed uint64, v int, spread float64, ties bool) []float32 {
	out := make([]float32, v)
	for i := range out {
		x := (unit(seed, uint64(i)) - 0.5) * spread
		if ties {
			x = math.RoundToEven(x)
		}
		out[i] = float32(x)
	}
	return out
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(path, err)
	}
}

// left runs the chain up to the draw and returns what is left, by id, with
// the logits as the draw sees them.
func left(s *Sampler, logits []float32) []cand {
	s.adjust(logits)
	d := draw{s: s, logits: logits, scale: 1}
	if s.p.Order == OrderHF {
		d.temperature()
		d.topK()
		d.topP()
		d.minP()
		d.typical()
	} else {
		d.topK()
		d.typical()
		d.topP()
		d.minP()
		d.temperature()
	}
	d.gather()
	c := slices.Clone(s.c)
	slices.SortFunc(c, func(a, b cand) int { return int(a.id - b.id) })
	for i := range c {
		c[i].logit *= float32(d.scale)
	}
	return c
}

// TestFiltersLikeTransformers compares with transformers' logits processors.
func TestFiltersLikeTransformers(t *testing.T) {
	var cases []struct {
		Seed    uint64
		Vocab   int
		Spread  float64
		History []int32
		Kept    []int32
		Scores  []float64
		Params  struct {
			TopK     int     `json:"top_k"`
			TopP     float64 `json:"top_p"`
			MinP     float64 `json:"min_p"`
			TypicalP float64 `json:"typical_p"`
			Temp     float64
			Rep      float64
			NGram    int
			MinNew   int `json:"min_new"`
			Stop     []int32
			Suppress []int32
			Bias     map[int32]float32
			Ties     bool
		}
	}
	readJSON(t, "testdata/golden.json", &cases)
	for _, c := range cases {
		p := c.Params
		temp := p.Temp
		if temp == 0 {
			temp = 1
		}
		s, err := New(Params{
			Temperature: temp, TopK: p.TopK, TopP: p.TopP, MinP: p.MinP, TypicalP: p.TypicalP, Order: OrderHF,
			RepetitionPenalty: p.Rep, NoRepeatNGram: p.NGram, LogitBias: p.Bias, Banned: p.Suppress,
			MinNewTokens: p.MinNew, StopIDs: p.Stop,
		}, c.Vocab)
		if err != nil {
			t.Fatal(err)
		}
		s.Prompt(c.History[:28])
		for _, id := range c.History[28:] {
			s.Accept(id)
		}
		got := left(s, goldenLogits(c.Seed, c.Vocab, c.Spread, p.Ties))
		ids := make([]int32, len(got))
		for i, x := range got {
			ids[i] = x.id
		}
		if p.Ties && p.TopP > 0 && len(ids) == len(c.Kept) {
			// Which of several equal tokens stay is torch.sort's whim.
		} else if !slices.Equal(ids, c.Kept) {
			t.Errorf("case %d %+v: kept %d tokens, want %d\n%v", c.Seed, p, len(ids), len(c.Kept), cmp.Diff(c.Kept, ids))
			continue
		}
		for i, want := range c.Scores {
			if p.Ties && p.TopP > 0 {
				break
			}
			if math.Abs(float64(got[i].logit)-want) > 2e-5*max(1, math.Abs(want)) {
				t.Errorf("case %d: token %d has logit %v, want %v", c.Seed, ids[i], got[i].logit, want)
			}
		}
	}
	t.Logf("%d cases", len(cases))
}

// TestBeamsLikeTransformers compares with generate(num_beams=…) on a model whose
// logits depend on the last token and its position.
func TestBeamsLikeTransformers(t *testing.T) {
	var cases []struct {
		Seed      uint64
		Vocab     int
		Stops     []int32
		Beams     int
		Penalty   float64 `json:"length_penalty"`
		Early     EarlyStopping
		Sequences [][]int32
		Scores    []float64
	}
	readJSON(t, "testdata/beams.json", &cases)
	for i, c := range cases {
		next := func(pos int, last int32) []float32 {
			row := goldenLogits(c.Seed*100000+uint64(pos)*100+uint64(last), c.Vocab, 6, false)
			_, norm := LogProbs(nil, row, 0, 0)
			norm = float64(row[0]) - norm
			for j := range row {
				row[j] = float32(float64(row[j]) - norm)
			}
			return row
		}
		b, err := NewBeamSearch(BeamParams{Beams: c.Beams, LengthPenalty: c.Penalty, EarlyStopping: c.Early, MaxNewTokens: 8, StopIDs: c.Stops})
		if err != nil {
			t.Fatal(err)
		}
		for !b.Done() {
			var rows [][]float32
			for _, h := range b.Running() {
				last := int32(1)
				if n := len(h.Tokens); n > 0 {
					last = h.Tokens[n-1]
				}
				rows = append(rows, next(len(h.Tokens), last))
			}
			if err := b.Step(rows); err != nil {
				t.Fatal(err)
			}
		}
		var got [][]int32
		for k, h := range b.Finished() {
			got = append(got, h.Tokens)
			if k < len(c.Scores) && math.Abs(float64(h.Score)-c.Scores[k]) > 1e-4*max(1, math.Abs(c.Scores[k])) {
				t.Errorf("case %d: score %d is %v, want %v", i, k, h.Score, c.Scores[k])
			}
		}
		if diff := cmp.Diff(c.Sequences, got); diff != "" {
			t.Errorf("case %d (beams %d, penalty %v, early %d) (-want +got):\n%s", i, c.Beams, c.Penalty, c.Early, diff)
		}
	}
	t.Logf("%d cases", len(cases))
}

func TestGreedyAndSeeds(t *testing.T) {
	logits := func() []float32 { return goldenLogits(3, 500, 8, false) }
	greedy, _ := New(Params{}, 500)
	id, err := greedy.Sample(logits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if best, _ := argmax(logits()); id != best {
		t.Errorf("greedy took %d, want %d", id, best)
	}
	draw := func(seed uint64, p Params) []int32 {
		p.Seed = seed
		s, err := New(p, 500)
		if err != nil {
			t.Fatal(err)
		}
		var out []int32
		for range 40 {
			id, err := s.Sample(logits(), nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Accept(id)
			out = append(out, id)
		}
		return out
	}
	for _, p := range []Params{{Temperature: 1}, {Temperature: 1, TopP: 0.9}, {Temperature: 1, TopK: 20, Order: OrderHF}, {Temperature: 1, MirostatTau: 3}} {
		a, b, c := draw(7, p), draw(7, p), draw(8, p)
		if !slices.Equal(a, b) {
			t.Errorf("%+v: one seed, two answers", p)
		}
		if slices.Equal(a, c) {
			t.Errorf("%+v: two seeds, one answer", p)
		}
	}
}

// TestRNG pins the numbers, which are part of what a seed means. The state
// after seeding with 0 is splitmix64's published sequence.
func TestRNG(t *testing.T) {
	r := NewRNG(0)
	if want := [4]uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f, 0xf88bb8a8724c81ec}; r.s != want {
		t.Errorf("state %x, want %x", r.s, want)
	}
	if a, b := r.Uint64(), uint64(0x53175d61490b23df); a != b {
		t.Errorf("first number %x, want %x", a, b)
	}
}

// TestDistribution draws often enough to see wrong probabilities.
func TestDistribution(t *testing.T) {
	base := []float32{0, 1, 2, negInf, -1}
	for _, tc := range []struct {
		name string
		p    Params
		want []float64 // unnormalized
	}{
		{"dense", Params{Temperature: 1}, []float64{1, math.E, math.E * math.E, 0, 1 / math.E}},
		{"temperature", Params{Temperature: 0.5}, []float64{1, math.Exp(2), math.Exp(4), 0, math.Exp(-2)}},
		{"top-k", Params{Temperature: 1, TopK: 2}, []float64{0, math.E, math.E * math.E, 0, 0}},
		{"leo: filters before temperature", Params{Temperature: 2, MinP: 0.3}, []float64{0, math.Exp(0.5), math.E, 0, 0}},
		{"hf: filters after temperature", Params{Temperature: 2, MinP: 0.3, Order: OrderHF}, []float64{1, math.Exp(0.5), math.E, 0, 0}},
		{"vocab", Params{Temperature: 1, Vocab: 2}, []float64{1, math.E, 0, 0, 0}},
	} {
		s, err := New(tc.p, len(base))
		if err != nil {
			t.Fatal(err)
		}
		const n = 40000
		hits := make([]float64, len(base))
		logits := make([]float32, len(base))
		for range n {
			copy(logits, base)
			id, err := s.Sample(logits, nil)
			if err != nil {
				t.Fatal(err)
			}
			hits[id]++
		}
		sum := 0.0
		for _, w := range tc.want {
			sum += w
		}
		for i, w := range tc.want {
			if p := w / sum; math.Abs(hits[i]/n-p) > 4*math.Sqrt(p*(1-p)/n) {
				t.Errorf("%s: token %d came in %.4f of draws, want %.4f", tc.name, i, hits[i]/n, p)
			}
		}
	}
}

// TestTopKAgainstSort covers the buffer's compactions and ties.
func TestTopKAgainstSort(t *testing.T) {
	for seed := range uint64(200) {
		v := 1 + int(unit(seed, 1)*3000)
		k := 1 + int(unit(seed, 2)*80)
		logits := goldenLogits(seed, v, 8, seed%3 == 0)
		if seed%5 == 0 {
			slices.Sort(logits) // the worst case for a rising threshold
		}
		for i := range logits {
			if seed%7 == 0 && i%3 == 0 {
				logits[i] = negInf
			}
		}
		s, _ := New(Params{Temperature: 1, TopK: k}, v)
		d := draw{s: s, logits: logits, scale: 1}
		d.topK()
		d.gather()
		var all []cand
		for i, x := range logits {
			if x > negInf {
				all = append(all, cand{x, int32(i)})
			}
		}
		slices.SortFunc(all, descending)
		if k < v && k < len(all) {
			all = all[:withTies(all, k)]
		}
		d.sort()
		if !slices.Equal(s.c, all) {
			t.Fatalf("seed %d, vocabulary %d, k %d: kept %d, want %d", seed, v, k, len(s.c), len(all))
		}
	}
}

func TestPenalties(t *testing.T) {
	p := Params{RepetitionPenalty: 2, PresencePenalty: 0.5, FrequencyPenalty: 0.25, PenaltyWindow: 3}
	s, err := New(p, 5)
	if err != nil {
		t.Fatal(err)
	}
	s.Prompt([]int32{0, 1})
	s.Accept(2)
	s.Accept(2) // window: 1 2 2
	got := []float32{1, 1, 1, 1, -1}
	s.adjust(got)
	if want := []float32{1, 0.5, -0.5, 1, -1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.Prompt([]int32{4})
	got = []float32{1, 1, 1, 1, -1}
	s.adjust(got)
	if want := []float32{1, 1, 1, 1, -2}; !slices.Equal(got, want) {
		t.Errorf("after a new prompt: got %v, want %v", got, want)
	}
}

func TestDRY(t *testing.T) {
	for _, tc := range []struct {
		history  []int32
		breakers []int32
		want     map[int32]float64
	}{
		// … 1 2 3 4 … 1 2 3: going on with 4 extends a match of three.
		{[]int32{1, 2, 3, 4, 0, 1, 2, 3}, nil, map[int32]float64{4: 0.8 * 1.75}},
		{[]int32{1, 2, 3, 4, 0, 1, 2, 3}, []int32{2}, nil},
		{[]int32{1, 2, 3, 4, 0, 1, 2, 3}, []int32{1}, map[int32]float64{4: 0.8}},
		{[]int32{7, 3, 5, 3}, nil, nil}, // one token is shorter than allowed
		{[]int32{6, 6, 6, 6}, nil, map[int32]float64{6: 0.8 * 1.75}},
	} {
		s, err := New(Params{DRY: DRY{Multiplier: 0.8, Breakers: tc.breakers}}, 8)
		if err != nil {
			t.Fatal(err)
		}
		s.Prompt(tc.history)
		got := make([]float32, 8)
		s.adjust(got)
		for id := range got {
			if math.Abs(float64(got[id])+tc.want[int32(id)]) > 1e-6 {
				t.Errorf("%v breakers %v: token %d changed by %v, want %v", tc.history, tc.breakers, id, got[id], -tc.want[int32(id)])
			}
		}
	}
}

// TestMirostat checks that the mean surprise approaches the target. The
// surprise of a draw is read off the step that the bound makes.
func TestMirostat(t *testing.T) {
	for _, tau := range []float64{1, 2} {
		s, err := New(Params{Temperature: 1, MirostatTau: tau, MirostatEta: 0.1}, 60)
		if err != nil {
			t.Fatal(err)
		}
		base := goldenLogits(5, 60, 15, false)
		logits := make([]float32, len(base))
		const n = 4000
		for i := range n {
			copy(logits, base)
			id, err := s.Sample(logits, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Accept(id)
			if s.mu < 0 || s.mu > 12 {
				t.Fatalf("tau %v: the bound runs away to %v bits at step %d", tau, s.mu, i)
			}
		}
		if got := tau + (2*tau-s.mu)/(0.1*n); math.Abs(got-tau) > 0.05 {
			t.Errorf("mean surprise %.2f bits, target %v", got, tau)
		}
	}
}

func TestMaskForcedAndNoToken(t *testing.T) {
	s, _ := New(Params{Temperature: 1, Forced: []int32{3}, Banned: []int32{0}}, 100)
	logits := func() []float32 { return make([]float32, 100) }
	if id, err := s.Sample(logits(), nil); id != 3 || err != nil {
		t.Errorf("forced token: %d, %v", id, err)
	}
	if _, err := s.Sample(logits(), []uint64{1, 0}); err == nil {
		t.Error("no error for a forced token outside the mask")
	}
	s.Accept(3)
	for range 20 {
		if id, err := s.Sample(logits(), []uint64{1 | 1<<9, 1 << 6}); err != nil || id != 9 && id != 70 {
			t.Fatalf("masked draw: %d, %v", id, err)
		}
	}
	if _, err := s.Sample(logits(), []uint64{1}); !errors.Is(err, ErrNoToken) {
		t.Errorf("error %v, want ErrNoToken", err)
	}
	for _, p := range []Params{{}, {Temperature: 1}, {Temperature: 1, TopK: 5}, {Temperature: 1, TopP: 0.5}, {Temperature: 1, MinP: 0.5}, {Temperature: 1, TypicalP: 0.5}, {Temperature: 1, MirostatTau: 2}} {
		s, _ := New(p, 100)
		for _, v := range []float32{negInf} {
			l := logits()
			for i := range l {
				l[i] = v
			}
			if _, err := s.Sample(l, nil); !errors.Is(err, ErrNoToken) {
				t.Errorf("%+v on %v: error %v, want ErrNoToken", p, v, err)
			}
			l[42] = 1
			if id, err := s.Sample(l, nil); id != 42 || err != nil {
				t.Errorf("%+v on one token among %v: %d, %v", p, v, id, err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, p := range []Params{
		{Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)}, {TopP: 1.5}, {MinP: -0.1}, {TopK: -1},
		{RepetitionPenalty: -1}, {MirostatTau: 5}, {Order: 9}, {Banned: []int32{500}}, {Forced: []int32{-1}},
		{LogitBias: map[int32]float32{500: 1}}, {LogitBias: map[int32]float32{1: float32(math.NaN())}}, {DRY: DRY{Base: 0.5}},
	} {
		if _, err := New(p, 100); err == nil {
			t.Errorf("no error for %+v", p)
		}
	}
	for _, name := range []string{"hf", "leolm", "leo", "greedy"} {
		p, err := FindPreset(name)
		if err != nil {
			t.Error(err)
		}
		if err := p.Check(); err != nil {
			t.Errorf("preset %s: %v", name, err)
		}
	}
	if _, err := FindPreset("x"); err == nil {
		t.Error("no error for an unknown preset")
	}
}

func TestLogProbs(t *testing.T) {
	logits := goldenLogits(9, 1000, 16, true)
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v))
	}
	top, lp := LogProbs(nil, logits, 17, 5)
	if want := float64(logits[17]) - math.Log(sum); math.Abs(lp-want) > 1e-6 {
		t.Errorf("chosen %v, want %v", lp, want)
	}
	order := make([]int32, len(logits))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		switch {
		case logits[a] > logits[b]:
			return -1
		case logits[a] < logits[b]:
			return 1
		}
		return 0
	})
	for i, x := range top {
		if x.ID != order[i] || math.Abs(x.LogProb-(float64(logits[x.ID])-math.Log(sum))) > 1e-6 {
			t.Errorf("top %d is %+v, want token %d", i, x, order[i])
		}
	}
	if top, lp := LogProbs(nil, []float32{negInf, float32(math.NaN())}, 0, 3); len(top) != 0 || !math.IsInf(lp, -1) {
		t.Errorf("of nothing: %v, %v", top, lp)
	}
}

func TestExpf(t *testing.T) {
	for x := float32(0); x > -86; x -= 0.0137 {
		want := math.Exp(float64(x))
		if got := float64(expf(x)); math.Abs(got-want) > 2e-7*want {
			t.Fatalf("expf(%v) = %v, want %v", x, got, want)
		}
	}
	if expf(0) != 1 || expf(-200) != 0 || expf(negInf) != 0 || expf(float32(math.NaN())) != 0 {
		t.Error("expf at its ends")
	}
}

func TestStopMatcher(t *testing.T) {
	for _, tc := range []struct {
		stops      []string
		text, want string
		matched    string
	}{
		{[]string{"<|im_end|>"}, "Hallo<|im_end|>\n", "Hallo", "<|im_end|>"},
		{[]string{"<|im_end|>"}, "a <|im_en b", "a <|im_en b", ""},
		{[]string{"<|im_end|>"}, "a <|im_en", "a <|im_en", ""},
		{[]string{"abcd", "bc"}, "xabcd", "xa", "bc"},
		{[]string{"bc", "abc"}, "xabc", "x", "abc"},
		{[]string{"aab"}, "aaaab!", "aa", "aab"},
		{[]string{"\n\n"}, "eins\nzwei\n\ndrei", "eins\nzwei", "\n\n"},
		{[]string{"ß"}, "Straße", "Stra", "ß"},
		{[]string{""}, "nichts", "nichts", ""},
		{nil, "nichts", "nichts", ""},
	} {
		// Every way of cutting the text into pieces of equal length.
		for n := 1; n <= len(tc.text); n++ {
			m := NewStopMatcher(tc.stops)
			var b strings.Builder
			stopped := false
			for at := 0; at < len(tc.text); at += n {
				emit, stop := m.Push(tc.text[at:min(at+n, len(tc.text))])
				b.WriteString(emit)
				stopped = stop
			}
			b.WriteString(m.Flush())
			if b.String() != tc.want || m.Matched() != tc.matched || stopped != (tc.matched != "") {
				t.Errorf("%q on %q by %d: %q, matched %q, stopped %v", tc.stops, tc.text, n, b.String(), m.Matched(), stopped)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	base := goldenLogits(1, 32000, 16, false)
	logits := make([]float32, len(base))
	for name, p := range benchParams {
		s, err := New(p, len(base))
		if err != nil {
			t.Fatal(err)
		}
		s.history = make([]int32, 0, 10000)
		lp := make([]LogProb, 0, 8)
		step := func() {
			copy(logits, base)
			lp, _ = LogProbs(lp[:0], logits, 3, 5)
			id, err := s.Sample(logits, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Accept(id)
		}
		step()
		if n := testing.AllocsPerRun(20, step); n != 0 {
			t.Errorf("%s: %v allocations per token", name, n)
		}
	}
}

var benchParams = map[string]Params{
	"greedy":   {},
	"leo":      {Temperature: 0.7, TopK: 40, TopP: 0.95, MinP: 0.05},
	"hf":       {Temperature: 1, TopK: 50, TopP: 0.95, Order: OrderHF},
	"leolm":    {Temperature: 0.9, TopK: 40, TopP: 0.95, RepetitionPenalty: 1.1, Order: OrderHF},
	"top-p":    {Temperature: 1, TopP: 0.95},
	"typical":  {Temperature: 1, TypicalP: 0.95},
	"mirostat": {Temperature: 1, MirostatTau: 5},
	"dry":      {Temperature: 1, MinP: 0.05, DRY: DRY{Multiplier: 0.8}},
	"plain":    {Temperature: 1},
}

func BenchmarkSample(b *testing.B) {
	for _, v := range []int{32000, 128256} {
		// A bell and a few dozen tokens far above it, as models give.
		base := make([]float32, v)
		for i := range base {
			x := 0.0
			for k := range uint64(4) {
				x += unit(uint64(k)+77, uint64(i)) - 0.5
			}
			base[i] = float32(x * 5)
			if i%997 == 0 {
				base[i] += 16
			}
		}
		logits := make([]float32, v)
		for _, name := range []string{"greedy", "leo", "hf", "leolm", "top-p", "typical", "mirostat", "dry", "plain"} {
			s, err := New(benchParams[name], v)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"/"+map[int]string{32000: "32k", 128256: "128k"}[v], func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					copy(logits, base)
					id, err := s.Sample(logits, nil)
					if err != nil {
						b.Fatal(err)
					}
					if s.Generated() > 1000 {
						s.Prompt(nil)
					}
					s.Accept(id)
				}
			})
		}
		b.Run("logprobs/"+map[int]string{32000: "32k", 128256: "128k"}[v], func(b *testing.B) {
			lp := make([]LogProb, 0, 8)
			for range b.N {
				lp, _ = LogProbs(lp[:0], base, 3, 5)
			}
		})
	}
}

// TestLogitsThatAreNone: every way of choosing reports NaN and infinity as such;
// they are neither skipped nor mistaken for a ban.
func TestLogitsThatAreNone(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, p := range []Params{{}, {Temperature: 1}, {Temperature: 1, TopK: 5}, {Temperature: 1, TopP: 0.5}, {Temperature: 1, MirostatTau: 2}, {Forced: []int32{3}}} {
		for _, tc := range []struct {
			fill, at float32
			want     LogitsError
			text     string
		}{
			{nan, nan, LogitsError{NaN: 100, Rows: 100}, "100 of 100 logits are NaN"},
			{0, nan, LogitsError{NaN: 1, Rows: 100, First: 42}, "1 of 100 logits are NaN, the first of token 42"},
			{0, inf, LogitsError{Inf: 1, Rows: 100, First: 42}, "infinite"},
			{negInf, nan, LogitsError{NaN: 1, Rows: 100, First: 42}, "NaN"},
		} {
			s, err := New(p, 100)
			if err != nil {
				t.Fatal(err)
			}
			l := make([]float32, 100)
			for i := range l {
				l[i] = tc.fill
			}
			l[42] = tc.at
			_, err = s.Sample(l, nil)
			var got *LogitsError
			if !errors.As(err, &got) || *got != tc.want || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%+v: error %v, want %+v", p, err, tc.want)
			}
		}
	}
	if err := CheckLogits([]float32{negInf, 1, -2}); err != nil {
		t.Error(err)
	}
}
