package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"leolm/internal/durable"
)

// Bounds of the history of questions.
const (
	historyLines = 1000
	historyBytes = 1 << 20  // of the file, which is shortened when it has grown to twice as much
	historyEntry = 64 << 10 // longer questions are remembered until the program ends
)

// history is what was typed into chats: a line of JSON for each question, in a file that only the user may read.
// Several programs may add to it at once. It is what the editor's keys look through.
type history struct {
	path  string // "" keeps nothing beyond this run
	lines []string
	off   bool  // what is typed is not remembered
	err   error // the first failure to write; chatting goes on without
}

// historyPath is the file of the history in the user's folder for such things.
func historyPath() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // as the XDG specification says
		var err error
		switch runtime.GOOS {
		case "windows", "darwin", "ios", "plan9":
			dir, err = os.UserConfigDir()
		default:
			if dir, err = os.UserHomeDir(); err == nil {
				dir = filepath.Join(dir, ".local", "state")
			}
		}
		if err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "leo", "chat-history.jsonl"), nil
}

// openHistory reads a history. A file that isn't there yet is no error.
func openHistory(path string) (*history, error) {
	h := &history{path: path}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st.Size() > 2*historyBytes {
		if _, err := f.Seek(-historyBytes, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, 2*historyBytes))
	if err != nil {
		return nil, err
	}
	read := 0
	for line := range bytes.Lines(data) {
		var s string
		// Another program, or a crash in the middle of a line, spoils that line only.
		if json.Unmarshal(line, &s) == nil && s != "" {
			h.lines = append(h.lines, s)
		}
		read++
	}
	h.lines = h.lines[max(0, len(h.lines)-historyLines):]
	if st.Size() > 2*historyBytes || read > 2*historyLines {
		if err := h.shorten(); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// shorten writes the file anew with the lines that are kept.
func (h *history) shorten() error {
	var out []byte
	first := len(h.lines)
	size := 0
	for first > 0 && size+len(h.lines[first-1]) < historyBytes/2 {
		first--
		size += len(h.lines[first])
	}
	for _, s := range h.lines[first:] {
		out = append(out, historyLine(s)...)
	}
	return durable.WritePrivate(h.path, out)
}

func historyLine(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return b.Bytes()
}

// add remembers a line. It never fails: who chats can't do anything about it then.
func (h *history) add(line string) {
	line = strings.TrimSpace(line)
	if n := len(h.lines); h.off || line == "" || n > 0 && h.lines[n-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.path != "" && h.err == nil && len(line) <= historyEntry {
		h.err = h.appendLine(line)
	}
}

func (h *history) appendLine(line string) error {
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// One write, so that lines of several programs don't mix.
	_, err = f.Write(historyLine(line))
	return errors.Join(err, f.Chmod(0o600), f.Close())
}

// Len is the number of lines.
func (h *history) Len() int { return len(h.lines) }

// Line returns line i, the oldest being 0.
func (h *history) Line(i int) string { return h.lines[i] }
