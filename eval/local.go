package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"leolm/chat"
	"leolm/device"
	"leolm/infer"
	"leolm/open"
	"leolm/sample"
	"leolm/tokenizer"
)

// LocalOptions choose how a Local model is asked.
type LocalOptions struct {
	// BOS decides on the beginning-of-sequence token before plain prompts and scored texts. chat.BOSAuto does what the
	// tokenizer's files ask for. Conversations follow their template.
	BOS chat.BOSPolicy
	// Together is the largest number of answers that are written at the same time; 0 means the scheduler's own.
	Together int
}

// Running is a model that runs, whoever opened it: what a Local is made of.
type Running struct {
	Engine      *infer.Engine
	Tokenizer   *tokenizer.Tokenizer
	Template    *chat.Template
	StopIDs     []int32
	StopStrings []string
	// Identity has Name, Kind, Weights and Adapters at least; what else it lacks follows from the model and the options.
	Identity Identity
}

// Local is a model that runs in this process: answers are written, and texts scored, together by a scheduler. It is safe
// for concurrent use, and owns the engine of the model until Close.
type Local struct {
	m    Running
	opt  LocalOptions
	s    *infer.Scheduler
	stop context.CancelFunc
	done chan struct{} // closed when the scheduler has ended
}

// NewLocal takes over the engine of m, which is closed by its owner after Close.
func NewLocal(m *open.Model, opt LocalOptions) *Local {
	return NewRunning(Running{
		Engine: m.Engine, Tokenizer: m.Tokenizer, Template: m.Template, StopIDs: m.StopIDs, StopStrings: m.StopStrings,
		Identity: IdentityOf(m, opt.BOS),
	}, opt)
}

// NewRunning takes over the engine of m until Close.
func NewRunning(m Running, opt LocalOptions) *Local {
	ctx, stop := context.WithCancel(context.Background())
	m.Identity.complete(m.Engine, m.Tokenizer, m.Template, opt.BOS)
	l := &Local{m: m, opt: opt, stop: stop, done: make(chan struct{})}
	l.s = infer.NewScheduler(m.Engine, infer.SchedulerOptions{MaxSequences: opt.Together, Queue: math.MaxInt32})
	go func() {
		defer close(l.done)
		_ = l.s.Run(ctx) // its error is also that of every unfinished work
	}()
	return l
}

// IdentityOf is the identity of a model that runs here; bos is how plain prompts and scored texts begin.
func IdentityOf(m *open.Model, bos chat.BOSPolicy) Identity {
	id := Identity{Name: m.Name, Kind: "local", Weights: m.Fingerprint()}
	id.complete(m.Engine, m.Tokenizer, m.Template, bos)
	for _, a := range m.Adapters {
		id.Adapters = append(id.Adapters, fmt.Sprintf("%s=%g", a.Path, a.Strength))
	}
	return id
}

// complete fills in what follows from the running model and from how texts begin, where nothing else is said.
func (id *Identity) complete(e *infer.Engine, tok *tokenizer.Tokenizer, template *chat.Template, bos chat.BOSPolicy) {
	cfg := e.Model().Config
	id.Tokenizer = cmp.Or(id.Tokenizer, tok.Fingerprint())
	id.Template = cmp.Or(id.Template, TemplateIdentity(template))
	id.Shape = cmp.Or(id.Shape, fmt.Sprintf("%d layers of %d, vocabulary %d", cfg.Layers, cfg.HiddenSize, cfg.VocabSize))
	id.Context, id.BOS = e.Context(), [...]string{"auto", "never", "always"}[bos]
}

// TemplateIdentity is a chat template's name with the beginning of the hash of its text.
func TemplateIdentity(t *chat.Template) string { return t.Name() + " " + HashOf(t.Source())[:16] }

// Identity implements Model.
func (l *Local) Identity() Identity { return l.m.Identity }

// Close ends the scheduler. Calls that still run end with an error.
func (l *Local) Close() {
	l.stop()
	<-l.done
}

