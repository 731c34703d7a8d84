package compare

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"leolm/catalog"
	"leolm/eval/harness"
	"leolm/open"
	"leolm/tensor"
)

func mini(t *testing.T, o open.Options) *open.Model {
	t.Helper()
	o.Context, o.CacheType = 128, tensor.F32
	m, err := open.Open(t.Context(), "", o)
	if errors.Is(err, catalog.ErrNoModel) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func texts(list ...Text) func() (Text, bool, error) {
	return func() (Text, bool, error) {
		if len(list) == 0 {
			return Text{}, false, nil
		}
		t := list[0]
		list = list[1:]
		return t, true, nil
	}
}

var (
	german  = Text{"a", "Der Mond scheint hell über dem stillen Wald, und die Katze schläft auf der warmen Mauer vor dem alten Haus am Fluss."}
	english = Text{"b", "The moon shines brightly over the quiet forest, and the cat is sleeping on the warm wall in front of the old house."}
)

func TestAModelIsItself(t *testing.T) {
	a, b := mini(t, open.Options{}), mini(t, open.Options{})
	rows, err := Models(t.Context(), a, b, texts(german, english, german), Options{BOS: a.Tokenizer.BOS() >= 0, Window: 16})
	if err != nil {
		t.Fatal(err)
	}
	// Each source, each language, and all.
	if len(rows) != 5 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for _, r := range rows {
		if r.KL != 0 || r.Quantile.Max != 0 || r.Same != 1 || r.PerplexityA != r.PerplexityB || r.Tokens < 10 {
			t.Errorf("%+v", r)
		}
	}
	if rows[0].Language != "de" || rows[0].Documents != 2 || rows[1].Language != "en" || rows[4].Tokens != rows[0].Tokens+rows[1].Tokens {
		t.Errorf("%+v", rows)
	}
	// All tokens are counted once, however windows are cut.
	whole, err := Models(t.Context(), a, b, texts(german, english, german), Options{BOS: a.Tokenizer.BOS() >= 0, Window: 128})
	if err != nil {
		t.Fatal(err)
	}
	if whole[4].Tokens != rows[4].Tokens || whole[4].Bytes != rows[4].Bytes || whole[4].PerplexityA >= rows[4].PerplexityA {
		t.Errorf("windows of 16: %+v, of 128: %+v", rows[4], whole[4])
	}
}

func TestDivergenceIsItsFormula(t *testing.T) {
	a, b := []float32{1, 2, 0.5, -1}, []float32{1.5, 1, 0, -1}
	soft := func(x []float32) []float64 {
		sum, out := 0.0, make([]float64, len(x))
		for i := range x {
			out[i] = math.Exp(float64(x[i]))
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
		return out
	}
	p, q, want := soft(a), soft(b), 0.0
	for i := range p {
		want += p[i] * math.Log(p[i]/q[i])
	}
	kl, lpA, lpB, same := divergence(a, b, 2)
	if math.Abs(kl-want) > 1e-12 || math.Abs(lpA-math.Log(p[2])) > 1e-12 || math.Abs(lpB-math.Log(q[2])) > 1e-12 || same {
		t.Errorf("%v %v %v %v, want %v", kl, lpA, lpB, same, want)
	}
}

func TestOtherVocabulary(t *testing.T) {
	a := mini(t, open.Options{})
	b, err := open.Open(t.Context(), "../germanbench/testdata/model", open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var other *VocabularyError
	if _, err := Models(t.Context(), a, b, texts(german), Options{}); !errors.As(err, &other) {
		t.Error(err)
	}
}

func TestMcNemar(t *testing.T) {
	// Exact binomial values.
	for _, c := range []struct {
		b, c int
		want float64
	}{{0, 0, 1}, {5, 5, 1}, {0, 5, .0625}, {1, 9, 22.0 / 1024}, {10, 2, 2 * 79.0 / 4096}} {
		if got := McNemar(c.b, c.c); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d, %d: %v, want %v", c.b, c.c, got, c.want)
		}
	}
}

func records(n int, right func(i int) float64) []harness.Record {
	var out []harness.Record
	for i := range n {
		out = append(out, harness.Record{Doc: i, Row: string(rune('a' + i%26)), Hash: string(rune('a' + i%26)), Asked: "q", Metrics: map[string]float64{"acc": right(i)}})
	}
	return out
}

// 220 documents: the means are near each other, and yet a paired test tells them apart.
func TestPairsTellMoreThanMeans(t *testing.T) {
	a := records(220, func(i int) float64 {
		if i < 140 {
			return 1
		}
		return 0
	})
	b := records(220, func(i int) float64 {
		if i < 140+15 && i >= 2 {
			return 1
		}
		return 0
	})
	slices.Reverse(b) // order does not matter
	got, err := Results("t", a, b)
	if err != nil {
		t.Fatal(err)
	}
	p := got[0]
	if p.N != 220 || *p.OnlyA != 2 || *p.OnlyB != 15 || *p.P > .005 || p.CI95[0] <= 0 || math.Abs(p.Diff-13.0/220) > 1e-12 {
		t.Errorf("%+v", p)
	}
	b[3].Asked = "otherwise"
	var other *OtherRequestsError
	if _, err := Results("t", a, b); !errors.As(err, &other) {
		t.Errorf("another prompt: %v", err)
	}
	b = records(200, func(i int) float64 { return 1 })
	b[0].Error = "broken"
	if got, err = Results("t", a, b); err != nil || got[0].N != 199 || got[0].MissingB != 21 {
		t.Errorf("%+v, %v", got, err)
	}
	same, err := Results("t", a, a)
	if err != nil || *same[0].P != 1 || same[0].CI95 != [2]float64{} {
		t.Errorf("%+v, %v", same, err)
	}
}

func TestFolders(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	put := func(dir, name string) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := harness.WriteRecords(f, records(9, func(i int) float64 { return float64(i % 2) })); err != nil {
			t.Fatal(err)
		}
	}
	put(a, "x.jsonl")
	put(a, "progress.jsonl")
	put(b, "x.jsonl")
	put(b, "y.jsonl")
	got, alone, err := Folders(a, b)
	if err != nil || len(got) != 1 || got[0].Task != "x" || !slices.Equal(alone, []string{"y"}) {
		t.Errorf("%+v, %v, %v", got, alone, err)
	}
	if !HasRecords(a) || HasRecords("../germanbench/testdata/model") || HasRecords("model.gguf") {
		t.Error("results and models are confused")
	}
	var none *NothingSharedError
	empty := t.TempDir()
	put(empty, "z.jsonl")
	put(empty, "w.jsonl")
	if _, _, err := Folders(a, empty); !errors.As(err, &none) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(b, "x.jsonl"), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	var bad *harness.RecordsError
	if _, _, err := Folders(a, b); !errors.As(err, &bad) {
		t.Error(err)
	}
}
