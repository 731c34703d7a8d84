package textcheck

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Damage says how much of a text is UTF-8 that was read in another character
// set. The zero value stands for a healthy text.
type Damage struct {
	MacRoman int    // sequences that were read as Mac Roman ("√∂" for ö)
	Latin    int    // as ISO 8859-1 or Windows-1252 ("Ã¶")
	Central  int    // as ISO 8859-2 or Windows-1250 ("Ă¶")
	DOS      int    // as code page 437 or 850 ("├╢")
	Layers   int    // how often the damage happened: 2 = "ÃƒÂ¶"
	First    int    // byte offset of the first sequence in the text given
	Sample   string // that sequence
}

// Found reports whether there is any damage.
func (d Damage) Found() bool { return d.Layers > 0 }

// Kind names the character sets that explain most of the damage.
func (d Damage) Kind() string {
	kind, most := "Mac Roman", d.MacRoman
	for _, k := range [...]struct {
		name string
		n    int
	}{{"Latin-1", d.Latin}, {"Latin-2", d.Central}, {"DOS", d.DOS}} {
		if k.n > most {
			kind, most = k.name, k.n
		}
	}
	return kind
}

// Count is the number of damaged sequences.
func (d Damage) Count() int { return d.MacRoman + d.Latin + d.Central + d.DOS }

// macRoman[b−0x80] is the character of byte b in Mac Roman (Apple's
// ROMAN.TXT, with the euro sign at 0xDB).
const macRoman = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü" +
	"†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø" +
	"¿¡¬√ƒ≈∆«»…\u00a0ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ" +
	"‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uf8ffÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ"

// cp1252 is bytes 0x80–0x9F in Windows-1252; the five holes stay controls.
const cp1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

type codec uint8

// The character sets. Where the evidence for two of them is the same, the
// earlier one is taken.
const (
	macCodec codec = iota
	latinCodec
	cp1250Codec
	latin2Codec
	cp437Codec
	cp850Codec
	codecs
)

func (c codec) dos() bool     { return c == cp437Codec || c == cp850Codec }
func (c codec) central() bool { return c == cp1250Codec || c == latin2Codec }

var backTables = func() (t [codecs]map[rune]byte) {
	for c := range t {
		t[c] = map[rune]byte{}
	}
	b := 0x80
	for _, r := range macRoman {
		t[macCodec][r] = byte(b)
		b++
	}
	for r := rune(0x80); r < 0x100; r++ {
		t[latinCodec][r] = byte(r)
	}
	b = 0x80
	for _, r := range cp1252 {
		t[latinCodec][r] = byte(b)
		b++
	}
	for c, cm := range map[codec]*charmap.Charmap{cp1250Codec: charmap.Windows1250, latin2Codec: charmap.ISO8859_2,
		cp437Codec: charmap.CodePage437, cp850Codec: charmap.CodePage850} {
		for b := 0x80; b < 0x100; b++ {
			r := cm.DecodeByte(byte(b))
			if r == utf8.RuneError { // a hole stays a control character
				r = rune(b)
			}
			t[c][r] = byte(b)
		}
	}
	return
}()

// A sequence counts as strong evidence when its lead character never stands
// before its continuation in healthy text. Leads that are letters or quotes of
// German itself (Ä before a closing quote in „Ä“ would read as ē) are weak:
// they are repaired only in the company of strong evidence.
const (
	none = iota
	weak
	strong
)

// match looks for one damaged sequence at the start of s. It returns the rune
// it stands for, its length in s, and the strength of the evidence.
func match(s string, c codec) (r rune, n int, strength int) {
	lead, n := utf8.DecodeRuneInString(s)
	if lead == utf8.RuneError && n <= 1 {
		return 0, 0, none
	}
	back := backTables[c]
	b0, ok := back[lead]
	if !ok || b0 < 0xC2 || b0 > 0xF4 {
		return 0, 0, none
	}
	more := 1
	switch {
	case b0 >= 0xF0:
		more = 3
	case b0 >= 0xE0:
		more = 2
	}
	var buf [4]byte
	buf[0] = b0
	second := rune(0)
	for i := 1; i <= more; i++ {
		k, m := utf8.DecodeRuneInString(s[n:])
		b, ok := back[k]
		if m == 0 || !ok || b < 0x80 || b > 0xBF {
			return 0, 0, none
		}
		if i == 1 {
			second = k
		}
		buf[i] = b
		n += m
	}
	r, m := utf8.DecodeRune(buf[:more+1])
	if m != more+1 {
		return 0, 0, none
	}
	return r, n, evidence(c, b0, second, r)
}

