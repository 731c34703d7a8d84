package vulkan

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// A tensor for which there is no memory spoils the pass, with numbers, and not the next one.
func TestOutOfMemory(t *testing.T) {
	const limit = 8 << 20
	d := newDevice(t, vulkan.Options{Limit: limit})
	x := d.FromSlice(1, 4, []float32{1, 2, 3, 4})
	large := d.New(1<<11, 1<<11)
	sum := d.Add(large, large, 1)
	got := make([]float32, 1<<22)
	d.Read(sum, got)
	var full *device.MemoryError
	if err := d.Sync(); !errors.As(err, &full) || full.Needed != 1<<24 || full.Available <= 0 || full.Available > limit {
		t.Errorf("16 MiB of 8: %v", err)
	}
	y := d.Add(x, x, 1)
	d.Read(y, got)
	if err := d.Sync(); err != nil || got[3] != 8 {
		t.Errorf("the next pass gives %v, %v", got[:4], err)
	}
	d.Add(large, large, 1)
	if d.Sync() == nil {
		t.Error("an operand that was never computed was read")
	}
	d.Release(x, y, large, sum)
	row := make([]byte, 4<<20)
	_, err := d.NewWeight(device.WeightSpec{Name: "w", DType: tensor.F32, Rows: 4, Cols: 1 << 20, Use: device.WeightUseMatmul, Row: func(int) []byte { return row }})
	if !errors.As(err, &full) || full.What != "weight w" || full.Needed != 16<<20 {
		t.Errorf("a weight of 16 MiB: %v", err)
	}
	c, err := d.NewCache(device.CacheSpec{Layers: 64, KVHeads: 4, HeadDim: 128, DType: tensor.F32, Pages: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Alloc(); !errors.As(err, &full) || c.PagesInUse() != 0 {
		t.Errorf("a page of 64 MiB: %v, %d in use", err, c.PagesInUse())
	}
}

func TestLost(t *testing.T) {
	d := newDevice(t, vulkan.Options{LoseAfter: 1})
	x := d.FromSlice(1, 2, []float32{1, 2})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	y := d.Add(x, x, 1)
	got := []float32{7, 7}
	d.Read(y, got)
	var lost *vulkan.LostError
	if err := d.Sync(); !errors.As(err, &lost) || got[0] != 7 {
		t.Errorf("a lost device gives %v, %v", got, err)
	}
	d.Release(x, y)
}

func TestForeignValuesPanic(t *testing.T) {
	d, other := newDevice(t, vulkan.Options{}), newDevice(t, vulkan.Options{})
	c, err := other.NewCache(device.CacheSpec{Layers: 1, KVHeads: 1, HeadDim: 4, DType: tensor.F32, Pages: 1})
	if err != nil {
		t.Fatal(err)
	}
	x, square := d.New(1, 4), d.New(2, 2)
	defer d.Release(x, square)
	for what, f := range map[string]func(){
		"a tensor":                  func() { d.SwiGLU(x, &device.Tensor{Rows: 1, Cols: 4}) },
		"a rotary embedding":        func() { d.Rope(x, &device.Rope{HeadDim: 4, InvFreq: []float32{1, 1}}, []int32{0}) },
		"a cache of another device": func() { d.Attention(x, x, x, &device.AttentionSpec{Heads: 1, KVHeads: 1, HeadDim: 4, Cache: c}) },
		"a row that is not there":   func() { d.Gather(x, []int32{1}) },
		"another shape":             func() { d.Add(x, square, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f()
		}()
	}
}

// A row has the same bits in batches of every size: products take other ways by their number of rows.
func TestRowsOfBatches(t *testing.T) {
	d := newDevice(t, vulkan.Options{})
	for _, in := range []int{1060, 5008} { // K ends within a block, a group and a vector; is more than is summed at a time
		rowsOfBatches(t, d, in)
	}
}

func rowsOfBatches(t *testing.T, d *Device, in int) {
	t.Helper()
	const out, most = 70, 40
	values, ws := make([]float32, most*in), make([]float32, out*in)
	for i := range values {
		values[i] = float32(math.Sin(float64(i)))
	}
	for i := range ws {
		ws[i] = float32(math.Cos(float64(i * 3)))
	}
	row := make([]byte, 4*in)
	w, err := d.NewWeight(device.WeightSpec{Name: "w", DType: tensor.F32, Rows: out, Cols: in, Use: device.WeightUseMatmul, Row: func(i int) []byte {
		putFloats(row, ws[i*in:(i+1)*in])
		return row
	}})
	if err != nil {
		t.Fatal(err)
	}
	var want []float32
	for _, n := range []int{1, 2, 8, 9, 17, most} {
		x := d.FromSlice(n, in, values[:n*in])
		y := d.Linear(x, w)
		got := make([]float32, n*out)
		d.Read(y, got)
		d.Release(x, y)
		for i, v := range got[:min(len(want), len(got))] {
			if v != want[i] {
				t.Fatalf("element %d of %d rows is %v, in a smaller batch it was %v", i, n, v, want[i])
			}
		}
		want = got
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// TestValidation runs the suite under Khronos' validation layer, which must have nothing to say.
func TestValidation(t *testing.T) {
	needVulkan(t)
	const layer = "VK_LAYER_KHRONOS_validation"
	if strings.Contains(os.Getenv("VK_INSTANCE_LAYERS"), layer) {
		t.Skip("this process runs under the layer")
	}
	run := func(tests, layers string) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run", tests)
		cmd.Env = append(os.Environ(), "VK_INSTANCE_LAYERS="+layers)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if _, err := run("^TestForeignValuesPanic$", layer); err != nil {
		t.Skipf("the layer is not there (Debian: vulkan-validationlayers): %v", err)
	}
	out, err := run("^(TestCompliance|TestRowsOfBatches|TestOutOfMemory)$", layer)
	if err != nil || strings.Contains(out, "Validation") || strings.Contains(out, "VUID") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A vocabulary may have more rows than a device has work groups along an axis.
func TestManyRows(t *testing.T) {
	d := newDevice(t, vulkan.Options{})
	const rows = 4*mostGroups + 10
	row := make([]byte, 4)
	w, err := d.NewWeight(device.WeightSpec{Name: "w", DType: tensor.F32, Rows: rows, Cols: 1, Use: device.WeightUseMatmul, Row: func(i int) []byte {
		putFloats(row, []float32{float32(i)})
		return row
	}})
	if err != nil {
		t.Fatal(err)
	}
	x := d.FromSlice(1, 1, []float32{0.5})
	y := d.Linear(x, w)
	got := make([]float32, rows)
	d.Read(y, got)
	d.Release(x, y)
	for i, v := range got {
		if v != float32(i)/2 {
			t.Fatalf("row %d gives %v", i, v)
		}
	}
}

// TestSplitKeys: with their keys in ranges of other work groups or not, alone or with others that share them, queries have
// the same bits, at borders of ranges and with windows, too.
func TestSplitKeys(t *testing.T) {
	d := newDevice(t, vulkan.Options{})
	const heads, kvHeads, dim, n = 6, 2, 16, 530
	values := func(n, seed int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(math.Sin(float64(i*seed + 1)))
		}
		return v
	}
	qs, ks, vs := values(n*heads*dim, 3), values(n*kvHeads*dim, 5), values(n*kvHeads*dim, 7)
	for _, window := range []int{0, 300, 3} {
		c, err := d.NewCache(device.CacheSpec{Layers: 1, KVHeads: kvHeads, HeadDim: dim, DType: tensor.F16, Pages: 3})
		if err != nil {
			t.Fatal(err)
		}
		var pages []int32
		for range 3 {
			p, err := c.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, p)
		}
		attend := func(seqs []device.Sequence, rows ...int) []float32 {
			pick := func(v []float32, width int) *device.Tensor {
				var out []float32
				for _, r := range rows {
					out = append(out, v[r*width:(r+1)*width]...)
				}
				return d.FromSlice(len(rows), width, out)
			}
			q, k, v := pick(qs, heads*dim), pick(ks, kvHeads*dim), pick(vs, kvHeads*dim)
			y := d.Attention(q, k, v, &device.AttentionSpec{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.3, Window: window, Seqs: seqs, Cache: c})
			out := make([]float32, len(rows)*heads*dim)
			d.Read(y, out)
			d.Release(q, k, v, y)
			return out
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		whole := attend([]device.Sequence{{Len: n, Pages: pages}}, all...)
		places := []int{1, 254, 255, 256, 257, 511, 512, 529}
		var seqs []device.Sequence
		for i, p := range places {
			one := attend([]device.Sequence{{Len: 1, Past: p, Pages: pages}}, p)
			if !slices.Equal(one, whole[p*heads*dim:(p+1)*heads*dim]) {
				t.Errorf("window %d: alone, query %d has other bits", window, p)
			}
			seqs = append(seqs, device.Sequence{Row: i, Len: 1, Past: p, Pages: pages})
		}
		for i, y := range attend(seqs, places...) {
			if p := places[i/(heads*dim)]; y != whole[p*heads*dim+i%(heads*dim)] {
				t.Fatalf("window %d: beside others, query %d has other bits", window, p)
			}
		}
		d.FreeCache(c)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// TestSubmissions: a pass is one submission, and weights are copied while others are read: frames go out before the last
// one is full, and nobody waits for them.
func TestSubmissions(t *testing.T) {
	d := newDevice(t, vulkan.Options{})
	const rows, cols = 1100, 16 << 10 // 72 MB: more than two frames
	row := make([]byte, 4*cols)
	before, during := d.gpu.Submissions(), 0
	w, err := d.NewWeight(device.WeightSpec{Name: "w", DType: tensor.F32, Rows: rows, Cols: cols, Use: device.WeightUseMatmul, Row: func(i int) []byte {
		if i == rows-1 {
			during = d.gpu.Submissions() - before
		}
		return row
	}})
	if err != nil {
		t.Fatal(err)
	}
	if during < 2 {
		t.Errorf("%d submissions until the last row was read, want 2", during)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	before = d.gpu.Submissions()
	x := d.FromSlice(1, cols, make([]float32, cols))
	y := d.Linear(x, w)
	z := d.Add(y, y, 1)
	got := make([]float32, rows)
	d.Read(z, got)
	d.Release(x, y, z)
	if n := d.gpu.Submissions() - before; n != 1 {
		t.Errorf("a pass took %d submissions", n)
	}
	d.FreeWeights(w)
}
