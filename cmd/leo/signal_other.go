//go:build !unix

package main

import "os"

// saveSignals ask a training run for a checkpoint; there are none on this system.
var saveSignals []os.Signal
