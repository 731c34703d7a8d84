package tokenizer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// meta is the visible space of SentencePiece vocabularies.
const meta = "▁"

// spNormalizer does what SentencePiece's normalizer does, with one difference in
// form: escaped spaces come out as one space byte instead of "▁".
type spNormalizer struct {
	darts  []uint32 // double array of the rules, Darts-clone layout
	text   string   // replacement texts, each ended by a zero byte
	marks  *trie    // user-defined symbols: copied verbatim
	dummy  bool
	remove bool
	escape bool
	suffix bool // the dummy goes after the text

	// ascii[c] is what an ASCII byte becomes when another ASCII byte or the end
	// follows; simple says that no rule begins with this byte and an ASCII one.
	ascii  [128]string
	simple [128]bool
	same   [128]bool // it stays what it is, and is no space
}

func newSPNormalizer(charsmap []byte) (*spNormalizer, error) {
	n := new(spNormalizer)
	if len(charsmap) == 0 {
		return n, nil
	}
	if len(charsmap) <= 4 {
		return nil, fmt.Errorf("precompiled_charsmap of %d bytes is too short", len(charsmap))
	}
	size := binary.LittleEndian.Uint32(charsmap)
	if uint64(size) >= uint64(len(charsmap)-4) && uint64(size) != uint64(len(charsmap)-4) || size%4 != 0 || size == 0 {
		return nil, fmt.Errorf("precompiled_charsmap says that its trie has %d bytes, but has %d in all", size, len(charsmap))
	}
	n.darts = make([]uint32, size/4)
	for i := range n.darts {
		n.darts[i] = binary.LittleEndian.Uint32(charsmap[4+4*i:])
	}
	n.text = string(charsmap[4+size:])
	if err := checkCharsmap(n.text); err != nil {
		return nil, err
	}
	for c := range n.ascii {
		one := string([]byte{byte(c)})
		n.simple[c] = true
		for d := 0; d < 128 && n.simple[c]; d++ {
			n.simple[c] = !n.goesOn(string([]byte{byte(c), byte(d)}))
		}
		n.ascii[c], _ = n.rule(one)
		n.same[c] = n.simple[c] && c != ' ' && n.ascii[c] == one
	}
	return n, nil
}

// goesOn reports whether a rule begins with key.
func (n *spNormalizer) goesOn(key string) bool {
	pos := uint32(0)
	pos ^= dartsOffset(n.darts[0])
	for i := 0; i < len(key); i++ {
		pos ^= uint32(key[i])
		if pos >= uint32(len(n.darts)) {
			return false
		}
		u := n.darts[pos]
		if u&(1<<31|0xff) != uint32(key[i]) {
			return false
		}
		pos ^= dartsOffset(u)
	}
	return true
}

func dartsOffset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// rule returns the replacement of the longest rule that begins text, and how
// many bytes it takes; without a rule, the first character itself, or U+FFFD for
// a byte that belongs to none.
func (n *spNormalizer) rule(text string) (string, int) {
	best, at := 0, uint32(0)
	if len(n.darts) > 0 {
		pos := dartsOffset(n.darts[0])
		for i := 0; i < len(text); i++ {
			pos ^= uint32(text[i])
			if pos >= uint32(len(n.darts)) {
				break
			}
			u := n.darts[pos]
			if u&(1<<31|0xff) != uint32(text[i]) {
				break
			}
			pos ^= dartsOffset(u)
			if u>>8&1 == 1 && pos < uint32(len(n.darts)) {
				best, at = i+1, n.darts[pos]&(1<<31-1)
			}
		}
	}
	if best > 0 && at < uint32(len(n.text)) {
		r := n.text[at:]
		if z := strings.IndexByte(r, 0); z >= 0 {
			r = r[:z]
		}
		return r, best
	}
	r, size := utf8.DecodeRuneInString(text)
	if r == utf8.RuneError && size == 1 {
		return "\uFFFD", 1
	}
	return text[:size], size
}

