package train

import (
	"leolm/device"
	"leolm/device/vulkan"
)

// onGPU reports whether dev computes on a GPU, whose memory is what a run takes.
func onGPU(dev device.Device) bool {
	_, ok := dev.(*vulkan.Device)
	return ok
}

// OnGPU makes p the plan of the run on dev, a GPU: Memory is the GPU's. Activations are kept in float32 there whatever the
// compute type. Products read weights as they are stored, and nothing is packed, but for bf16 on matrix units. A tensor's
// memory goes to the next one as soon as nobody reads it: what the head needs is free again when the layers' backward
// passes begin.
func (p *Plan) OnGPU(dev device.Device) {
	e := newMemoryEstimate(p.config, &p.shape, p.stored, p, p.teacher)
	gpu, _ := dev.(*vulkan.Device)
	e.gpu, e.units, e.bf16 = true, e.bf16 && gpu != nil && gpu.MatrixUnits(), false
	p.Memory = e.sum()
	var again int64 // the inside of a layer that runs forward once more, which is not there beside the head
	if p.config.Compute.Recompute {
		again = e.layer()
	}
	p.Memory.Activations -= again
	p.Memory.Workspace = max(e.loss(), again+e.backward()) + e.packed()
}

// packedOnGPU are the operands of a product on matrix units: the head, which is packed once for all chunks of rows, with
// the logits of a chunk, or the largest of the layers'.
func (e *memoryEstimate) packedOnGPU() int64 {
	if !e.units {
		return 0
	}
	head := vulkan.PackedBytes(e.h, e.v)
	if e.wholeHead || e.newRows {
		head += vulkan.PackedBytes(e.v, e.h)
	}
	head += vulkan.PackedBytes(min(e.t, vulkan.LossRows(e.v)), e.v)
	wide := int(e.widest())
	forward := vulkan.PackedBytes(e.t, wide) + vulkan.PackedBytes(wide, e.h)
	strands := max(vulkan.SplitBytes(wide, e.h, e.t), vulkan.SplitBytes(e.h, e.h, e.t))
	return max(head, forward, vulkan.PackedBytes(wide+e.h, e.t)+strands)
}
