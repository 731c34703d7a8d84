package cluster

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Seat is where a rank runs.
type Seat struct {
	Node    string // host name
	Machine string // tells machines apart whose containers have any names; "" where that is not known
	PIDs    string // the numbering of processes that PID is of; "" where that is not known
	PID     int
	CPUs    string // processors that it may run on, such as "0-3,8"; "" where that is not known
}

func (s Seat) String() string {
	if s.Node == "" {
		return "" // died before it said so
	}
	return fmt.Sprintf(" (on %s, process %d)", s.Node, s.PID)
}

// DeadError says that another rank is gone.
type DeadError struct {
	Rank   int // of the whole run
	Seat   Seat
	Silent time.Duration // since it was last heard of; 0 if it was seen to end
	By     int           // the rank that noticed; this one's own where nobody else did
	Cause  string        // what the library said, if that is how it was noticed
	Call   string        // the last call of the rank that has this error; "" before its first
}

func (e *DeadError) Error() string {
	s := fmt.Sprintf("cluster: rank %d%v has died", e.Rank, e.Seat)
	if e.Silent > 0 {
		s += fmt.Sprintf(": nothing heard for %.0f s by rank %d", e.Silent.Seconds(), e.By)
	}
	if e.Cause != "" {
		s += ": " + e.Cause
	}
	if e.Call != "" {
		s += "; the last call of this rank was " + e.Call
	}
	return s
}

// AbortError says that another rank has ended the run.
type AbortError struct {
	Rank   int // of the whole run
	Seat   Seat
	Reason string
}

func (e *AbortError) Error() string {
	return fmt.Sprintf("cluster: rank %d%v has ended the run: %s", e.Rank, e.Seat, e.Reason)
}

// SizeError says that launcher and library do not agree on the ranks: usually the library is not the launcher's, and
// every process believes itself alone.
type SizeError struct {
	Launcher         string
	Library          string
	Rank, Size       int // what the launcher says; Size 0 if it does not
	GotRank, GotSize int // what the library says
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("cluster: the launcher (%s) says rank %d of %d, the MPI library rank %d of %d (%s)",
		e.Launcher, e.Rank, e.Size, e.GotRank, e.GotSize, e.Library)
}

// LibraryError says that no MPI library could be used.
type LibraryError struct {
	Tried []string // names
	Errs  []error  // why not, for each
}

func (e *LibraryError) Error() string {
	if len(e.Tried) == 0 {
		return "cluster: no MPI library"
	}
	var b strings.Builder
	b.WriteString("cluster: no MPI library could be loaded:")
	for i, name := range e.Tried {
		fmt.Fprintf(&b, "\n  %s: %v", name, e.Errs[i])
	}
	return b.String()
}

// Unwrap returns why the libraries could not be used.
func (e *LibraryError) Unwrap() []error { return e.Errs }

// MPIError is a failed call of the MPI library.
type MPIError struct {
	Call string
	Code int
	Text string
}

func (e *MPIError) Error() string {
	return fmt.Sprintf("cluster: %s: %s (code %d)", e.Call, e.Text, e.Code)
}

// Difference is a fact that two ranks do not agree on.
type Difference struct {
	Name   string
	Ranks  [2]int
	Values [2]string
}

// DisagreeError lists what ranks do not agree on: for each fact rank 0 and the first that differs.
type DisagreeError struct{ Differences []Difference }

func (e *DisagreeError) Error() string {
	var b strings.Builder
	b.WriteString("cluster: the ranks differ")
	for i, d := range e.Differences {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s is %s on rank %d and %s on rank %d", sep, d.Name, d.Values[0], d.Ranks[0], d.Values[1], d.Ranks[1])
	}
	return b.String()
}

// ErrNoMPI says that this build loads no libraries.
var ErrNoMPI = errors.New("this program was built without MPI (tag nodl, or a system where Leo has none)")
