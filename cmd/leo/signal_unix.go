//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals are further signals that stop a training run after a checkpoint: sites have schedulers send one or the other
// when time is nearly up.
var stopSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2}
