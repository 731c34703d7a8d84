package serve

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"leolm/infer"
	"leolm/internal/constrain"
)

// compiled is a grammar bound to the vocabulary of a model.
type compiled struct {
	key     [sha256.Size]byte
	matcher *constrain.Matcher
	slow    atomic.Bool // an answer has spent its time on it
}

// start makes constraints.
func (c *compiled) start() infer.Constraint {
	return &timed{Constraint: c.matcher.Start(), grammar: c}
}

// keptMatchers is how many compiled grammars a model keeps: the masks that they have computed are worth more than they
// take.
const keptMatchers = 16

// Bounds of compiling, which takes the time of processors that answers need.
const (
	maxGrammar     = 1 << 20 // bytes of a grammar
	maxChoice      = 1024    // texts of guided_choice
	compilesAtOnce = 2
	compileTime    = 5 * time.Second
	probeSteps     = 8 // tokens that a grammar is tried with
	probeTime      = 500 * time.Millisecond
	followTime     = 2 * time.Second  // of one answer, for all its masks
	compileWait    = 10 * time.Second // for others to end
)

// constraint compiles g for m and returns a function that makes a constraint for each answer; nil if g is none.
func (m *model) constraint(ctx context.Context, g kindOf) (func() infer.Constraint, error) {
	if g.kind == "" {
		return nil, nil
	}
	if len(g.text) > maxGrammar {
		return nil, bad(g.param, "%s has %d bytes; there may be %d", g.param, len(g.text), maxGrammar)
	}
	key := sha256.Sum256([]byte(g.kind + "\x00" + g.text))
	m.mu.Lock()
	for i, c := range m.matchers {
		if c.key == key {
			m.matchers = append(append(m.matchers[:i:i], m.matchers[i+1:]...), c)
			m.mu.Unlock()
			if c.slow.Load() {
				return nil, bad(g.param, "%s: %v", g.param, errSlow)
			}
			return c.start, nil
		}
	}
	m.mu.Unlock()
	matcher, err := m.compileInTime(ctx, g)
	if err != nil {
		return nil, err
	}
	c := &compiled{key: key, matcher: matcher}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.matchers = append(m.matchers, c)
	if n := len(m.matchers) - keptMatchers; n > 0 {
		m.matchers = m.matchers[n:]
	}
	return c.start, nil
}

// compileInTime compiles g when one of the few places for that is free. A grammar that takes too long is refused; its
// place is free again when it has ended nevertheless.
func (m *model) compileInTime(ctx context.Context, g kindOf) (*constrain.Matcher, error) {
	wait := time.NewTimer(compileWait)
	defer wait.Stop()
	select {
	case m.compiling <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, &Error{Status: http.StatusTooManyRequests, Message: "too many grammars are being compiled", Code: "queue_full", RetryAfter: compileTime}
	}
	vocab := m.vocab() // made once, which may take long
	type outcome struct {
		matcher *constrain.Matcher
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-m.compiling }()
		matcher, err := g.compile(vocab)
		if err == nil {
			err = probe(matcher, vocab)
		}
		done <- outcome{matcher, err}
	}()
	limit := time.NewTimer(compileTime)
	defer limit.Stop()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, bad(g.param, "%s: %v", g.param, o.err)
		}
		return o.matcher, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, bad(g.param, "%s is too complex: it takes more than %v to compile", g.param, compileTime)
	}
}

func (g *kindOf) compile(vocab *constrain.Vocabulary) (*constrain.Matcher, error) {
	var grammar *constrain.Grammar
	var err error
	switch g.kind {
	case "gbnf":
		grammar, err = constrain.GBNF(g.text)
	case "regex":
		grammar, err = constrain.Regexp(g.text)
	case "choice":
		var choices []string
		if err = json.Unmarshal([]byte(g.text), &choices); err == nil {
			if len(choices) > maxChoice {
				return nil, fmt.Errorf("%d texts; there may be %d", len(choices), maxChoice)
			}
			grammar, err = constrain.Regexp(anyOf(choices))
		}
	default:
		grammar, err = constrain.Schema([]byte(g.text))
	}
	if err != nil {
		return nil, err
	}
	return grammar.Bind(vocab)
}

// anyOf is the regular expression of a choice among texts.
func anyOf(choices []string) string {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = regexp.QuoteMeta(c)
	}
	return "(?:" + strings.Join(quoted, "|") + ")"
}

// errSlow refuses a grammar whose masks would keep other answers waiting: they are computed between passes.
var errSlow = errors.New("the grammar is too ambiguous: following it takes too long")

// probe follows a grammar for a few tokens, to see that it can be followed in time.
func probe(matcher *constrain.Matcher, vocab *constrain.Vocabulary) error {
	c := matcher.Start()
	begin := time.Now()
	for range probeSteps {
		mask, err := c.Mask()
		if err != nil {
			return err
		}
		if time.Since(begin) > probeTime {
			return errSlow
		}
		id := longest(mask, vocab)
		if id < 0 || c.Done() {
			return nil
		}
		if err := c.Accept(id); err != nil {
			return err
		}
	}
	return nil
}

// longest is the token of a mask that writes most, or -1.
func longest(mask []uint64, vocab *constrain.Vocabulary) int32 {
	best, most := int32(-1), 0
	for w, word := range mask {
		for ; word != 0; word &= word - 1 {
			id := int32(64*w + bits.TrailingZeros64(word))
			if n := len(vocab.Bytes(id)); n > most {
				best, most = id, n
			}
		}
	}
	return best
}

// timed is a constraint that gives up when it takes too long.
type timed struct {
	*constrain.Constraint
	grammar *compiled
	spent   time.Duration
}

// Mask implements infer.Constraint.
func (t *timed) Mask() ([]uint64, error) {
	start := time.Now()
	mask, err := t.Constraint.Mask()
	return mask, t.check(start, err)
}

// Accept implements infer.Constraint.
func (t *timed) Accept(id int32) error {
	start := time.Now()
	return t.check(start, t.Constraint.Accept(id))
}

func (t *timed) check(start time.Time, err error) error {
	if t.spent += time.Since(start); t.spent > followTime && err == nil {
		t.grammar.slow.Store(true)
		return errSlow
	}
	return err
}
