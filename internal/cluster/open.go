package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/zeebo/xxh3"

	"leolm/internal/kernel/cpu"
)

// How often a rank says that it is alive, and after which silence it is held for dead: all must have ended 10 s after a
// death.
const (
	beatEvery      = 500 * time.Millisecond
	defaultSilence = 6 * time.Second
)

// Options of Open. The zero value is right for most.
type Options struct {
	// Backend is "mpi", "local" (one rank only), or "" for whichever the launcher asks for.
	Backend string
	// Library is the file or name of the MPI library; "" looks at LEO_MPI, and for the usual names.
	Library string
	// Silence is after how long without a sign of life a rank is dead; 0 is 6 s.
	Silence time.Duration
	// Patience is after how long a rank that waits for others notes whom it waits for; 0 is a minute.
	Patience time.Duration
	// Facts must be the same on all ranks; the program's version and its CPU level are compared in any case.
	Facts []Fact
	// Lost is told why the run ends: a *DeadError or *AbortError. The process ends soon afterwards. nil prints it.
	Lost func(error)
	// Note is told what is odd about this start; nil drops it.
	Note func(format string, args ...any)
	// Detail is told what is as it should be, and helps whoever looks for a fault; nil drops it.
	Detail func(format string, args ...any)

	piece   int           // bytes; tests of cutting
	closing time.Duration // tests of closeGrace; 0 is that
}

func (o *Options) note(format string, args ...any) {
	if o.Note != nil {
		o.Note(format, args...)
	}
}

func (o *Options) detail(format string, args ...any) {
	if o.Detail != nil {
		o.Detail(format, args...)
	}
}

// Open joins the group of all ranks of w. It refuses one whose size is not what the launcher says (*SizeError), and
// ranks of other versions, CPU levels or facts (*DisagreeError). A program that has called it starts no processes any
// more: memory that network cards know does not survive a fork.
func Open(ctx context.Context, w World, o Options) (*Comm, error) {
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	c, err := open(ctx, w, o)
	if err != nil {
		return nil, err
	}
	if c.size > 1 {
		if err := c.exchangeSeats(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.Agree(ctx, append(buildFacts(), o.Facts...)...); err != nil {
		// All ranks have the same error, and leave together.
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

func open(ctx context.Context, w World, o Options) (*Comm, error) {
	backend := o.Backend
	if backend == "" {
		if backend = "mpi"; w.Launcher == "" || w.Size == 1 {
			backend = "local"
		}
	}
	switch backend {
	case "local":
		if w.Size > 1 {
			return nil, fmt.Errorf("cluster: the launcher (%s) says %d ranks; the local back end has one", w.Launcher, w.Size)
		}
		all, err := Local(1, Faults{}, o)
		if err != nil {
			return nil, err
		}
		return all[0], nil
	case "mpi":
		return openMPI(ctx, w, o)
	}
	return nil, fmt.Errorf("cluster: unknown back end %q", backend)
}

// exchangeSeats tells all ranks where all run, and notes what is odd about it.
func (c *Comm) exchangeSeats(ctx context.Context) error {
	mine, err := json.Marshal(thisSeat())
	if err != nil {
		return err
	}
	all, err := c.Gather(ctx, mine)
	if err != nil {
		return err
	}
	seats := make([]Seat, len(all))
	for r, text := range all {
		if err := json.Unmarshal(text, &seats[r]); err != nil {
			return fmt.Errorf("cluster: the seat of rank %d: %w", r, err)
		}
	}
	c.seats = seats
	if err := c.start(func() error { c.engine.life.seated(seats); return nil }).Wait(ctx); err != nil {
		return err
	}
	if odd := c.Place().odd(); odd != "" {
		c.engine.opts.note("%s", odd)
	}
	return nil
}

// buildFacts is what this program is. The digest of its file tells builds apart that have no version.
func buildFacts() []Fact {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	return []Fact{
		{"the version of the program", version},
		{"the program's file", programDigest()},
		{"the kind of processor", runtime.GOARCH},
		{"the CPU level (LEO_CPU)", (cpu.Active &^ (cpu.Wide | cpu.AVXVNNI)).String()}, // results are the same without these
	}
}

// programDigest is the XXH3 of this program's file, or "unknown".
func programDigest() string {
	path, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	h := xxh3.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
