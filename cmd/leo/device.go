package main

import (
	"errors"

	"leolm/device/cpu"
)

// newDevice makes the device that everything runs on.
func newDevice(threads int) (*cpu.Device, error) {
	dev, err := cpu.New(cpu.Options{Threads: threads})
	if level := (*cpu.LevelError)(nil); errors.As(err, &level) {
		return nil, usageError{err}
	}
	return dev, err
}
