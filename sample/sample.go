// Package sample chooses the next token from a model's logits.
//
// It owns the sampling chain (penalties, filters, temperature, the draw), the
// random numbers it draws with, stop strings over a stream of text,
// log-probabilities and the bookkeeping of beam search. It does not own the
// model, the grammar behind a mask (internal/constrain) or the conversation.
//
// The chain, in this order:
//
//  1. forced tokens (the first tokens of an answer);
//  2. logit bias;
//  3. repetition penalty, then presence and frequency penalties, then DRY;
//  4. no-repeat n-grams, banned tokens, minimum new tokens, rows beyond the
//     vocabulary, the mask of a grammar: all of these forbid tokens;
//  5. the filters and the temperature in the order of [Params.Order]:
//     temperature, top-k, top-p, min-p, typical in [OrderHF], as in
//     transformers; top-k, typical, top-p, min-p, temperature in [OrderLeo],
//     where the temperature does not change which tokens remain;
//  6. mirostat instead of 5, if it is on;
//  7. the draw; with temperature 0 the largest logit, the smaller id on a tie.
//
// Equal parameters, seed, prompt and logits give equal tokens on every machine
// and in every build: operations are never fused, sums have a fixed order, and
// the random number generator is our own ([RNG]).
package sample

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"leolm/internal/kernel/vec"
)

// Order is the order of the filters and the temperature.
type Order uint8

// The orders of step 5 of the chain.
const (
	OrderLeo Order = iota
	OrderHF
)

// Params are the sampling parameters. The zero value is greedy decoding; a zero
// turns a step off.
type Params struct {
	// Temperature divides the logits; 0 is greedy.
	Temperature float64
	// TopK keeps the k largest logits, and those equal to the k-th.
	TopK int
	// TopP keeps the smallest set of most probable tokens whose mass reaches
	// it; 0 and 1 keep all.
	TopP float64
	// MinP keeps tokens of at least this fraction of the largest probability.
	MinP float64
	// TypicalP keeps the tokens whose surprise is nearest to the entropy, up
	// to this mass (Meister et al. 2022); 0 and 1 keep all.
	TypicalP float64
	Order    Order

	// RepetitionPenalty divides positive and multiplies negative logits of
	// tokens that occurred in prompt or answer (Keskar et al. 2019); 0 and 1
	// are off.
	RepetitionPenalty float64
	// PresencePenalty is subtracted from logits of tokens that occurred in
	// the answer, FrequencyPenalty once per occurrence there.
	PresencePenalty, FrequencyPenalty float64
	// PenaltyWindow limits all three to the last PenaltyWindow tokens; 0 is all.
	PenaltyWindow int
	// DRY penalizes tokens that would continue a repeated sequence.
	DRY DRY
	// NoRepeatNGram forbids a second occurrence of any n-gram of this size,
	// prompt included.
	NoRepeatNGram int

	// LogitBias is added to logits.
	LogitBias map[int32]float32
	// Banned tokens are never sampled.
	Banned []int32
	// Forced tokens are the first of the answer.
	Forced []int32
	// MinNewTokens forbids StopIDs until the answer has this many tokens.
	MinNewTokens int
	// StopIDs end an answer; the sampler only needs them for MinNewTokens.
	StopIDs []int32

	// MirostatTau is the target surprise in bits of mirostat 2; 0 is off.
	// MirostatEta is its learning rate, 0.1 if zero.
	MirostatTau, MirostatEta float64

	// Seed of the random numbers (see [RNG]).
	Seed uint64
	// Vocab is the number of rows that are tokens; the rows after them, such
	// as the 121 untrained ones of LeoLM's 32128, are never sampled. 0 means
	// all are tokens.
	Vocab int
}

// DRY are the parameters of "don't repeat yourself": a token that would
// extend a sequence of n >= AllowedLength tokens which already occurred loses
// Multiplier × Base^(n-AllowedLength).
type DRY struct {
	Multiplier    float64 // 0 is off
	Base          float64 // 1.75 if zero
	AllowedLength int     // 2 if zero
	Window        int     // only the last Window tokens; 0 is all
	Breakers      []int32 // tokens that end a sequence: newline, quotes, …
}