// Generate implements Generator.
func (l *Local) Generate(ctx context.Context, reqs []Request, done func(i int, a Answer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type finished struct {
		i   int
		a   Answer
		err error
	}
	results := make(chan finished, len(reqs)) // has room for all: nobody waits when this function has returned
	start := time.Now()
	for _, same := range l.sharing(reqs) {
		tickets, err := l.submit(ctx, reqs, same)
		if err != nil {
			for _, i := range same {
				results <- finished{i: i, err: err}
			}
			continue
		}
		for k, t := range tickets {
			go func() {
				res, err := t.Result()
				a := Answer{
					Text: res.Text, Finish: string(res.Finish), PromptTokens: res.Stats.PromptTokens, NewTokens: res.Stats.NewTokens,
					Seconds: time.Since(start).Seconds(), Attempts: 1,
				}
				if reqs[same[k]].Standing {
					a.Text = l.standing(a.Text, res.IDs)
				}
				results <- finished{same[k], a, err}
			}()
		}
	}
	for range reqs {
		f := <-results
		if f.err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !ownFault(f.err) {
				return f.err
			}
			f.a.Err = f.err
		}
		if err := done(f.i, f.a); err != nil {
			return err
		}
	}
	return nil
}

// standing is the text of tokens that are decoded by themselves: see Request.
func (l *Local) standing(text string, ids []int32) string {
	if rest, ok := strings.CutPrefix(text, " "); ok && !strings.HasPrefix(l.m.Tokenizer.Decode(ids, true), " ") {
		return rest
	}
	return text
}

// ownFault reports whether an error is about one request only, and others may fare better.
func ownFault(err error) bool {
	var long *infer.ContextError
	var full *device.CacheFullError
	var logits *sample.LogitsError
	var token *infer.TokenError
	var template *templateError
	return errors.As(err, &long) || errors.As(err, &full) || errors.As(err, &logits) || errors.As(err, &token) || errors.As(err, &template)
}

// templateError says that a conversation cannot be written with the model's template.
type templateError struct{ err error }

func (e *templateError) Error() string { return "the chat template: " + e.err.Error() }
func (e *templateError) Unwrap() error { return e.err }

// sharing groups neighbors with the same prompt, whose tokens are then read once.
func (l *Local) sharing(reqs []Request) [][]int {
	var groups [][]int
	for i, r := range reqs {
		if n := len(groups); n > 0 {
			first := reqs[groups[n-1][0]]
			if r.Prompt == first.Prompt && slices.EqualFunc(r.Messages, first.Messages, sameMessage) {
				groups[n-1] = append(groups[n-1], i)
				continue
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}

func sameMessage(a, b chat.Message) bool {
	return a.Role == b.Role && a.Content == b.Content && a.Name == b.Name && len(a.ToolCalls)+len(b.ToolCalls) == 0 && a.Reasoning == b.Reasoning
}

// submit queues requests with one prompt.
func (l *Local) submit(ctx context.Context, reqs []Request, same []int) ([]*infer.Ticket, error) {
	ids, stops, err := l.prompt(reqs[same[0]])
	if err != nil {
		return nil, err
	}
	var list []*infer.Request
	for _, i := range same {
		r := reqs[i]
		list = append(list, &infer.Request{
			Prompt: ids, Params: sample.Params{Temperature: r.Temperature, Seed: r.Seed}, MaxNewTokens: r.MaxNewTokens,
			StopIDs: l.m.StopIDs, Stops: append(slices.Clone(stops), r.Stops...), TopLogProbs: -1,
		})
	}
	return l.s.Submit(ctx, func() infer.Text { return l.m.Tokenizer.ContinueDecoder(ids, true) }, list...)
}

// prompt returns the ids of a request and the stop strings that belong to them.
func (l *Local) prompt(r Request) (ids []int32, stops []string, err error) {
	if len(r.Messages) > 0 {
		ids, _, err = l.m.Template.Encode(l.m.Tokenizer, r.Messages, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return nil, nil, &templateError{err}
		}
		return ids, l.m.StopStrings, nil
	}
	return l.m.Tokenizer.AppendTokens(l.bos(), r.Prompt), nil, nil
}

// bos returns the ids before a plain text.
func (l *Local) bos() []int32 {
	t := l.m.Tokenizer
	if t.BOS() >= 0 && (l.opt.BOS == chat.BOSAlways || l.opt.BOS == chat.BOSAuto && t.AddBOS()) {
		return []int32{t.BOS()}
	}
	return nil
}
