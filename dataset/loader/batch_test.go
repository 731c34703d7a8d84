package loader

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"leolm/dataset/shard"
)

func TestOrderIsPermutation(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 4, 5, 15, 16, 17, 1000, 4097} {
		for epoch := range 3 {
			o := NewOrder(42, epoch, n)
			seen := make([]bool, n)
			for i := range n {
				v := o.At(i)
				if seen[v] {
					t.Fatalf("n %d epoch %d: %d twice", n, epoch, v)
				}
				seen[v] = true
			}
		}
	}
}

// TestOrderIsFrozen pins the order: a checkpoint must resume to the same
// samples after an update of Leo.
func TestOrderIsFrozen(t *testing.T) {
	got := func(seed uint64, epoch, n int) (out []int) {
		o := NewOrder(seed, epoch, n)
		for i := range min(n, 10) {
			out = append(out, o.At(i))
		}
		return out
	}
	if g := fmt.Sprint(got(42, 0, 10), got(42, 1, 10), got(43, 0, 10), got(1, 0, 132540)); g != frozenOrder {
		t.Errorf("order changed:\n got %s\nwant %s", g, frozenOrder)
	}
}

// TestOrderMixes checks that position says little about the sample: the mean
// distance of neighbors in a random permutation is n/3.
func TestOrderMixes(t *testing.T) {
	const n = 10000
	for epoch := range 4 {
		o := NewOrder(7, epoch, n)
		sum, moved := 0, 0
		for i := 1; i < n; i++ {
			d := o.At(i) - o.At(i-1)
			sum += max(d, -d)
			if o.At(i) != i {
				moved++
			}
		}
		if mean := float64(sum) / (n - 1); mean < n/3*0.95 || mean > n/3*1.05 || moved < n-20 {
			t.Errorf("epoch %d: mean distance %.0f, want about %d; %d of %d moved", epoch, mean, n/3, moved, n)
		}
	}
}