// Check returns an error that lists all values out of range.
func (p *Params) Check() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	inf := math.Inf(1)
	within := func(name string, v, lo, hi float64) {
		// A NaN fails both comparisons.
		bad(!(v >= lo && v <= hi) || math.IsInf(v, 0), "%s is %v; it must be from %v to %v", name, v, lo, hi)
	}
	within("temperature", p.Temperature, 0, inf)
	within("top-p", p.TopP, 0, 1)
	within("min-p", p.MinP, 0, 1)
	within("typical-p", p.TypicalP, 0, 1)
	within("repetition penalty", p.RepetitionPenalty, 0, inf)
	within("presence penalty", p.PresencePenalty, -inf, inf)
	within("frequency penalty", p.FrequencyPenalty, -inf, inf)
	within("mirostat tau", p.MirostatTau, 0, inf)
	within("mirostat eta", p.MirostatEta, 0, inf)
	within("DRY multiplier", p.DRY.Multiplier, 0, inf)
	within("DRY base", p.DRY.Base, 0, inf)
	bad(p.DRY.Base != 0 && p.DRY.Base < 1, "DRY base is %v; it must be at least 1", p.DRY.Base)
	for _, c := range []struct {
		name string
		v    int
	}{
		{"top-k", p.TopK}, {"penalty window", p.PenaltyWindow}, {"no-repeat n-gram", p.NoRepeatNGram},
		{"minimum new tokens", p.MinNewTokens}, {"vocabulary", p.Vocab},
		{"DRY allowed length", p.DRY.AllowedLength}, {"DRY window", p.DRY.Window},
	} {
		bad(c.v < 0, "%s is %d; it must not be negative", c.name, c.v)
	}
	bad(p.Order > OrderHF, "unknown order %d", p.Order)
	bad(p.MirostatTau > 0 && p.Temperature == 0, "mirostat needs a temperature above 0")
	for id, b := range p.LogitBias {
		bad(math.IsNaN(float64(b)), "logit bias of token %d is not a number", id)
	}
	if len(errs) > 0 {
		return fmt.Errorf("sample: %w", errors.Join(errs...))
	}
	return nil
}

// ErrNoToken reports that bans, masks and filters left no token to choose.
var ErrNoToken = errors.New("sample: no token is allowed: bans, mask and minimum length exclude all of them")

// LogitsError reports logits that are NaN or plus infinity: the model's weights
// are damaged, or its activations overflow.
type LogitsError struct {
	NaN, Inf int   // how many logits are NaN, and plus infinity
	Rows     int   // how many logits there are
	First    int32 // the first such token
}

func (e *LogitsError) Error() string {
	kind, n := "NaN", e.NaN
	if n == 0 {
		kind, n = "infinite", e.Inf
	}
	return fmt.Sprintf("sample: %d of %d logits are %s, the first of token %d: the model's weights are damaged, or its activations overflow",
		n, e.Rows, kind, e.First)
}

// CheckLogits returns a [*LogitsError] if a logit is NaN or plus infinity.
// Minus infinity is allowed: it forbids a token.
func CheckLogits(logits []float32) error {
	if vec.FirstNonFinite(logits) < 0 {
		return nil
	}
	e := &LogitsError{Rows: len(logits), First: -1}
	for i, v := range logits {
		switch {
		case v != v:
			e.NaN++
		case v > math.MaxFloat32:
			e.Inf++
		default:
			continue
		}
		if e.First < 0 {
			e.First = int32(i)
		}
	}
	if e.First < 0 {
		return nil // there is minus infinity only
	}
	return e
}

// Preset is a named set of parameters for reproducible generation.
type Preset struct {
	Params
	// MaxNewTokens limits the answer; 0 leaves it to the context.
	MaxNewTokens int
	// MaxLength limits prompt and answer together; 0 is off.
	MaxLength int
	// RepeatPrompt makes the output begin with the prompt's text.
	RepeatPrompt bool
}

// PresetNames lists what [FindPreset] knows.
func PresetNames() []string { return []string{"hf", "leolm", "leo", "greedy"} }

