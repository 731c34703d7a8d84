package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/infer"
	"leolm/internal/bounded"
	"leolm/open"
	"leolm/sample"
)

type generateFlags struct {
	modelFlags
	samplingFlags
	constraintFlags
	asJSON, stats, specials bool
	logprobs                int
	beams, nBest            int
	lookup                  int
	draft                   string
	file                    string
}

func newGenerateCmd() *cobra.Command {
	f := &generateFlags{}
	cmd := &cobra.Command{
		Use:   "generate [PROMPT]",
		Short: "Continue a text",
		Long: `Continue a text as it stands, without a chat template. The prompt is the
argument, the file of --file, or standard input.`,
		Example: `  leo generate --model model.gguf --max-new-tokens 64 "Es war einmal"`,
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.modelFlags.register(cmd)
	f.samplingFlags.register(cmd)
	f.constraintFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.file, "file", "f", "", "read the prompt from a file (- for standard input)")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object instead of streaming text")
	fl.BoolVar(&f.stats, "stats", false, "print tokens per second and time to first token to standard error")
	fl.BoolVar(&f.specials, "specials", false, "recognize control tokens such as <|im_start|> in the prompt")
	fl.IntVar(&f.logprobs, "logprobs", -1, "with --json: log-probabilities of each token and of its N best alternatives")
	fl.IntVar(&f.beams, "beams", 0, "beam search with N beams")
	fl.IntVar(&f.nBest, "n", 1, "number of answers (the best of the beams, or samples with consecutive seeds)")
	fl.IntVar(&f.lookup, "lookup", 0, "prompt lookup: speculate up to N tokens that followed the same words before")
	fl.StringVar(&f.draft, "draft", "", "speculate with this smaller model of the same vocabulary")
	return cmd
}

// answer is the JSON form of one generated text.
type answer struct {
	Prompt     string         `json:"prompt"`
	Text       string         `json:"text"`
	Finish     infer.Finish   `json:"finish_reason"`
	StopString string         `json:"stop_string,omitempty"`
	Tokens     []int32        `json:"tokens"`
	Score      *float64       `json:"score,omitempty"`
	LogProbs   []tokenLogProb `json:"logprobs,omitempty"`
	Stats      map[string]any `json:"stats,omitempty"`
	Notes      []string       `json:"notes,omitempty"`
}

type tokenLogProb struct {
	Token   string         `json:"token"`
	ID      int32          `json:"id"`
	LogProb float64        `json:"logprob"`
	Top     []tokenLogProb `json:"top_logprobs,omitempty"`
}

func (f *generateFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.samplingFlags.check(); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return usageError{err}
	}
	prompt, err := readPrompt(cmd.Context(), cmd.InOrStdin(), args, f.file)
	if err != nil {
		return err
	}
	l, err := f.modelFlags.openFor(cmd.Context(), cmd.ErrOrStderr(), func(o *open.Options) {
		switch {
		case f.beams > 0:
			o.Sessions = 2*f.beams + 1 // while beams fork, both the old and the new ones hold pages
		case f.nBest > 1:
			o.Together, o.PageLen = min(f.nBest, maxTogether), shortPages
		}
	})
	if err != nil {
		return err
	}
	defer l.Close()
	preset, err := f.resolve(l.Sampling)
	if err != nil {
		return err
	}
	ids := promptIDs(l, prompt, f.specials)
	ctx, out := cmd.Context(), exactWriter(cmd)
	if f.beams > 0 {
		return f.beam(ctx, l, ids, prompt, preset, out)
	}
	reqs, err := f.requests(ctx, cmd.ErrOrStderr(), l, ids, preset)
	if err != nil {
		return err
	}
	scheduler, stop := scheduled(ctx, l, len(reqs))
	defer stop()
	tickets, err := scheduler.Submit(ctx, func() infer.Text { return l.Tokenizer.ContinueDecoder(ids, true) }, reqs...)
	if err != nil {
		return err
	}
	repeated := ""
	if preset.RepeatPrompt {
		repeated = prompt
	}
	var answers []answer
	for _, ticket := range tickets {
		a, err := f.follow(cmd, l, ticket, prompt, repeated)
		if err != nil {
			return err
		}
		answers = append(answers, a)
	}
	if !f.asJSON {
		return nil
	}
	return printJSON(out, answers)
}

