package vulkan

import (
	"os"
	"testing"

	"leolm/device"
	"leolm/device/devicetest"
	"leolm/internal/vulkan"
)

// needVulkan skips a test unless it was asked for: drivers are code of others.
func needVulkan(t *testing.T) {
	t.Helper()
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
}

// newDevice opens the device that Leo chooses, and looks for leaks at the end.
func newDevice(t *testing.T, o vulkan.Options) *Device {
	t.Helper()
	needVulkan(t)
	o.Index = Best
	d, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return d
}

func TestCompliance(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return newDevice(t, vulkan.Options{}) })
}
