package tokenizer

import (
	"math/bits"
	"sync"
	"unsafe"
)

// scratch is what one call of an encoder needs besides its arguments. It belongs
// to one tokenizer: the word cache holds that vocabulary's results.
type scratch struct {
	out, offs []int32
	want      bool    // offsets are asked for
	base      int     // where the segment begins in the caller's text
	align     []int32 // engine text position -> offset in the segment; nil: the same
	pos       int     // engine text position of the next token
	total     float32 // unigram: the sum of scores so far
	glue      bool    // the last token emitted was an unknown of this segment

	cache   wordCache
	lines   lineCache
	touched uint8 // so that lineCache.touch is not for nothing
	dead    []uint64
	syms    []symbol
	links   []link
	heap    []uint64
	wids    []int32
	wlens   []int32
	buf     []byte // normalized text
	word    []byte // first word with its prefix
	amap    []int32
	nodes   []viterbiNode
	spans   []span
	tmp     []span
	marks   []match

	trusted  []Span
	anywhere bool
}

// emit appends the tokens of one word and moves on by their lengths.
func (s *scratch) emit(ids []int32, lens []uint8) {
	s.out = append(s.out, ids...)
	if s.want {
		for _, n := range lens {
			s.offs = append(s.offs, s.offset())
			s.pos += int(n)
		}
	}
}

// emitOne appends one token that covers n bytes of engine text.
func (s *scratch) emitOne(id int32, n int) {
	s.out = append(s.out, id)
	if s.want {
		s.offs = append(s.offs, s.offset())
		s.pos += n
	}
}

func (s *scratch) offset() int32 {
	p := max(s.pos, 0)
	if s.align != nil {
		if len(s.align) == 0 {
			return int32(s.base)
		}
		p = int(s.align[min(p, len(s.align)-1)])
	}
	return int32(s.base + p)
}

// scratches is a free list. Unlike a sync.Pool it survives garbage collections,
// and with it the warm word caches.
type scratches struct {
	mu   sync.Mutex
	free []*scratch
}

const keptScratches = 16

func (p *scratches) get() *scratch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	return new(scratch)
}

func (p *scratches) put(s *scratch) {
	s.out, s.offs, s.align = nil, nil, nil
	const keep = 1 << 20 // larger buffers served one long text: drop them
	if cap(s.buf) > keep {
		s.buf = nil
	}
	if cap(s.amap) > keep {
		s.amap = nil
	}
	if cap(s.syms) > keep {
		s.syms, s.links, s.heap = nil, nil, nil
	}
	if cap(s.nodes) > keep {
		s.nodes = nil
	}
	if cap(s.spans) > keep || cap(s.tmp) > keep {
		s.spans, s.tmp = nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < keptScratches {
		p.free = append(p.free, s)
	}
}

// wordCache remembers the tokens of words. It is exact where words are
// independent of their neighbors, which the engines check when they load a
// vocabulary. Bounded: when it is full it is cleared.
type wordCache struct {
	slots []cacheSlot
	n     int
	keys  []byte
	ids   []int32
	lens  []uint8
}

type cacheSlot struct {
	hash   uint32
	key    uint32
	id     uint32
	keyLen uint8 // 0: empty
	idLen  uint8
	gap    float32 // unigram: by how much the best path leads
}

const (
	cachedWord  = 100     // longest word kept, in bytes
	cacheWords  = 1 << 16 // most words kept
	cacheAtOnce = 1 << 10 // slots to begin with
)

// hashWord mixes eight bytes at a time. It need not resist attacks: the cache is
// bounded, and exact whatever collides.
func hashWord(w string) uint32 {
	p := unsafe.Pointer(unsafe.StringData(w))
	n := len(w)
	h := uint64(n) * 0x9E3779B97F4A7C15
	at := 0
	for ; at+8 <= n; at += 8 {
		hi, lo := bits.Mul64(h^*(*uint64)(unsafe.Add(p, at)), 0xD6E8FEB86659FD93)
		h = hi ^ lo
	}
	var tail uint64
	switch left := n - at; {
	case left >= 4:
		tail = uint64(*(*uint32)(unsafe.Add(p, at))) | uint64(*(*uint32)(unsafe.Add(p, n-4)))<<32
	case left > 0:
		tail = uint64(*(*byte)(unsafe.Add(p, at))) | uint64(*(*byte)(unsafe.Add(p, at+left>>1)))<<8 | uint64(*(*byte)(unsafe.Add(p, n-1)))<<16
	}
	hi, lo := bits.Mul64(h^tail, 0xA0761D6478BD642F)
	h = hi ^ lo
	return uint32(h ^ h>>32)
}

// find returns the slot of w, or nil.
func (c *wordCache) find(w string, hash uint32) *cacheSlot {
	if len(c.slots) == 0 {
		return nil
	}
	mask := uint32(len(c.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &c.slots[i]
		if s.keyLen == 0 {
			return nil
		}
		if s.hash == hash && int(s.keyLen) == len(w) && string(c.keys[s.key:s.key+uint32(s.keyLen)]) == w {
			return s
		}
	}
}

func (c *wordCache) tokens(s *cacheSlot) ([]int32, []uint8) {
	a, b := s.id, s.id+uint32(s.idLen)
	return c.ids[a:b], c.lens[a:b]
}

// add stores the tokens of w (at most cachedWord bytes and 255 tokens, none
// longer than 255 bytes) and returns them as the cache holds them.
func (c *wordCache) add(w string, hash uint32, ids, lens []int32) ([]int32, []uint8) {
	if c.n >= cacheWords {
		clear(c.slots)
		c.n, c.keys, c.ids, c.lens = 0, c.keys[:0], c.ids[:0], c.lens[:0]
	}
	if 2*(c.n+1) > len(c.slots) {
		old := c.slots
		c.slots = make([]cacheSlot, max(cacheAtOnce, 2*len(old)))
		for _, s := range old {
			if s.keyLen != 0 {
				c.put(s)
			}
		}
	}
	slot := cacheSlot{hash: hash, key: uint32(len(c.keys)), id: uint32(len(c.ids)), keyLen: uint8(len(w)), idLen: uint8(len(ids))}
	c.put(slot)
	c.n++
	c.keys = append(c.keys, w...)
	c.ids = append(c.ids, ids...)
	for _, n := range lens {
		c.lens = append(c.lens, uint8(n))
	}
	return c.tokens(&slot)
}

func (c *wordCache) put(s cacheSlot) {
	mask := uint32(len(c.slots) - 1)
	i := s.hash & mask
	for c.slots[i].keyLen != 0 {
		i = (i + 1) & mask
	}
	c.slots[i] = s
}
