package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"leolm/chat"
	"leolm/converse"
	"leolm/infer"
	"leolm/internal/lineedit"
	"leolm/internal/screen"
	"leolm/open"
)

// terminal is a chat on a terminal.
type terminal struct {
	f   *chatFlags
	l   *open.Model
	c   *converse.Conversation
	req infer.Request
	// constraint makes the constraint of one answer; nil if there is none.
	constraint  func() infer.Constraint
	screen      *screen.Writer // standard output
	out, stderr io.Writer      // for the chat's own messages
	history     *history
	editor      *lineedit.Editor
	opened      []*open.Model // by /load; the first model belongs to the caller
}

const terminalHelp = `/system TEXT     set the system message (without TEXT: show it)
/set             show what can be set; /set NAME VALUE sets it
/reset           forget the conversation, keep the system message (also /clear)
/retry           answer the last question again
/undo            forget the last exchange
/save FILE       write the conversation as JSON
/load FILE       continue a conversation that /save wrote
/load MODEL      switch to another model: a folder, a .gguf file or a Hugging Face id
/stats           switch the speed line on or off
/help            this list (also /?)
/quit            leave (also /bye, /exit, Ctrl-D)
"""              begins and ends a question of several lines; pasted lines need none
Ctrl-C stops an answer, or clears the line. Arrow keys find earlier questions, Ctrl-R searches them.`

// commandNames are the commands, for suggestions after a typo.
var commandNames = []string{"/system", "/set", "/show", "/reset", "/clear", "/retry", "/undo", "/save", "/load", "/stats", "/help", "/quit", "/bye", "/exit"}

// run reads questions until the end of input. The terminal is in raw mode while
// a line is edited, but not while an answer runs, so that Ctrl-C is a signal then.
func (t *terminal) run(ctx context.Context) error {
	// The first Ctrl-C would cancel the program's context for good; here it stops one answer. SIGTERM ends the program.
	ctx = context.WithoutCancel(ctx)
	defer t.leaveOnTerm()()
	defer t.closeOpened()
	fmt.Fprintf(t.out, "%s · context %d · /help for commands\n", t.l.Name, t.l.Engine.Context())
	t.openHistory()
	t.editor = lineedit.New(os.Stdin, t.screen.Raw())
	t.editor.More = openBlock
	for {
		t.editor.History = t.history
		line, err := t.editor.Read("> ")
		switch {
		case errors.Is(err, lineedit.ErrInterrupted):
			if strings.TrimSpace(line) == "" {
				fmt.Fprintln(t.out, "(Ctrl-D or /quit leaves)")
			}
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(t.out)
			return t.history.err
		case err != nil:
			return err
		}
		t.history.add(line)
		line, quoted := unquoted(line)
		if line == "" {
			continue
		}
		if !quoted && strings.HasPrefix(line, "/") {
			if quit := t.command(ctx, line); quit {
				return t.history.err
			}
			continue
		}
		t.ask(ctx, line)
	}
}

// openHistory reads the history of earlier chats. Failing to is no reason not to chat.
func (t *terminal) openHistory() {
	t.history = &history{}
	if t.f.noHistory || os.Getenv("LEO_NOHISTORY") != "" {
		return
	}
	path, err := historyPath()
	if err == nil {
		var h *history
		if h, err = openHistory(path); err == nil {
			t.history = h
			return
		}
	}
	fmt.Fprintln(t.stderr, "note: what you type is not kept:", err)
}

// leaveOnTerm makes SIGTERM and SIGHUP restore the terminal and end the program, until the returned function is called.
func (t *terminal) leaveOnTerm() func() {
	fd := int(os.Stdin.Fd())
	state, err := term.GetState(fd)
	terminate := make(chan os.Signal, 1)
	notify(terminate, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if _, ok := <-terminate; ok {
			if err == nil {
				_ = term.Restore(fd, state)
			}
			fmt.Fprintln(t.screen.Raw(), lineedit.PasteOff)
			os.Exit(1)
		}
	}()
	return func() { signal.Stop(terminate); close(terminate) }
}

// block begins and ends a question of several lines.
const block = `"""`

// openBlock reports whether text begins with """ and its closing """ is still missing.
func openBlock(text string) bool {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), block)
	return ok && !strings.HasSuffix(rest, block)
}

