package qmat

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"leolm/internal/kernel/cpu"
	"leolm/internal/pool"
	"leolm/tensor"
)

// Chunks in any order on any number of workers give the bits of one call.
func TestChunksAndThreads(t *testing.T) {
	saved := active
	defer func() { active = saved }()
	levels := append([]namedLevel{{"active", cpu.Active, active}}, otherMakers...)
	for _, l := range levels {
		active = l.level
		t.Run(l.name, chunksAndThreads)
	}
}

func chunksAndThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, s := range []struct{ m, n, k int }{{1, 700, 256}, {5, 33, 64}, {100, 130, 512}, {600, 20, 2048}} {
		x := activations(rng, s.m, s.k)
		var a Acts
		a.Quantize(x, s.m, s.k)
		var want [][]float32
		var ps Products
		for _, d := range []tensor.DType{tensor.Q4_0, tensor.Q8_0, tensor.Q4_1} {
			w := pack(t, d, randomWeights(rng, d, s.n, s.k, false), s.k)
			want = append(want, product(w, x, s.m))
			ps.List = append(ps.List, &Product{Dst: make([]float32, s.m*s.n), LDD: s.n, W: w, A: &a})
		}
		for _, workers := range []int{1, 2, 5} {
			p := pool.New(workers)
			for i, q := range ps.List {
				clear(q.Dst)
				p.Do(q.Chunks(workers), q)
				same(t, fmt.Sprint(s, workers, " workers"), q.Dst, want[i])
				clear(q.Dst)
			}
			p.Do(ps.Chunks(workers), &ps)
			for i, q := range ps.List {
				same(t, fmt.Sprint(s, workers, " together"), q.Dst, want[i])
				clear(q.Dst)
			}
			for _, c := range rng.Perm(ps.Chunks(workers)) {
				ps.Do(0, c)
			}
			for i, q := range ps.List {
				same(t, fmt.Sprint(s, workers, " shuffled"), q.Dst, want[i])
			}
			p.Close()
		}
	}
}

func TestNoAllocation(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	p := pool.New(2)
	defer p.Close()
	w := pack(t, tensor.Q4_0, randomWeights(rng, tensor.Q4_0, 256, 256, false), 256)
	var a Acts
	x := activations(rng, 7, 256)
	a.Quantize(x, 7, 256)
	ps := &Products{List: []*Product{{Dst: make([]float32, 7*256), LDD: 256, W: w, A: &a}}}
	ps.Chunks(2)
	if n := testing.AllocsPerRun(100, func() {
		a.Quantize(x, 7, 256)
		p.Do(ps.Chunks(2), ps)
	}); n != 0 {
		t.Errorf("%v allocations per product", n)
	}
}

func TestEmptyProducts(t *testing.T) {
	for _, s := range []struct{ m, n, k int }{{0, 16, 32}, {2, 0, 32}, {2, 3, 0}} {
		size, err := PackedSize(tensor.Q4_0, s.n, s.k)
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewPacked(tensor.Q4_0, s.n, s.k, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		var a Acts
		a.Quantize(make([]float32, s.m*s.k), s.m, s.k)
		p := Product{Dst: []float32{1, 2, 3, 4, 5, 6}[:s.m*s.n], LDD: s.n, W: w, A: &a}
		for c := range p.Chunks(2) {
			p.Do(0, c)
		}
		same(t, fmt.Sprint(s), p.Dst, make([]float32, s.m*s.n))
	}
}
