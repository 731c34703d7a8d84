package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"leolm/internal/screen"
)

// isTerminal tells whether x, a command's input or output, is a terminal.
func isTerminal(x any) bool {
	switch f := x.(type) {
	case *screen.Writer:
		return f.Terminal()
	case *os.File:
		return term.IsTerminal(int(f.Fd()))
	}
	return false
}

// rawWriter is where a command draws: what it writes there must be its own, or have gone through package screen.
func rawWriter(w io.Writer) io.Writer {
	if s, ok := w.(*screen.Writer); ok {
		return s.Raw()
	}
	return w
}

// exactWriter is standard output for text that other programs read: byte for byte, unless a terminal shows it.
func exactWriter(cmd *cobra.Command) io.Writer {
	if s, ok := cmd.OutOrStdout().(*screen.Writer); ok {
		return s.Exact()
	}
	return cmd.OutOrStdout()
}

// notices writes the program's own words on a terminal, broken between words.
type notices struct{ w *screen.Writer }

func (n notices) Write(p []byte) (int, error) {
	columns, _ := n.w.Size()
	if _, err := io.WriteString(n.w.Raw(), screen.Wrap(screen.Harmless(string(p)), columns)); err != nil {
		return 0, err
	}
	return len(p), nil
}
