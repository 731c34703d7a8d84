package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Names of tokens that files beside a tokenizer.json or tokenizer.model give.
type fileConfig struct {
	bos, eos, unk, pad string
	addBOS, addEOS     *bool
	legacy             *bool
	prefixSpace        *bool    // add_prefix_space
	class              string   // tokenizer_class
	extra              []string // further control tokens
	added              []hfAdded
}

type hfAdded struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type hfFile struct {
	Added         []hfAdded       `json:"added_tokens"`
	Normalizer    *hfPart         `json:"normalizer"`
	PreTokenizer  *hfPart         `json:"pre_tokenizer"`
	PostProcessor *hfPart         `json:"post_processor"`
	Decoder       *hfPart         `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// hfPart is any normaliser, pre-tokenizer, post-processor or decoder.
type hfPart struct {
	Type string `json:"type"`

	Normalizers   []*hfPart `json:"normalizers"`
	Pretokenizers []*hfPart `json:"pretokenizers"`
	Processors    []*hfPart `json:"processors"`
	Decoders      []*hfPart `json:"decoders"`

	Prepend     string          `json:"prepend"`
	Pattern     *hfPattern      `json:"pattern"`
	Content     string          `json:"content"`
	StripLeft   bool            `json:"strip_left"`
	StripRight  bool            `json:"strip_right"`
	PrefixSpace *bool           `json:"add_prefix_space"`
	UseRegex    *bool           `json:"use_regex"`
	Behavior    string          `json:"behavior"`
	Invert      bool            `json:"invert"`
	Individual  bool            `json:"individual_digits"`
	Replacement string          `json:"replacement"`
	Scheme      string          `json:"prepend_scheme"`
	Split       *bool           `json:"split"`
	Start       int             `json:"start"`
	Stop        int             `json:"stop"`
	Single      json.RawMessage `json:"single"`
	Special     json.RawMessage `json:"special_tokens"`
}

type hfPattern struct {
	String *string
	Regex  *string
}

type hfModel struct {
	Type         string           `json:"type"`
	Dropout      *float64         `json:"dropout"`
	Unk          *string          `json:"unk_token"`
	Prefix       *string          `json:"continuing_subword_prefix"`
	Suffix       *string          `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       json.RawMessage  `json:"merges"`
}

// FromJSON makes a tokenizer of a Hugging Face tokenizer.json with a BPE model:
// byte-level, or over characters with byte fallback.
func FromJSON(data []byte, opt Options) (*Tokenizer, error) {
	t, err := fromJSON(data, opt, fileConfig{})
	if err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	return t, nil
}

