package tokenizer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"leolm/internal/protobuf"
)

// TrainOptions say what vocabulary to learn. The zero value of a field means its
// default.
type TrainOptions struct {
	VocabSize int // number of ids in all; required

	// Control tokens and user-defined tokens get ids after <unk>, <s> and </s>,
	// in this order. Control tokens never come out of text; user-defined ones do,
	// wherever text contains them. Chat markers belong to the former. A control
	// token called <pad> or <PAD> becomes the padding token.
	Control     []string
	UserDefined []string

	// Coverage is the share of the characters of the text (by number of
	// occurrences) that get a piece of their own; what is left is spelt in bytes.
	Coverage float64 // default 0.9995
	MaxPiece int     // longest piece in characters; default 16

	// Required characters get a piece of their own however rare they are: an
	// encyclopedia has next to no question marks, a chat has many.
	Required string
}

// GermanCharacters are what a German keyboard and German typography write, all
// printable ASCII included: as [TrainOptions].Required they never become bytes.
const GermanCharacters = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~" +
	"ÄÖÜäöüßẞ" + "„“”‚‘’»«›‹" + "–—…·•" + "€§°²³µ×½¼¾©®™" + "éèêàâçñëïôáíóú"

// Trainer learns a BPE vocabulary with byte fallback from text. Words are cut
// where scripts of text change (space, letters, single digits, punctuation);
// pieces never reach over a cut, and never contain line breaks.
//
// The result depends on the multiset of texts alone, not on their order, nor on
// the number of goroutines that added them.
type Trainer struct {
	opt TrainOptions
	mu  sync.Mutex
	all []*Counter
}

// NewTrainer checks the options.
func NewTrainer(opt TrainOptions) (*Trainer, error) {
	if opt.Coverage == 0 {
		opt.Coverage = 0.9995
	}
	if opt.MaxPiece == 0 {
		opt.MaxPiece = 16
	}
	if !(opt.Coverage > 0 && opt.Coverage <= 1) {
		return nil, fmt.Errorf("tokenizer: character coverage is %v; it must be above 0 and at most 1", opt.Coverage)
	}
	if opt.MaxPiece < 1 || opt.MaxPiece > 64 {
		return nil, fmt.Errorf("tokenizer: longest piece is %d characters; it must be between 1 and 64", opt.MaxPiece)
	}
	for i, r := range opt.Required {
		if r <= ' ' || r == 0x7F || unicode.IsSpace(r) || r == utf8.RuneError {
			return nil, fmt.Errorf("tokenizer: byte %d of the required characters (%q) can't be a piece: space, control character or broken UTF-8", i, r)
		}
	}
	seen := map[string]bool{"<unk>": true, "<s>": true, "</s>": true}
	for b := range 256 {
		seen[bytePiece(byte(b))] = true
	}
	for _, tok := range slices.Concat(opt.Control, opt.UserDefined) {
		if tok == "" || !utf8.ValidString(tok) || strings.ContainsAny(tok, " \x00") {
			return nil, fmt.Errorf("tokenizer: %q can't be a token: it is empty, has a space or a zero byte, or isn't UTF-8", tok)
		}
		if seen[tok] {
			return nil, fmt.Errorf("tokenizer: token %q is defined twice", tok)
		}
		seen[tok] = true
	}
	if least := len(seen) + 1; opt.VocabSize < least || opt.VocabSize > maxPieces {
		return nil, fmt.Errorf("tokenizer: vocabulary of %d ids; it must have at least %d (%d control, byte and user-defined tokens and one character) and at most %d",
			opt.VocabSize, least, least-1, maxPieces)
	}
	return &Trainer{opt: opt}, nil
}

