//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals stop a training run, after a checkpoint, beside the usual ones; Slurm sends SIGUSR1 when time is nearly up.
var stopSignals = []os.Signal{syscall.SIGUSR1}