// FindPreset returns a named preset:
//
//   - "hf" is what transformers' pipeline does with the model card's call:
//     top_p 0.95, temperature 1 and top_k 50 by default, max_length 8192 that
//     counts the prompt, the prompt's text repeated;
//   - "leolm" is the demo's (bjoernpl/FastChat, app.py);
//   - "leo" is Leo's own default;
//   - "greedy" takes the likeliest token.
func FindPreset(name string) (Preset, error) {
	switch name {
	case "hf":
		return Preset{Params: Params{Temperature: 1, TopK: 50, TopP: 0.95, Order: OrderHF}, MaxLength: 8192, RepeatPrompt: true}, nil
	case "leolm":
		return Preset{Params: Params{Temperature: 0.9, TopK: 40, TopP: 0.95, RepetitionPenalty: 1.1, Order: OrderHF}, MaxNewTokens: 2048}, nil
	case "leo":
		return Preset{Params: Params{Temperature: 0.7, TopK: 40, TopP: 0.95, MinP: 0.05}}, nil
	case "greedy":
		return Preset{}, nil
	}
	return Preset{}, fmt.Errorf("sample: no preset named %q; known are %s", name, strings.Join(PresetNames(), ", "))
}

// cand is a candidate: a token that is not filtered out yet, with its logit.
type cand struct {
	logit float32
	id    int32
}

// Sampler is the state of one sequence: its parameters, history and random
// numbers. It is not safe for concurrent use. After the history's buffer has
// grown to the sequence's length, Sample and Accept do not allocate.
type Sampler struct {
	p       Params
	rng     RNG
	history []int32 // prompt, then answer
	prompt  int     // length of the prompt
	mu      float64 // mirostat's bound on the surprise

	// Tokens in the penalty window. count and answer are indexed by id;
	// distinct lists the ids that ever occurred, also those that have left
	// the window.
	count, answer []int32
	listed        []bool
	distinct      []int32

	breaker []bool // DRY's, by id
	dryLen  []int32
	drySeen []int32

	vocab int
	c     []cand
	e     []float32 // exponentials of a dense pass
	key   []cand    // typical's sort keys
}

// New makes a sampler for logits of that many rows.
func New(p Params, rows int) (*Sampler, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if rows <= 0 || rows > math.MaxInt32 {
		return nil, fmt.Errorf("sample: a vocabulary of %d rows", rows)
	}
	vocab := rows
	if p.Vocab > 0 {
		vocab = min(rows, p.Vocab)
	}
	check := func(what string, ids []int32) error {
		for _, id := range ids {
			if id < 0 || int(id) >= vocab {
				return fmt.Errorf("sample: %s token %d is not in the vocabulary of %d", what, id, vocab)
			}
		}
		return nil
	}
	biased := make([]int32, 0, len(p.LogitBias))
	for id := range p.LogitBias {
		biased = append(biased, id)
	}
	if err := errors.Join(check("banned", p.Banned), check("forced", p.Forced), check("biased", biased)); err != nil {
		return nil, err
	}
	if p.DRY.Base == 0 {
		p.DRY.Base = 1.75
	}
	if p.DRY.AllowedLength == 0 {
		p.DRY.AllowedLength = 2
	}
	if p.MirostatEta == 0 {
		p.MirostatEta = 0.1
	}
	s := &Sampler{p: p, vocab: vocab, rng: NewRNG(p.Seed), mu: 2 * p.MirostatTau}
	// Copies: the caller may change its slices.
	s.p.Banned, s.p.Forced = slices.Clone(p.Banned), slices.Clone(p.Forced)
	s.p.StopIDs = slices.Clone(p.StopIDs)
	s.c = make([]cand, 0, vocab)
	s.history = make([]int32, 0, 1024)
	if s.penalizes() {
		s.count, s.answer = make([]int32, vocab), make([]int32, vocab)
		s.listed, s.distinct = make([]bool, vocab), make([]int32, 0, vocab)
	}
	if p.DRY.Multiplier > 0 {
		s.breaker = make([]bool, vocab)
		for _, id := range p.DRY.Breakers {
			if id >= 0 && int(id) < vocab {
				s.breaker[id] = true
			}
		}
		s.dryLen, s.drySeen = make([]int32, vocab), make([]int32, 0, vocab)
	}
	return s, nil
}

