// Command leo prepares German data, trains Llama models on it, evaluates them,
// chats with them, converts and quantizes them.
//
// This package owns flags, help, progress, the terminal, and the advice that goes
// with an error (hints.go); every step is a package of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"leolm/internal/cluster"
	"leolm/internal/mapped"
	"leolm/internal/screen"
)

// usageError marks a mistake on the command line: exit status 2 instead of 1.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent ends the program with status 1 when the command has already said why.
var errSilent = errors.New("failed")

func main() { cluster.Exit(run()) }

// run is main without the exit, so that testscript can call it.
func run() int {
	ctx, stop := stoppable(context.Background())
	defer stop()
	out, errOut := screen.New(os.Stdout), screen.New(os.Stderr)
	root := newRootCmd()
	root.SetOut(out)
	root.SetErr(errOut)
	ran := root
	err := mapped.Guard(func() (err error) {
		ran, err = root.ExecuteContextC(ctx)
		return err
	})
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	if err != nil && !errors.Is(err, errSilent) {
		fmt.Fprintf(errOut, "leo: %s\n", message(ran, err))
	}
	_ = errOut.Flush() // there is nowhere left to report it
	var u usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &u):
		return 2
	}
	return 1
}

// message is what the user of cmd reads about err.
func message(cmd *cobra.Command, err error) string {
	if interrupted(err) {
		return "interrupted"
	}
	text, hint := err.Error(), advise(cmd, err)
	if strings.Contains(text, "\n") { // it ends with the line of a file
		hint = strings.Replace(hint, "; ", "\n", 1)
	}
	return text + hint
}

// interrupted reports whether the user ended the command, and nothing else went wrong.
func interrupted(err error) bool {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return interrupted(e.Unwrap())
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(e error) bool { return !interrupted(e) })
	}
	return err == context.Canceled
}

func init() { cobra.AddTemplateFunc("version", func() string { return readVersion().short() }) }

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "leo",
		Short:         "German language models of your own: data, training, evaluation, chat",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	// The real version is looked up only when it is printed: a build without a stamp asks git.
	root.Version = "of the build"
	root.SetVersionTemplate("{{version}}\n")
	root.AddCommand(
		newBenchCmd(),
		byRanks(newChatCmd()),
		byRanks(newGenerateCmd()),
		byRanks(newServeCmd()),
		newEvalCmd(),
		newCardCmd(),
		newTrainCmd(),
		newVersionCmd(),
		newInspectCmd(), newConvertCmd(), newQuantizeCmd(), newPullCmd(),
		newDataCmd(),
		newTokenizerCmd(),
		newManCmd(),
	)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args = usageArgs(cobra.NoArgs)
			c.RunE = func(cmd *cobra.Command, args []string) error { return cmd.Help() }
		case "help":
			c.Args = func(cmd *cobra.Command, args []string) error {
				if about, rest, _ := root.Find(args); len(rest) > 0 {
					return unknownCommand(about, rest[0])
				}
				return nil
			}
		}
	}
	return root
}

// usageArgs turns the error of a positional-argument check into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() && len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
		}
		return nil
	}
}
