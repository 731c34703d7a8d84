package train

import (
	"os"
	"testing"

	"leolm/device"
	"leolm/device/vulkan"
	"leolm/tensor"
)

// newGPU opens the GPU that Leo chooses; a test that needs one is skipped unless it was asked for.
func newGPU(t *testing.T, compute tensor.DType) *vulkan.Device {
	t.Helper()
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	dev, err := vulkan.New(vulkan.Options{Index: vulkan.Best})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := dev.SetCompute(compute); err != nil {
		t.Fatal(err)
	}
	return dev
}

// TestGPUEqualsPyTorch: gradients and ten steps of training, within what holds on the processor.
func TestGPUEqualsPyTorch(t *testing.T) {
	for what, check := range map[string]struct {
		compute tensor.DType
		f       func(t *testing.T, name string, g *golden, dev device.Device)
	}{"gradients": {tensor.F32, equalGradients}, "bf16": {tensor.BF16, likeGradients}, "steps": {tensor.F32, equalSteps}} {
		t.Run(what, func(t *testing.T) {
			for name, g := range goldens(t) {
				check.f(t, name, g, newGPU(t, check.compute))
			}
		})
	}
}
