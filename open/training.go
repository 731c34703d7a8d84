package open

import (
	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/vulkan"
)

// Trainer is a device that trains a model, and what there is to say about it.
type Trainer struct {
	device.Device
	// GPU is the device, if it is a GPU; else Workers is the number of the processor's threads.
	GPU     *vulkan.Device
	Workers int
}

// Training opens the device that on, a value of Options.On, names. threads are those of the processor, 0 for as many as
// this process may use processors.
func Training(on string, threads int) (*Trainer, error) {
	gpu, err := openGPU(on, vulkan.Options{})
	if err != nil {
		return nil, err
	}
	if gpu != nil {
		return &Trainer{Device: gpu, GPU: gpu}, nil
	}
	dev, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	return &Trainer{Device: dev, Workers: dev.Workers()}, nil
}

// Close gives the memory of a GPU back.
func (t *Trainer) Close() error {
	if t.GPU == nil {
		return nil
	}
	return t.GPU.Close()
}

// openGPU opens the GPU that on names; nil where that is the processor.
func openGPU(on string, o vulkan.Options) (*vulkan.Device, error) {
	kind, index, err := deviceName(on)
	if err != nil || kind != OnGPU && kind != OnAuto {
		return nil, err
	}
	o.Index = index
	gpu, err := vulkan.New(o)
	switch {
	case err == nil && (kind == OnGPU || !gpu.Processor()):
		return gpu, nil
	case err == nil:
		return nil, gpu.Close()
	case kind == OnAuto:
		return nil, nil
	}
	return nil, err
}
