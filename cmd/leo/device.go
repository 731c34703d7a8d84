package main

import (
	"errors"

	"leolm/device/cpu"
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
