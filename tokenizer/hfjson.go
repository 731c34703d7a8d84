package tokenizer

import (
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

// hfPart is any normalizer, pre-tokenizer, post-processor or decoder.
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
	m, merges, err := f.model()
	if err != nil {
		return nil, err
	}
	pieces, err := f.pieces(m)
	if err != nil {
		return nil, err
	}
	t := newTokenizer(pieces, opt)
	for i, p := range pieces {
		if p == "" {
			t.kinds[i] = Unused
		}
	}
	e, byteLevel, err := t.hfEncoder(&f, m, merges, opt, &cfg)
	if err != nil {
		return nil, err
	}
	t.engine = e
	if err := t.addHF(&f, &cfg, opt); err != nil {
		return nil, err
	}
	normed := t.matchAdded(e)
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

// model reads the model and its merges.
func (f *hfFile) model() (*hfModel, [][2]string, error) {
	if len(f.Model) == 0 || string(f.Model) == "null" {
		return nil, nil, errors.New("it has no model")
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(f.Model, &head); err != nil {
		return nil, nil, err
	}
	// Old files name no type; merges are what only BPE has.
	if head.Type != "BPE" && !(head.Type == "" && strings.Contains(string(f.Model[:min(len(f.Model), 1<<20)]), `"merges"`)) {
		return nil, nil, fmt.Errorf("its model is of type %q; Leo reads BPE (of SentencePiece unigram models, give the tokenizer.model)", head.Type)
	}
	var m hfModel
	if err := json.Unmarshal(f.Model, &m); err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	if m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "" {
		return nil, nil, errors.New("model: continuing_subword_prefix and end_of_word_suffix aren't supported")
	}
	if m.Dropout != nil && *m.Dropout != 0 {
		return nil, nil, fmt.Errorf("model: BPE with dropout %v gives random ids", *m.Dropout)
	}
	merges, err := hfMerges(m.Merges)
	if err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	return &m, merges, nil
}

// pieces lists the text of every id, "" where there is none.
func (f *hfFile) pieces(m *hfModel) ([]string, error) {
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
	// Ids without a piece are allowed, but a file of one piece with id 4 million
	// isn't.
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
	return pieces, nil
}

// hfEncoder builds the stages of encoding and reports whether words are bytes.
func (t *Tokenizer) hfEncoder(f *hfFile, m *hfModel, merges [][2]string, opt Options, cfg *fileConfig) (*hfEngine, bool, error) {
	// With a byte-level vocabulary bytes are written in an alphabet of their own.
	e := &hfEngine{}
	if err := e.normalizers(f.Normalizer); err != nil {
		return nil, false, err
	}
	byteLevel, err := e.preTokenizers(f.PreTokenizer)
	if err != nil {
		return nil, false, err
	}
	e.override(opt.Legacy)
	e.prefixSpace(cfg, byteLevel)
	if byteLevel {
		if e.meta != nil || e.spaces {
			return nil, false, errors.New(`it asks for bytes and for "▁" at once`)
		}
		model, err := newByteBPE(m.Vocab, merges, m.IgnoreMerges)
		if err != nil {
			return nil, false, fmt.Errorf("model: %w", err)
		}
		e.model = model
	} else {
		model, err := newCharBPE(m, merges, e.spaces)
		if err != nil {
			return nil, false, fmt.Errorf("model: %w", err)
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
	return e, byteLevel, nil
}

// addHF adds the tokens of tokenizer.json and of the files beside it.
func (t *Tokenizer) addHF(f *hfFile, cfg *fileConfig, opt Options) error {
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
				return err
			}
			kind := UserDefined
			if a.Special || opt.Specials == SpecialsTrusted && (control[a.Content] || markerShaped(a.Content)) {
				kind = Control
			}
			t.addToken(addedToken{id: a.ID, text: a.Content, kind: kind, singleWord: a.SingleWord, lstrip: a.LStrip, rstrip: a.RStrip, normalized: a.Normalized})
		}
	}
	return nil
}

// matchAdded makes the matchers of added tokens, of raw and of normalized text, and
// returns the tokens of the latter.
func (t *Tokenizer) matchAdded(e *hfEngine) []addedToken {
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
	return normed
}

func (t *Tokenizer) isAdded(text string) bool {
	return slices.ContainsFunc(t.added, func(a addedToken) bool { return a.text == text })
}

// applyConfig takes over what tokenizer_config.json and its neighbors say.
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

// readDecoder finds the decoding that a file describes. Added tokens of the
// normalized text are decoded from their normalized form.
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
			if err := replaceAll(d.surface, *q.Pattern.String, q.Content); err != nil {
				return fmt.Errorf("decoder Replace: %w", err)
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

// readTemplate finds out from the post-processor whether BOS and EOS are added.
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
