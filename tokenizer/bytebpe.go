package tokenizer

import (
	"fmt"
	"strings"
)

// byteBPE is BPE over bytes; symbols are ids.
type byteBPE struct {
	table  *mergeTable
	start  [256]int32       // noSym where the vocabulary lacks the byte
	whole  map[string]int32 // ignore_merges: words that are tokens
	maxLen int
}

func (b *byteBPE) begin(*scratch) {}

// byteChars is the alphabet in which byte-level vocabularies write bytes:
// printable Latin-1 characters stand for themselves, the other bytes are
// numbered from U+0100 on.
var byteChars, charBytes = func() (chars [256]rune, bytes map[rune]byte) {
	bytes = make(map[rune]byte, 256)
	next := rune(0x100)
	for c := range chars {
		r := rune(c)
		if r < 0x21 || r > 0x7E && r < 0xA1 || r == 0xAD {
			r = next
			next++
		}
		chars[c] = r
		bytes[r] = byte(c)
	}
	return chars, bytes
}()

// fromByteChars turns a piece of a byte-level vocabulary into its bytes; false
// if it has characters from outside the alphabet.
func fromByteChars(piece string) (string, bool) {
	var b strings.Builder
	for _, r := range piece {
		c, ok := charBytes[r]
		if !ok {
			return piece, false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func newByteBPE(vocab map[string]int32, merges [][2]string, ignoreMerges bool) (*byteBPE, error) {
	b := &byteBPE{table: newMergeTable(len(merges))}
	for c, r := range byteChars {
		b.start[c] = noSym
		if id, ok := vocab[string(r)]; ok {
			b.start[c] = id
		}
	}
	if err := addMerges(b.table, vocab, merges); err != nil {
		return nil, err
	}
	if ignoreMerges {
		b.whole = make(map[string]int32, len(vocab))
		for piece, id := range vocab {
			if text, ok := fromByteChars(piece); ok {
				b.whole[text] = id
				b.maxLen = max(b.maxLen, len(text))
			}
		}
	}
	return b, nil
}

// addMerges fills a table with merges in order of rank.
func addMerges(t *mergeTable, vocab map[string]int32, merges [][2]string) error {
	for rank, m := range merges {
		l, ok := vocab[m[0]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, m[0])
		}
		r, ok := vocab[m[1]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, m[1])
		}
		id, ok := vocab[m[0]+m[1]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, m[0]+m[1])
		}
		t.add(l, r, uint32(rank), id)
	}
	return nil
}

func (b *byteBPE) encodeWord(s *scratch, w string, cache bool) {
	cache = cache && len(w) <= cachedWord
	var hash uint32
	if cache {
		hash = hashWord(w)
		if slot := s.cache.find(w, hash); slot != nil {
			s.emit(s.cache.tokens(slot))
			return
		}
	}
	if b.whole != nil && len(w) <= b.maxLen {
		if id, ok := b.whole[w]; ok {
			s.emitOne(id, len(w))
			return
		}
	}
	syms := s.syms[:0]
	lost := int32(0)
	for i := 0; i < len(w); i++ {
		id := b.start[w[i]]
		if id == noSym {
			lost++ // a byte without a token vanishes, as it does in Hugging Face's
			if len(syms) > 0 {
				syms[len(syms)-1].size++
				lost--
			}
			continue
		}
		syms = append(syms, symbol{id: id, size: 1 + lost})
		lost = 0
	}
	s.syms = syms
	syms = s.merge(b.table, syms)
	if cache {
		ids, lens := s.wids[:0], s.wlens[:0]
		for _, y := range syms {
			ids, lens = append(ids, y.id), append(lens, y.size)
		}
		s.wids, s.wlens = ids, lens
		s.emit(s.cache.add(w, hash, ids, lens))
		return
	}
	for _, y := range syms {
		s.emitOne(y.id, int(y.size))
	}
}

// byteLevelDecoding is the decoding of a byte-level vocabulary.
func byteLevelDecoding(t *Tokenizer, pieces []string) decoding {
	d := decoding{
		surface: make([]string, len(t.pieces)), bytes: make([]bool, len(t.pieces)),
		special: make([]bool, len(t.pieces)), maximal: true,
	}
	for i, p := range pieces {
		d.surface[i], _ = fromByteChars(p)
		d.bytes[i] = true
		d.special[i] = t.kinds[i] == Control
	}
	return d
}