func TestBlendCountsSamples(t *testing.T) {
	a, b := testSet(make([]int, 10)...), testSet(make([]int, 7)...)
	blend, err := NewBlend(1, Part{a, 1}, Part{b, 2.5})
	if err != nil {
		t.Fatal(err)
	}
	counts := [2][10]int{}
	for epoch := range 4 {
		e := blend.epoch(epoch)
		if e.order.Len() != blend.EpochLen(epoch) {
			t.Fatal("epoch length")
		}
		for i := range e.order.Len() {
			r := e.at(i)
			counts[r.Part][r.Index]++
		}
		lo, hi := slices.Min(counts[1][:7]), slices.Max(counts[1][:7])
		if slices.Min(counts[0][:]) != epoch+1 || slices.Max(counts[0][:]) != epoch+1 || hi-lo > 1 {
			t.Errorf("after epoch %d: counts %v", epoch, counts)
		}
	}
	if counts[1] != [10]int{10, 10, 10, 10, 10, 10, 10} {
		t.Errorf("4 epochs at weight 2.5: %v", counts[1])
	}
	for _, bad := range []Part{{a, 0}, {a, -1}, {memSet{}, 1}} {
		if _, err := NewBlend(1, bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	parts, err := Proportions([]shard.Set{a, b}, []float64{3, 1})
	if err != nil || parts[0].Weight != 0.75*17/10 || parts[1].Weight != 0.25*17/7 {
		t.Errorf("proportions: %v %v", parts, err)
	}
	if parts, err = Proportions([]shard.Set{a, b}, []float64{0, 0}); err != nil || parts[0].Weight != 1 || parts[1].Weight != 1 {
		t.Errorf("by size: %v %v", parts, err)
	}
	if _, err = Proportions([]shard.Set{a, b}, []float64{0, 1}); err == nil {
		t.Error("half of the weights given: no error")
	}
}

func TestWindow(t *testing.T) {
	var w Window
	loss := AssistantLoss()
	w.Append(Ref{0, 0}, shard.Sample{IDs: []int32{10, 11, 12, 13}, Roles: []uint8{1, 1, 2, 2}}, &loss, 8)
	w.Append(Ref{0, 1}, shard.Sample{IDs: []int32{20}, Roles: []uint8{2}}, &loss, 5)
	w.Append(Ref{0, 2}, shard.Sample{IDs: []int32{30, 31, 32, 33, 34}, Roles: []uint8{1, 2, 3, 2, 2}}, &loss, 3)
	want := `{"IDs":[10,11,12,30,31,32],"Targets":[11,12,13,31,32,33],"Weights":[0,1,1,1,0,1],"Docs":[0,3],"Refs":[{"Part":0,"Index":0},{"Part":0,"Index":2}],"Cut":1}`
	if got, _ := json.Marshal(w); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := w.Positions(); !slices.Equal(got, []int32{0, 1, 2, 0, 1, 2}) {
		t.Errorf("positions %v", got)
	}
	if w.Loss() != 4 {
		t.Errorf("loss weight %v", w.Loss())
	}

	// A window of packed text: borders carry no loss.
	var c Window
	all := AllLoss()
	c.Append(Ref{}, shard.Sample{IDs: []int32{1, 2, 3, 4, 5}, Docs: []int32{0, 2, 4}}, &all, 8)
	if got := fmt.Sprint(c.IDs, c.Targets, c.Weights, c.Docs); got != "[1 2 3 4] [2 3 4 5] [1 0 1 0] [0 2]" {
		t.Errorf("packed text: %s", got)
	}

	rows := []Window{w, c}
	if n := Pad(rows, 99, 16); n != 16 || rows[1].Len() != 16 || rows[1].IDs[15] != 99 || rows[1].Weights[15] != 0 || len(rows[0].Targets) != 16 {
		t.Errorf("padded to %d: %+v", n, rows[1])
	}
	if _, err := RoleLoss(map[string]float64{"assistant": 1, "user": 0.1}); err != nil {
		t.Error(err)
	}
	for _, bad := range []map[string]float64{{"nobody": 1}, {"user": -1}} {
		if _, err := RoleLoss(bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// key is a batch as comparable text.
func key(ws []Window) string {
	b, _ := json.Marshal(ws)
	return string(b)
}

func TestBatcher(t *testing.T) {
	var lengths []int
	for i := range 300 {
		lengths = append(lengths, 1+i*i%97)
	}
	set := testSet(lengths...)
	long := 0
	for _, n := range lengths {
		if n > 1 {
			long++
		}
	}
	for _, opt := range []BatchOptions{
		{Length: 64, Batch: 8, Loss: AssistantLoss()},
		{Length: 64, Batch: 8, Loss: AssistantLoss(), GroupByLength: true},
		{Length: 128, Batch: 4, Loss: AllLoss(), Pack: true},
	} {
		blend, err := NewBlend(3, Part{set, 1})
		if err != nil {
			t.Fatal(err)
		}
		one, err := NewBatcher(blend, opt)
		if err != nil {
			t.Fatal(err)
		}
		windows := one.WindowCount(0)
		batches := (windows + opt.Batch - 1) / opt.Batch
		var all []string
		seen := map[int]int{}
		served := 0
		for range 2 * batches {
			ws := one.Next()
			if len(ws) != opt.Batch {
				t.Fatalf("%+v: %d windows in a batch", opt, len(ws))
			}
			for i := range ws {
				w := &ws[i]
				if w.Len() > opt.Length || w.Len() == 0 || len(w.Targets) != w.Len() || len(w.Weights) != w.Len() {
					t.Fatalf("%+v: window of %d positions", opt, w.Len())
				}
				if served++; served <= windows {
					for _, r := range w.Refs {
						seen[r.Index]++
					}
				}
			}
			all = append(all, key(ws))
		}
		if len(seen) != long {
			t.Errorf("%+v: %d samples in the first epoch, want %d", opt, len(seen), long)
		}
		for i, n := range seen {
			if n != 1 {
				t.Errorf("%+v: sample %d %d times in one epoch", opt, i, n)
			}
		}
		if all[0] == all[batches] {
			t.Errorf("%+v: two epochs in the same order", opt)
		}

		// Any number of ranks see the same batches.
		for _, ranks := range []int{2, 4} {
			var rs []*Batcher
			for rank := range ranks {
				o := opt
				o.Rank, o.Ranks = rank, ranks
				r, err := NewBatcher(blend, o)
				if err != nil {
					t.Fatal(err)
				}
				rs = append(rs, r)
			}
			for k := range batches + 2 {
				parts := make([][]Window, ranks)
				for r := range rs {
					parts[r] = rs[r].Next()
				}
				var joined []Window
				for i := range opt.Batch {
					joined = append(joined, parts[i%ranks][i/ranks])
				}
				if key(joined) != all[k] {
					t.Fatalf("%+v: %d ranks differ from one at batch %d", opt, ranks, k)
				}
			}
		}

		// Resuming anywhere gives what would have come.
		fresh, _ := NewBatcher(blend, opt)
		for k := range batches + 3 {
			resumed, _ := NewBatcher(blend, opt)
			if err := resumed.Seek(fresh.Position()); err != nil {
				t.Fatal(err)
			}
			want := all[k]
			if got := key(resumed.Next()); got != want {
				t.Fatalf("%+v: resumed at batch %d: got %.80s…, want %.80s…", opt, k, got, want)
			}
			fresh.Next()
		}
		for _, bad := range []Position{{-1, 0, 0}, {0, 1, 0}, {0, 0, 1 << 20}, {0, 1 << 30, 0}} {
			at := fresh.Position()
			if err := fresh.Seek(bad); err == nil {
				t.Errorf("%+v: position %+v accepted", opt, bad)
			}
			if fresh.Position() != at {
				t.Error("a refused position moved the batcher")
			}
		}
	}
	for _, bad := range []BatchOptions{{}, {Length: 1}, {Length: 1, Batch: 3, Ranks: 2}, {Length: 1, Batch: 2, Rank: 2, Ranks: 2}} {
		if _, err := NewBatcher(nil, bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

func TestPackFillsWindows(t *testing.T) {
	var lengths []int
	for i := range 5000 {
		lengths = append(lengths, 2+(i*7919)%700)
	}
	set := testSet(lengths...)
	blend, _ := NewBlend(3, Part{set, 1})
	b, err := NewBatcher(blend, BatchOptions{Length: 2048, Batch: 16, Pack: true, Loss: AllLoss()})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range lengths {
		total += n - 1
	}
	windows := b.WindowCount(0)
	if fill := float64(total) / float64(windows*2048); fill < 0.99 {
		t.Errorf("windows are %.3f full", fill)
	}
}

func BenchmarkOrder(b *testing.B) {
	o := NewOrder(1, 0, 132540)
	for i := 0; b.Loop(); i++ {
		o.At(i % 132540)
	}
}

const frozenOrder = `[0 5 1 3 8 6 2 9 7 4] [1 2 8 0 6 9 5 3 4 7] [6 1 0 7 3 4 8 9 5 2] [122897 65395 92052 31104 88698 36586 82292 99650 91515 116580]`
