//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals are further signals that stop a training run after a checkpoint: Slurm sends SIGUSR1 when time is nearly up.
var stopSignals = []os.Signal{syscall.SIGUSR1}
