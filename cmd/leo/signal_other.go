//go:build !unix

package main

import "os"

// stopSignals stop a training run beside the usual ones; there are none on this system.
var stopSignals []os.Signal