// requests are one for each answer, with consecutive seeds.
func (f *generateFlags) requests(ctx context.Context, diag io.Writer, l *open.Model, ids []int32, preset sample.Preset) ([]*infer.Request, error) {
	req := infer.Request{Prompt: ids, Params: preset.Params, MaxNewTokens: preset.MaxNewTokens, StopIDs: l.StopIDs, Stops: f.stops, TopLogProbs: -1}
	if preset.MaxLength > 0 {
		req.MaxNewTokens = max(1, min(preset.MaxLength, l.Engine.Context())-len(ids))
	}
	if f.asJSON {
		req.TopLogProbs = f.logprobs
	}
	constraint, err := f.constraintFlags.build(ctx, l.Tokenizer, l.StopIDs)
	if err != nil {
		return nil, err
	}
	if err := f.speculation(ctx, diag, l, &req); err != nil {
		return nil, err
	}
	var reqs []*infer.Request
	for i := range max(f.nBest, 1) {
		one := req
		one.Params.Seed, one.Constraint = preset.Seed+uint64(i), constraint()
		reqs = append(reqs, &one)
	}
	return reqs, nil
}

// follow shows an answer while it comes, after the text that it repeats, or collects it for --json.
func (f *generateFlags) follow(cmd *cobra.Command, l *open.Model, ticket *infer.Ticket, prompt, repeated string) (answer, error) {
	a := answer{Prompt: prompt, Notes: l.Notes}
	show := newDisplay(cmd, true, true)
	if !f.asJSON && repeated != "" {
		if err := show.write(repeated); err != nil {
			return a, err
		}
	}
	for t, ok := ticket.Next(); ok; t, ok = ticket.Next() {
		if !f.asJSON {
			if err := show.write(t.Text); err != nil {
				return a, err
			}
		} else if f.logprobs >= 0 && t.ID >= 0 {
			a.LogProbs = append(a.LogProbs, logprob(l, t))
		}
	}
	res, err := ticket.Result()
	if !f.asJSON && (err == nil || len(res.IDs) > 0) {
		if ferr := show.end(); err == nil {
			err = ferr
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return a, err
	}
	if f.stats {
		printStats(cmd.ErrOrStderr(), &res.Stats)
	}
	if err != nil {
		return a, errSilent
	}
	a.Text, a.Finish, a.StopString, a.Tokens = repeated+res.Text, res.Finish, res.StopString, res.IDs
	a.Stats = statsJSON(&res.Stats)
	return a, nil
}

// maxTogether is the number of answers that have room for a full context each, if memory allows; further ones wait if they
// need it. shortPages, in tokens, waste little memory when many answers are short.
const (
	maxTogether = 8
	shortPages  = 64
)

// scheduled starts a scheduler for n requests. stop cancels them and waits for the end.
func scheduled(ctx context.Context, l *open.Model, n int) (s *infer.Scheduler, stop func()) {
	s = infer.NewScheduler(l.Engine, infer.SchedulerOptions{MaxSequences: max(maxTogether, n), Queue: n})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // its error is also every unfinished request's
	}()
	return s, func() {
		cancel()
		<-done
	}
}

// check refuses combinations of flags of which one would be ignored silently.
func (f *generateFlags) check() error {
	switch {
	case f.nBest < 1:
		return fmt.Errorf("--n %d: ask for at least one answer", f.nBest)
	case f.beams > math.MaxInt32/4:
		return fmt.Errorf("--beams %d: no machine has memory for so many", f.beams)
	case f.beams < 0 || f.lookup < 0:
		return errors.New("--beams and --lookup must not be negative")
	case f.logprobs >= 0 && !f.asJSON:
		return errors.New("--logprobs are part of the JSON output: add --json")
	case f.beams == 0:
		return nil
	case f.nBest > f.beams:
		return fmt.Errorf("--n %d: %d beams end in no more than %d answers", f.nBest, f.beams, f.beams)
	case f.constraintFlags.given() > 0:
		return errors.New("--beams cannot be combined with a schema, expression or grammar")
	case len(f.stops) > 0:
		return errors.New("--beams cannot be combined with --stop")
	case f.lookup > 0 || f.draft != "":
		return errors.New("--beams cannot be combined with --lookup or --draft")
	case f.logprobs >= 0:
		return errors.New("--beams gives one score for an answer, no --logprobs")
	}
	return nil
}