func fromJSON(data []byte, opt Options, cfg fileConfig) (*Tokenizer, error) {
	var f hfFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, jsonError(data, err)
	}
	if len(f.Model) == 0 || string(f.Model) == "null" {
		return nil, errors.New("it has no model")
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(f.Model, &head); err != nil {
		return nil, err
	}
	// Old files name no type; merges are what only BPE has.
	if head.Type != "BPE" && !(head.Type == "" && strings.Contains(string(f.Model[:min(len(f.Model), 1<<20)]), `"merges"`)) {
		return nil, fmt.Errorf("its model is of type %q; Leo reads BPE (of SentencePiece unigram models, give the tokenizer.model)", head.Type)
	}
	var m hfModel
	if err := json.Unmarshal(f.Model, &m); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "" {
		return nil, errors.New("model: continuing_subword_prefix and end_of_word_suffix aren't supported")
	}
	if m.Dropout != nil && *m.Dropout != 0 {
		return nil, fmt.Errorf("model: BPE with dropout %v gives random ids", *m.Dropout)
	}
	merges, err := hfMerges(m.Merges)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}

	size := int32(0)
	for piece, id := range m.Vocab {
		if id < 0 || id >= maxPieces {
			return nil, fmt.Errorf("model: piece %q has id %d", piece, id)
		}
		size = max(size, id+1)
	}
	for _, a := range f.Added {
		if a.ID < 0 || a.ID >= maxPieces {
			return nil, fmt.Errorf("added token %q has id %d", a.Content, a.ID)
		}
		size = max(size, a.ID+1)
	}
	// Ids without a piece are allowed, but not a file of one piece with id 4
	// million.
	if n := len(m.Vocab) + len(f.Added); int(size) > 16*n+1024 {
		return nil, fmt.Errorf("ids go up to %d, but there are only %d pieces", size-1, n)
	}
	pieces := make([]string, size)
	for piece, id := range m.Vocab {
		if pieces[id] != "" {
			return nil, fmt.Errorf("model: pieces %q and %q share the id %d", pieces[id], piece, id)
		}
		pieces[id] = piece
	}
	t := newTokenizer(pieces, opt)
	for i, p := range pieces {
		if p == "" {
			t.kinds[i] = Unused
		}
	}

	// With a byte-level vocabulary bytes are written in an alphabet of their own.
	e := &hfEngine{}
	if err := e.normalizers(f.Normalizer); err != nil {
		return nil, err
	}
	byteLevel, err := e.preTokenizers(f.PreTokenizer)
	if err != nil {
		return nil, err
	}
	e.override(opt.Legacy)
	e.prefixSpace(&cfg, byteLevel)
	if byteLevel {
		if e.meta != nil || e.spaces {
			return nil, errors.New(`it asks for bytes and for "▁" at once`)
		}
		model, err := newByteBPE(m.Vocab, merges, m.IgnoreMerges)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		e.model = model
	} else {
		model, err := newCharBPE(&m, merges, e.spaces)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		if m.Unk != nil {
			t.unk = m.Vocab[*m.Unk]
		}
		if m.ByteFallback {
			for b := range 256 {
				if id, ok := m.Vocab[bytePiece(byte(b))]; ok {
					t.kinds[id] = Byte
				}
			}
		}
		e.model = model
		e.split = model.split
	}
	t.engine = e

	control := map[string]bool{}
	for _, s := range slices.Concat(cfg.extra, []string{cfg.bos, cfg.eos, cfg.unk, cfg.pad}) {
		if s != "" {
			control[s] = true
		}
	}
	for _, list := range [][]hfAdded{f.Added, cfg.added} {
		for _, a := range list {
			if a.Content == "" {
				continue
			}
			if id, ok := t.index[a.Content]; ok && t.isAdded(a.Content) && id == a.ID {
				continue // the same token in both files
			}
			if err := t.mayAdd(a); err != nil {
				return nil, err
			}
			kind := UserDefined
			if a.Special || opt.Specials == SpecialsTrusted && (control[a.Content] || markerShaped(a.Content)) {
				kind = Control
			}
			t.addToken(addedToken{id: a.ID, text: a.Content, kind: kind, singleWord: a.SingleWord, lstrip: a.LStrip, rstrip: a.RStrip, normalized: a.Normalized})
		}
	}
	var raw, normed []addedToken
	for _, a := range t.added {
		if a.normalized && e.normalizes() {
			a.text = e.normalized(a.text)
			normed = append(normed, a)
		} else {
			raw = append(raw, a)
		}
	}
	t.raw, e.normed = newMatcher(raw), newMatcher(normed)
	if e.normed != nil {
		e.normed.meta = e.spaces
	}

	if err := t.readDecoder(f.Decoder, byteLevel, normed); err != nil {
		return nil, err
	}
	if e.meta != nil && e.meta.never && t.dec.lead == leadText {
		t.dec.lead = leadKeep // without a space in front there is none to strip
	}
	// Decoded like the added token that it may be, but text without pieces becomes it: no control token.
	if t.unk >= 0 {
		t.kinds[t.unk] = Unknown
	}
	if err := t.readTemplate(f.PostProcessor); err != nil {
		return nil, err
	}
	t.applyConfig(cfg)
	return t, nil
}

func (t *Tokenizer) isAdded(text string) bool {
	return slices.ContainsFunc(t.added, func(a addedToken) bool { return a.text == text })
}

// applyConfig takes over what tokenizer_config.json and its neighbours say.
func (t *Tokenizer) applyConfig(cfg fileConfig) {
	for name, p := range map[*int32]string{&t.bos: cfg.bos, &t.eos: cfg.eos, &t.unk: cfg.unk, &t.pad: cfg.pad} {
		if id, ok := t.index[p]; p != "" && ok {
			*name = id
		}
	}
	if cfg.addBOS != nil {
		t.addBOS = *cfg.addBOS
	}
	if cfg.addEOS != nil {
		t.addEOS = *cfg.addEOS
	}
	t.checkBOS()
}

// checkBOS keeps a chat marker that the files call BOS from being put in front of
// everything: a ChatML prompt begins with one already.
func (t *Tokenizer) checkBOS() {
	if t.bos >= 0 && t.addBOS && t.pieces[t.bos] == "<|im_start|>" {
		t.addBOS = false
		t.notes = append(t.notes, "the files name <|im_start|> as BOS; it isn't put in front of text")
	}
}

