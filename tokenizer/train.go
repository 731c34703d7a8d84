package tokenizer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
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
	// occurrences) that get a piece of their own; what is left is spelled in bytes.
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

// Counter collects text for a Trainer on behalf of one goroutine.
type Counter struct {
	index  map[string]int32
	words  []string
	counts []int64
	bytes  int64
	texts  int64
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

// Counter returns a new counter. Each goroutine that adds text needs its own.
func (tr *Trainer) Counter() *Counter {
	c := &Counter{index: make(map[string]int32)}
	tr.mu.Lock()
	tr.all = append(tr.all, c)
	tr.mu.Unlock()
	return c
}

// Add counts the words of one text.
func (c *Counter) Add(text string) {
	c.bytes += int64(len(text))
	c.texts++
	pages := classPages()
	// A unit is an optional space and then letters with their marks, one digit,
	// or other characters; spaces beyond the one are a unit of their own.
	start := 0
	unit := uint8(classSpace) // of text[start:i]; classSpace: only spaces so far
	lead := " "               // the dummy prefix, until something has used it
	flush := func(end int) {
		if start < end || lead != "" && end < len(text) {
			c.count(lead, text[start:end])
		}
		lead = ""
		start = end
	}
	for i := 0; i < len(text); {
		ch := text[i]
		class, n := char(pages, text[i:])
		switch {
		case ch == ' ' || strings.HasPrefix(text[i:], meta):
			if ch != ' ' {
				n = len(meta)
			}
			if unit != classSpace {
				flush(i)
				unit = classSpace
			}
			i += n
			continue
		case class == classSpace || ch < 0x20 || ch == 0x7F:
			// Line breaks and other control characters are in no piece.
			if start < i {
				flush(i)
			}
			lead = ""
			i += n
			start, unit = i, classSpace
			continue
		case class == classOther && unit == classLetter && ch >= 0x80:
			if r, _ := utf8.DecodeRuneInString(text[i:]); unicode.Is(unicode.M, r) {
				class = classLetter
			}
		}
		if unit != class || class == classNumber {
			if unit != classSpace {
				flush(i)
			} else if last := lastSpace(text[start:i]); last > 0 || last == 0 && lead != "" {
				// More spaces than the one that belongs to the word.
				flush(start + last)
			}
			unit = class
		}
		i += n
	}
	flush(len(text))
}

// lastSpace returns where the last space of a run of " " and "▁" begins, or -1.
func lastSpace(run string) int {
	if strings.HasSuffix(run, meta) {
		return len(run) - len(meta)
	}
	return len(run) - 1
}

func (c *Counter) count(lead, unit string) {
	var buf [64]byte
	key := append(append(buf[:0], lead...), unit...)
	if len(lead) == 0 && !strings.Contains(unit, meta) {
		if i, ok := c.index[unit]; ok {
			c.counts[i]++
			return
		}
	} else {
		key = []byte(strings.ReplaceAll(string(key), meta, " "))
	}
	if len(key) == 0 {
		return
	}
	if i, ok := c.index[string(key)]; ok {
		c.counts[i]++
		return
	}
	w := string(key)
	c.index[w] = int32(len(c.words))
	c.words = append(c.words, w)
	c.counts = append(c.counts, 1)
}

// TrainResult is a learned vocabulary.
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

// merger keeps the words as symbols and, for each pair of neighbors, how often
// it occurs and in which words. Symbols are the characters, then merged pieces.
type merger struct {
	texts   []string         // by symbol
	lengths []int32          // in characters
	known   map[string]int32 // text -> symbol; -1: must not become a piece
	longest int

	syms   []int32 // of all words, one after the other
	starts []int32 // where a word begins
	sizes  []int32 // how many symbols it still has
	counts []int64

	index map[uint64]int32
	pairs []pairCount
	heap  pairHeap
}

type pairCount struct {
	left, right int32
	count       int64
	words       []int32
}

func newMerger(chars []rune, words []string, counts []int64, longest int) *merger {
	m := &merger{known: map[string]int32{}, longest: longest, index: map[uint64]int32{}}
	ids := new(runeTable)
	for i, r := range chars {
		ids.set(r, int32(i))
		m.texts = append(m.texts, string(r))
		m.lengths = append(m.lengths, 1)
		m.known[string(r)] = int32(i)
	}
	// A character without a piece splits its word. Parts of one character can't
	// merge: they are left out.
	for i, w := range words {
		from := len(m.syms)
		end := func() {
			if len(m.syms)-from < 2 {
				m.syms = m.syms[:from]
				return
			}
			m.starts = append(m.starts, int32(from))
			m.sizes = append(m.sizes, int32(len(m.syms)-from))
			m.counts = append(m.counts, counts[i])
			from = len(m.syms)
		}
		for _, r := range w {
			if id := ids.get(r); id != noSym {
				m.syms = append(m.syms, id)
				continue
			}
			end()
		}
		end()
	}
	for w := range m.starts {
		word := m.word(int32(w))
		for k := 1; k < len(word); k++ {
			m.addPair(word[k-1], word[k], m.counts[w], int32(w))
		}
	}
	for i := range m.pairs {
		m.heap.push(m.entry(int32(i)))
	}
	return m
}

func (m *merger) word(w int32) []int32 { return m.syms[m.starts[w] : m.starts[w]+m.sizes[w]] }

// addPair counts a pair of word w and returns its number, or -1 if the two
// together are longer than a piece may be.
func (m *merger) addPair(l, r int32, n int64, w int32) int32 {
	if int(m.lengths[l]+m.lengths[r]) > m.longest {
		return -1
	}
	key := pairKey(l, r)
	i, ok := m.index[key]
	if !ok {
		i = int32(len(m.pairs))
		m.index[key] = i
		m.pairs = append(m.pairs, pairCount{left: l, right: r})
	}
	p := &m.pairs[i]
	p.count += n
	if k := len(p.words); k == 0 || p.words[k-1] != w {
		p.words = append(p.words, w)
	}
	return i
}

type pairEntry struct {
	count int64
	key   uint64
	pair  int32
}

func (m *merger) entry(i int32) pairEntry {
	p := &m.pairs[i]
	return pairEntry{p.count, pairKey(p.left, p.right), i}
}

// run makes up to n pieces and returns their texts in order.
func (m *merger) run(ctx context.Context, n int, progress func(done, total int)) ([]string, error) {
	var pieces []string
	var risen []int32
	stamp := map[int32]bool{}
	for len(pieces) < n && len(m.heap) > 0 {
		top := m.heap.pop()
		p := &m.pairs[top.pair]
		if p.count != top.count {
			if p.count < top.count && p.count > 0 {
				m.heap.push(m.entry(top.pair))
			}
			continue
		}
		if p.count <= 0 {
			continue
		}
		text := m.texts[p.left] + m.texts[p.right]
		id, ok := m.known[text]
		if ok && id < 0 {
			continue // a control or byte token is called like that
		}
		if !ok {
			id = int32(len(m.texts))
			if id == math.MaxInt32 {
				return nil, errors.New("tokenizer: too many symbols")
			}
			m.known[text] = id
			m.texts = append(m.texts, text)
			m.lengths = append(m.lengths, m.lengths[p.left]+m.lengths[p.right])
			pieces = append(pieces, text)
			if progress != nil && len(pieces)%256 == 0 {
				progress(len(pieces), n)
			}
			if len(pieces)%256 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		l, r, list := p.left, p.right, p.words
		p.words, p.count = nil, 0
		risen = risen[:0]
		for _, w := range list {
			risen = m.mergeIn(w, l, r, id, risen)
		}
		clear(stamp)
		for _, i := range risen {
			if !stamp[i] {
				stamp[i] = true
				m.heap.push(m.entry(i))
			}
		}
	}
	if progress != nil {
		progress(len(pieces), n)
	}
	return pieces, nil
}

// mergeIn replaces the pair l, r by id in word w and appends the pairs that
// became more frequent to risen.
func (m *merger) mergeIn(w, l, r, id int32, risen []int32) []int32 {
	word := m.word(w)
	n := m.counts[w]
	out := 0
	for k := 0; k < len(word); {
		if word[k] != l || k+1 == len(word) || word[k+1] != r {
			word[out] = word[k]
			out++
			k++
			continue
		}
		if out > 0 {
			if word[out-1] != l || l != r {
				m.dropPair(word[out-1], l, n)
			}
			if i := m.addPair(word[out-1], id, n, w); i >= 0 {
				risen = append(risen, i)
			}
		}
		if k+2 < len(word) {
			if r != l || word[k+2] != r { // the pair itself is gone already
				m.dropPair(r, word[k+2], n)
			}
			if i := m.addPair(id, word[k+2], n, w); i >= 0 {
				risen = append(risen, i)
			}
		}
		word[out] = id
		out++
		k += 2
	}
	m.sizes[w] = int32(out)
	return risen
}

func (m *merger) dropPair(l, r int32, n int64) {
	if i, ok := m.index[pairKey(l, r)]; ok {
		m.pairs[i].count -= n
	}
}

// pairHeap has the most frequent pair on top, the oldest symbols among equals.
type pairHeap []pairEntry

func (a pairEntry) before(b pairEntry) bool {
	return a.count > b.count || a.count == b.count && a.key < b.key
}

func (h *pairHeap) push(e pairEntry) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !s[i].before(s[p]) {
			break
		}
		s[i], s[p] = s[p], s[i]
		i = p
	}
}

func (h *pairHeap) pop() pairEntry {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].before(s[c]) {
			c++
		}
		if !s[c].before(s[i]) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	return top
}
