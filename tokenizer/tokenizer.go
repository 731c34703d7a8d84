package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// Kind says what a token id stands for. The values are SentencePiece's and GGUF's.
type Kind uint8

const (
	Normal      Kind = 1
	Unknown     Kind = 2
	Control     Kind = 3
	UserDefined Kind = 4
	Unused      Kind = 5
	Byte        Kind = 6
)

func (k Kind) String() string {
	switch k {
	case Normal:
		return "normal"
	case Unknown:
		return "unknown"
	case Control:
		return "control"
	case UserDefined:
		return "user-defined"
	case Unused:
		return "unused"
	case Byte:
		return "byte"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Legacy chooses what happens to the text after an added token in vocabularies
// of the Llama kind: with it, every stretch of text between added tokens gets a
// "▁" of its own (Hugging Face's legacy=true, Megatron, the LeoLM models);
// without it, only text at the very beginning does.
type Legacy uint8

const (
	LegacyAuto Legacy = iota // as the files say; true where they say nothing
	LegacyOn
	LegacyOff
)

// Specials chooses where control tokens are recognized.
type Specials uint8

const (
	// SpecialsTrusted recognizes them only inside the trusted ranges of
	// EncodeTrusted: what a user types stays text.
	SpecialsTrusted Specials = iota
	// SpecialsAnywhere recognizes them anywhere in text, as Hugging Face
	// tokenizers and Megatron do. For reproducing their ids; not for serving.
	SpecialsAnywhere
)

// Options of the constructors. The zero value is what the files say, with
// control tokens kept out of text.
type Options struct {
	Legacy   Legacy
	Specials Specials
}

// Span is a range of bytes, End exclusive.
type Span struct{ Start, End int }

// Tokenizer turns text into ids and back. It is immutable after loading and safe
// for concurrent use.
type Tokenizer struct {
	pieces []string
	kinds  []Kind
	index  map[string]int32

	engine   engine
	added    []addedToken
	raw      *matcher // added tokens found in the text as it is
	anywhere bool

	bos, eos, unk, pad int32
	addBOS, addEOS     bool
	notes              []string

	dec  decoding
	pool *scratches
}

// engine encodes a stretch of text without added tokens; base is where it begins
// in the whole text.
type engine interface {
	encode(s *scratch, seg string, base int)
}

// AppendTokens appends the ids of text to dst. Control tokens never come out of
// it, whatever the text says, unless the tokenizer was opened with
// SpecialsAnywhere. No BOS or EOS is added.
func (t *Tokenizer) AppendTokens(dst []int32, text string) []int32 {
	s := t.pool.get()
	s.out, s.want, s.trusted = dst, false, nil
	t.encode(s, text)
	dst = s.out
	t.pool.put(s)
	return dst
}

// EncodeTrusted appends the ids of text to dst and, for each, the byte offset in
// text where the token begins to offs. Control tokens are recognized where they
// lie wholly inside trusted ranges (sorted, not overlapping; ranges that touch
// count as one) and nowhere else. A token made of a prefix that isn't in the text
// has the offset of what follows.
func (t *Tokenizer) EncodeTrusted(dst, offs []int32, text string, trusted []Span) ([]int32, []int32) {
	s := t.pool.get()
	s.out, s.offs, s.want, s.trusted = dst, offs, true, trusted
	t.encode(s, text)
	dst, offs = s.out, s.offs
	t.pool.put(s)
	return dst, offs
}

func (t *Tokenizer) encode(s *scratch, text string) {
	s.anywhere = t.anywhere
	if t.raw == nil {
		t.engine.encode(s, text, 0)
		return
	}
	from := 0
	marks := t.raw.find(s.marks[:0], text, func(tok *addedToken, start, end int) bool {
		return tok.kind != Control || s.anywhere || s.trusts(start, end)
	})
	s.marks = marks
	for _, m := range marks {
		if from < m.start {
			t.engine.encode(s, text[from:m.start], from)
		}
		s.base, s.align, s.pos = m.start, nil, 0
		s.emitOne(m.id, 0)
		from = m.end
	}
	if from < len(text) {
		t.engine.encode(s, text[from:], from)
	}
}

// trusts reports whether [start, end) lies in trusted ranges without a gap.
func (s *scratch) trusts(start, end int) bool {
	for _, sp := range s.trusted {
		if sp.Start > start {
			return false
		}
		if sp.End > start {
			if sp.End >= end {
				return true
			}
			start = sp.End
		}
	}
	return false
}

// Vocab returns the number of ids: all ids are below it. A model may have more
// rows than that (LeoLM: 32128 rows, 32007 ids).
func (t *Tokenizer) Vocab() int { return len(t.pieces) }

// Used returns the number of ids up to the last that stands for anything: after it come only tokens that pad the
// vocabulary to the model's rows, as in GGUF files. A model's probabilities are over these.
func (t *Tokenizer) Used() int {
	n := len(t.pieces)
	for n > 0 && t.kinds[n-1] == Unused {
		n--
	}
	return n
}

// ID returns the id of a piece as the vocabulary writes it ("▁und", "Ġund",
// "<|im_end|>").
func (t *Tokenizer) ID(piece string) (int32, bool) {
	id, ok := t.index[piece]
	return id, ok
}

// Piece returns the piece of an id as the vocabulary writes it; "" for an id out
// of range or without a piece.
func (t *Tokenizer) Piece(id int32) string {
	if uint(id) >= uint(len(t.pieces)) {
		return ""
	}
	return t.pieces[id]
}

// Kind returns what an id stands for; Unused for an id out of range.
func (t *Tokenizer) Kind(id int32) Kind {
	if uint(id) >= uint(len(t.kinds)) {
		return Unused
	}
	return t.kinds[id]
}

// BOS, EOS, UNK and PAD return the ids that the files name, or -1.
func (t *Tokenizer) BOS() int32 { return t.bos }
func (t *Tokenizer) EOS() int32 { return t.eos }
func (t *Tokenizer) UNK() int32 { return t.unk }
func (t *Tokenizer) PAD() int32 { return t.pad }

// AddBOS and AddEOS say whether the files ask for BOS in front of and EOS after
// a text. The encoders don't do it: the caller does.
func (t *Tokenizer) AddBOS() bool { return t.addBOS && t.bos >= 0 }
func (t *Tokenizer) AddEOS() bool { return t.addEOS && t.eos >= 0 }

// Notes returns what was found and repaired while loading, for the user to see.
func (t *Tokenizer) Notes() []string { return slices.Clone(t.notes) }

// Specials returns the ids of all control tokens in ascending order.
func (t *Tokenizer) Specials() []int32 {
	var ids []int32
	for id, k := range t.kinds {
		if k == Control {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// Megatron returns a tokenizer with the semantics of Megatron's SentencePiece
// tokenizer, which counted and cut LeoLM's training data: <CLS>, <SEP>, <EOD>,
// <MASK> and <PAD> get the next free ids, then come the extra tokens; these and
// BOS and EOS are found literally anywhere in text, leftmost first, and each
// stretch between them is encoded on its own, with its own "▁". With Llama-2's
// vocabulary and the extra tokens <|im_start|> and <|im_end|> the ids are
// LeoLM's: 32000 to 32006.
func Megatron(t *Tokenizer, extra ...string) (*Tokenizer, error) {
	e, ok := t.engine.(*spEngine)
	if !ok {
		return nil, errors.New("tokenizer: Megatron semantics need a SentencePiece vocabulary")
	}
	m := *t
	engine := *e
	engine.firstOnly = false
	m.engine = &engine
	m.pieces, m.kinds = slices.Clone(t.pieces), slices.Clone(t.kinds)
	m.index = make(map[string]int32, len(t.index))
	for k, v := range t.index {
		m.index[k] = v
	}
	m.added = nil
	pad := "<PAD>"
	if t.pad >= 0 {
		pad = t.pieces[t.pad]
	}
	tokens := []string{"<CLS>", "<SEP>", "<EOD>", "<MASK>", pad}
	for _, id := range []int32{t.bos, t.eos} {
		if id >= 0 {
			tokens = append(tokens, t.pieces[id])
		}
	}
	for _, tok := range append(tokens, extra...) {
		if tok == "" {
			return nil, errors.New("tokenizer: an extra token is empty")
		}
		m.addToken(addedToken{text: tok, kind: Control, id: -1})
	}
	if id, ok := m.index[pad]; ok {
		m.pad = id
	}
	m.anywhere = true
	m.raw = newMatcher(m.added)
	m.dec = m.dec.extend(&m)
	m.pool = new(scratches)
	return &m, nil
}

// addToken registers an added token, giving it the id of an equal piece, else
// the next free one, when its own is negative.
func (t *Tokenizer) addToken(a addedToken) {
	if a.id < 0 {
		if id, ok := t.index[a.text]; ok {
			a.id = id
		} else {
			a.id = int32(len(t.pieces))
		}
	}
	for int(a.id) >= len(t.pieces) {
		t.pieces = append(t.pieces, "")
		t.kinds = append(t.kinds, Unused)
	}
	t.pieces[a.id] = a.text
	t.kinds[a.id] = a.kind
	t.index[a.text] = a.id
	for i := range t.added {
		if t.added[i].text == a.text {
			t.added[i] = a
			return
		}
	}
	t.added = append(t.added, a)
}

// mayAdd refuses an added token of the files that lies far beyond the vocabulary, or that takes the id of an ordinary
// piece: what text is cut into would then be a control token.
func (t *Tokenizer) mayAdd(a hfAdded) error {
	if a.ID < 0 || int(a.ID) > len(t.pieces)+1024 {
		return fmt.Errorf("added token %q has id %d; the vocabulary ends at %d", a.Content, a.ID, len(t.pieces)-1)
	}
	if int(a.ID) >= len(t.pieces) {
		return nil
	}
	if p, k := t.pieces[a.ID], t.kinds[a.ID]; p != "" && p != a.Content && (k == Normal || k == Byte) {
		return fmt.Errorf("added token %q has id %d, which is the vocabulary's %q", a.Content, a.ID, p)
	}
	return nil
}

// bstring views b as a string while b isn't changed.
func bstring(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// markerShaped reports whether a token's text has the form in which chat
// templates write control tokens. Files mark these as plain user-defined or
// non-special tokens often enough; in text from users they must stay text all
// the same.
func markerShaped(text string) bool {
	if len(text) > 4 && strings.HasPrefix(text, "<|") && strings.HasSuffix(text, "|>") {
		return true
	}
	switch text {
	case "<s>", "</s>", "<pad>", "<unk>", "<PAD>", "<CLS>", "<SEP>", "<EOD>", "<MASK>", "<bos>", "<eos>",
		"<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]":
		return true
	}
	return false
}
