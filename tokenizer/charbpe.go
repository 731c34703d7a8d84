package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// charBPE is BPE over characters as Hugging Face has it: symbols are ids; a
// character without one is spelt in bytes, becomes the unknown token, or vanishes.
type charBPE struct {
	table   *mergeTable
	chars   *runeTable
	byteIDs *[256]int32 // nil where the vocabulary has no bytes; noSym where it lacks one
	unk     int32
	fuse    bool
	whole   map[string]int32
	maxLen  int
	split   splitMode
}

func (b *charBPE) begin(*scratch) {}

// newCharBPE builds the model; spaces says that text comes in engine form.
func newCharBPE(m *hfModel, merges [][2]string, spaces bool) (*charBPE, error) {
	b := &charBPE{table: newMergeTable(len(merges)), chars: new(runeTable), unk: noSym, fuse: m.FuseUnk}
	form := func(p string) string {
		if spaces {
			return strings.ReplaceAll(p, meta, " ")
		}
		return p
	}
	for p, id := range m.Vocab {
		if spaces && strings.Contains(p, " ") {
			continue
		}
		f := form(p)
		if r, n := utf8.DecodeRuneInString(f); n == len(f) && n > 0 && (r != utf8.RuneError || n > 1) {
			b.chars.set(r, id)
		}
	}
	if err := addMerges(b.table, m.Vocab, merges); err != nil {
		return nil, err
	}
	if m.Unk != nil {
		id, ok := m.Vocab[*m.Unk]
		if !ok {
			return nil, fmt.Errorf("the unknown token %q is not in the vocabulary", *m.Unk)
		}
		b.unk = id
	}
	if m.ByteFallback {
		var ids [256]int32
		for c := range ids {
			ids[c] = noSym
			if id, ok := m.Vocab[bytePiece(byte(c))]; ok {
				ids[c] = id
				b.byteIDs = &ids
			}
		}
	}
	if m.IgnoreMerges {
		b.whole = make(map[string]int32, len(m.Vocab))
		for p, id := range m.Vocab {
			f := form(p)
			b.whole[f] = id
			b.maxLen = max(b.maxLen, len(f))
		}
	}
	if spaces && b.chars.get(' ') != noSym && !m.IgnoreMerges {
		b.split = safeSplit(func(yield func(string) bool) {
			for _, p := range merges {
				if !yield(form(p[0] + p[1])) {
					return
				}
			}
		})
		if b.split != splitBefore {
			b.split = splitNever
		}
	}
	return b, nil
}

// spells reports whether the vocabulary has all bytes of a character.
func (b *charBPE) spells(char string) bool {
	if b.byteIDs == nil {
		return false
	}
	for i := range len(char) {
		if b.byteIDs[char[i]] == noSym {
			return false
		}
	}
	return true
}

func (b *charBPE) encodeWord(s *scratch, w string, cache bool) {
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
	unknown := int32(0) // bytes of a run that an unknown token is about to stand for
	flush := func() {
		if unknown > 0 {
			syms = append(syms, symbol{id: b.unk, size: unknown})
			unknown = 0
		}
	}
	for i := 0; i < len(w); {
		r, n := utf8.DecodeRuneInString(w[i:])
		id := noSym
		if r != utf8.RuneError || n > 1 {
			id = b.chars.get(r)
		} else if b.byteIDs == nil {
			id = b.chars.get(utf8.RuneError)
		}
		switch {
		case id != noSym:
			flush()
			syms = append(syms, symbol{id: id, size: int32(n) + lost})
			lost = 0
		case b.spells(w[i : i+n]):
			// Hugging Face's puts bytes even in front of an unknown token that it
			// has not written yet.
			for k := i; k < i+n; k++ {
				syms = append(syms, symbol{id: b.byteIDs[w[k]], size: 1})
			}
		case b.unk != noSym:
			if !b.fuse {
				flush()
			}
			unknown += int32(n)
		default:
			lost += int32(n)
		}
		i += n
	}
	flush()
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
