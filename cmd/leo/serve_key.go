package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"leolm/serve/apikey"
)

func newServeKeyCmd() *cobra.Command {
	var file string
	var admin bool
	var requests, tokens, concurrent int
	cmd := &cobra.Command{
		Use:   "key NAME",
		Short: "Make an API key",
		Long: `Make an API key for a person or a program. The key is printed this one time; what is kept of it is the line with its
SHA-256. With --keys the line goes to the end of a file, which a running server notices within a second or two.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, line, err := apikey.New(args[0])
			if err != nil {
				return usageError{err}
			}
			if admin {
				line += " admin"
			}
			for _, l := range []struct {
				name string
				n    int
			}{{"requests", requests}, {"tokens", tokens}, {"concurrent", concurrent}} {
				if l.n < 0 {
					return usageError{fmt.Errorf("--%s must not be negative", l.name)}
				}
				if l.n > 0 {
					line += fmt.Sprintf(" %s=%d", l.name, l.n)
				}
			}
			if file == "" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n", secret)
				fmt.Fprintf(cmd.ErrOrStderr(), "the line for the file of keys:\n%s\n", line)
				return nil
			}
			if err := apikey.Append(file, line); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", secret)
			fmt.Fprintf(cmd.ErrOrStderr(), "%s may use it; its line is in %s\n", args[0], file)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&file, "keys", "", "file of keys to add the line to; it need not exist")
	fl.BoolVar(&admin, "admin", false, "a key for an administrator")
	fl.IntVar(&requests, "requests", 0, "requests that it may send in a minute (0: any number)")
	fl.IntVar(&tokens, "tokens", 0, "tokens of prompts and answers in a minute (0: any number)")
	fl.IntVar(&concurrent, "concurrent", 0, "requests at a time (0: any number)")
	return cmd
}
