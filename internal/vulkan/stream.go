package vulkan

import (
	"math"
	"unsafe"
)

// stream is what is recorded and what runs.
type stream struct {
	frames  [2]frame
	at      int  // frame that records
	fresh   bool // the last command is not yet separated from the next
	barrier memoryBarrier
	push    [PushBytes]byte
}

// frame is a command buffer with the memory that its commands read from the processor.
type frame struct {
	commands  uintptr
	fence     uintptr
	recording bool
	running   bool
	count     int      // commands recorded
	chunks    []Buffer // of Host
	chunk     int      // that is being filled
	used      int64    // bytes of it
	fed       int64    // bytes of all
	fetches   []fetch
}

// fetch is a copy for the processor, which reads it when the frame has run.
type fetch struct {
	from Buffer
	to   func([]byte)
}

const (
	chunkSize   = 4 << 20
	mostFed     = 32 << 20 // bytes after which a frame is submitted
	mostCommand = 4096
	pipelines   = pipelineCompute | pipelineTransfer
	accessRead  = accessShaderRead | accessTransferR
	accessWrite = accessShaderWrit | accessTransferW
)

// openStream makes the frames.
func (d *Device) openStream() error {
	s := &d.stream
	s.barrier = memoryBarrier{head: head{sType: typeMemoryBarrier}, srcAccessMask: accessWrite, dstAccessMask: accessRead | accessWrite}
	info := &commandBufferAllocateInfo{head: head{sType: typeCommandBufferAllocate}, commandPool: d.pool, commandBufferCount: 1}
	fence := &fenceCreateInfo{head: head{sType: typeFenceCreateInfo}}
	for i := range s.frames {
		f := &s.frames[i]
		if err := d.check("vkAllocateCommandBuffers", d.dev, uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&f.commands))); err != nil {
			return err
		}
		if err := d.check("vkCreateFence", d.dev, uintptr(unsafe.Pointer(fence)), 0, uintptr(unsafe.Pointer(&f.fence))); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) closeStream() {
	for i := range d.stream.frames {
		d.call("vkDestroyFence", d.dev, d.stream.frames[i].fence, 0)
	}
}

// fail keeps the first error.
func (d *Device) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// record returns the frame that records, or nil after an error.
func (d *Device) record() *frame {
	if d.lost != nil {
		d.fail(d.lost)
	}
	if d.err != nil {
		return nil
	}
	f := &d.stream.frames[d.stream.at]
	if f.recording {
		return f
	}
	if err := d.finish(f); err != nil {
		d.fail(err)
		return nil
	}
	info := &commandBufferBeginInfo{head: head{sType: typeCommandBufferBegin}, flags: beginOnce}
	if err := d.result("vkBeginCommandBuffer", int32(call(d.fns.begin, f.commands, uintptr(unsafe.Pointer(info))))); err != nil {
		d.fail(err)
		return nil
	}
	f.recording, f.count = true, 0
	d.stream.fresh = true
	return f
}

// finish waits for a frame that runs; its memory can be used again.
func (d *Device) finish(f *frame) error {
	if !f.running {
		return nil
	}
	for {
		code := int32(call(d.fns.wait, d.dev, 1, uintptr(unsafe.Pointer(&f.fence)), 1, math.MaxUint32))
		if code == timedOut {
			continue // four seconds: long passes are no error
		}
		if err := d.result("vkWaitForFences", code); err != nil {
			return err
		}
		break
	}
	f.running, f.chunk, f.used, f.fed = false, 0, 0, 0
	for _, g := range f.fetches {
		g.to(g.from.Bytes())
	}
	f.fetches = nil
	return d.result("vkResetFences", int32(call(d.fns.reset, d.dev, 1, uintptr(unsafe.Pointer(&f.fence)))))
}

// Submit starts what was recorded, without waiting.
func (d *Device) Submit() {
	f := &d.stream.frames[d.stream.at]
	if !f.recording {
		return
	}
	// What the processor reads afterwards.
	d.wall(f, pipelines, pipelineHost|pipelines, accessRead|accessWrite|accessHostRead)
	f.recording = false
	if err := d.result("vkEndCommandBuffer", int32(call(d.fns.end, f.commands))); err != nil {
		d.fail(err)
		return
	}
	if d.submitted++; d.options.LoseAfter > 0 && d.submitted > d.options.LoseAfter {
		d.fail(d.result("vkQueueSubmit", deviceLost))
		return
	}
	info := &submitInfo{head: head{sType: typeSubmitInfo}, commandBufferCount: 1, commandBuffers: &f.commands}
	if err := d.result("vkQueueSubmit", int32(call(d.fns.submit, d.queue, 1, uintptr(unsafe.Pointer(info)), f.fence))); err != nil {
		d.fail(err)
		return
	}
	f.running = true
	d.stream.at = (d.stream.at + 1) % len(d.stream.frames)
}

// Commands is how many commands were recorded: kernels and copies.
func (d *Device) Commands() int { return d.commands }

// Submissions is how often recorded commands were started.
func (d *Device) Submissions() int { return d.submitted }

// Sync runs what was recorded, waits for it, and returns the first error since the last Sync. After an error nothing
// more was computed; a lost device stays lost.
func (d *Device) Sync() error {
	d.Submit()
	for i := range d.stream.frames {
		f := &d.stream.frames[i]
		if d.lost != nil {
			f.running, f.recording, f.fetches = false, false, nil
			d.fail(d.lost)
			continue
		}
		if err := d.finish(f); err != nil {
			d.fail(err)
		}
		f.chunk, f.used, f.fed, f.fetches = 0, 0, 0, nil
	}
	err := d.err
	d.err = nil
	return err
}