func (s *Sampler) penalizes() bool {
	r := s.p.RepetitionPenalty
	return r != 0 && r != 1 || s.p.PresencePenalty != 0 || s.p.FrequencyPenalty != 0
}

// Params returns the parameters in use.
func (s *Sampler) Params() Params { return s.p }

// Generated is the number of tokens accepted since the prompt.
func (s *Sampler) Generated() int { return len(s.history) - s.prompt }

// Prompt starts a new sequence with these ids. The random numbers continue;
// Reset restarts them.
func (s *Sampler) Prompt(ids []int32) {
	for _, id := range s.distinct {
		s.count[id], s.answer[id], s.listed[id] = 0, 0, false
	}
	s.distinct = s.distinct[:0]
	s.history, s.prompt = s.history[:0], len(ids)
	s.mu = 2 * s.p.MirostatTau
	for _, id := range ids {
		s.push(id)
	}
}

// Reset restarts the random numbers from the seed and clears the history.
func (s *Sampler) Reset(seed uint64) {
	s.rng = NewRNG(seed)
	s.Prompt(nil)
}

// Accept appends a token to the answer.
func (s *Sampler) Accept(id int32) { s.push(id) }

func (s *Sampler) push(id int32) {
	at := len(s.history)
	s.history = append(s.history, id)
	if s.count == nil {
		return
	}
	if id >= 0 && int(id) < s.vocab {
		s.count[id]++
		if at >= s.prompt {
			s.answer[id]++
		}
		if !s.listed[id] {
			s.listed[id] = true
			s.distinct = append(s.distinct, id)
		}
	}
	if w := s.p.PenaltyWindow; w > 0 && at >= w {
		if old := s.history[at-w]; old >= 0 && int(old) < s.vocab {
			s.count[old]--
			if at-w >= s.prompt {
				s.answer[old]--
			}
		}
	}
}

// Sample draws the next token. It overwrites logits, which must have the number
// of rows given to New. mask, if not nil, has bit id%64 of word id/64 set for
// every allowed token. The caller passes the token, or another one instead, to
// Accept. Errors are [ErrNoToken] and [*LogitsError].
func (s *Sampler) Sample(logits []float32, mask []uint64) (int32, error) {
	if len(logits) < s.vocab {
		return 0, fmt.Errorf("sample: %d logits for a vocabulary of %d", len(logits), s.vocab)
	}
	logits = logits[:s.vocab]
	if err := CheckLogits(logits); err != nil {
		return 0, err
	}
	if g := s.Generated(); g < len(s.p.Forced) {
		id := s.p.Forced[g]
		if mask != nil && !allowed(mask, id) {
			return 0, fmt.Errorf("sample: the token %d forced at position %d is excluded by the grammar", id, g)
		}
		return id, nil
	}
	s.adjust(logits)
	if mask != nil {
		Mask(logits, mask)
	}
	if s.p.Temperature == 0 {
		return argmax(logits)
	}
	d := draw{s: s, logits: logits, scale: 1}
	if s.p.MirostatTau > 0 {
		return d.mirostat()
	}
	return d.filtered()
}

func allowed(mask []uint64, id int32) bool {
	w := int(id) >> 6
	return w < len(mask) && mask[w]>>(uint(id)&63)&1 != 0
}

var negInf = float32(math.Inf(-1))

// Mask sets the logits of tokens whose bit is clear to minus infinity.
func Mask(logits []float32, mask []uint64) {
	for w := 0; w*64 < len(logits); w++ {
		var m uint64
		if w < len(mask) {
			m = mask[w]
		}
		if m == math.MaxUint64 {
			continue
		}
		part := logits[w*64 : min(w*64+64, len(logits))]
		for i := range part {
			if m>>uint(i)&1 == 0 {
				part[i] = negInf
			}
		}
	}
}

// argmax is the id of the largest logit, the smallest such id on a tie.
func argmax(logits []float32) (int32, error) {
	at := vec.ArgMax(logits)
	if at < 0 || logits[at] == negInf {
		return 0, ErrNoToken
	}
	return int32(at), nil
}