// evidence judges a sequence by its lead byte, the second character of the
// damaged text, and the rune that it stands for.
func evidence(c codec, lead byte, second, r rune) int {
	switch {
	case lead == 0xE2: // â, ‚, Γ or Ô: general punctuation, currency
		if r >= 0x2010 && r <= 0x2044 || r == 0x20AC || r == 0x2122 {
			return strong
		}
		return weak
	case lead == 0xEF: // ï»¿, the byte order mark; ligatures
		if r == 0xFEFF {
			return strong
		}
		return weak
	case lead == 0xF0:
		if c != macCodec && r >= 0x1F300 { // ðŸ˜€: emoji
			return strong
		}
		return none
	case c.central():
		return centralEvidence(lead, second)
	case c.dos():
		return dosEvidence(lead, second, r)
	}
	switch lead {
	case 0xC3: // Ã or √: the letters of Latin-1
		if c == macCodec {
			switch r { // √π, √∞, √∑ … are formulas
			case 'ù', 'ð', '÷', 'ø', 'ú', 'ý':
				return weak
			}
		}
		return strong
	case 0xC2: // Â or ¬: signs of Latin-1; ¬ is also a sign of logic
		if c == latinCodec && r >= 0xA0 {
			return strong
		}
		return weak
	case 0xC4, 0xC5: // Ä Å or ƒ ≈: Latin Extended-A
		return weak
	}
	if c != latinCodec {
		return none
	}
	switch lead {
	case 0xC6, 0xCB: // Æ Ë: of ƒ, ˆ and ˜ damaged twice
		if r == 'ƒ' || r == 'ˆ' || r == '˜' {
			return weak
		}
	case 0xCE, 0xCF, 0xD0, 0xD1:
		return weak // Î Ï Ð Ñ: Greek and Cyrillic
	}
	return none
}

// centralEvidence is for Ă and Â, letters of Romanian: in healthy text only letters
// that Romanian puts next to them, quotes and dashes follow them.
func centralEvidence(lead byte, second rune) int {
	switch lead {
	case 0xC3:
		if unicode.In(second, unicode.Pd, unicode.Ps, unicode.Pe, unicode.Pi, unicode.Pf, unicode.Zs) || second == '…' {
			return weak
		}
		return strong
	case 0xC2, 0xC4, 0xC5: // Â, Ä, Ĺ
		return weak
	}
	return none
}

// dosEvidence is for ├ and ┬, which frame tables: nothing but other frames
// touches them there.
func dosEvidence(lead byte, second, r rune) int {
	frame := second >= 0x2500 && second <= 0x259F
	switch {
	case lead != 0xC2 && lead != 0xC3:
		return none
	case !frame, lead == 0xC3 && (r == 'ö' || r == 'ü'):
		return strong
	}
	return weak
}

// leads tells by which character sets a character can begin a damaged sequence;
// suspicious[b] whether a UTF-8 sequence starting with b can be one: it filters
// out almost all of German at one load a byte.
var leads, suspicious = func() (set map[rune][]codec, first [256]bool) {
	set = map[rune][]codec{}
	for c := range codecs {
		for r, b := range backTables[c] {
			if b < 0xC2 || b > 0xF4 {
				continue
			}
			most := 0
			for _, to := range [...]rune{0x2019, '˜', 'ƒ', 0x1F600} {
				most = max(most, evidence(c, b, 'x', to))
			}
			if most > none {
				set[r] = append(set[r], c)
				first[string(r)[0]] = true
			}
		}
	}
	for r := range set {
		slices.Sort(set[r]) // a map has no order
	}
	return set, first
}()

// survey is the evidence in a text.
type survey struct {
	strong [codecs]int
	// fits are all sequences of a character set, less those that would put a
	// capital inside a word.
	fits   [codecs]int
	proven [codecs]map[rune]bool // leads of strong sequences
	damage Damage
}

