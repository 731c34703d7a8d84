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
	historyBytes = 1 << 20  // of the file, which is shortened once it has grown to twice that
	historyEntry = 64 << 10 // longer questions are kept in memory only
)

// history holds what was typed into chats, for the editor's arrow keys: a line of JSON per question, in a file that only
// the user may read. Several programs may append to it at once.
type history struct {
	path  string // "": nothing is written
	lines []string
	off   bool  // nothing new is kept
	err   error // the first failure to write; the chat continues without a file
}

// historyPath returns the history's file in the user's state folder (XDG base directories).
func historyPath() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the specification says to ignore relative paths
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

// openHistory reads a history. A missing file is an empty history.
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
		// A foreign or half-written line is skipped; the others are good.
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

// shorten rewrites the file with the lines that are kept.
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

// add appends a line. It returns no error: a failed write must not interrupt the chat; err keeps the first.
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
	// One write, so that lines of several programs do not interleave.
	_, err = f.Write(historyLine(line))
	return errors.Join(err, f.Chmod(0o600), f.Close())
}

// Len is the number of lines.
func (h *history) Len() int { return len(h.lines) }

// Line returns line i; 0 is the oldest.
func (h *history) Line(i int) string { return h.lines[i] }
