package layered

import (
	"errors"
	"testing"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/devicetest"
	"leolm/tensor"
)

func newCPU(t testing.TB) device.Runner {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// runner hides that a device trains.
type runner struct{ device.Runner }

// TestCompliance: what weights compute on either side is right, wherever the tensors come from; of two layers of a cache
// each has another side.
func TestCompliance(t *testing.T) {
	for layer, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			devicetest.RunInference(t, func(t *testing.T) device.Runner {
				return New(runner{newCPU(t)}, runner{newCPU(t)}, Layout{Layers: 2, First: 1, Layer: func(string) int { return layer }})
			})
		})
	}
}

// scarce is a device whose cache has room for some pages only.
type scarce struct {
	device.Runner
	pages int
}

type scarceCache struct {
	device.KVCache
	left *int
}

func (s *scarce) NewCache(spec device.CacheSpec) (device.KVCache, error) {
	c, err := s.Runner.NewCache(spec)
	return &scarceCache{c, &s.pages}, err
}

func (c *scarceCache) Alloc() (int32, error) {
	if *c.left == 0 {
		return 0, &device.MemoryError{What: "a page", On: "the GPU"}
	}
	*c.left--
	return c.KVCache.Alloc()
}

// TestPages: a page that one device has no memory for takes none of the other's, and numbers stay those of both.
func TestPages(t *testing.T) {
	dev := New(newCPU(t), &scarce{newCPU(t), 2}, Layout{Layers: 3, First: 2})
	c, err := dev.NewCache(device.CacheSpec{Layers: 3, KVHeads: 1, HeadDim: 4, DType: tensor.F32, Pages: 8})
	if err != nil {
		t.Fatal(err)
	}
	var held []int32
	for {
		p, err := c.Alloc()
		if err != nil {
			var short *device.MemoryError
			if !errors.As(err, &short) {
				t.Error(err)
			}
			break
		}
		held = append(held, p)
	}
	if len(held) != 2 || c.PagesInUse() != 2 || c.Bytes() < 2*c.PageBytes() {
		t.Errorf("%d pages were given, %d are in use", len(held), c.PagesInUse())
	}
	if want := 3 * 2 * 4 * 4 * c.PageLen(); c.PageBytes() != want {
		t.Errorf("a page has %d bytes, want %d", c.PageBytes(), want)
	}
	c.Retain(held[0])
	c.Free(held[0])
	if c.PagesInUse() != 2 {
		t.Error("a page that somebody holds is free")
	}
	c.Free(held[0])
	c.Free(held[1])
	if c.PagesInUse() != 0 {
		t.Errorf("%d pages are in use", c.PagesInUse())
	}
	page, back := make([]byte, c.PageBytes()), make([]byte, c.PageBytes())
	for i := range page {
		page[i] = byte(i)
	}
	dev.sides[second].(*scarce).pages = 1
	p, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	c.WritePage(p, page)
	if c.ReadPage(p, back); string(back) != string(page) {
		t.Error("a page that is read is not what was written")
	}
}

// TestForeignValuesPanic: what belongs to another device is a fault of the program.
func TestForeignValuesPanic(t *testing.T) {
	dev := New(newCPU(t), newCPU(t), Layout{Layers: 1, First: 1, Layer: func(string) int { return 0 }})
	x := dev.FromSlice(1, 2, []float32{1, 2})
	gone := dev.FromSlice(1, 2, []float32{1, 2})
	dev.Release(gone)
	for what, f := range map[string]func(){
		"a tensor":             func() { dev.SwiGLU(x, dev.sides[first].New(1, 2)) },
		"a released one":       func() { dev.SwiGLU(x, gone) },
		"a rotary embedding":   func() { dev.Rope(x, &device.Rope{HeadDim: 2, InvFreq: []float32{1}}, []int32{0}) },
		"a released one again": func() { dev.Release(gone) },
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
