package open

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/split"
	"leolm/device/vulkan"
	"leolm/llama"
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
	on := opt.On
	if m.ranks != nil {
		switch kind, _, err := deviceName(on); {
		case err != nil:
			return err
		case kind == OnGPU:
			return ErrRanksOnGPU
		}
		on = OnCPU
	}
	if err := CheckGPULayers(opt.GPULayers); err != nil {
		return err
	}
	if opt.GPULayers == "0" {
		on = OnCPU
	}
	gpu, err := openGPU(on, vulkan.Options{Budget: opt.GPUMemory})
	if err != nil {
		return err
	}
	if gpu == nil {
		return m.onProcessor(opt)
	}
	return m.onGPU(gpu, opt)
}

// ErrRanksOnGPU is what opening a model on a GPU returns where ranks share it.
var ErrRanksOnGPU = errors.New("several processes share this model, and they do so on their processors only: it cannot run on a GPU")

// onProcessor makes the device that runs the model on the processor: all of it, or a rank's part.
func (m *Model) onProcessor(opt Options) error {
	threads := opt.Threads
	if threads == 0 && m.ranks != nil {
		threads = m.ranks.threads
	}
	dev, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		return err
	}
	m.Device = dev
	part, share := "", m.Checkpoint.Size()
	if m.ranks != nil {
		layout, err := llama.Split(m.Config(), m.ranks.group.Size())
		if err != nil {
			return err
		}
		m.split = split.New(dev, m.ranks.group, layout)
		m.Device = m.split
		share /= int64(m.ranks.group.Size())
		part = fmt.Sprintf("-%d-of-%d", m.ranks.group.Rank(), m.ranks.group.Size())
	}
	m.openStore(dev, opt, part, share)
	return nil
}

// OnGPU reports whether the model, or a part of it, runs on a GPU that Open chose.
func (m *Model) OnGPU() bool { return m.gpu != nil }

// closeDevice gives the memory of a GPU back: all of it, or, where the device goes on, what this model has there.
func (m *Model) closeDevice() error {
	if m.gpu != nil {
		gpu := m.gpu
		m.gpu, m.Device = nil, nil
		return gpu.Close()
	}
	if m.Engine == nil {
		return nil
	}
	if dev, ok := m.Device.(device.Freer); ok {
		m.Engine.Free()
		m.Engine.Model().Free(dev, m.shares)
		return dev.Sync()
	}
	return nil
}
