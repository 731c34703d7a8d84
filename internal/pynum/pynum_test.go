package pynum

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
)

// packed is a list of integers as golden.py stores it: whole when short, else
// its ends and a checksum.
type packed struct {
	N               int
	All, Head, Tail []int
	Sum             uint64
}

func (p packed) check(t *testing.T, what string, got []int) {
	t.Helper()
	if len(got) != p.N {
		t.Errorf("%s: %d entries, want %d", what, len(got), p.N)
		return
	}
	if p.N <= 40 {
		if !slices.Equal(got, p.All) {
			t.Errorf("%s: got %v, want %v", what, got, p.All)
		}
		return
	}
	const prime = 1<<61 - 1
	var sum uint64
	for i, v := range got {
		sum = (sum + uint64(i+1)*uint64(v)) % prime
	}
	if !slices.Equal(got[:8], p.Head) || !slices.Equal(got[p.N-8:], p.Tail) || sum != p.Sum {
		t.Errorf("%s: got %v … %v sum %d, want %v … %v sum %d", what, got[:8], got[p.N-8:], sum, p.Head, p.Tail, p.Sum)
	}
}

type golden struct {
	Random []struct {
		Seed    json.Number
		N       int
		Floats  []string
		Shuffle packed
		Samples []struct {
			K   int
			Got packed
		}
		Below []int
	}
	Numpy []struct {
		Seed                                          uint32
		N                                             int
		Floats                                        []string
		Perm, Shuffle, List, Choice, Randint, Replace packed
	}
	Split []struct {
		N           int
		Share       float64
		Seed        uint32
		Train, Test packed
		Error       bool
	}
	SplitN []struct {
		N           int
		TestN       int `json:"test_n"`
		Train, Test packed
		Error       bool
	}
	Repr    []struct{ Bits, Repr string }
	Percent []struct {
		A, B float64
		Got  string
	}
	Mean []struct {
		Xs   []string
		Mean string
	}
}

