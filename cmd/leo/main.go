// Command leo prepares German data, trains Llama models on it, evaluates them,
// chats with them, serves them and writes their model card.
//
// This package owns flags, help, progress and terminal pages; every step is a
// package of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"leolm/internal/mapped"
)

// usageError marks a wrong command line: exit status 2 instead of 1.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent ends the program with status 1 when the command has already said why.
var errSilent = errors.New("failed")

func main() { os.Exit(run()) }

// run is main without os.Exit, so that testscript can call it.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who asks twice is not kept waiting: the second signal ends the program
	err := mapped.Guard(func() error { return newRootCmd().ExecuteContext(ctx) })
	if err == nil {
		return 0
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintln(os.Stderr, "leo:", err)
	}
	var u usageError
	if errors.As(err, &u) {
		return 2
	}
	return 1
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "leo",
		Short:         "German language models of your own: data, training, evaluation, chat",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newBenchCmd(),
		newChatCmd(),
		newGenerateCmd(),
		newEvalCmd(),
		newTrainCmd(),
		newVersionCmd(),
		newInspectCmd(), newConvertCmd(), newQuantizeCmd(), newPullCmd(),
		newDataCmd(),
		newTokenizerCmd(),
	)
	return root
}

// usageArgs turns the error of a positional-argument check into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
		}
		return nil
	}
}
