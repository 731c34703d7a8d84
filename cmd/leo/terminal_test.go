//go:build linux || darwin

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"leolm/internal/screen"
	"leolm/internal/screen/screentest"
)

// onTerminal is a leo command on a terminal.
type onTerminal struct {
	t     *testing.T
	cmd   *exec.Cmd
	pty   *os.File
	state string // its folder for the history
	ended chan struct{}

	mu     sync.Mutex
	screen *screentest.Screen
}

// newTerminal starts leo on a terminal of the given size.
func newTerminal(t *testing.T, state string, columns, rows int, args ...string) *onTerminal {
	t.Helper()
	c := &onTerminal{t: t, cmd: exec.Command("leo", args...), state: state, screen: screentest.New(columns, rows), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state, "TERM=xterm-256color", "NO_COLOR=", "LEO_NOHISTORY=")
	c.cmd.Dir = state
	var err error
	if c.pty, err = pty.StartWithSize(c.cmd, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		for buf := make([]byte, 4096); ; {
			n, err := c.pty.Read(buf)
			c.mu.Lock()
			_, _ = c.screen.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.pty.Close()
	})
	return c
}

// text returns what was shown so far, including what has scrolled away.
func (c *onTerminal) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(append(slices.Clone(c.screen.Scrolled), c.screen.Text()), "\n")
}

// shows waits until what is shown ends with text.
func (c *onTerminal) shows(text string) {
	c.t.Helper()
	for range 1000 {
		if strings.HasSuffix(c.text(), text) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatalf("the screen should end with\n%s\nit shows\n%s", text, c.text())
}

// types sends keys, and waits for what is shown then.
func (c *onTerminal) types(keys, shows string) {
	c.t.Helper()
	if _, err := c.pty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
	c.shows(shows)
}

// leaves waits for the end of the program and returns its status.
func (c *onTerminal) leaves() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		c.t.Fatalf("the program goes on; the screen shows\n%s", c.text())
	}
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

// known checks that only the escape sequences that Leo draws with reached the terminal.
func (c *onTerminal) known() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.screen.Others) > 0 {
		c.t.Errorf("the terminal got %v", c.screen.Others)
	}
}

// chatOnTerminal starts a chat whose every answer is ja.
func chatOnTerminal(t *testing.T, state string, more ...string) *onTerminal {
	t.Helper()
	c := newTerminal(t, state, 60, 30, append([]string{"chat", "--preset", "greedy", "--regex", "ja", "-q"}, more...)...)
	c.shows("/help for commands\n>")
	return c
}

func TestChatOnTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := chatOnTerminal(t, dir)
	// A paste is one question, and so is text between """.
	c.types("\x1b[200~eins\rzwei\n\nvier\n\x1b[201~", "> eins\n  zwei\n\n  vier")
	c.types("\r", "  vier\nja\n>")
	c.types("\"\"\"/eins\rzwei\"\"\"\r", "> \"\"\"/eins\n  zwei\"\"\"\nja\n>")
	c.types("Grüß x\x1b[1~日\x1b[4~\x7f😀\r", "> 日Grüß 😀\nja\n>")
	// Ctrl-C in the middle of a line leaves nothing of it.
	c.types("halb", "> halb")
	c.types("\x03ganz\r", "> halb^C\n> ganz\nja\n>")
	c.types("\x03", "> ^C\n(Ctrl-D or /quit leaves)\n>")
	c.types("/save a.json\r", "saved to a.json\n>")
	c.types("/clear\r", "forgotten\n>")
	c.types("/load a.json\r", "8 messages of a conversation with leo-mini\n>")
	c.types("/undo\r/save b.json\r", "saved to b.json\n>")
	c.types("/load b.json\r", "6 messages of a conversation with leo-mini\n>")
	c.types("/lod a.json\r", "unknown command /lod; did you mean /load? (see /help)\n>")
	c.types("/load nirgends.json\r", "no such file or folder\n>")
	c.types("\x04", "\n>")
	if code := c.leaves(); code != 0 {
		t.Errorf("status %d", code)
	}
	c.known()

	saved, err := os.ReadFile(filepath.Join(dir, "a.json"))
	if err != nil || !strings.Contains(string(saved), `"content": "eins\nzwei\n\nvier"`) || !strings.Contains(string(saved), `"content": "/eins\nzwei"`) || strings.Contains(string(saved), "halb") {
		t.Errorf("saved %s, %v", saved, err)
	}
	// The history continues in the next chat, in a file that only the user can read.
	path := filepath.Join(dir, "leo", "chat-history.jsonl")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	c = chatOnTerminal(t, dir)
	c.types("\x12vier", `(search "vier") eins`+"\n                zwei\n\n                vier")
	c.types("\r", "  vier\nja\n>")
	c.types("/set nohistory\rgeheim\r", "> geheim\nja\n>")
	c.types("/quit\r", "/quit")
	c.leaves()
	if data, err := os.ReadFile(path); err != nil || strings.Contains(string(data), "geheim") || !strings.Contains(string(data), `"eins\nzwei\n\nvier"`) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestChatKeepsNoHistoryUnasked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := chatOnTerminal(t, dir, "--no-history")
	c.types("geheim\r", "> geheim\nja\n>")
	c.types("\x1b[A", "ja\n> geheim") // within the run
	c.types("\x03/quit\r", "/quit")
	c.leaves()
	if _, err := os.Stat(filepath.Join(dir, "leo")); err == nil {
		t.Error("a history was written")
	}
}

