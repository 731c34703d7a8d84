package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/converse"
	"leolm/infer"
	"leolm/internal/screen"
	"leolm/sample"
)

type chatFlags struct {
	modelFlags
	samplingFlags
	constraintFlags
	system, onFull string
	stats, asJSON  bool
	plain, wrap    bool
	noHistory      bool
	lookup         int
}

func newChatCmd() *cobra.Command {
	f := &chatFlags{}
	cmd := &cobra.Command{
		Use:   "chat [QUESTION]",
		Short: "Talk to a model",
		Long: `Talk to a model. With a question as argument, or from a pipe, it answers once;
with both, the pipe holds the text that the question is about. On a terminal the
chat continues until /quit or Ctrl-D. Ctrl-C stops an answer, not the program.

Standard input that is not a terminal is read to its end. Inside a loop that
reads lines of a file, give it another one: leo chat QUESTION < /dev/null.

What you type is kept for the arrow keys of later chats in
$XDG_STATE_HOME/leo/chat-history.jsonl (~/.local/state without that variable);
--no-history, or LEO_NOHISTORY=1 in the environment, keeps nothing.`,
		Example: `  leo chat "Was ist ein Vulkan?"
  echo "Was ist ein Vulkan?" | leo chat
  leo chat "Fasse den Text zusammen." < text.txt
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
	completeWith(cmd, "on-full", string(converse.FullError), string(converse.FullReset), string(converse.FullDrop))
	fl.BoolVar(&f.stats, "stats", false, "print tokens per second and time to first token to standard error")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object instead of streaming text (for a single question)")
	fl.BoolVar(&f.plain, "plain", false, "no colors and no Markdown on a terminal")
	fl.BoolVar(&f.wrap, "word-wrap", true, "break lines between words on a terminal")
	fl.BoolVar(&f.noHistory, "no-history", false, "neither read nor write the history of what was typed")
	fl.IntVar(&f.lookup, "lookup", 0, "prompt lookup: speculate up to N tokens that followed the same words before")
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
	out, ok := cmd.OutOrStdout().(*screen.Writer)
	ranks := ranksOf(cmd.Context()) != nil
	interactive := len(args) == 0 && ok && out.Terminal() && isTerminal(cmd.InOrStdin())
	question := ""
	if !interactive {
		if question, err = askedOf(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), args, ranks); err != nil {
			return err
		}
	}
	if !interactive && ranks && strings.TrimSpace(question) == "" {
		return usageError{errors.New("no question: " + rankChat)}
	}
	if !interactive && strings.TrimSpace(question) == "" {
		return usageError{errors.New("no question: give one as an argument or on standard input")}
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
		t := &terminal{f: f, l: l, c: c, req: req, constraint: constraint, screen: out, out: notices{out}, stderr: cmd.ErrOrStderr()}
		return t.run(cmd.Context())
	}
	req.Constraint = constraint()
	return f.once(cmd, c, question, full, req)
}

// rankChat is how one talks to a model that ranks share.
const rankChat = "a launcher such as mpirun has no terminal for a conversation; give one question as an argument or through a pipe, or start leo serve and use its page"

// askedOf returns the question: the argument, or standard input; given both, the text from standard input followed by
// the argument, which asks about it. A terminal is read only if there is no argument. Under a launcher of ranks standard
// input is never one, though somebody may sit before it.
func askedOf(ctx context.Context, stdin io.Reader, stderr io.Writer, args []string, ranks bool) (string, error) {
	if len(args) == 0 && ranks {
		wait := time.AfterFunc(time.Second, func() {
			fmt.Fprintln(stderr, "note: waiting for the end of standard input (Ctrl-D): "+rankChat)
		})
		defer wait.Stop()
	}
	if len(args) == 1 {
		if isTerminal(stdin) {
			return args[0], nil
		}
		// A pipe that stays open, inherited from a service or a loop, is there by accident.
		wait := time.AfterFunc(3*time.Second, func() {
			fmt.Fprintln(stderr, "note: waiting for the end of standard input, the text that the question is about; if there is none, add < /dev/null")
		})
		defer wait.Stop()
	}
	text, err := readPrompt(ctx, stdin, nil, "")
	if err != nil || len(args) == 0 {
		return text, err
	}
	if strings.TrimSpace(text) == "" {
		return args[0], nil
	}
	return strings.TrimRight(text, "\n") + "\n\n" + args[0], nil
}

// request returns the part of a request that all answers share.
func (f *chatFlags) request(p *sample.Preset) infer.Request {
	req := infer.Request{Params: p.Params, MaxNewTokens: p.MaxNewTokens, Stops: f.stops, TopLogProbs: -1}
	if p.MaxLength > 0 && req.MaxNewTokens == 0 {
		req.MaxNewTokens = p.MaxLength
	}
	if f.lookup > 0 {
		req.Draft, req.Speculate = &infer.PromptLookup{}, f.lookup
	}
	return req
}

// once answers a single question.
func (f *chatFlags) once(cmd *cobra.Command, c *converse.Conversation, question string, full converse.OnFull, req infer.Request) error {
	show := newDisplay(cmd, f.plain, f.wrap)
	res, err := c.Ask(cmd.Context(), question, full, req, func(t infer.Token) error {
		if f.asJSON {
			return nil
		}
		return show.write(t.Text)
	})
	if res != nil && !f.asJSON {
		if ferr := show.end(); err == nil {
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