// lookAt counts the sequences of a text.
func lookAt(text string) *survey {
	v := &survey{}
	v.damage.First = -1
	before := rune(0)
	for i := afterASCII(text, 0); i < len(text); {
		lead, width := utf8.DecodeRuneInString(text[i:])
		hit := 0
		if suspicious[text[i]] {
			if i > 0 {
				before, _ = utf8.DecodeLastRuneInString(text[:i])
			}
			for _, c := range leads[lead] {
				r, n, s := match(text[i:], c)
				if s == none {
					continue
				}
				v.fits[c]++
				if unicode.IsUpper(r) && unicode.IsLower(before) {
					v.fits[c] -= 2
				} else if next, _ := utf8.DecodeRuneInString(text[i+n:]); unicode.IsUpper(r) && unicode.IsLetter(before) && unicode.IsLower(next) {
					v.fits[c] -= 2
				}
				if s == strong {
					v.add(c, lead)
					if hit == 0 {
						v.count(c, i, text[i:i+n])
					}
					hit = max(hit, n)
				}
			}
		}
		i = afterASCII(text, i+max(hit, width))
	}
	return v
}

func (v *survey) add(c codec, lead rune) {
	v.strong[c]++
	if v.proven[c] == nil {
		v.proven[c] = map[rune]bool{}
	}
	v.proven[c][lead] = true
}

// count reports a sequence under the first character set that explains it.
func (v *survey) count(c codec, at int, sequence string) {
	d := &v.damage
	switch {
	case c == macCodec:
		d.MacRoman++
	case c == latinCodec:
		d.Latin++
	case c.central():
		d.Central++
	default:
		d.DOS++
	}
	if d.First < 0 {
		d.First, d.Sample = at, sequence
	}
}

// best is the character set with the most evidence.
func (v *survey) best() codec {
	best := macCodec
	for c := range codecs {
		if v.strong[c] > v.strong[best] || v.strong[c] == v.strong[best] && v.fits[c] > v.fits[best] {
			best = c
		}
	}
	return best
}

// maxLayers bounds how often a text can have been damaged.
const maxLayers = 5

// Mojibake counts the damaged sequences of a text without repairing them.
func Mojibake(text string) Damage {
	_, d := RepairMojibake(text)
	return d
}

// RepairMojibake returns the text as it was before it was read as Mac Roman,
// ISO 8859-1 or -2, Windows-1250 or -1252 or code page 437 or 850, once or several
// times, and what was found. Only the damaged sequences change; a healthy text
// comes back as it is.
func RepairMojibake(text string) (string, Damage) {
	v := lookAt(text)
	if v.damage.Count() == 0 {
		return text, Damage{}
	}
	d := v.damage
	for d.Layers = 1; ; d.Layers++ {
		text = v.replace(text)
		if d.Layers == maxLayers {
			return text, d
		}
		if v = lookAt(text); v.damage.Count() == 0 {
			return text, d
		}
	}
}

// replace repairs one layer.
func (v *survey) replace(text string) string {
	best := v.best()
	var out strings.Builder
	out.Grow(len(text))
	from := 0
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf || !suspicious[text[i]] {
			i++
			continue
		}
		repaired, n := v.run(text[i:], best, true)
		if n == 0 {
			lead, width := utf8.DecodeRuneInString(text[i:])
			for _, c := range leads[lead] {
				if repaired, n = v.run(text[i:], c, false); n > 0 {
					break
				}
			}
			if n == 0 {
				i += width
				continue
			}
		}
		out.WriteString(text[from:i])
		out.WriteString(repaired)
		i += n
		from = i
	}
	out.WriteString(text[from:])
	return out.String()
}

// maxRun bounds the sequences of a run, which may be looked at once from each of
// them.
const maxRun = 64

// run repairs the damaged sequences that stand at the start of s without a gap:
// all of them if one is strong, because what was damaged twice has weak
// sequences beside strong ones ("ÃƒÅ¸" is ß). With company, which the rest of the
// text gives, weak ones are repaired too: three strong sequences in a text, or,
// where a lead is rare in healthy text, one with the same lead.
func (v *survey) run(s string, c codec, company bool) (repaired string, n int) {
	var out strings.Builder
	sure := company && v.strong[c] >= 3
	for k := 0; k < maxRun && n < len(s); k++ {
		r, m, strength := match(s[n:], c)
		if strength == none {
			break
		}
		lead, _ := utf8.DecodeRuneInString(s[n:])
		if strength == strong || company && (c.central() || c.dos()) && v.proven[c][lead] {
			sure = true
		}
		out.WriteRune(r)
		n += m
	}
	if !sure {
		return "", 0
	}
	return out.String(), n
}
