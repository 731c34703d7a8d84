package open

import (
	"fmt"
	"strconv"
	"strings"

	"leolm/device/cpu"
	"leolm/device/vulkan"
)

// Values of Options.On. A number chooses one of several GPUs: "gpu:1".
const (
	OnCPU = "cpu"
	// OnGPU is the GPU that Vulkan offers; a driver that computes on the processor counts if there is no other.
	OnGPU = "gpu"
	// OnAuto is a GPU if there is a real one that Leo can use, else the CPU.
	OnAuto = "auto"
)

// DeviceNameError says that Options.On is no name of a device.
type DeviceNameError struct{ Name string }

func (e *DeviceNameError) Error() string {
	return fmt.Sprintf("device %q: want %s, %s, %s or %s:N", e.Name, OnAuto, OnCPU, OnGPU, OnGPU)
}

// CheckDevice returns a *DeviceNameError if name is no value of Options.On.
func CheckDevice(name string) error {
	_, _, err := deviceName(name)
	return err
}

// deviceName splits a name into the kind of the device and the number of the GPU.
func deviceName(name string) (kind string, index int, err error) {
	kind, number, numbered := strings.Cut(name, ":")
	switch index = vulkan.Best; {
	case numbered && kind == OnGPU:
		if index, err = strconv.Atoi(number); err != nil || index < 0 {
			return "", 0, &DeviceNameError{name}
		}
	case numbered || kind != "" && kind != OnCPU && kind != OnGPU && kind != OnAuto:
		return "", 0, &DeviceNameError{name}
	}
	return kind, index, nil
}

// choose makes the device that opt names.
func (m *Model) choose(opt Options) error {
	kind, index, err := deviceName(opt.On)
	if err != nil {
		return err
	}
	if kind == OnGPU || kind == OnAuto {
		gpu, err := vulkan.New(vulkan.Options{Index: index, Limit: opt.GPUMemory})
		switch {
		case err == nil && (kind == OnGPU || !gpu.Processor()):
			m.Device, m.gpu = gpu, gpu
			if gpu.Processor() {
				m.note("The GPU's driver computes on the processor: %s.", gpu.Name())
			}
			return nil
		case err == nil:
			if err := gpu.Close(); err != nil {
				return err
			}
		case kind == OnGPU:
			return err
		}
	}
	dev, err := cpu.New(cpu.Options{Threads: opt.Threads})
	if err != nil {
		return err
	}
	m.Device = dev
	m.openStore(dev, opt)
	return nil
}

// OnGPU reports whether the model runs on a GPU that Open chose.
func (m *Model) OnGPU() bool { return m.gpu != nil }

// closeDevice gives the memory of a GPU back.
func (m *Model) closeDevice() error {
	if m.gpu == nil {
		return nil
	}
	gpu := m.gpu
	m.gpu = nil
	return gpu.Close()
}