func (n *spNormalizer) prefix(text string) (string, int) {
	if n.marks != nil && n.marks.first[text[0]] {
		if size, v := n.marks.longest(text); v != noValue {
			return text[:size], size
		}
	}
	if c := text[0]; c < 0x80 && n.darts != nil && n.simple[c] && (len(text) == 1 || text[1] < 0x80) {
		return n.ascii[c], 1
	}
	return n.rule(text)
}

// plain reports whether text stays as it is, apart from the dummy prefix.
func (n *spNormalizer) plain(text string) bool {
	return n.darts == nil && n.marks == nil && !n.remove && n.escape && !n.suffix &&
		utf8.ValidString(text) && !strings.Contains(text, meta)
}

// apply normalizes text into s.buf; with offsets asked for it fills s.amap with
// the place in text of each byte and of the end.
func (n *spNormalizer) apply(s *scratch, text string, dummy bool) string {
	s.buf, s.amap = s.buf[:0], s.amap[:0]
	rest := text
	if n.remove {
		if rest = n.trimStart(text); rest == "" {
			return ""
		}
	}
	at := len(text) - len(rest)
	if dummy && !n.suffix {
		s.space(at)
	}
	n.rewrite(s, rest, at)
	if n.remove {
		s.trimEnd()
	}
	if dummy && n.suffix {
		s.space(len(text))
	}
	if s.want {
		s.amap = append(s.amap, int32(len(text)))
	}
	return unsafe.String(unsafe.SliceData(s.buf), len(s.buf))
}

// trimStart cuts off what becomes a space.
func (n *spNormalizer) trimStart(text string) string {
	for text != "" {
		p, size := n.prefix(text)
		if p != " " {
			break
		}
		text = text[size:]
	}
	return text
}

// space appends the dummy prefix or suffix, which stands at a place of the text.
func (s *scratch) space(at int) {
	s.buf = append(s.buf, ' ')
	if s.want {
		s.amap = append(s.amap, int32(at))
	}
}

func (s *scratch) trimEnd() {
	for len(s.buf) > 0 && s.buf[len(s.buf)-1] == ' ' {
		s.buf = s.buf[:len(s.buf)-1]
	}
	if s.want {
		s.amap = s.amap[:len(s.buf)]
	}
}

// rewrite appends rest, which begins at a place of the text, character by character or rule by rule.
func (n *spNormalizer) rewrite(s *scratch, rest string, at int) {
	out, amap := s.buf, s.amap
	afterSpace := n.remove
	for rest != "" {
		if n.darts != nil && n.marks == nil {
			// Most text: characters that stay, each followed by another of ASCII.
			k := 0
			for k+1 < len(rest) && rest[k] < 0x80 && rest[k+1] < 0x80 && n.same[rest[k]] {
				k++
			}
			if k > 0 {
				out = append(out, rest[:k]...)
				if s.want {
					for i := range k {
						amap = append(amap, int32(at+i))
					}
				}
				afterSpace = false
				at += k
				rest = rest[k:]
			}
		}
		p, size := n.prefix(rest)
		for afterSpace && p != "" && p[0] == ' ' {
			p = p[1:]
		}
		if p != "" {
			old := len(out)
			if n.escape {
				out = appendUnmeta(out, p)
			} else {
				out = append(out, p...)
			}
			if s.want {
				for range len(out) - old {
					amap = append(amap, int32(at))
				}
			}
			afterSpace = n.remove && p[len(p)-1] == ' '
		}
		at += size
		rest = rest[size:]
	}
	s.buf, s.amap = out, amap
}

// appendUnmeta appends text with every "▁" as a space.
func appendUnmeta(dst []byte, text string) []byte {
	for {
		i := strings.Index(text, meta)
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		dst = append(dst, ' ')
		text = text[i+len(meta):]
	}
}
