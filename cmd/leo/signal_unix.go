//go:build unix

package main

import (
	"os"
	"syscall"
)

// saveSignals ask a training run for a checkpoint; Slurm sends SIGUSR1 when time is nearly up.
var saveSignals = []os.Signal{syscall.SIGUSR1}
