package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"leolm/chat"
	"leolm/converse"
	"leolm/infer"
	"leolm/open"
	"leolm/sample"
)

type chatFlags struct {
	modelFlags
	samplingFlags
	constraintFlags
	system, onFull string
	stats, asJSON  bool
	plain          bool
	lookup         int
}

func newChatCmd() *cobra.Command {
	f := &chatFlags{}
	cmd := &cobra.Command{
		Use:   "chat [QUESTION]",
		Short: "Talk to a model",
		Long: `Talk to a model. With a question as argument, or from a pipe, it answers once;
on a terminal it goes on until /quit or Ctrl-D. Ctrl-C stops an answer, not the program.`,
		Example: `  leo chat "Was ist ein Vulkan?"
  echo "Was ist ein Vulkan?" | leo chat
  leo chat --model model.gguf`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.samplingFlags.register(cmd)
	f.constraintFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.system, "system", "s", "", "system message")
	fl.StringVar(&f.onFull, "on-full", "", "when the context is full: error, reset (forget all turns) or drop (forget the oldest); on a terminal the default is to ask")
	fl.BoolVar(&f.stats, "stats", false, "print tokens per second and time to first token to standard error")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object instead of streaming text (for a single question)")
	fl.BoolVar(&f.plain, "plain", false, "no colours and no Markdown on a terminal")
	fl.IntVar(&f.lookup, "lookup", 0, "speculate up to N tokens by looking them up in the conversation")
	return cmd
}

func (f *chatFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	var err error
	full := converse.FullError
	if f.onFull != "" {
		if full, err = converse.ParseOnFull(f.onFull); err != nil {
			return usageError{fmt.Errorf("--on-full: %w", err)}
		}
	}
	stdin, interactive := cmd.InOrStdin(), false
	question := ""
	switch {
	case len(args) == 1:
		question = args[0]
	case isTerminal(stdin) && isTerminal(cmd.OutOrStdout()):
		interactive = true
	default:
		if question, err = readPrompt(cmd.Context(), stdin, nil, ""); err != nil {
			return err
		}
	}
	if !interactive && strings.TrimSpace(question) == "" {
		return usageError{errors.New("no question: give one as argument or on standard input")}
	}
	l, err := f.modelFlags.open(cmd.Context(), cmd.ErrOrStderr(), 1)
	if err != nil {
		return err
	}
	defer l.Close()
	preset, err := f.resolve(l.Sampling)
	if err != nil {
		return err
	}
	c := converse.New(l.Model, l.Engine, f.system)
	req := f.request(&preset)
	constraint, err := f.constraintFlags.build(cmd.Context(), l.Tokenizer, l.StopIDs)
	if err != nil {
		return err
	}
	if interactive {
		t := &terminal{f: f, l: l, c: c, req: req, constraint: constraint, out: cmd.OutOrStdout()}
		return t.run(cmd.Context())
	}
	req.Constraint = constraint()
	return f.once(cmd, c, question, full, req)
}

// request makes the part of a request that all answers share.
func (f *chatFlags) request(p *sample.Preset) infer.Request {
	req := infer.Request{Params: p.Params, MaxNewTokens: p.MaxNewTokens, Stops: f.stops, TopLogProbs: -1}
	if p.MaxLength > 0 && req.MaxNewTokens == 0 {
		req.MaxNewTokens = p.MaxLength
	}
	if f.lookup > 0 {
		req.Draft, req.Speculate = &infer.Lookup{}, f.lookup
	}
	return req
}

// once answers a single question.
func (f *chatFlags) once(cmd *cobra.Command, c *converse.Conversation, question string, full converse.OnFull, req infer.Request) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	res, err := c.Ask(cmd.Context(), question, full, req, func(t infer.Token) error {
		if f.asJSON {
			return nil
		}
		w.WriteString(t.Text)
		return w.Flush()
	})
	if res != nil && !f.asJSON {
		fmt.Fprintln(w)
		if ferr := w.Flush(); err == nil {
			err = ferr
		}
	}
	if res != nil && f.stats {
		printStats(cmd.ErrOrStderr(), &res.Stats)
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return errSilent
		}
		return err
	}
	if res.Finish == infer.FinishContext {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: the answer ends here because the context is full; raise --context")
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]any{
			"messages": c.Messages, "finish_reason": res.Finish, "tokens": res.IDs, "stats": statsJSON(&res.Stats),
		})
	}
	return nil
}

