package open

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

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
	gpu, err := openGPU(on, vulkan.Options{Limit: opt.GPUMemory})
	if err != nil {
		return err
	}
	if gpu == nil {
		return m.onProcessor(opt)
	}
	m.Device, m.gpu = gpu, gpu
	if gpu.Processor() {
		m.note("The GPU's driver computes on the processor: %s.", gpu.Name())
	}
	return nil
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
	if m.ranks != nil {
		layout, err := llama.Split(m.Config(), m.ranks.group.Size())
		if err != nil {
			return err
		}
		m.split = split.New(dev, m.ranks.group, layout)
		m.Device = m.split
	}
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
