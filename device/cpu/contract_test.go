package cpu

import (
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"leolm/device"
	"leolm/internal/kernel/attn"
	"leolm/tensor"
)

func TestOptions(t *testing.T) {
	if _, err := New(Options{Threads: -1}); err == nil {
		t.Error("a negative number of threads was taken")
	}
	d, err := New(Options{Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Workers() != 3 {
		t.Errorf("%d workers, want 3", d.Workers())
	}
}

// The tables of one rotary embedding serve several devices at a time, and are the same however they grew.
func TestRopeGrowsWhileOthersRead(t *testing.T) {
	freq := []float32{1, 0.1, 0.01}
	shared := newDevice(t).NewRope(6, freq)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			d, err := New(Options{Threads: 1})
			if err != nil {
				t.Error(err)
				return
			}
			for p := g; p < 5000; p += 611 {
				x := d.FromSlice(1, 6, []float32{1, 1, 1, 0, 0, 0})
				got := make([]float32, 6)
				d.Read(d.Rope(x, shared, []int32{int32(p)}), got)
				d.Release(x)
				for i, f := range freq {
					s, c := math.Sincos(float64(float32(p) * f))
					if got[i] != float32(c) || got[i+3] != float32(s) {
						t.Errorf("position %d, angle %d: %v, %v, want %v, %v", p, i, got[i], got[i+3], c, s)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestCachePages(t *testing.T) {
	d := newDevice(t)
	c, err := d.NewCache(device.CacheSpec{Layers: 2, KVHeads: 1, HeadDim: 32, DType: tensor.Q8_0, Pages: 2})
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Alloc()
	if full := (*device.CacheFullError)(nil); !errors.As(err, &full) || full.Pages != 2 {
		t.Errorf("a third page of two: %v", err)
	}
	in, out := make([]byte, c.PageBytes()), make([]byte, c.PageBytes())
	for i := range in {
		in[i] = byte(i * 7)
	}
	c.WritePage(a, in)
	c.CopyPage(b, a, c.PageLen())
	if c.ReadPage(b, out); !slices.Equal(in, out) {
		t.Error("a page copied and read differs from what was written")
	}
	if want := 2 * c.PageBytes(); c.Bytes() != want {
		t.Errorf("%d bytes in use, want %d", c.Bytes(), want)
	}
	c.Retain(a)
	c.Free(a)
	c.Free(a)
	mustPanic(t, "a page freed twice", func() { c.Free(a) })
}

// The usual page is a split of attention, and a split is made of whole pages or a page of whole splits.
func TestPageLengths(t *testing.T) {
	d := newDevice(t)
	for _, c := range []struct {
		pageLen, want int // 0: refused
	}{{0, attn.Split}, {32, 32}, {64, 64}, {128, 128}, {256, 256}, {512, 512}, {16, 0}, {48, 0}, {96, 0}, {300, 0}, {-256, 0}} {
		cache, err := d.NewCache(device.CacheSpec{Layers: 1, KVHeads: 1, HeadDim: 8, DType: tensor.F16, Pages: 1, PageLen: c.pageLen})
		if (err == nil) != (c.want > 0) || err == nil && cache.PageLen() != c.want {
			t.Errorf("pages of %d: %v", c.pageLen, err)
		}
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// What another device made is refused, not read.
func TestForeignValuesPanic(t *testing.T) {
	d := newDevice(t)
	x := d.New(1, 4)
	mustPanic(t, "a tensor", func() { d.Add(x, &device.Tensor{Rows: 1, Cols: 4}, 1) })
	mustPanic(t, "a rotary embedding", func() { d.Rope(x, &device.Rope{HeadDim: 4, InvFreq: []float32{1, 1}}, []int32{0}) })
	mustPanic(t, "a rotary embedding of another size", func() { d.NewRope(4, []float32{1}) })
}

// An adapter of which nothing is trained any more is measured once; one whose factors change, every time.
func TestDoRAMeasures(t *testing.T) {
	d := newDevice(t)
	param := func(rows, cols int, v ...float32) device.Weight {
		w := d.NewParam("w", rows, cols)
		if err := d.WriteWeight(w, v); err != nil {
			t.Fatal(err)
		}
		return w
	}
	w, a, b, m := param(2, 2, 3, 4, 0, 2), param(1, 2, 1, 0), param(2, 1, 0, 0), param(1, 2, 10, 6)
	c := d.NewDoRA(w, a, b, m, 1)
	got := make([]float32, 2)
	run := func() []float32 {
		base, low := d.FromSlice(1, 2, []float32{1, 1}), d.FromSlice(1, 2, []float32{0, 0})
		y := d.DoRA(base, low, c)
		d.Read(y, got)
		d.Release(base, low, y)
		return got
	}
	if y := run(); y[0] != 2 || y[1] != 3 { // lengths 5 and 2
		t.Errorf("gains %v, want [2 3]", y)
	}
	if err := d.WriteWeight(b, []float32{-3, 0}); err != nil { // the first row becomes [0 4]
		t.Fatal(err)
	}
	if y := run(); y[0] != 2.5 || y[1] != 3 {
		t.Errorf("gains %v after the change, want [2.5 3]", y)
	}
	mustPanic(t, "factors that do not fit", func() { d.NewDoRA(w, b, a, m, 1) })
	if n := d.Memory().Tensors; n != 0 {
		t.Errorf("%d bytes of tensors are left", n)
	}
}