func isTerminal(x any) bool {
	f, ok := x.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminal is a chat on a terminal.
type terminal struct {
	f   *chatFlags
	l   *open.Model
	c   *converse.Conversation
	req infer.Request
	// constraint starts the constraint of an answer, nil if there is none.
	constraint func() infer.Constraint
	out        io.Writer
	tty        *term.Terminal
}

const terminalHelp = `/system TEXT   set the system message (without TEXT: show it)
/reset         forget the conversation, keep the system message
/retry         answer the last question again
/undo          forget the last exchange
/save FILE     write the conversation as JSON
/stats         switch the speed line on or off
/help          this list
/quit          leave (also Ctrl-D)
"""            begins and ends a question of several lines
Ctrl-C stops an answer, or clears the line.`

// clearing makes Ctrl-C clear the line: who stops an answer that has just ended must not lose the conversation.
type clearing struct{ io.Reader }

func (c clearing) Read(p []byte) (int, error) {
	const ctrlC, ctrlU = 3, 21
	n, err := c.Reader.Read(p)
	for i, b := range p[:n] {
		if b == ctrlC {
			p[i] = ctrlU
		}
	}
	return n, err
}

// run reads questions until the end of input. The terminal is in raw mode
// while a line is edited, and as usual while an answer runs, so that Ctrl-C is a signal then.
func (t *terminal) run(ctx context.Context) error {
	// The program's context ends for good with the first Ctrl-C; here that ends an answer only, and SIGTERM everything.
	ctx = context.WithoutCancel(ctx)
	defer t.leaveOnTerm()()
	fmt.Fprintf(t.out, "%s · context %d · /help for commands\n", t.l.Name, t.l.Engine.Context())
	fd := int(os.Stdin.Fd())
	t.tty = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{clearing{os.Stdin}, os.Stdout}, "")
	for {
		line, err := t.readLine(fd, "> ")
		if err != nil {
			fmt.Fprintln(t.out)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if strings.TrimSpace(line) == `"""` {
			if line, err = t.readBlock(fd); err != nil {
				return err
			}
		}
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if strings.HasPrefix(line, "/") {
			if quit := t.command(ctx, line); quit {
				return nil
			}
			continue
		}
		t.ask(ctx, line)
	}
}

// leaveOnTerm ends the program on SIGTERM, the terminal as it was. The function that it returns undoes that.
func (t *terminal) leaveOnTerm() func() {
	fd := int(os.Stdin.Fd())
	state, err := term.GetState(fd)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		if _, ok := <-terminate; ok {
			if err == nil {
				_ = term.Restore(fd, state)
			}
			fmt.Fprintln(t.out)
			os.Exit(1)
		}
	}()
	return func() { signal.Stop(terminate); close(terminate) }
}

func (t *terminal) readLine(fd int, prompt string) (string, error) {
	old, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, old)
	if w, h, err := term.GetSize(fd); err == nil && w > 0 {
		if err := t.tty.SetSize(w, h); err != nil {
			return "", err
		}
	}
	t.tty.SetPrompt(prompt)
	line, err := t.tty.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return line, err
}

// readBlock reads lines up to one that is only three quotation marks.
func (t *terminal) readBlock(fd int) (string, error) {
	var lines []string
	for {
		line, err := t.readLine(fd, ". ")
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(line) == `"""` {
			return strings.Join(lines, "\n"), nil
		}
		lines = append(lines, line)
	}
}

// command runs a line that begins with a slash.
func (t *terminal) command(ctx context.Context, line string) (quit bool) {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	switch name {
	case "/quit", "/exit", "/bye":
		return true
	case "/help":
		fmt.Fprintln(t.out, terminalHelp)
	case "/reset":
		t.c.Reset()
		fmt.Fprintln(t.out, "forgotten")
	case "/system":
		if arg != "" {
			t.c.SetSystem(arg)
		}
		if len(t.c.Messages) > 0 && t.c.Messages[0].Role == chat.System {
			fmt.Fprintln(t.out, "system:", t.c.Messages[0].Content)
		} else {
			fmt.Fprintln(t.out, "no system message")
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
		if err := t.save(arg); err != nil {
			fmt.Fprintln(t.out, "not saved:", err)
		} else {
			fmt.Fprintln(t.out, "saved to", arg)
		}
	case "/stats":
		t.f.stats = !t.f.stats
	default:
		fmt.Fprintf(t.out, "unknown command %s; /help lists them\n", name)
	}
	return false
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
		p := newMarkdown(t.out, t.f.plain)
		dropped := t.c.Dropped
		res, err := t.c.Ask(ctx, question, full, t.req, func(tok infer.Token) error { return p.write(tok.Text) })
		p.end()
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
			fmt.Fprintln(t.out, "error:", err)
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

// askFull lets the user choose what to forget.
func (t *terminal) askFull(e *converse.FullContextError) converse.OnFull {
	fmt.Fprintf(t.out, "The context is full: %d tokens, it holds %d.\n", e.Tokens, e.Limit)
	for {
		line, err := t.readLine(int(os.Stdin.Fd()), "drop the oldest turns, reset all, or cancel? [d/r/c] ")
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
