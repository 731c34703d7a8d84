package vulkan

import (
	"errors"
	"math"
	"slices"
	"unsafe"
)

// Place says where memory is.
type Place uint8

// Local is the device's memory, Host what the processor sees as well.
const (
	Local Place = iota
	Host
)

// Buffer is a piece of memory.
type Buffer struct {
	Addr uint64 // for shaders
	Size int64

	block  *block
	offset int64
	place  Place
}

// Bytes is the processor's view of a buffer of Host.
func (b Buffer) Bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(b.block.mapped, b.offset)), b.Size)
}

// heap is the memory of one place: blocks from which buffers are cut.
type heap struct {
	memoryType uint32
	blocks     []*block
	live       int // buffers
}

// block is one allocation of the driver, which can hold many buffers.
type block struct {
	memory, buffer uintptr
	addr           uint64
	size           int64
	mapped         unsafe.Pointer
	free           []span // in the order of offsets, never two that touch
	live           int    // buffers
}

// span is a free piece of a block.
type span struct{ at, size int64 }

const (
	blockSize = 64 << 20
	smallest  = 4 << 20 // block, for the first buffers
	alignment = 256

	// behind is memory after the last buffer of a block, which counts nowhere. Mesa 26's lavapipe reads what a loop would
	// read in the round after its last one, if all invocations read the same: a fault where a block and its pages end.
	behind = 4 << 10
)

// Alloc returns memory, or a *MemoryError.
func (d *Device) Alloc(size int64, place Place) (Buffer, error) {
	size = (max(size, 1) + alignment - 1) &^ (alignment - 1)
	h := &d.heaps[place]
	for _, b := range h.blocks {
		if at, ok := b.take(size); ok {
			h.live++
			return Buffer{Addr: b.addr + uint64(at), Size: size, block: b, offset: at, place: place}, nil
		}
	}
	b, err := d.newBlock(place, size)
	if err != nil {
		return Buffer{}, err
	}
	h.blocks = append(h.blocks, b)
	at, _ := b.take(size)
	h.live++
	return Buffer{Addr: b.addr + uint64(at), Size: size, block: b, offset: at, place: place}, nil
}

// Free gives a buffer back; the zero Buffer is allowed. Commands that were recorded before still find it as it is.
func (d *Device) Free(b Buffer) {
	if b.block == nil {
		return
	}
	d.heaps[b.place].live--
	b.block.give(span{b.offset, b.Size})
}

// Trim gives blocks without buffers back to the driver, when nothing that is recorded or runs can use them.
func (d *Device) Trim() error {
	err := d.Sync()
	for place := range d.heaps {
		h := &d.heaps[place]
		h.blocks = slices.DeleteFunc(h.blocks, func(b *block) bool {
			if b.live > 0 {
				return false
			}
			b.destroy(d)
			if Place(place) == Local {
				d.give(b.size)
			}
			return true
		})
	}
	return err
}

// Taken is how many bytes of device memory were taken from the driver.
func (d *Device) Taken() int64 { return d.taken }

// Buffers is how many buffers of device memory there are.
func (d *Device) Buffers() int { return d.heaps[Local].live }

// Available is how many bytes of device memory can still be taken, as far as the driver says, and below the limit.
// What is free in blocks that were taken counts.
func (d *Device) Available() int64 {
	d.readMemory(d.physical)
	left := d.physical.Free
	if !d.physical.budget {
		left -= d.taken
	}
	left = min(left, d.allowed())
	for _, b := range d.heaps[Local].blocks {
		for _, s := range b.free {
			left += s.size
		}
	}
	return max(left, 0)
}

// newBlock takes a block from the driver that has room for size bytes.
func (d *Device) newBlock(place Place, size int64) (*block, error) {
	n := max(size, blockSize)
	if len(d.heaps[place].blocks) == 0 {
		n = max(size, smallest)
	}
	if place == Local {
		n = max(size, min(n, d.allowed()))
	}
	if uint64(size) > d.physical.largest {
		return nil, &MemoryError{Needed: size, Available: int64(d.physical.largest)}
	}
	b, err := d.tryBlock(place, n)
	if err != nil && n > size {
		b, err = d.tryBlock(place, size)
	}
	var failed *CallError
	if errors.As(err, &failed) && (failed.Code == outOfMemory || failed.Code == outOfHostMemory || failed.Code == tooManyObjects) {
		return nil, &MemoryError{Needed: size, Available: d.Available()}
	}
	return b, err
}

// allowed is how many bytes of device memory the limits leave.
func (d *Device) allowed() int64 {
	left := int64(math.MaxInt64)
	if l := d.options.Limit; l > 0 {
		left = l - d.taken
	}
	if b := d.options.Budget; b != nil {
		left = min(left, b.left())
	}
	return left
}