// Ctrl-C stops an answer, not the chat, and what was said stays.
func TestChatStopsAnAnswer(t *testing.T) {
	t.Parallel()
	c := newTerminal(t, t.TempDir(), 60, 30, "chat", "--preset", "greedy", "--regex", "(ja )+", "--min-new-tokens", "50000", "--context", "60000", "-q", "--no-history")
	c.shows("/help for commands\n>")
	for range 2 {
		c.types("Und?\r", " ja ja ja") // at the end of a row that is being written
		c.types("\x03", "\n(stopped)\n>")
	}
	c.types("/save a.json\r/quit\r", "/quit")
	c.leaves()
	if saved, err := os.ReadFile(filepath.Join(c.state, "a.json")); err != nil || strings.Count(string(saved), `"content": "ja ja ja`) != 2 {
		t.Errorf("saved %.300s, %v", saved, err)
	}
	c.known()
}

func TestChatSettings(t *testing.T) {
	t.Parallel()
	c := newTerminal(t, t.TempDir(), 70, 60, "chat", "--preset", "greedy", "-q")
	c.shows("\n>")
	for _, x := range []struct{ in, out string }{
		{"/set temperature 0.25", ""},
		{"/set parameter top_k 7", ""},
		{"/set num_predict 3", ""},
		{`/set stop "ENDE"`, ""},
		{"/set temprature 1", "not set: unknown setting temprature; did you mean temperature?; /set\nlists them\n"},
		{"/set temperature heiß", "not set: invalid argument \"heiß\" for \"--temperature\" flag:\nstrconv.ParseFloat: parsing \"heiß\": invalid syntax\n"},
		{"/set top_p 7", ""},
		{"/set num_ctx 7", "not set: the size of the context is fixed at the start: leave, and\nstart again with --context\n"},
		{"/set system Du bist Leo.", "system: Du bist Leo.\n"},
		{"/set format xml", "not set: json is the only format\n"},
		{"/set seed", "not set: name a value: /set seed VALUE\n"},
	} {
		if x.in == "/set top_p 7" {
			c.types(x.in+"\r", "\n>")
			continue
		}
		c.types(x.in+"\r", "> "+x.in+"\n"+x.out+">")
	}
	c.types("/set\r", "/set verbose, /set quiet\n>")
	for _, want := range []string{"temperature         0.25\n", "top-k               7\n", "max-new-tokens      3\n", `stop                ["ENDE"]` + "\n"} {
		if !strings.Contains(c.text(), want) {
			t.Errorf("no %q in\n%s", want, c.text())
		}
	}
	c.types("/set format json\rnoch etwas\r/bye\r", "/bye")
	c.leaves()
	c.known()
}

