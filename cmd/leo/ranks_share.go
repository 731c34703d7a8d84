package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/cluster"
	"leolm/open"
)

// ranksKey finds the ranks that share this command's models in its context.
type ranksKey struct{}

// ranksOf returns the ranks that share models; nil where there is one process.
func ranksOf(ctx context.Context) *open.Ranks {
	r, _ := ctx.Value(ranksKey{}).(*open.Ranks)
	return r
}

// A rank waits as long as rank 0 has nothing to do: for good, when a server is idle. A rank that was told to end waits so
// long for rank 0, which was told too, to finish what it does.
const (
	idlePatience  = 10 * 365 * 24 * time.Hour
	followerGrace = time.Minute
)

// byRanks lets a command that runs models run under a launcher: on rank 0 as if it were alone, with its models shared among
// all ranks.
func byRanks(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		whole, err := replicated(cmd)
		if err != nil {
			return err
		}
		several, err := severalRanks()
		if err != nil {
			return err
		}
		if !several {
			return run(cmd, args)
		}
		if whole {
			return onEachRank(cmd, args, run)
		}
		r, err := joinRanks(cmd.Context(), cmd.ErrOrStderr(), idlePatience)
		if err != nil {
			return err
		}
		ranks := open.NewRanks(cluster.NewShared(r.comm), r.threads(0))
		if r.first() {
			cmd.SetContext(context.WithValue(cmd.Context(), ranksKey{}, ranks))
			err = run(cmd, args)
			if end := ranks.End(); end != nil { // the others wait for something that does not come
				r.comm.Abort(end)
				return errors.Join(err, end)
			}
		} else if err = r.follow(cmd.Context(), ranks); err != nil {
			r.comm.Abort(err)
			return err
		}
		return r.leave(context.WithoutCancel(cmd.Context()), err)
	}
	return cmd
}

// follow does this rank's part of what rank 0 does. A signal that ends the program is rank 0's to obey; if only this rank
// got it, it ends all.
func (r *rank) follow(ctx context.Context, ranks *open.Ranks) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(followerGrace):
			r.comm.Abort(errors.New("it was told to end, and rank 0 goes on"))
		}
	}()
	return ranks.Follow(context.WithoutCancel(ctx))
}
