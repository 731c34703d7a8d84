//go:build nodl || !linux || !(amd64 || arm64)

package cluster

import (
	"context"
	"errors"
)

// openMPI is not part of this build.
func openMPI(context.Context, World, Options) (*Comm, error) {
	return nil, &LibraryError{Tried: []string{"libmpi"}, Errs: []error{ErrNoMPI}}
}

// ErrNoMPI says that this build loads no libraries.
var ErrNoMPI = errors.New("this program was built without MPI (tag nodl, or a system where Leo has none)")
