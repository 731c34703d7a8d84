package main

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestSameSeedSameLoad(t *testing.T) {
	words := []int32{5, 6, 7, 8, 9}
	load := func(seed uint64) []request { return newGenerator(seed, words).poisson(20, 3, 10, 20, 4) }
	if a, b := load(1), load(1); !reflect.DeepEqual(a, b) {
		t.Errorf("two loads of one seed: %v and %v", a, b)
	}
	if a, b := load(1), load(2); reflect.DeepEqual(a, b) {
		t.Errorf("two seeds have one load: %v", a)
	}
	for _, r := range load(1) {
		if len(r.prompt) < 10 || len(r.prompt) > 20 || r.tokens != 4 {
			t.Errorf("a prompt of %d tokens and an answer of %d", len(r.prompt), r.tokens)
		}
		for _, id := range r.prompt {
			if id < 5 || id > 9 {
				t.Errorf("id %d is none of the words", id)
			}
		}
	}
}

// Exponential pauses have a standard deviation as large as their mean; those of a fixed beat have none.
func TestArrivalsAreIndependent(t *testing.T) {
	const n, rate = 4000, 8.0
	list := newGenerator(7, []int32{1, 2}).poisson(n, rate, 1, 1, 1)
	if list[0].at != 0 {
		t.Errorf("the first arrives at %v", list[0].at)
	}
	var sum, squares float64
	for i := 1; i < n; i++ {
		pause := (list[i].at - list[i-1].at).Seconds()
		if pause < 0 {
			t.Fatalf("request %d arrives before its predecessor", i)
		}
		sum += pause
		squares += pause * pause
	}
	mean := sum / (n - 1)
	deviation := math.Sqrt(squares/(n-1) - mean*mean)
	if math.Abs(mean*rate-1) > 0.01 || math.Abs(deviation*rate-1) > 0.05 {
		t.Errorf("pauses of %.4f ± %.4f s at %v per second", mean, deviation, rate)
	}
}

func TestPercentile(t *testing.T) {
	v := []float64{4, 1, 3, 2, 5}
	for _, c := range []struct{ p, want float64 }{{0, 1}, {0.5, 3}, {1, 5}, {0.25, 2}, {0.95, 4.8}} {
		if got := percentile(v, c.p); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("percentile %v of %v: %v, want %v", c.p, v, got, c.want)
		}
	}
	if got := median([]float64{1, 2}); got != 1.5 {
		t.Errorf("median of two: %v", got)
	}
	if got := percentile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
	if v[0] != 4 {
		t.Error("percentile sorted its argument")
	}
}

// seconds returns moments after an epoch.
func seconds(list ...float64) []time.Time {
	var at []time.Time
	for _, s := range list {
		at = append(at, time.Unix(1000, 0).Add(time.Duration(s*1e9)))
	}
	return at
}

func TestThroughput(t *testing.T) {
	at := seconds(0, 1, 2, 3, 4, 5, 6, 7, 8)
	answers := []*answer{
		{due: at[0], chunks: at[1:5], end: at[5], tokens: 4, prompt: 10},
		{due: at[1], chunks: at[3:8], end: at[8], tokens: 5, prompt: 20},
	}
	v := throughput(answers)
	want := sample{"tokens_per_second": 9.0 / 8, "requests_per_second": 2.0 / 8, "prompt_tokens": 30, "chunks_per_token": 1,
		"writing_tokens_per_second": 2, "first_token_median": 1.5, "first_token_p95": 1.95, "gap_median": 1, "gap_p99": 1}
	for name, w := range want {
		if math.Abs(v[name]-w) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, v[name], w)
		}
	}
	apart := []*answer{{chunks: at[:2], end: at[2]}, {chunks: at[5:7], end: at[7]}}
	if got := steady(apart); got != 0 {
		t.Errorf("answers that never ran together: %v tokens/s", got)
	}
}

func TestPauses(t *testing.T) {
	var one, other []float64
	for i := range 41 {
		one = append(one, float64(i)) // a token a second until 40
		other = append(other, float64(i))
	}
	one = append(one, 44, 46, 50)  // pauses of 4, 2 and 4: the last one begins after the long prompt's answer
	other = append(other, 41, 100) // and one of 59, which contains it
	v := pauses([][]time.Time{seconds(one...), seconds(other...)}, seconds(40)[0], seconds(46)[0], seconds(50)[0])
	if v["gap_before"] != 1 || v["gap_after"] != 1 || v["largest_gap"] != 59 || v["largest_gap_over_usual"] != 59 || v["long_first_token"] != 6 {
		t.Errorf("%v", v)
	}
	// Pauses of 4, where 1 and then 2 were usual: behind the prompt they are 3.
	grown := pauses([][]time.Time{seconds(append(one[:41:41], 44, 48, 52, 55, 58, 61)...)}, seconds(40)[0], seconds(46)[0], seconds(50)[0])
	if grown["gap_after"] != 3 || grown["largest_gap_over_usual"] != 4 || grown["median_gap_over_usual"] != 3 {
		t.Errorf("%v", grown)
	}
	silent := pauses([][]time.Time{seconds(other[:41]...)}, seconds(40)[0], seconds(52)[0], seconds(52)[0])
	if silent["largest_gap"] != 12 {
		t.Errorf("a stream that fell silent: %v", silent)
	}
}

func TestOthers(t *testing.T) {
	from := ticks{all: 1000, ours: 400, since: seconds(0)[0]}
	if got := others(from, ticks{all: 1400, ours: 700, since: seconds(2)[0]}); got != 0.5 {
		t.Errorf("100 of 400 ticks in two seconds are others': %v processors", got)
	}
	if got := others(from, ticks{all: 1400, ours: 802, since: seconds(2)[0]}); got != 0 {
		t.Errorf("rounding: %v", got)
	}
}
