//go:build !unix

package main

import "os"

// stopSignals are further signals that stop a training run; this system has none.
var stopSignals []os.Signal
