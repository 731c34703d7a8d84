package main

import (
	"errors"

	"leolm/device/cpu"
)

// newDevice makes the device that everything runs on.
func newDevice(threads int) (*cpu.Device, error) {
	dev, err := cpu.New(cpu.Options{Threads: threads})
	return dev, usageOfLevel(err)
}

// usageOfLevel makes a usage error of LEO_CPU naming an instruction set that this machine lacks.
func usageOfLevel(err error) error {
	if level := (*cpu.LevelError)(nil); errors.As(err, &level) {
		return usageError{err}
	}
	return err
}
