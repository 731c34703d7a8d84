package vulkan

import (
	"encoding/binary"
	"fmt"
	"math"

	"leolm/internal/vulkan"
)

//go:generate shaders/compile.sh

// kernelKey names a kernel: its shader, and its specialization constants.
type kernelKey struct {
	shader    string
	constants [2]uint32
}

// mostGroups is how many work groups every device runs along an axis.
const mostGroups = 65535

// push are the push constants of a dispatch.
type push struct {
	b [vulkan.PushBytes]byte
	n int
}

// addrs appends addresses, which come first, words integers, float a number.
func (p *push) addrs(as ...uint64) {
	for _, a := range as {
		binary.LittleEndian.PutUint64(p.b[p.n:], a)
		p.n += 8
	}
}

func (p *push) words(ws ...int) {
	for _, w := range ws {
		binary.LittleEndian.PutUint32(p.b[p.n:], uint32(w))
		p.n += 4
	}
}

func (p *push) float(f float32) { p.words(int(math.Float32bits(f))) }

// kernel finds or makes a kernel; nil, after Fail, if the driver refuses it.
func (d *Device) kernel(key kernelKey) *vulkan.Kernel {
	if k := d.kernels[key]; k != nil {
		return k
	}
	code, err := shaders.ReadFile("shaders/" + key.shader + ".spv")
	if err == nil {
		var k *vulkan.Kernel
		if k, err = d.gpu.Kernel(code, key.constants[:]...); err == nil {
			d.kernels[key] = k
			return k
		}
	}
	d.gpu.Fail(fmt.Errorf("shader %s: %w", key.shader, err))
	return nil
}

// run records a kernel over x·y work groups.
func (d *Device) run(key kernelKey, p *push, x, y int, independent bool) {
	if k := d.kernel(key); k != nil {
		d.gpu.Dispatch(k, p.b[:p.n], x, y, 1, independent)
	}
}

// groups is how many work groups of that size share n invocations: kernels of elements loop over the rest.
func groups(n, size int) int { return min((n+size-1)/size, mostGroups) }

// ints copies v to where the next kernel reads it.
func (d *Device) ints(v []int32) uint64 {
	b, addr := d.gpu.Args(4 * len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(x))
	}
	return addr
}

// floats copies v to where the next kernel reads it.
func (d *Device) floats(v []float32) uint64 {
	b, addr := d.gpu.Args(4 * len(v))
	putFloats(b, v)
	return addr
}
