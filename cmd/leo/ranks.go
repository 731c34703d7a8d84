package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"leolm/dataset/corpus"
	"leolm/internal/cluster"
	"leolm/open"
	"leolm/train"
)

// rank is this process among those that a launcher started for one run.
type rank struct {
	comm *cluster.Comm
	log  *rankLog
}

// joinRanks joins the processes of the launcher: one rank, where there is none. What is odd is told to stderr, and after
// patience (0: a minute) who waits for whom.
func joinRanks(ctx context.Context, stderr io.Writer, patience time.Duration) (*rank, error) {
	world, err := cluster.Detect(os.Getenv)
	if err != nil {
		return nil, err
	}
	r := &rank{log: &rankLog{screen: stderr, prefix: fmt.Sprintf("rank %d: ", world.Rank), quiet: world.Rank > 0}}
	if world.Size == 1 {
		r.log.prefix = ""
	}
	r.comm, err = cluster.Open(ctx, world, cluster.Options{
		Patience: patience,
		Note:     func(format string, args ...any) { fmt.Fprintf(r.log, format+"\n", args...) },
		Detail:   func(format string, args ...any) { r.log.only(format+"\n", args...) },
		Lost: func(err error) {
			fmt.Fprintf(stderr, "%s%v\n", r.log.prefix, err)
			r.log.only("%v\n", err)
		},
	})
	return r, err
}

// threads is how many workers this rank should have: what was asked for, else its share of the processors.
func (r *rank) threads(asked int) int {
	if r.comm.Size() == 1 {
		return asked
	}
	p := r.comm.Place()
	if asked <= 0 {
		return p.Threads
	}
	if crowded := p.Crowded(asked); crowded != "" {
		fmt.Fprintln(r.log, crowded)
	}
	return asked
}

// first reports whether this rank speaks for all.
func (r *rank) first() bool { return r.comm.Rank() == 0 }

// keepLog begins to keep what this rank says in the run's folder.
func (r *rank) keepLog(output string) error {
	if r.comm.Size() == 1 {
		return nil
	}
	dir := filepath.Join(output, "logs")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("rank-%05d.log", r.comm.Rank())), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	r.log.keep(f)
	seat := r.comm.Seats()[r.comm.Rank()]
	r.log.only("%s: rank %d of %d on %s, process %d, processors %s\n",
		time.Now().Format(time.RFC3339), r.comm.Rank(), r.comm.Size(), seat.Node, seat.PID, seat.CPUs)
	return nil
}

// leave ends the cluster with the outcome of the run. An error that the others do not know ends them, too; one that all
// have is shown by the rank whose it is.
func (r *rank) leave(ctx context.Context, err error) error {
	if r.comm.Size() == 1 || err == nil || errors.Is(err, errSilent) {
		if closing := r.comm.Close(ctx); err == nil {
			return closing
		}
		return err
	}
	r.log.only("%v\n", err)
	var other *train.RankError
	var differ *train.RanksDifferError
	var parts *train.PartsError
	var task *corpus.RankError
	var plans *corpus.PlansDifferError
	var model *open.RankError
	var models *open.DifferError
	switch {
	case errors.As(err, &other), errors.As(err, &differ), errors.As(err, &parts), errors.As(err, &task), errors.As(err, &plans),
		errors.As(err, &model), errors.As(err, &models):
		_ = r.comm.Close(ctx) // the run has failed already
		if !r.first() {
			return errSilent
		}
		return err
	}
	if e := r.comm.Close(ctx); e == nil {
		return err // all ranks came to an end
	}
	fmt.Fprintf(r.log.screen, "%s%v\n", r.log.prefix, err) // nobody else may have the time to
	r.comm.Abort(err)
	return err
}

// rankLog is what a rank says: on the screen, if it speaks for all, and in a file of its own.
type rankLog struct {
	mu     sync.Mutex
	screen io.Writer
	prefix string
	quiet  bool
	file   *os.File
	early  []byte // before there was a file
}

// mostEarly bounds what is kept for a file, in bytes.
const mostEarly = 1 << 16

// Write implements io.Writer.
func (l *rankLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if _, err := l.file.Write(p); err != nil {
			return 0, err
		}
	} else if len(l.early) < mostEarly {
		l.early = append(l.early, p...)
	}
	if l.quiet {
		return len(p), nil
	}
	return l.screen.Write(p)
}

// only writes into the file, now or when there is one.
func (l *rankLog) only(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_, _ = fmt.Fprintf(l.file, format, args...) // the run's outcome does not depend on it
	} else if len(l.early) < mostEarly {
		l.early = fmt.Appendf(l.early, format, args...)
	}
}

// keep takes a file.
func (l *rankLog) keep(f *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = f
	_, _ = f.Write(l.early) // notes
	l.early = nil
}
