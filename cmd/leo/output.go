package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"leolm/internal/screen"
)

// isTerminal reports whether x, a command's input or output, is a terminal.
func isTerminal(x any) bool {
	switch f := x.(type) {
	case *screen.Writer:
		return f.Terminal()
	case *os.File:
		return term.IsTerminal(int(f.Fd()))
	}
	return false
}

// rawWriter returns w without escaping, for drawing. Only the program's own text, or text that package screen has
// escaped, may go there.
func rawWriter(w io.Writer) io.Writer {
	if s, ok := w.(*screen.Writer); ok {
		return s.Raw()
	}
	return w
}

// exactWriter returns standard output for text that other programs read: byte for byte, but escaped on a terminal.
func exactWriter(cmd *cobra.Command) io.Writer {
	if s, ok := cmd.OutOrStdout().(*screen.Writer); ok {
		return s.Exact()
	}
	return cmd.OutOrStdout()
}

// notices writes the program's own messages to a terminal, wrapped between words.
type notices struct{ w *screen.Writer }

func (n notices) Write(p []byte) (int, error) {
	columns, _ := n.w.Size()
	if _, err := io.WriteString(n.w.Raw(), screen.Wrap(screen.Harmless(string(p)), columns)); err != nil {
		return 0, err
	}
	return len(p), nil
}
