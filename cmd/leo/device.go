package main

import (
	"errors"

	"leolm/device/cpu"
)

// newDevice returns the CPU device.
func newDevice(threads int) (*cpu.Device, error) {
	dev, err := cpu.New(cpu.Options{Threads: threads})
	return dev, usageOfLevel(err)
}

// usageOfLevel turns the error of a LEO_CPU that this machine cannot run into a usage error.
func usageOfLevel(err error) error {
	if level := (*cpu.LevelError)(nil); errors.As(err, &level) {
		return usageError{err}
	}
	return err
}
