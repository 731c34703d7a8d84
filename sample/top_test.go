package sample

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTopDecides: where the largest logits are enough, they give the tokens that all logits give, ties included.
func TestTopDecides(t *testing.T) {
	const vocab, steps = 300, 200
	for _, p := range []Params{
		{}, {Temperature: 0.8, TopK: 1}, {Temperature: 0.7, TopK: 40, TopP: 0.95, MinP: 0.05}, {Temperature: 1, TopK: 50, TopP: 0.95, Order: OrderHF},
		{Temperature: 1.5, TopK: 20, TypicalP: 0.7}, {Temperature: 1.5, TopK: 20, TypicalP: 0.7, MinP: 0.2, Order: OrderHF},
	} {
		p.Seed = 5
		a, err := New(p, vocab)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := New(p, vocab)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range steps {
			logits, ids := make([]float32, vocab), make([]int32, vocab)
			for j := range logits {
				logits[j], ids[j] = float32(rng.NormFloat64()*3), int32(j)
				if i%3 == 0 {
					logits[j] = float32(rng.IntN(9)) // many are equal
				}
			}
			slices.SortFunc(ids, func(x, y int32) int { return cmp.Or(cmp.Compare(logits[y], logits[x]), cmp.Compare(x, y)) })
			k := b.Enough()
			if k == 0 {
				t.Fatalf("%+v needs all logits", p)
			}
			for k < vocab && logits[ids[k-1]] == logits[ids[k]] {
				k++
			}
			var top []float32
			for _, id := range ids[:k] {
				top = append(top, logits[id])
			}
			got, gotErr := b.SampleTop(ids[:k], top)
			want, wantErr := a.Sample(logits, nil)
			if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("%+v, step %d: token %d, %v, want %d, %v", p, i, got, gotErr, want, wantErr)
			}
			a.Accept(want)
			b.Accept(want)
		}
	}
}

// TestEnoughIsNone: what looks at other logits than the largest needs all of them.
func TestEnoughIsNone(t *testing.T) {
	for _, p := range []Params{
		{Temperature: 1}, {Temperature: 1, TopK: 100}, {RepetitionPenalty: 1.1}, {PresencePenalty: 1}, {FrequencyPenalty: 1}, {DRY: DRY{Multiplier: 1}},
		{NoRepeatNGram: 3}, {LogitBias: map[int32]float32{1: 2}}, {Banned: []int32{1}}, {Forced: []int32{1}}, {MinNewTokens: 2},
		{Temperature: 1, TopK: 10, MirostatTau: 3},
	} {
		s, err := New(p, 100)
		if err != nil {
			t.Fatal(err)
		}
		if k := s.Enough(); k != 0 {
			t.Errorf("%+v: %d logits are enough", p, k)
		}
	}
	s, err := New(Params{Forced: []int32{4}, MinNewTokens: 2}, 100)
	if err != nil {
		t.Fatal(err)
	}
	s.Accept(4)
	s.Accept(5)
	if k := s.Enough(); k != 1 {
		t.Errorf("after the forced tokens %d logits are enough, want 1", k)
	}
}