// An answer is wrapped between words, and what would move the cursor or rename the window is escaped.
func TestAnswersOnTerminal(t *testing.T) {
	t.Parallel()
	run := func(more ...string) *onTerminal {
		t.Helper()
		c := newTerminal(t, t.TempDir(), 30, 20, append(more, "-q", "--preset", "greedy")...)
		if code := c.leaves(); code != 0 {
			t.Errorf("%v: status %d, %s", more, code, c.text())
		}
		c.known()
		return c
	}
	const long = "Die Donaudampfschifffahrt führt über Österreich hinaus: 日本語日本語日本語"
	const wrapped = "Die Donaudampfschifffahrt\nführt über Österreich hinaus:\n日本語日本語日本語"
	for _, command := range [][]string{{"chat", "--regex", long, "Was?"}, {"generate", "--regex", long, "Was?"}, {"chat", "--plain", "--regex", long, "Was?"}} {
		if got := run(command...).text(); got != wrapped {
			t.Errorf("%v shows\n%s\nwant\n%s", command, got, wrapped)
		}
	}
	if got := run("chat", "--word-wrap=false", "--regex", long, "Was?").text(); !strings.HasPrefix(got, long[:31]+"\n") { // 30 columns, ü has two bytes
		t.Errorf("without wrapping:\n%s", got)
	}
	c := run("chat", "--regex", `Das ist \*\*sehr fett und auch sehr lang\*\* und dann nicht\.`, "Was?")
	if got, want := c.text(), "Das ist sehr fett und auch\nsehr lang und dann nicht."; got != want || c.screen.Styles() != 2 {
		t.Errorf("shows with %d styles\n%s\nwant\n%s", c.screen.Styles(), got, want)
	}
	const hostile = `rot:\x1b\[31m \x1b\]0;x\x07 \x08\x{9b}2J\r\nzwei`
	for _, command := range []string{"chat", "generate"} {
		if got, want := run(command, "--regex", hostile, "Was?").text(), "rot:\\x1b[31m \\x1b]0;x\\x07\n\\x08\\u009b2J\nzwei"; got != want {
			t.Errorf("%s shows\n%s\nwant\n%s", command, got, want)
		}
		// Another program gets the bytes.
		out, err := exec.Command("leo", command, "-q", "--preset", "greedy", "--regex", hostile, "Was?").Output()
		if want := "rot:\x1b[31m \x1b]0;x\x07 \b\u009b2J\r\nzwei\n"; err != nil || string(out) != want {
			t.Errorf("%s writes %q, %v; want %q", command, out, err, want)
		}
	}
}

// A terminal that is closed, or a signal, ends a chat, and leaves the terminal as it was.
func TestChatEndsWithItsTerminal(t *testing.T) {
	t.Parallel()
	c := chatOnTerminal(t, t.TempDir())
	c.types("halb", "> halb")
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if code := c.leaves(); code != 1 {
		t.Errorf("status %d", code)
	}
	// Nobody reads in parallel here: a read would keep the terminal open.
	cmd := exec.Command("leo", "chat", "-q", "--no-history")
	master, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for buf := make([]byte, 100); !strings.Contains(text.String(), "\n\x1b[?2004h"); {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(buf[:n])
	}
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the chat goes on without a terminal")
		_ = cmd.Process.Kill()
	}
}

func TestMarkdownOnTerminal(t *testing.T) {
	t.Parallel()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 24, Rows: 20}); err != nil {
		t.Fatal(err)
	}
	shown := screentest.New(24, 20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			n, err := master.Read(buf)
			_, _ = shown.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	const text = "# Titel\n\n- ein **langer Punkt mit** viel Text, *kursiv* und `code`\n\n```go\nif x { return \"sehr lange Zeile\" }\n```\nEnde **gut"
	m := newMarkdown(screen.New(tty), false, true)
	for _, r := range text {
		if err := m.write(string(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.end(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	<-done
	want := "Titel\n\n• ein langer Punkt mit\nviel Text, kursiv und\ncode\n\n```go\nif x { return \"sehr lang\ne Zeile\" }\n```\nEnde **gut"
	if got := shown.Text(); got != want || len(shown.Others) > 0 {
		t.Errorf("shows\n%s\nwant\n%s\n%v", got, want, shown.Others)
	}
}
