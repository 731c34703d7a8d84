package open

import (
	"errors"

	"leolm/device/vulkan"
)

// GPULimits measures the GPU that a value of Options.On means, and says which one it is; nil if it means the processor.
// Errors are those of opening a model there.
func GPULimits(on string) (*vulkan.Limits, string, error) {
	kind, index, err := deviceName(on)
	if err != nil || kind != OnGPU && kind != OnAuto {
		return nil, "", err
	}
	gpu, err := vulkan.New(vulkan.Options{Index: index})
	if err != nil {
		if kind == OnAuto {
			err = nil
		}
		return nil, "", err
	}
	if kind == OnAuto && gpu.Processor() {
		return nil, "", gpu.Close()
	}
	limits, err := gpu.Limits()
	name := gpu.Name()
	return &limits, name, errors.Join(err, gpu.Close())
}
