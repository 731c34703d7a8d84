package vulkan

import (
	"testing"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// TestCommandsOfALayer: what a layer of a decode pass takes of commands, each of which costs a start and a wait for the one
// before it: in single operations, and as llama does it on a device.Fuser.
func TestCommandsOfALayer(t *testing.T) {
	for _, c := range []struct {
		without       []string
		single, fused int
	}{{[]string{vulkan.FeatureMatrix}, 16, 11}, {nil, 20, 14}} {
		d := newDevice(t, vulkan.Options{Without: c.without})
		if c.without == nil && d.matrix == (vulkan.Matrix{}) {
			continue // counted above
		}
		l := newTestLayer(t, d)
		if n := l.commands(struct{ device.Ops }{d}); n != c.single {
			t.Errorf("without %v: a layer takes %d commands in single operations, want %d", c.without, n, c.single)
		}
		if n := l.commands(d); n != c.fused {
			t.Errorf("without %v: a layer takes %d commands, want %d", c.without, n, c.fused)
		}
		if err := d.Sync(); err != nil {
			t.Error(err)
		}
	}
}

// testLayer is a layer of a model, with a cache.
type testLayer struct {
	d                       *Device
	cache                   device.KVCache
	page                    int32
	gain                    device.Weight
	q, k, v, o, gate, up, w device.Weight // w: down
	rope                    *device.Rope
}

const testHidden, testInner, testHeads, testDim = 128, 256, 4, 32

func newTestLayer(t *testing.T, d *Device) *testLayer {
	t.Helper()
	weight := func(dt tensor.DType, rows, cols int, use device.WeightUse) device.Weight {
		size, err := dt.RowSize(cols)
		if err != nil {
			t.Fatal(err)
		}
		w, err := d.NewWeight(device.WeightSpec{Name: "w", DType: dt, Rows: rows, Cols: cols, Use: use, Row: func(int) []byte { return make([]byte, size) }})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	product := func(rows, cols int) device.Weight { return weight(tensor.Q4_0, rows, cols, device.WeightUseMatmul) }
	c, err := d.NewCache(device.CacheSpec{Layers: 1, KVHeads: testHeads, HeadDim: testDim, DType: tensor.F16, Pages: 1})
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	h := testHidden
	return &testLayer{
		d: d, cache: c, page: page, gain: weight(tensor.F32, 1, h, device.WeightUseVector),
		q: product(h, h), k: product(h, h), v: product(h, h), o: product(h, h),
		gate: product(testInner, h), up: product(testInner, h), w: product(h, testInner),
		rope: d.NewRope(testDim, make([]float32, testDim/2)),
	}
}

// commands is how many the layer records for one token, after a first one that makes tables.
func (l *testLayer) commands(ops device.Ops) int {
	const eps = 1e-5
	n := 0
	for range 2 {
		x := l.d.FromSlice(1, testHidden, make([]float32, testHidden))
		n = l.d.gpu.Commands()
		var qkv [3]*device.Tensor
		device.NormLinear(ops, qkv[:], x, l.gain, eps, l.q, l.k, l.v)
		device.RopePair(ops, qkv[0], qkv[1], l.rope, []int32{0})
		a := ops.Attention(qkv[0], qkv[1], qkv[2], &device.AttentionSpec{Heads: testHeads, KVHeads: testHeads, HeadDim: testDim, Scale: 1, Seqs: []device.Sequence{{Len: 1, Pages: []int32{l.page}}}, Cache: l.cache})
		mid := device.LinearAdd(ops, x, a, l.o)
		y := device.MLP(ops, mid, l.gain, eps, l.gate, l.up, l.w)
		n = l.d.gpu.Commands() - n
		l.d.Release(x, a, mid, y)
		l.d.Release(qkv[:]...)
	}
	return n
}
