//go:build nodl || !linux || !(amd64 || arm64)

package cluster

import (
	"context"
	"os"
)

// openMPI is not part of this build.
func openMPI(context.Context, World, Options) (*Comm, error) {
	return nil, &LibraryError{Tried: []string{"libmpi"}, Errs: []error{ErrNoMPI}}
}

// Exit ends the process.
func Exit(code int) { os.Exit(code) }