func load(t *testing.T) *golden {
	t.Helper()
	f, err := os.Open("testdata/golden.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	g := new(golden)
	if err := json.NewDecoder(z).Decode(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func hexFloat(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func identity(n int) []int {
	xs := make([]int, n)
	for i := range xs {
		xs[i] = i
	}
	return xs
}

func TestRandomEqualsCPython(t *testing.T) {
	for _, c := range load(t).Random {
		seed, err := c.Seed.Int64()
		if err != nil {
			t.Fatal(err)
		}
		what := "seed " + c.Seed.String() + " n " + strconv.Itoa(c.N)
		r := NewRandom(seed)
		for i, want := range c.Floats {
			if got := r.Float64(); got != hexFloat(t, want) {
				t.Errorf("%s: random() %d = %v, want %s", what, i, got, want)
			}
		}
		xs := identity(c.N)
		r.Shuffle(len(xs), func(i, j int) { xs[i], xs[j] = xs[j], xs[i] })
		c.Shuffle.check(t, what+" shuffle", xs)
		for _, s := range c.Samples {
			s.Got.check(t, what+" sample "+strconv.Itoa(s.K), r.Sample(c.N, s.K))
		}
		for i, want := range c.Below {
			if got := r.Below(c.N); got != want {
				t.Errorf("%s: randrange %d = %d, want %d", what, i, got, want)
			}
		}
	}
}

func TestRandomStateEqualsNumPy(t *testing.T) {
	for _, c := range load(t).Numpy {
		what := "seed " + strconv.Itoa(int(c.Seed)) + " n " + strconv.Itoa(c.N)
		r := NewRandomState(c.Seed)
		for i, want := range c.Floats {
			if got := r.Float64(); got != hexFloat(t, want) {
				t.Errorf("%s: random_sample() %d = %v, want %s", what, i, got, want)
			}
		}
		c.Perm.check(t, what+" permutation", r.Permutation(c.N))
		arr := identity(c.N)
		r.Shuffle(len(arr), func(i, j int) { arr[i], arr[j] = arr[j], arr[i] })
		c.Shuffle.check(t, what+" shuffle array", arr)
		xs := identity(c.N)
		r.Shuffle(len(xs), func(i, j int) { xs[i], xs[j] = xs[j], xs[i] })
		c.List.check(t, what+" shuffle list", xs)
		c.Choice.check(t, what+" choice", r.Choice(c.N, c.N/3))
		c.Randint.check(t, what+" randint", r.RandInt(c.N, 17))
		c.Replace.check(t, what+" choice with replacement", r.RandInt(c.N, 9))
	}
}

func TestSplitEqualsScikitLearn(t *testing.T) {
	g := load(t)
	for _, c := range g.Split {
		what := "n " + strconv.Itoa(c.N) + " share " + strconv.FormatFloat(c.Share, 'g', -1, 64)
		train, test, err := TrainTestSplit(c.N, c.Share, c.Seed)
		if (err != nil) != c.Error {
			t.Errorf("%s: error %v, scikit-learn failed: %v", what, err, c.Error)
		} else if err == nil {
			c.Train.check(t, what+" train", train)
			c.Test.check(t, what+" test", test)
		}
	}
	for _, c := range g.SplitN {
		what := "n " + strconv.Itoa(c.N) + " test " + strconv.Itoa(c.TestN)
		train, test, err := TrainTestSplitN(c.N, c.TestN, 666)
		if (err != nil) != c.Error {
			t.Errorf("%s: error %v, scikit-learn failed: %v", what, err, c.Error)
		} else if err == nil {
			c.Train.check(t, what+" train", train)
			c.Test.check(t, what+" test", test)
		}
	}
	for _, share := range []float64{0, 1, -0.1, 2, math.NaN(), math.Inf(1)} {
		if _, _, err := TrainTestSplit(10, share, 666); err == nil {
			t.Errorf("share %v: no error", share)
		}
	}
}

func TestCardTrainRows(t *testing.T) {
	// Rows of the six LeoLM datasets and the training rows their card prints.
	for _, c := range []struct {
		rows  int
		share float64
		want  int
	}{{3721, .05, 3534}, {59022, .02, 57841}, {49969, .02, 48969}, {21749, .02, 21314}, {500, .02, 490}, {400, .02, 392}} {
		train, _, err := TrainTestSplit(c.rows, c.share, 666)
		if err != nil || len(train) != c.want {
			t.Errorf("%d rows: %d for training (%v), want %d", c.rows, len(train), err, c.want)
		}
	}
}

func TestNumbersPrintAsInPython(t *testing.T) {
	g := load(t)
	for _, c := range g.Repr {
		bits, err := strconv.ParseUint(c.Bits, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := FloatRepr(math.Float64frombits(bits)); got != c.Repr {
			t.Errorf("repr: got %s, want %s", got, c.Repr)
		}
	}
	for _, c := range g.Percent {
		if got := Percent(c.A / c.B); got != c.Got {
			t.Errorf("%v/%v: got %s, want %s", c.A, c.B, got, c.Got)
		}
	}
	for _, c := range g.Mean {
		xs := make([]Number, len(c.Xs))
		for i, s := range c.Xs {
			xs[i] = Float(hexFloat(t, s))
		}
		if got, err := MeanOf(xs); err != nil || got.Float64() != hexFloat(t, c.Mean) {
			t.Errorf("mean %v: got %v, want %s (%v)", xs, got, c.Mean, err)
		}
	}
	if _, err := MeanOf(nil); err == nil {
		t.Error("there is a mean of nothing")
	}
	if got, err := MeanOf([]Number{Float(1), Float(math.Inf(1))}); err != nil || !math.IsInf(got.Float64(), 1) {
		t.Errorf("mean of infinity: %v, %v", got, err)
	}
}

func BenchmarkPermutation(b *testing.B) {
	for b.Loop() {
		NewRandomState(666).Permutation(59022)
	}
}
