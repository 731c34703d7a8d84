package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/cluster"
)

// dealKey finds the ranks that deal this command's work out among themselves in its context.
type dealKey struct{}

// dealing returns the ranks that each do a part of the command's work; nil where there is one process.
func dealing(ctx context.Context) *rank {
	r, _ := ctx.Value(dealKey{}).(*rank)
	return r
}

// leaveGrace is how long a rank that was told to end waits for the others to hear it, too.
const leaveGrace = 5 * time.Second

// severalRanks says whether a launcher started this process as one of several that have to do with each other. An Indexed
// Job of Kubernetes numbers processes that have not.
func severalRanks() (bool, error) {
	world, err := cluster.Detect(os.Getenv)
	switch world.Launcher {
	case "Kubernetes", "Kubeflow", "torchrun": // they number processes and pods, which MPI does not connect
		return false, nil
	}
	return err == nil && world.Size > 1, err
}

// onEachRank runs a command on every rank of several; dealing(ctx) says which.
func onEachRank(cmd *cobra.Command, args []string, run func(*cobra.Command, []string) error) error {
	r, err := joinRanks(cmd.Context(), cmd.ErrOrStderr(), idlePatience)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	cmd.SetContext(context.WithValue(ctx, dealKey{}, r))
	err = run(cmd, args)
	leaving, cancel := context.WithoutCancel(ctx), func() {}
	if ctx.Err() != nil {
		leaving, cancel = context.WithTimeout(leaving, leaveGrace)
	}
	defer cancel()
	return r.leave(leaving, err)
}

// who begins this rank's lines: nothing for the first, which speaks for all.
func (r *rank) who() string {
	if r == nil || r.first() {
		return ""
	}
	return fmt.Sprintf("rank %d: ", r.comm.Rank())
}