// give notes that n bytes were given back to the driver.
func (d *Device) give(n int64) {
	d.taken -= n
	if b := d.options.Budget; b != nil {
		b.give(n)
	}
}

// tryBlock takes a block of n bytes.
func (d *Device) tryBlock(place Place, n int64) (*block, error) {
	if place == Host {
		return d.makeBlock(place, n)
	}
	if b := d.options.Budget; n > d.allowed() || b != nil && !b.take(n) {
		return nil, &MemoryError{Needed: n, Available: d.Available()}
	}
	d.taken += n
	b, err := d.makeBlock(place, n)
	if err != nil {
		d.give(n)
	}
	return b, err
}

// makeBlock asks the driver for a block.
func (d *Device) makeBlock(place Place, n int64) (*block, error) {
	b := &block{size: n, free: []span{{0, n}}}
	info := &bufferCreateInfo{head: head{sType: typeBufferCreateInfo}, size: uint64(n + behind), usage: usageTransferSrc | usageTransferDst | usageStorage | usageDeviceAddress}
	if err := d.check("vkCreateBuffer", d.dev, uintptr(unsafe.Pointer(info)), 0, uintptr(unsafe.Pointer(&b.buffer))); err != nil {
		return nil, err
	}
	if err := d.bindBlock(b, d.heaps[place].memoryType, place == Host); err != nil {
		b.destroy(d)
		return nil, err
	}
	return b, nil
}

// bindBlock gives the buffer of b its memory.
func (d *Device) bindBlock(b *block, memoryType uint32, mapped bool) error {
	need := &memoryRequirements{}
	d.call("vkGetBufferMemoryRequirements", d.dev, b.buffer, uintptr(unsafe.Pointer(need)))
	if need.memoryTypeBits>>memoryType&1 == 0 {
		return &FeatureError{Device: d.physical.Name, Missing: []string{"storage buffers in its main memory"}}
	}
	flags := &memoryAllocateFlagsInfo{head: head{sType: typeMemoryAllocateFlags}, flags: allocateDeviceAddress}
	info := &memoryAllocateInfo{head: head{typeMemoryAllocateInfo, unsafe.Pointer(flags)}, allocationSize: need.size, memoryTypeIndex: memoryType}
	if err := d.check("vkAllocateMemory", d.dev, uintptr(unsafe.Pointer(info)), 0, uintptr(unsafe.Pointer(&b.memory))); err != nil {
		return err
	}
	if err := d.check("vkBindBufferMemory", d.dev, b.buffer, b.memory, 0); err != nil {
		return err
	}
	of := &bufferDeviceAddressInfo{head: head{sType: typeBufferDeviceAddressInfo}, buffer: b.buffer}
	b.addr = uint64(d.call("vkGetBufferDeviceAddress", d.dev, uintptr(unsafe.Pointer(of))))
	if !mapped {
		return nil
	}
	return d.check("vkMapMemory", d.dev, b.memory, 0, uintptr(b.size), 0, uintptr(unsafe.Pointer(&b.mapped)))
}

func (b *block) destroy(d *Device) {
	d.call("vkDestroyBuffer", d.dev, b.buffer, 0)
	d.call("vkFreeMemory", d.dev, b.memory, 0)
}

func (h *heap) destroy(d *Device) {
	for _, b := range h.blocks {
		b.destroy(d)
	}
	h.blocks, h.live = nil, 0
}

// take cuts size bytes from the smallest free piece that has them.
func (b *block) take(size int64) (int64, bool) {
	best := -1
	for i, s := range b.free {
		if s.size >= size && (best < 0 || s.size < b.free[best].size) {
			best = i
		}
	}
	if best < 0 {
		return 0, false
	}
	s := &b.free[best]
	at := s.at
	s.at, s.size = s.at+size, s.size-size
	if s.size == 0 {
		b.free = slices.Delete(b.free, best, best+1)
	}
	b.live++
	return at, true
}

// give takes a piece back, and joins it with its free neighbors.
func (b *block) give(s span) {
	b.live--
	i, _ := slices.BinarySearchFunc(b.free, s, func(a, b span) int { return int(a.at - b.at) })
	b.free = slices.Insert(b.free, i, s)
	if i+1 < len(b.free) && b.free[i].at+b.free[i].size == b.free[i+1].at {
		b.free[i].size += b.free[i+1].size
		b.free = slices.Delete(b.free, i+1, i+2)
	}
	if i > 0 && b.free[i-1].at+b.free[i-1].size == b.free[i].at {
		b.free[i-1].size += b.free[i].size
		b.free = slices.Delete(b.free, i, i+1)
	}
}
