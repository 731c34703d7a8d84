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

// OnGPU makes p the plan of the run on a GPU: Memory is the GPU's. Activations are kept in float32 there whatever the
// compute type, products read weights as they are stored, and nothing is packed. A tensor's memory goes to the next one as
// soon as nobody reads it: what the head needs is free again when the layers' backward passes begin.
func (p *Plan) OnGPU() {
	e := newMemoryEstimate(p.config, &p.shape, p.stored, p, p.teacher)
	e.gpu, e.bf16 = true, false
	p.Memory = e.sum()
	var again int64 // the inside of a layer that runs forward once more, which is not there beside the head
	if p.config.Compute.Recompute {
		again = e.layer()
	}
	p.Memory.Activations -= again
	p.Memory.Workspace = max(e.loss(), again+e.backward())
}