// beam prints the best answers of a beam search.
func (f *generateFlags) beam(ctx context.Context, l *open.Model, ids []int32, prompt string, p sample.Preset, out io.Writer) error {
	s, stop := scheduled(ctx, l, 1)
	defer stop()
	found, err := s.Beam(ctx, ids, sample.BeamParams{Beams: f.beams, LengthPenalty: 1, MaxNewTokens: p.MaxNewTokens, StopIDs: l.StopIDs})
	if err != nil {
		return err
	}
	var answers []answer
	for _, b := range found[:min(max(f.nBest, 1), len(found))] {
		score := b.Score
		d := l.Tokenizer.ContinueDecoder(ids, true)
		var text []byte
		for _, id := range b.IDs {
			text = d.Append(text, id)
		}
		answers = append(answers, answer{Prompt: prompt, Text: string(d.Flush(text)), Tokens: b.IDs, Score: &score, Finish: infer.FinishStop})
	}
	if f.asJSON {
		return printJSON(out, answers)
	}
	for _, a := range answers {
		fmt.Fprintln(out, a.Text)
	}
	return nil
}

// speculation sets up prompt-lookup or draft-model speculation.
func (f *generateFlags) speculation(ctx context.Context, stderr io.Writer, l *open.Model, req *infer.Request) error {
	switch {
	case f.draft != "":
		df := f.modelFlags
		df.model, df.tokenizer, df.template, df.loras = f.draft, "", "", nil
		d, err := df.open(ctx, stderr, 1)
		if err != nil {
			return fmt.Errorf("draft model: %w", err)
		}
		if ok, why := d.Tokenizer.Extends(l.Tokenizer); !ok {
			return fmt.Errorf("draft model %s and %s need the same vocabulary: %s", d.Name, l.Name, why)
		}
		req.Draft, req.Speculate = infer.NewDraftModel(d.Engine), max(f.lookup, 4)
	case f.lookup > 0:
		req.Draft, req.Speculate = &infer.PromptLookup{}, f.lookup
	}
	return nil
}

// promptIDs turns a plain prompt into ids, with BOS if the tokenizer asks for it.
func promptIDs(l *open.Model, prompt string, specials bool) []int32 {
	var ids []int32
	if t := l.Tokenizer; t.AddBOS() && t.BOS() >= 0 {
		ids = append(ids, t.BOS())
	}
	if !specials {
		return l.Tokenizer.AppendTokens(ids, prompt)
	}
	ids, _ = l.Tokenizer.EncodeTrusted(ids, nil, prompt, trustAll(prompt))
	return ids
}

func logprob(l *open.Model, t infer.Token) tokenLogProb {
	lp := tokenLogProb{Token: l.Tokenizer.Piece(t.ID), ID: t.ID, LogProb: t.LogProb}
	for _, x := range t.Top {
		lp.Top = append(lp.Top, tokenLogProb{Token: l.Tokenizer.Piece(x.ID), ID: x.ID, LogProb: x.LogProb})
	}
	return lp
}

// maxPrompt bounds a prompt: far more than any context holds.
const maxPrompt = 64 << 20

// readPrompt returns the argument, the file or standard input.
func readPrompt(ctx context.Context, stdin io.Reader, args []string, file string) (string, error) {
	switch {
	case len(args) == 1 && file != "":
		return "", usageError{errors.New("give the prompt as an argument or with --file, not both")}
	case len(args) == 1:
		return args[0], nil
	case file != "" && file != "-":
		b, err := bounded.File(ctx, file, maxPrompt)
		return string(b), err
	}
	b, err := bounded.Read(ctx, stdin, "standard input", maxPrompt)
	return strings.TrimSuffix(string(b), "\n"), err
}

func printStats(w io.Writer, s *infer.Stats) {
	fmt.Fprintf(w, "prompt %d tokens (%d cached), %.1f tokens/s; first token after %s; %d new tokens, %.1f tokens/s",
		s.PromptTokens, s.CachedTokens, s.PrefillRate(), s.FirstTokenLag.Round(time.Millisecond/10), s.NewTokens, s.DecodeRate())
	if s.Proposed > 0 {
		fmt.Fprintf(w, "; %d of %d guesses right", s.Accepted, s.Proposed)
	}
	fmt.Fprintln(w)
}

func statsJSON(s *infer.Stats) map[string]any {
	return map[string]any{
		"prompt_tokens": s.PromptTokens, "cached_tokens": s.CachedTokens, "new_tokens": s.NewTokens,
		"prefill_tokens_per_second": s.PrefillRate(), "decode_tokens_per_second": s.DecodeRate(),
		"time_to_first_token_seconds": s.FirstTokenLag.Seconds(), "proposed": s.Proposed, "accepted": s.Accepted,
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