// wall separates the commands so far from those to come.
func (d *Device) wall(f *frame, before, after, access uint32) {
	d.stream.barrier.dstAccessMask = access
	call(d.fns.barrier, f.commands, uintptr(before), uintptr(after), 0, 1, uintptr(unsafe.Pointer(&d.stream.barrier)), 0, 0, 0, 0)
	d.stream.fresh = true
}

// next prepares for another command.
func (d *Device) next(f *frame, independent bool) {
	if !d.stream.fresh && !independent {
		d.wall(f, pipelines, pipelines, accessRead|accessWrite)
	}
	d.stream.fresh = false
	f.count++
	d.commands++
}

// flush submits a frame that has grown.
func (d *Device) flush(f *frame) {
	if f.count >= mostCommand || f.fed >= mostFed {
		d.Submit()
	}
}

// Args returns memory for what the next command reads of the processor, and its address; it is valid until that command
// has been recorded. After an error the memory is there, but nobody reads it.
func (d *Device) Args(n int) ([]byte, uint64) {
	f := d.record()
	if f == nil {
		return make([]byte, n), 0
	}
	b, ok := d.feed(f, int64(n))
	if !ok {
		return make([]byte, n), 0
	}
	return b.Bytes(), b.Addr
}

// feed cuts n bytes from the chunks of f.
func (d *Device) feed(f *frame, n int64) (Buffer, bool) {
	size := (max(n, 1) + alignment - 1) &^ (alignment - 1)
	for f.chunk < len(f.chunks) && f.used+size > f.chunks[f.chunk].Size {
		f.chunk, f.used = f.chunk+1, 0
	}
	if f.chunk == len(f.chunks) {
		b, err := d.Alloc(max(size, chunkSize), Host)
		if err != nil {
			d.fail(err)
			return Buffer{}, false
		}
		f.chunks = append(f.chunks, b)
	}
	b := f.chunks[f.chunk]
	b.Addr, b.offset, b.Size = b.Addr+uint64(f.used), b.offset+f.used, n
	f.used += size
	f.fed += size
	return b, true
}

// Dispatch records a run of k over x·y·z work groups. Push constants are read before it returns. An independent command
// need not wait for the one before it.
func (d *Device) Dispatch(k *Kernel, push []byte, x, y, z int, independent bool) {
	f := d.record()
	if f == nil || x*y*z == 0 {
		return
	}
	d.next(f, independent)
	copy(d.stream.push[:], push)
	call(d.fns.bind, f.commands, bindCompute, k.pipeline)
	call(d.fns.push, f.commands, d.layout, stageCompute, 0, uintptr(len(push)), uintptr(unsafe.Pointer(&d.stream.push)))
	call(d.fns.dispatch, f.commands, uintptr(x), uintptr(y), uintptr(z))
	d.flush(f)
}

// Copy records a copy of n bytes between buffers.
func (d *Device) Copy(dst Buffer, to int64, src Buffer, from, n int64) {
	f := d.record()
	if f == nil || n == 0 {
		return
	}
	d.copy(f, dst, to, src, from, n)
	d.flush(f)
}

func (d *Device) copy(f *frame, dst Buffer, to int64, src Buffer, from, n int64) {
	d.next(f, false)
	region := &bufferCopy{uint64(src.offset + from), uint64(dst.offset + to), uint64(n)}
	call(d.fns.copy, f.commands, src.block.buffer, dst.block.buffer, 1, uintptr(unsafe.Pointer(region)))
}

// Upload records that dst gets n bytes from the offset to on, which fill writes.
func (d *Device) Upload(dst Buffer, to int64, n int, fill func([]byte)) {
	f := d.record()
	if f == nil {
		return
	}
	b, ok := d.feed(f, int64(n))
	if !ok {
		return
	}
	fill(b.Bytes())
	d.copy(f, dst, to, b, 0, int64(n))
	d.flush(f)
}

// Download runs everything that was recorded, and copies bytes of src from an offset on to dst. It returns what Sync
// would.
func (d *Device) Download(dst []byte, src Buffer, from int64) error {
	for len(dst) > 0 {
		n := min(len(dst), mostFed)
		f := d.record()
		if f == nil {
			return d.Sync()
		}
		b, ok := d.feed(f, int64(n))
		if !ok {
			return d.Sync()
		}
		d.copy(f, b, 0, src, from, int64(n))
		if err := d.Sync(); err != nil {
			return err
		}
		copy(dst, b.Bytes())
		dst, from = dst[n:], from+int64(n)
	}
	return nil
}

// Fetch records that to gets the first n bytes of src once the commands so far have run: in the Sync that follows, or while
// later ones are recorded. It is not called after an error, and must not use the device.
func (d *Device) Fetch(src Buffer, n int, to func([]byte)) {
	f := d.record()
	if f == nil || n == 0 {
		return
	}
	b, ok := d.feed(f, int64(n))
	if !ok {
		return
	}
	d.copy(f, b, 0, src, 0, int64(n))
	f.fetches = append(f.fetches, fetch{b, to})
	d.flush(f)
}

// Fail makes err what the next Sync returns, unless there is an earlier one: nothing more is recorded until then.
func (d *Device) Fail(err error) { d.fail(err) }