// unquoted returns the question without its """, and whether it had them: then it is a question even if it looks like a
// command.
func unquoted(text string) (question string, quoted bool) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, block); ok {
		return strings.Trim(strings.TrimSuffix(rest, block), "\n"), true
	}
	return text, false
}

func (t *terminal) closeOpened() {
	for _, l := range t.opened {
		_ = l.Close()
	}
}

// command runs a line that begins with a slash.
func (t *terminal) command(ctx context.Context, line string) (quit bool) {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	switch name {
	case "/quit", "/exit", "/bye":
		return true
	case "/help", "/?":
		fmt.Fprintln(t.out, terminalHelp)
	case "/reset", "/clear":
		t.c.Reset()
		fmt.Fprintln(t.out, "forgotten")
	case "/system":
		t.system(arg)
	case "/set", "/show":
		if err := t.set(arg); err != nil {
			fmt.Fprintln(t.out, "not set:", err)
		}
	case "/undo":
		if _, ok := t.c.Undo(); !ok {
			fmt.Fprintln(t.out, "nothing to undo")
		}
	case "/retry":
		q, ok := t.c.Undo()
		if !ok {
			fmt.Fprintln(t.out, "nothing to retry")
			break
		}
		t.req.Params.Seed++
		t.ask(ctx, q)
	case "/save":
		if err := t.save(homePath(arg)); err != nil {
			fmt.Fprintln(t.out, "not saved:", err)
		} else {
			fmt.Fprintln(t.out, "saved to", arg)
		}
	case "/load":
		if err := t.load(ctx, homePath(arg)); err != nil {
			fmt.Fprintf(t.out, "not loaded: %v%s\n", err, advise(t.f.cmd, err))
		}
	case "/stats":
		t.f.stats = !t.f.stats
	default:
		fmt.Fprintf(t.out, "unknown command %s%s (see /help)\n", name, didYouMean(name, "", commandNames))
	}
	return false
}

func (t *terminal) system(text string) {
	if text != "" {
		t.c.SetSystem(text)
	}
	if len(t.c.Messages) > 0 && t.c.Messages[0].Role == chat.System {
		fmt.Fprintln(t.out, "system:", t.c.Messages[0].Content)
	} else {
		fmt.Fprintln(t.out, "no system message")
	}
}

// ask streams an answer; Ctrl-C stops it.
func (t *terminal) ask(ctx context.Context, question string) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	full := converse.FullError
	if t.f.onFull != "" {
		full = converse.OnFull(t.f.onFull)
	}
	for {
		t.req.Constraint = t.constraint()
		p := newMarkdown(t.screen, t.f.plain, t.f.wrap)
		dropped := t.c.Dropped
		res, err := t.c.Ask(ctx, question, full, t.req, func(tok infer.Token) error { return p.write(tok.Text) })
		if err == nil || res != nil {
			_ = p.end()
		}
		var fe *converse.FullContextError
		if errors.As(err, &fe) && fe.Turns > 0 && t.f.onFull == "" {
			if full = t.askFull(fe); full != converse.FullError {
				continue
			}
			return
		}
		switch {
		case errors.Is(err, context.Canceled):
			fmt.Fprintln(t.out, "(stopped)")
		case err != nil:
			fmt.Fprintf(t.out, "error: %v%s\n", err, advise(t.f.cmd, err))
			return
		case res.Finish == infer.FinishContext:
			fmt.Fprintln(t.out, "(the context is full here)")
		}
		if n := t.c.Dropped - dropped; n > 0 {
			fmt.Fprintf(t.out, "(%d old turns were dropped to make room)\n", n)
		}
		if t.f.stats && res != nil {
			printStats(t.out, &res.Stats)
		}
		return
	}
}

// askFull lets the user choose which turns to drop.
func (t *terminal) askFull(e *converse.FullContextError) converse.OnFull {
	fmt.Fprintf(t.out, "The context is full: %d tokens, it holds %d.\n", e.Tokens, e.Limit)
	t.editor.History = nil
	for {
		line, err := t.editor.Read("drop the oldest turns, reset all, or cancel? [d/r/c] ")
		if err != nil {
			return converse.FullError
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "d", "drop":
			return converse.FullDrop
		case "r", "reset":
			return converse.FullReset
		case "c", "cancel", "":
			return converse.FullError
		}
	}
}