func bytePiece(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

// TrainResult is a learnt vocabulary.
type TrainResult struct {
	Model []byte // SentencePiece model file

	Texts, Bytes int64 // what was read
	Words        int   // distinct words
	Characters   int   // characters with a piece of their own
	Covered      float64
	Merged       int // pieces made by merges
}

// Train learns the vocabulary from what the counters have seen. progress, if not
// nil, is told how many of the merges are done.
func (tr *Trainer) Train(ctx context.Context, progress func(done, total int)) (*TrainResult, error) {
	res := &TrainResult{}
	index := map[string]int32{}
	var words []string
	var counts []int64
	for k, c := range tr.all {
		res.Texts += c.texts
		res.Bytes += c.bytes
		if k == 0 {
			index, words, counts = c.index, c.words, slices.Clone(c.counts)
			continue
		}
		for i, w := range c.words {
			if at, ok := index[w]; ok {
				counts[at] += c.counts[i]
				continue
			}
			index[w] = int32(len(words))
			words, counts = append(words, w), append(counts, c.counts[i])
		}
	}
	if len(words) == 0 {
		return nil, errors.New("tokenizer: there is no text to learn from")
	}
	res.Words = len(words)

	meta := tr.opt.metaPieces()
	chars, covered := coveredChars(words, counts, tr.opt.Coverage, tr.opt.Required)
	res.Covered = covered
	room := tr.opt.VocabSize - len(meta)
	if len(chars) > room {
		return nil, fmt.Errorf("tokenizer: %d characters are needed for a coverage of %g, but %d ids leave room for %d: ask for more ids or less coverage",
			len(chars), tr.opt.Coverage, tr.opt.VocabSize, room)
	}
	res.Characters = len(chars)
	m := newMerger(chars, words, counts, tr.opt.MaxPiece)
	for _, p := range meta {
		m.known[strings.ReplaceAll(p.text, "▁", " ")] = -1
	}
	pieces, err := m.run(ctx, room-len(chars), progress)
	if err != nil {
		return nil, err
	}
	res.Merged = len(pieces)
	all := meta
	score := float32(0)
	for _, list := range [][]string{pieces, m.texts[:len(chars)]} {
		for _, p := range list {
			all = append(all, spPiece{text: strings.ReplaceAll(p, " ", "▁"), score: score, kind: Normal})
			score--
		}
	}
	if len(all) < tr.opt.VocabSize {
		return nil, fmt.Errorf("tokenizer: the text yields no more than %d ids; %d were asked for: give more text or ask for fewer", len(all), tr.opt.VocabSize)
	}
	res.Model = tr.opt.encode(all)
	return res, nil
}

func (o *TrainOptions) metaPieces() []spPiece {
	p := []spPiece{{"<unk>", 0, Unknown}, {"<s>", 0, Control}, {"</s>", 0, Control}}
	for _, t := range o.Control {
		p = append(p, spPiece{t, 0, Control})
	}
	for _, t := range o.UserDefined {
		p = append(p, spPiece{t, 0, UserDefined})
	}
	for b := range 256 {
		p = append(p, spPiece{bytePiece(byte(b)), 0, Byte})
	}
	return p
}

// encode writes the model file: identity normalization with a dummy prefix and
// nothing removed, as in Llama's.
func (o *TrainOptions) encode(pieces []spPiece) []byte {
	var out []byte
	for _, p := range pieces {
		b := protobuf.AppendBytes(nil, 1, p.text)
		b = protobuf.AppendFloat(b, 2, p.score)
		if p.kind != Normal {
			b = protobuf.AppendVarint(b, 3, int64(p.kind))
		}
		out = protobuf.AppendBytes(out, 1, b)
	}
	t := protobuf.AppendVarint(nil, 3, modelBPE)
	t = protobuf.AppendVarint(t, 4, int64(len(pieces)))
	t = protobuf.AppendFloat(t, 10, float32(o.Coverage))
	t = protobuf.AppendVarint(t, 20, int64(o.MaxPiece))
	t = protobuf.AppendBool(t, 25, true)
	t = protobuf.AppendBool(t, 26, true)
	for _, c := range o.Control {
		t = protobuf.AppendBytes(t, 30, c)
	}
	for _, c := range o.UserDefined {
		t = protobuf.AppendBytes(t, 31, c)
	}
	t = protobuf.AppendBool(t, 35, true)
	t = protobuf.AppendVarint(t, 40, 0)
	t = protobuf.AppendVarint(t, 41, 1)
	t = protobuf.AppendVarint(t, 42, 2)
	pad := slices.IndexFunc(o.Control, func(s string) bool { return s == "<pad>" || s == "<PAD>" })
	if pad < 0 {
		t = protobuf.AppendVarint(t, 43, -1)
	} else {
		t = protobuf.AppendVarint(t, 43, int64(3+pad))
		t = protobuf.AppendBytes(t, 48, o.Control[pad])
	}
	out = protobuf.AppendBytes(out, 2, t)
	n := protobuf.AppendBytes(nil, 1, "identity")
	n = protobuf.AppendBool(n, 3, true)
	n = protobuf.AppendBool(n, 4, false)
	n = protobuf.AppendBool(n, 5, true)
	return protobuf.AppendBytes(out, 3, n)
}

// coveredChars returns the most frequent characters that together make up the
// given share of all, and the required ones, most frequent first; and the share
// that they have.
func coveredChars(words []string, counts []int64, share float64, required string) ([]rune, float64) {
	seen := map[rune]int64{}
	var ascii [128]int64
	for i, w := range words {
		for _, r := range w {
			if r < 128 {
				ascii[r] += counts[i]
			} else {
				seen[r] += counts[i]
			}
		}
	}
	delete(seen, utf8.RuneError)
	total := int64(0)
	for r, n := range ascii {
		if n > 0 {
			seen[rune(r)] = n
		}
	}
	chars := make([]rune, 0, len(seen))
	for r, n := range seen {
		chars = append(chars, r)
		total += n
	}
	slices.SortFunc(chars, func(a, b rune) int {
		return cmp.Or(cmp.Compare(seen[b], seen[a]), cmp.Compare(a, b))
	})
	var kept []rune
	sum := int64(0)
	for _, r := range chars {
		if float64(sum) < share*float64(total) || strings.ContainsRune(required, r) {
			kept = append(kept, r)
			sum += seen[r]
		}
	}
	for _, r := range required {
		if seen[r] == 0 && !slices.Contains(kept, r) {
			kept = append(kept, r)
		}
	}
	return kept, float64(sum) / float64(max(total, 1))
}