// jsonError adds the place to an error of encoding/json.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("byte %d: %w", syntax.Offset, err)
	case errors.As(err, &typed):
		return fmt.Errorf("byte %d: %w", typed.Offset, err)
	}
	return err
}

// hfMerges reads merges in both forms: "a b" and ["a", "b"].
func hfMerges(raw json.RawMessage) ([][2]string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal(raw, &pairs); err == nil {
		for i, p := range pairs {
			if p[0] == "" || p[1] == "" {
				return nil, fmt.Errorf("merge %d isn't two pieces", i)
			}
		}
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	pairs = pairs[:0]
	for i, l := range lines {
		a, b, ok := strings.Cut(l, " ")
		if !ok || a == "" || b == "" || strings.Contains(b, " ") {
			return nil, fmt.Errorf("merge %d (%q) isn't two pieces", i, l)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, nil
}

func flatten(p *hfPart, parts func(*hfPart) []*hfPart, depth int) ([]*hfPart, error) {
	if p == nil {
		return nil, nil
	}
	if p.Type != "Sequence" {
		return []*hfPart{p}, nil
	}
	if depth > 8 {
		return nil, errors.New("sequences are nested too deeply")
	}
	var all []*hfPart
	for _, q := range parts(p) {
		list, err := flatten(q, parts, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func (p *hfPattern) compile() (*pattern, error) {
	switch {
	case p == nil || p.String == nil && p.Regex == nil:
		return nil, errors.New("a pattern is missing")
	case p.String != nil:
		return &pattern{literal: *p.String}, nil
	}
	re, err := compileExpression(*p.Regex)
	return &pattern{re: re}, err
}

// normalizers reads the normaliser. The pair Prepend "▁", Replace " " by "▁" at
// its end becomes the engine's own form: spaces, and a prefix.
func (e *hfEngine) normalizers(p *hfPart) error {
	list, err := flatten(p, func(p *hfPart) []*hfPart { return p.Normalizers }, 0)
	if err != nil {
		return err
	}
	isPrepend := func(q *hfPart) bool { return q.Type == "Prepend" && q.Prepend == meta }
	isReplace := func(q *hfPart) bool {
		return q.Type == "Replace" && q.Content == meta && q.Pattern != nil && q.Pattern.String != nil && *q.Pattern.String == " "
	}
	if n := len(list); n >= 1 && isReplace(list[n-1]) {
		e.spaces = true
		list = list[:n-1]
		if n >= 2 && isPrepend(list[n-2]) {
			e.prepend = true
			list = list[:n-2]
		}
	} else if n >= 2 && isReplace(list[n-2]) && isPrepend(list[n-1]) {
		e.spaces, e.prepend = true, true
		list = list[:n-2]
	}
	for _, q := range list {
		var step normStep
		switch q.Type {
		case "NFC":
			step = formNFC
		case "NFD":
			step = formNFD
		case "NFKC":
			step = formNFKC
		case "NFKD":
			step = formNFKD
		case "Lowercase":
			step = mapRunes(lowercase)
		case "StripAccents":
			step = mapRunes(stripAccents)
		case "Strip":
			step = trimSpace{q.StripLeft, q.StripRight}
		case "Prepend":
			step = prepend{q.Prepend}
		case "Replace":
			pat, err := q.Pattern.compile()
			if err != nil {
				return fmt.Errorf("normaliser Replace: %w", err)
			}
			if pat.re == nil {
				step = replaceText{pat.literal, q.Content}
			} else {
				step = replaceMatches{pat, q.Content}
			}
		default:
			return fmt.Errorf("normaliser %q isn't supported", q.Type)
		}
		e.norms = append(e.norms, step)
	}
	return nil
}

// The expressions that wordRule matches by hand, as files spell them.
var knownRules = map[string]*wordRule{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                                       ruleGPT2,
	`(?:'s|'t|'re|'ve|'m|'ll|'d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                                   ruleGPT2,
	`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                                          ruleGPT2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:                              ruleLlama3,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:                                   ruleQwen2,
	`(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: {modern: true, digits: 3, noLongS: true},
}

// preTokenizers reads the pre-tokenizer and reports whether words are bytes.
func (e *hfEngine) preTokenizers(p *hfPart) (byteLevel bool, err error) {
	list, err := flatten(p, func(p *hfPart) []*hfPart { return p.Pretokenizers }, 0)
	if err != nil {
		return false, err
	}
	var behind []preStep // behind ByteLevel: on bytes in their alphabet
	for _, q := range list {
		switch q.Type {
		case "ByteLevel":
			if byteLevel {
				return false, errors.New("a second ByteLevel isn't supported")
			}
			byteLevel = true
			if q.PrefixSpace == nil || *q.PrefixSpace {
				e.pre = append(e.pre, prefixStep{})
			}
			if q.UseRegex == nil || *q.UseRegex {
				e.pre = append(e.pre, ruleStep{ruleGPT2})
			}
		case "Metaspace":
			if len(list) > 1 {
				return false, errors.New("pre-tokenizer Metaspace is supported only alone")
			}
			if err := e.metaspace(q); err != nil {
				return false, err
			}
		default:
			step, err := q.preStep()
			if err != nil {
				return false, err
			}
			if byteLevel {
				behind = append(behind, step)
			} else {
				e.pre = append(e.pre, step)
			}
		}
	}
	if len(behind) > 0 {
		e.pre = append(e.pre, byteSteps(behind))
	}
	return byteLevel, nil
}

// preStep is a pre-tokenizer that only cuts.
func (p *hfPart) preStep() (preStep, error) {
	switch p.Type {
	case "Digits":
		return digitsStep{p.Individual}, nil
	case "Punctuation":
		behavior := cmp.Or(p.Behavior, "Isolated")
		if !slices.Contains(splitBehaviors, behavior) {
			return nil, fmt.Errorf("pre-tokenizer Punctuation: unknown behavior %q", behavior)
		}
		re, err := compileExpression(punctuation)
		return splitStep{&pattern{re: re}, behavior, false}, err
	case "Split":
		if rule := p.rule(); rule != nil {
			return ruleStep{rule}, nil
		}
		pat, err := p.Pattern.compile()
		if err != nil {
			return nil, fmt.Errorf("pre-tokenizer Split: %w", err)
		}
		if !slices.Contains(splitBehaviors, p.Behavior) {
			return nil, fmt.Errorf("pre-tokenizer Split: unknown behavior %q", p.Behavior)
		}
		return splitStep{pat, p.Behavior, p.Invert}, nil
	}
	return nil, fmt.Errorf("pre-tokenizer %q isn't supported", p.Type)
}

var splitBehaviors = []string{"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"}

// punctuation is what the step Punctuation takes for it.
const punctuation = `[!-/:-@\[-` + "`" + `{-~\p{P}]`

// rule is the rule that a Split with one of the known expressions follows, or nil.
func (p *hfPart) rule() *wordRule {
	if p.Pattern == nil || p.Pattern.Regex == nil {
		return nil
	}
	// The expressions match every character, so that nothing lies between words.
	if p.Behavior == "Isolated" && !p.Invert || p.Behavior == "Removed" && p.Invert {
		return knownRules[*p.Pattern.Regex]
	}
	return nil
}

// metaspace reads the pre-tokenizer Metaspace.
func (e *hfEngine) metaspace(p *hfPart) error {
	if p.Replacement != meta {
		return fmt.Errorf("pre-tokenizer Metaspace with %q for a space isn't supported", p.Replacement)
	}
	s := metaStep{split: p.Split == nil || *p.Split}
	switch {
	case p.Scheme == "first":
		s.first = true
	case p.Scheme == "never" || p.Scheme == "" && p.PrefixSpace != nil && !*p.PrefixSpace:
		s.never = true
	case p.Scheme == "always" || p.Scheme == "":
	default:
		return fmt.Errorf("pre-tokenizer Metaspace: unknown prepend_scheme %q", p.Scheme)
	}
	e.meta = &s
	e.spaces = true
	return nil
}

// override applies Options.Legacy to a tokenizer of Llama's kind.
func (e *hfEngine) override(l Legacy) {
	llama := e.prepend || e.meta != nil && !e.meta.never && !e.meta.split
	if !llama {
		return
	}
	switch l {
	case LegacyOn:
		e.prepend, e.meta = true, nil
	case LegacyOff:
		e.prepend, e.meta = false, &metaStep{first: true}
	}
}

// llamaClass tells whether tokenizer_config.json leaves the way of spaces to it, as
// Hugging Face's class for Llama does; the generic ones take tokenizer.json's.
func (c *fileConfig) llamaClass() bool {
	return c.class == "" || strings.HasPrefix(c.class, "Llama") || strings.HasPrefix(c.class, "CodeLlama")
}

// noPrefix tells whether text gets no space in front, whatever the vocabulary's own file says.
func (c *fileConfig) noPrefix() bool {
	return c.prefixSpace != nil && !*c.prefixSpace && c.llamaClass()
}

// prefixSpace applies tokenizer_config.json's add_prefix_space, as the classes for Llama and
// GPT-2 do.
func (e *hfEngine) prefixSpace(c *fileConfig, byteLevel bool) {
	switch {
	case c.prefixSpace == nil:
	case byteLevel && strings.HasPrefix(c.class, "GPT2"):
		e.pre = slices.DeleteFunc(e.pre, func(s preStep) bool { _, is := s.(prefixStep); return is })
		if *c.prefixSpace {
			e.pre = append([]preStep{prefixStep{}}, e.pre...)
		}
	case !byteLevel && c.noPrefix() && (e.prepend || e.meta != nil && !e.meta.split):
		e.prepend, e.meta = false, &metaStep{never: true}
	}
}

// readDecoder finds the decoding that a file describes. Added tokens of the
// normalised text are decoded from their normalised form.
func (t *Tokenizer) readDecoder(p *hfPart, byteLevel bool, normed []addedToken) error {
	pieces := slices.Clone(t.pieces)
	for _, a := range normed {
		pieces[a.id] = a.text
	}
	list, err := flatten(p, func(p *hfPart) []*hfPart { return p.Decoders }, 0)
	if err != nil {
		return err
	}
	if byteLevel && (len(list) == 0 || len(list) == 1 && list[0].Type == "ByteLevel") {
		t.dec = byteLevelDecoding(t, pieces)
		return nil
	}
	d := decoding{surface: pieces, bytes: make([]bool, len(t.pieces)), special: make([]bool, len(t.pieces))}
	for i := range t.pieces {
		d.special[i] = t.kinds[i] == Control
	}
	fused := false
	for _, q := range list {
		switch {
		case q.Type == "Replace" && !fused && q.Pattern != nil && q.Pattern.String != nil:
			for i := range d.surface {
				d.surface[i] = strings.ReplaceAll(d.surface[i], *q.Pattern.String, q.Content)
			}
		case q.Type == "ByteFallback" && !fused:
			d.replaceRun = true
			for i, s := range d.surface {
				var b byte
				if len(s) == 6 && strings.HasPrefix(s, "<0x") && s[5] == '>' {
					if n, err := fmt.Sscanf(s[3:5], "%02x", &b); n == 1 && err == nil {
						d.surface[i], d.bytes[i] = string([]byte{b}), true
					}
				}
			}
		case q.Type == "Fuse":
			fused = true
		case q.Type == "Strip" && fused && q.Content == " " && q.Start <= 1 && q.Stop == 0:
			if q.Start == 1 {
				d.lead = leadText
			}
		case q.Type == "Metaspace" && len(list) == 1:
			if q.Scheme != "never" && !(q.Scheme == "" && q.PrefixSpace != nil && !*q.PrefixSpace) {
				d.lead = leadFirstToken
			}
			for i := range d.surface {
				d.surface[i] = strings.ReplaceAll(d.surface[i], meta, " ")
			}
		default:
			return fmt.Errorf("decoder %q isn't supported here", q.Type)
		}
	}
	t.dec = d
	return nil
}

// readTemplate learns from the post-processor whether BOS and EOS are added.
func (t *Tokenizer) readTemplate(p *hfPart) error {
	list, err := flatten(p, func(p *hfPart) []*hfPart { return p.Processors }, 0)
	if err != nil {
		return err
	}
	for _, q := range list {
		if q.Type != "TemplateProcessing" {
			continue
		}
		var items []struct {
			SpecialToken *struct {
				ID string `json:"id"`
			}
			Sequence *struct {
				ID string `json:"id"`
			}
		}
		if err := json.Unmarshal(q.Single, &items); err != nil {
			return fmt.Errorf("post-processor: %w", err)
		}
		before := true
		for _, it := range items {
			if it.Sequence != nil {
				before = false
			}
			if it.SpecialToken == nil {
				continue
			}
			id, ok := t.index[it.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("post-processor names the token %q, which doesn't exist", it.SpecialToken.ID)
			}
			if before && t.bos < 0 {
				t.bos, t.addBOS = id, true
			} else if !before {
				t.eos, t.addEOS = id, true
			}
		}
	}
	return nil
}
