package vulkan

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
)

// openTest opens the device that Leo chooses. Drivers are code of others: tests load them where they are asked to.
func openTest(t *testing.T, o Options) *Device {
	t.Helper()
	needVulkan(t)
	o.Index = Best
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func needVulkan(t *testing.T) {
	t.Helper()
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
}

func closeTest(t *testing.T, d *Device) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error("closed a second time:", err)
	}
}

func TestNoLibrary(t *testing.T) {
	var missing *LibraryError
	if _, err := Open(Options{Library: "libnothing.so.7"}); !errors.As(err, &missing) || len(missing.Tried) != 1 || missing.Tried[0] != "libnothing.so.7" {
		t.Errorf("a loader that is not there: %v", err)
	}
}

func TestChoice(t *testing.T) {
	gpu := func(index int, k Kind, lacks ...string) *physical {
		return &physical{Info: Info{Index: index, Kind: k, Lacks: lacks}}
	}
	found := []*physical{gpu(0, Processor), gpu(1, Integrated), gpu(2, Discrete, featureAddr), gpu(3, Discrete), gpu(4, Discrete)}
	for _, c := range []struct{ found, index, want int }{{5, Best, 3}, {3, Best, 1}, {1, Best, 0}, {5, 2, 2}, {5, 5, -1}, {5, -2, -1}, {0, Best, -1}} {
		p, err := choose(found[:c.found], c.index)
		var none *NoDeviceError
		if c.want < 0 {
			if !errors.As(err, &none) || none.Index != c.index {
				t.Errorf("%+v: %v", c, err)
			}
		} else if err != nil || p.Index != c.want {
			t.Errorf("%+v: %+v, %v", c, p, err)
		}
	}
}

func TestMissingFeature(t *testing.T) {
	needVulkan(t)
	for _, name := range []string{featureAPI, featureAddr, feature16, featureQueue, featureMemory} {
		var lacks *FeatureError
		if d, err := Open(Options{Index: Best, Without: []string{name}}); !errors.As(err, &lacks) || lacks.Missing[0] != name {
			t.Errorf("without %s: %v, %v", name, d, err)
		}
	}
	infos, err := List(Options{})
	if err != nil || len(infos) == 0 || infos[0].Name == "" || infos[0].Memory == 0 {
		t.Errorf("the devices are %+v, %v", infos, err)
	}
	var none *NoDeviceError
	if _, err := Open(Options{Index: len(infos)}); !errors.As(err, &none) || none.Found != len(infos) {
		t.Errorf("one device more than there are: %v", err)
	}
}

// Copies run in the order of their recording, however far they are from each other.
func TestCommandsInOrder(t *testing.T) {
	d := openTest(t, Options{})
	defer closeTest(t, d)
	const n = 3 << 20
	a, err := d.Alloc(n, Local)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Alloc(n, Local)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, n)
	for round := range byte(30) { // more than is staged at a time
		for i := range want {
			want[i] = byte(i)*7 + round
		}
		d.Upload(a, 0, n, func(dst []byte) { copy(dst, want) })
		d.Copy(b, 0, a, 0, n)
	}
	got := make([]byte, n)
	if err := d.Download(got, b, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what comes back differs from the last that was written: %v", err)
	}
	if err := d.Download(got[:5], b, 100); err != nil || !bytes.Equal(got[:5], want[100:105]) {
		t.Errorf("from an offset: %v, %v, want %v", err, got[:5], want[100:105])
	}
	d.Free(a)
	d.Free(b)
}

func TestMemory(t *testing.T) {
	const limit = 6 << 20
	d := openTest(t, Options{Limit: limit})
	if n := d.Available(); n != limit {
		t.Errorf("%d bytes are available, want the limit", n)
	}
	var full *MemoryError
	if _, err := d.Alloc(limit+1, Local); !errors.As(err, &full) || full.Needed < limit+1 || full.Available != limit {
		t.Errorf("more than the limit: %v", err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var held []Buffer
	for range 2000 {
		if len(held) > 0 && rng.IntN(3) == 0 {
			i := rng.IntN(len(held))
			d.Free(held[i])
			held = append(held[:i], held[i+1:]...)
			continue
		}
		b, err := d.Alloc(1+rng.Int64N(100<<10), Local)
		if err != nil {
			if !errors.As(err, &full) {
				t.Fatal(err)
			}
			continue
		}
		for _, o := range held {
			if b.Addr < o.Addr+uint64(o.Size) && o.Addr < b.Addr+uint64(b.Size) {
				t.Fatalf("two buffers share memory: %x+%x, %x+%x", b.Addr, b.Size, o.Addr, o.Size)
			}
		}
		held = append(held, b)
	}
	if d.Taken() > limit || d.Buffers() != len(held) {
		t.Errorf("%d bytes are taken of %d; %d buffers, want %d", d.Taken(), limit, d.Buffers(), len(held))
	}
	for _, b := range held[1:] {
		d.Free(b)
	}
	if err := d.Trim(); err != nil || d.Taken() == 0 || d.Taken() > 4<<20 {
		t.Errorf("%d bytes are taken for one buffer, %v", d.Taken(), err)
	}
	var leak *LeakError
	if err := d.Close(); !errors.As(err, &leak) || leak.Buffers != 1 {
		t.Errorf("a buffer that was never freed: %v", err)
	}
}

func TestLost(t *testing.T) {
	d := openTest(t, Options{LoseAfter: 1})
	b, err := d.Alloc(8, Local)
	if err != nil {
		t.Fatal(err)
	}
	upload := func() error {
		d.Upload(b, 0, 8, func([]byte) {})
		return d.Sync()
	}
	if err := upload(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var lost *LostError
		if err := upload(); !errors.As(err, &lost) || lost.Call != "vkQueueSubmit" {
			t.Errorf("after the device was lost: %v", err)
		}
	}
	d.Free(b)
	closeTest(t, d)
}

func TestFail(t *testing.T) {
	d := openTest(t, Options{})
	defer closeTest(t, d)
	first := errors.New("first")
	d.Fail(first)
	d.Fail(errors.New("second"))
	d.Upload(Buffer{}, 0, 8, func([]byte) { t.Error("something was recorded after an error") })
	if err := d.Sync(); err != first {
		t.Errorf("Sync says %v", err)
	}
	if err := d.Sync(); err != nil {
		t.Errorf("the error is told twice: %v", err)
	}
}
