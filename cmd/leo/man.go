package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"leolm/internal/durable"
)

func newManCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man --dir DIR",
		Short: "Write manual pages, one for each command",
		Long: `Write manual pages, one for each command, into a folder. man finds them in the
folder man1 of a folder that MANPATH names.`,
		Example: "  leo man --dir ~/.local/share/man/man1\n  man leo-chat",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usageError{fmt.Errorf("--dir is needed: the folder to write into")}
			}
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return err
			}
			v := buildVersion()
			head := doc.GenManHeader{Section: "1", Source: "leo " + v.Version, Manual: "Leo"}
			if t, err := time.Parse(time.RFC3339, v.Date); err == nil {
				head.Date = &t // the same build writes the same pages
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			n, err := writeManPages(root, head, dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d pages in %s\n", n, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write into")
	return cmd
}

// writeManPages writes the pages of a command and of its subcommands.
func writeManPages(cmd *cobra.Command, head doc.GenManHeader, dir string) (int, error) {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + "." + head.Section
	own := head // GenMan fills it in
	err := durable.WriteTo(filepath.Join(dir, name), func(w io.Writer) error { return doc.GenMan(cmd, &own, w) })
	n := 1
	for _, c := range cmd.Commands() {
		if err != nil {
			return n, err
		}
		if c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			var more int
			more, err = writeManPages(c, head, dir)
			n += more
		}
	}
	return n, err
}
