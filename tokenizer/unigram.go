package tokenizer

import (
	"math"
	"unicode/utf8"
)

// unigram cuts text along the path of pieces with the best sum of scores.
//
// SentencePiece adds the scores up in float32 from the beginning of the text, so
// that a near tie late in a long text can fall either way. To be equal there too
// the running sum is carried along, and a word is taken from the cache only if its
// best path leads by more than rounding errors can add up to.
type unigram struct {
	trie     *trie
	scores   []float32 // by id
	user     []bool    // user-defined: a bonus instead of the score
	unk      int32
	unkScore float32
	byteIDs  *[256]int32
	isByte   []bool  // by id
	largest  float64 // of any score's magnitude
}

type viterbiNode struct {
	score  float32
	from   int32 // -1: not reached yet
	id     int32
	best   float64 // from a sum of zero
	second float64
}

const unkPenalty = 10

func newUnigram(pieces []spPiece, form func(string) (string, bool), unk int32, byteIDs *[256]int32) *unigram {
	u := &unigram{scores: make([]float32, len(pieces)), user: make([]bool, len(pieces)), isByte: make([]bool, len(pieces)), unk: unk, byteIDs: byteIDs}
	least := float32(math.MaxFloat32)
	var keys []string
	var ids []int32
	for i, p := range pieces {
		u.scores[i] = p.score
		if p.kind == Normal {
			least = min(least, p.score)
			u.largest = max(u.largest, math.Abs(float64(p.score)))
		}
		u.user[i] = p.kind == UserDefined
		u.isByte[i] = p.kind == Byte
		if p.kind != Normal && p.kind != UserDefined {
			continue
		}
		if f, ok := form(p.text); ok {
			keys, ids = append(keys, f), append(ids, int32(i))
		}
	}
	u.trie = newTrie(keys, ids)
	u.unkScore = least - unkPenalty
	u.largest += unkPenalty
	return u
}

func (u *unigram) begin(s *scratch) { s.total = 0 }

// score is what a token of n bytes of model text adds. User-defined symbols get
// 0.1 for each byte but the first: measured on sentencepiece 0.2.3; older
// versions differ.
func (u *unigram) score(id int32, n int) float64 {
	if id == u.unk {
		return float64(u.unkScore)
	}
	if u.user[id] {
		return 0.1*float64(n) - 0.1
	}
	return float64(u.scores[id])
}

func (u *unigram) encodeWord(s *scratch, w string, cache bool) {
	cache = cache && len(w) <= cachedWord
	if !cache {
		u.search(s, w, s.total)
		u.collect(s, w)
		u.emit(s, w, s.wids, s.wlens)
		return
	}
	// The most that rounding can change: each step of a path rounds the sum once.
	doubt := float32(float64(len(w)+2) * (math.Abs(float64(s.total)) + float64(len(w))*u.largest) * (1.0 / (1 << 22)))
	hash := hashWord(w)
	slot := s.cache.find(w, hash)
	if slot == nil {
		u.search(s, w, 0)
		gap := u.collect(s, w)
		s.cache.add(w, hash, s.wids, s.wlens)
		slot = s.cache.find(w, hash)
		slot.gap = gap
	}
	if slot.gap <= doubt {
		u.search(s, w, s.total)
		u.collect(s, w)
		u.emit(s, w, s.wids, s.wlens)
		return
	}
	ids, lens := s.cache.tokens(slot)
	s.wids, s.wlens = append(s.wids[:0], ids...), s.wlens[:0]
	for _, n := range lens {
		s.wlens = append(s.wlens, int32(n))
	}
	u.emit(s, w, s.wids, s.wlens)
}

// search fills s.nodes with the best paths through w, the sum beginning at total.
func (u *unigram) search(s *scratch, w string, total float32) {
	s.nodes = grow(s.nodes, len(w)+1)
	nodes := s.nodes
	for i := range nodes {
		nodes[i] = viterbiNode{from: -1, second: math.Inf(-1), best: math.Inf(-1)}
	}
	nodes[0].score, nodes[0].best = total, 0
	reach := func(at, end int, id int32, score float64) {
		n := &nodes[end]
		exact := nodes[at].best + score
		if exact > n.best {
			n.best, n.second = exact, n.best
		} else if exact > n.second {
			n.second = exact
		}
		sum := float32(score + float64(nodes[at].score))
		if n.from < 0 || sum > n.score {
			n.score, n.from, n.id = sum, int32(at), id
		}
	}
	for at := 0; at < len(w); {
		size := 1
		if w[at] >= utf8.RuneSelf {
			_, size = utf8.DecodeRuneInString(w[at:])
		}
		single := false
		state := int32(0)
		for k := at; k < len(w); k++ {
			if state = u.trie.step(state, w[k]); state < 0 {
				break
			}
			id := u.trie.cells[state].value
			if id == noValue {
				continue
			}
			reach(at, k+1, id, u.scoreText(id, w[at:k+1]))
			single = single || k+1-at == size
		}
		if !single {
			// The sum of two float32s is rounded before it is compared here.
			n := &nodes[at+size]
			sum := u.unkScore + nodes[at].score
			exact := nodes[at].best + float64(u.unkScore)
			if exact > n.best {
				n.best, n.second = exact, n.best
			} else if exact > n.second {
				n.second = exact
			}
			if n.from < 0 || sum > n.score {
				n.score, n.from, n.id = sum, int32(at), u.unk
			}
		}
		at += size
	}
}

// scoreText is score for a token whose text is at hand: user-defined symbols
// count the bytes that SentencePiece sees, three for a space.
func (u *unigram) scoreText(id int32, text string) float64 {
	n := len(text)
	if u.user[id] {
		for i := 0; i < len(text); i++ {
			if text[i] == ' ' {
				n += len(meta) - 1
			}
		}
	}
	return u.score(id, n)
}

// collect reads the best path off s.nodes into s.wids and s.wlens and returns by
// how much it leads where it is closest.
func (u *unigram) collect(s *scratch, w string) float32 {
	ids, lens := s.wids[:0], s.wlens[:0]
	gap := math.Inf(1)
	for end := len(w); end > 0; {
		n := &s.nodes[end]
		gap = min(gap, n.best-n.second)
		size := end - int(n.from)
		if n.id == u.unk && u.byteIDs != nil {
			for k := end - 1; k >= int(n.from); k-- {
				ids, lens = append(ids, u.byteIDs[w[k]]), append(lens, 1)
			}
		} else {
			ids, lens = append(ids, n.id), append(lens, int32(size))
		}
		end = int(n.from)
	}
	for i, j := 0, len(ids)-1; i < j; i, j = i+1, j-1 {
		ids[i], ids[j] = ids[j], ids[i]
		lens[i], lens[j] = lens[j], lens[i]
	}
	s.wids, s.wlens = ids, lens
	return float32(min(gap, math.MaxFloat32))
}

// emit appends the tokens of w, joining unknown ones in a row, and carries the
// sum on.
func (u *unigram) emit(s *scratch, w string, ids, lens []int32) {
	at := 0
	for i, id := range ids {
		n := int(lens[i])
		text := w[at : at+n]
		at += n
		switch {
		case u.isByte[id]:
			if utf8.RuneStart(text[0]) {
				s.total += u.unkScore
			}
		case id == u.unk:
			s.total += u.unkScore
			if s.glue {
				s.pos += n
				continue
			}
			s.glue = true
			s.emitOne(id, n)
			continue
		default:
			s.total = float32(u.scoreText(id, text) + float64(s.total))
		}
		s.glue = false
		s.emitOne(id, n)
	}
}
