package vulkan

import (
	"errors"
	"testing"

	"leolm/device"
	"leolm/device/devicetest"
	"leolm/internal/vulkan"
)

// newDevice opens the device that Leo chooses, with little memory, and looks for leaks at the end; without a loader or a
// device the test is skipped.
func newDevice(t *testing.T, o vulkan.Options) *Device {
	t.Helper()
	o.Index = Best
	d, err := open(o)
	var library *vulkan.LibraryError
	var none *vulkan.NoDeviceError
	if errors.As(err, &library) || errors.As(err, &none) {
		t.Skip(err)
	}
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
	devicetest.RunInference(t, func(t *testing.T) device.Runner { return newDevice(t, vulkan.Options{}) })
}
