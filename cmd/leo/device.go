package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"leolm/device/cpu"
	"leolm/device/vulkan"
	"leolm/open"
)

// newDevice returns the CPU device.
func newDevice(threads int) (*cpu.Device, error) {
	dev, err := cpu.New(cpu.Options{Threads: threads})
	return dev, usageOfLevel(err)
}

// trainer opens the device that this process trains on.
func (r *rank) trainer(on string, threads int) (*open.Trainer, error) {
	if r.comm.Size() > 1 {
		if on != open.OnCPU && on != open.OnAuto {
			return nil, open.ErrRanksOnGPU
		}
		on = open.OnCPU
	}
	dev, err := open.Training(on, r.threads(threads))
	return dev, usageOfLevel(err)
}

// usageOfLevel turns the error of a LEO_CPU that this machine cannot run into a usage error.
func usageOfLevel(err error) error {
	if level := (*cpu.LevelError)(nil); errors.As(err, &level) {
		return usageError{err}
	}
	return err
}

// gpuFlags say whether a GPU runs a model, and how much of it.
type gpuFlags struct {
	device, layers, memory string
	flags                  *pflag.FlagSet
}

const (
	deviceHelp    = "where the model runs: cpu, gpu or gpu:N (through Vulkan), or auto (a GPU if there is one)"
	gpuLayersHelp = "how many of the last layers a GPU runs, the output counted as one, and the processor the rest: a number, auto (as many as fit) or all; a number or auto means --device gpu"
	gpuMemoryHelp = "the most that is taken of a GPU's memory, such as 6GiB (default: what is free); means --device gpu"
)

func (f *gpuFlags) register(cmd *cobra.Command) {
	f.flags = cmd.Flags()
	f.flags.StringVar(&f.device, "device", open.OnCPU, deviceHelp)
	f.flags.StringVar(&f.layers, "gpu-layers", open.AllLayers, gpuLayersHelp)
	f.flags.StringVar(&f.memory, "gpu-memory", "", gpuMemoryHelp)
	completeWith(cmd, "device", open.OnCPU, open.OnGPU, open.OnAuto)
	completeWith(cmd, "gpu-layers", open.AutoLayers, open.AllLayers)
}

// set takes the flags over into opt.
func (f *gpuFlags) set(opt *open.Options) error {
	return setGPU(opt, f.device, f.layers, f.memory, f.flags.Changed("device"))
}

// setGPU takes settings over into opt. Layers for a GPU and a limit of its memory choose one, unless a device was chosen.
func setGPU(opt *open.Options, on, layers, memory string, chosen bool) error {
	if err := open.CheckDevice(on); err != nil {
		return usageError{fmt.Errorf("--device: %w", err)}
	}
	if err := open.CheckGPULayers(layers); err != nil {
		return usageError{fmt.Errorf("--gpu-layers: %w", err)}
	}
	some := layers != "" && layers != open.AllLayers
	switch {
	case !chosen && (some || memory != ""):
		on = open.OnGPU
	case some && on == open.OnCPU && layers != "0":
		return usageError{fmt.Errorf("--gpu-layers %s with --device %s: say --device %s, or leave it out", layers, on, open.OnGPU)}
	case memory != "" && on == open.OnCPU:
		return usageError{fmt.Errorf("--gpu-memory %s with --device %s: say --device %s, or leave it out", memory, on, open.OnGPU)}
	}
	opt.On, opt.GPULayers = on, layers
	if memory != "" {
		n, err := parseBytes(memory)
		if err != nil {
			return usageError{fmt.Errorf("--gpu-memory: %w", err)}
		}
		opt.GPUMemory = vulkan.NewBudget(n)
	}
	return nil
}
