package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// nearest returns up to three words that word was probably meant to be.
func nearest(word string, words []string) []string {
	lower := strings.ToLower(word)
	var near, longer []string // by edit distance, by prefix
	best := max(1, len([]rune(word))/3)
	for _, w := range words {
		far := edits(lower, strings.ToLower(w))
		switch {
		case w == "":
		case far < best:
			near, best = []string{w}, far
		case far == best:
			near = append(near, w)
		case len(lower) >= 3 && strings.HasPrefix(strings.ToLower(w), lower):
			longer = append(longer, w)
		}
	}
	found := append(near, longer...)
	return found[:min(3, len(found))]
}

// edits is the optimal string alignment distance of two words: insertions, deletions, replacements and swaps of adjacent
// letters.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int
	last := make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			change := last[j]
			if x[i] != y[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}

// didYouMean returns the end of an error about word; "" if nothing is close to it.
func didYouMean(word, mark string, words []string) string {
	hits := nearest(word, words)
	if len(hits) == 0 {
		return ""
	}
	for i := range hits {
		hits[i] = mark + hits[i]
	}
	if len(hits) == 1 {
		return "; did you mean " + hits[0] + "?"
	}
	return "; did you mean " + strings.Join(hits[:len(hits)-1], ", ") + " or " + hits[len(hits)-1] + "?"
}

// unknownCommand is the error for a word where a subcommand was expected.
func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	return usageError{fmt.Errorf("%s has no command %q%s (see %s --help)", cmd.CommandPath(), word, didYouMean(word, "", names), cmd.CommandPath())}
}

// flagError is the error for flags that cannot be parsed.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		return unknownCommand(cmd, cmd.Flags().Arg(0)) // the flags belong to a command whose name is mistyped
	}
	hint := ""
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	slices.Sort(names)
	var missing *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &missing):
		name := missing.GetSpecifiedName()
		if short := missing.GetSpecifiedShortnames(); short != "" {
			name, _, _ = strings.Cut(short, "=") // a long flag with a single dash
		}
		hint = didYouMean(name, "--", names)
	case errors.As(err, &value):
		// -temperature parses as -t with the value emperature.
		if name, _, _ := strings.Cut(value.GetFlag().Shorthand+value.GetValue(), "="); slices.Contains(names, name) {
			hint = "; did you mean --" + name + "?"
		}
	}
	return usageError{fmt.Errorf("%w%s (see %s --help)", err, hint, cmd.CommandPath())}
}

// withHint appends the values that were probably meant to an error about one.
func withHint(err error, word string, words []string) error {
	if hint := didYouMean(word, "", words); err != nil && hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	return err
}

// completeWith lets the shell complete the values of a flag; if none matches, it still offers files.
func completeWith(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveDefault))
	if err != nil {
		panic(err) // the flag does not exist: a bug
	}
}
