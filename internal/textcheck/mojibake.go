package textcheck

import (
	"strings"
	"unicode/utf8"
)

// Damage says how much of a text is UTF-8 that was read in another character
// set. The zero value is a healthy text.
type Damage struct {
	MacRoman int    // sequences that were read as Mac Roman ("√∂" for ö)
	Latin    int    // sequences read as ISO 8859-1 or Windows-1252 ("Ã¶")
	Layers   int    // how often the damage happened: 2 = "ÃƒÂ¶"
	First    int    // byte offset of the first sequence in the text given
	Sample   string // that sequence
}

// Found tells whether there is any damage.
func (d Damage) Found() bool { return d.Layers > 0 }

// macRoman[b−0x80] is the character of byte b in Mac Roman (Apple's
// ROMAN.TXT, with the euro sign at 0xDB).
const macRoman = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü" +
	"†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø" +
	"¿¡¬√ƒ≈∆«»…\u00a0ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ" +
	"‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uf8ffÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ"

// cp1252 is bytes 0x80–0x9F in Windows-1252; the five holes stay controls.
const cp1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

type codec uint8

const (
	macCodec codec = iota
	latinCodec
)

var backTables = func() (t [2]map[rune]byte) {
	t[0], t[1] = map[rune]byte{}, map[rune]byte{}
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
	return
}()

// A sequence counts as strong evidence when its lead character never stands
// before its continuation in healthy text. Leads that are letters or quotes of
// German itself (Ä before a closing quote in „Ä“ would read as ē) are weak:
// they are repaired only in a text with strong evidence.
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
	for i := 1; i <= more; i++ {
		k, m := utf8.DecodeRuneInString(s[n:])
		b, ok := back[k]
		if m == 0 || !ok || b < 0x80 || b > 0xBF {
			return 0, 0, none
		}
		buf[i] = b
		n += m
	}
	r, m := utf8.DecodeRune(buf[:more+1])
	if m != more+1 {
		return 0, 0, none
	}
	return r, n, evidence(c, b0, r)
}

func evidence(c codec, lead byte, r rune) int {
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
	case 0xE2: // â or ‚ : general punctuation, currency
		if r >= 0x2010 && r <= 0x2044 || r == 0x20AC || r == 0x2122 {
			return strong
		}
		return weak
	case 0xC4, 0xC5: // Ä Å or ƒ ≈: Latin Extended-A
		return weak
	case 0xEF: // ï»¿, the byte order mark; ligatures
		if r == 0xFEFF {
			return strong
		}
		return weak
	case 0xF0:
		if c == latinCodec && r >= 0x1F300 { // ðŸ˜€: emoji
			return strong
		}
		return none
	}
	if c == latinCodec && lead == 0xCB && (r == 'ˆ' || r == '˜') { // of a quote damaged twice
		return weak
	}
	if c == latinCodec && (lead == 0xCE || lead == 0xCF || lead == 0xD0 || lead == 0xD1) {
		return weak // Î Ï Ð Ñ: Greek and Cyrillic
	}
	return none
}

// suspicious[b] tells whether a UTF-8 sequence starting with b can begin a
// damaged sequence; filters out almost all of German at one load a byte.
var suspicious = func() (t [256]bool) {
	for c := range backTables {
		for r, b := range backTables[c] {
			if b >= 0xC2 && b <= 0xF4 && (evidence(codec(c), b, 0x2019) != none || evidence(codec(c), b, '˜') != none) || b == 0xF0 && c == int(latinCodec) {
				t[string(r)[0]] = true
			}
		}
	}
	return
}()

// survey counts strong sequences of both codecs.
func survey(text string) (d Damage) {
	d.First = -1
	for i := afterASCII(text, 0); i < len(text); i = afterASCII(text, i) {
		if suspicious[text[i]] {
			hit := 0
			if _, n, s := match(text[i:], macCodec); s == strong {
				d.MacRoman++
				hit = n
			} else if _, n, s := match(text[i:], latinCodec); s == strong {
				d.Latin++
				hit = n
			}
			if hit > 0 {
				if d.First < 0 {
					d.First, d.Sample = i, text[i:i+hit]
				}
				i += hit
				continue
			}
		}
		_, n := utf8.DecodeRuneInString(text[i:])
		i += n
	}
	return d
}

// Mojibake counts the damaged sequences of a text without repairing them.
func Mojibake(text string) Damage {
	d := survey(text)
	if d.MacRoman+d.Latin == 0 {
		return Damage{}
	}
	d.Layers = 1
	if inner := Mojibake(replace(text, d)); inner.Found() {
		d.Layers += inner.Layers
	}
	return d
}

// RepairMojibake returns the text as it was before it was read as Mac Roman,
// ISO 8859-1 or Windows-1252, once or several times, and what was found. Only
// the damaged sequences change; a healthy text comes back as it is.
func RepairMojibake(text string) (string, Damage) {
	d := survey(text)
	if d.MacRoman+d.Latin == 0 {
		return text, Damage{}
	}
	d.Layers = 1
	text = replace(text, d)
	for d.Layers < 4 {
		in := survey(text)
		if in.MacRoman+in.Latin == 0 {
			break
		}
		text = replace(text, in)
		d.Layers++
	}
	return text, d
}

// replace repairs the codec with more evidence, the other one too where strong.
func replace(text string, d Damage) string {
	first, second := macCodec, latinCodec
	if d.Latin > d.MacRoman {
		first, second = second, first
	}
	// Weak sequences need company: a text with one strong sequence may still
	// hold a healthy „Ä“.
	need := strong
	if max(d.Latin, d.MacRoman) >= 3 {
		need = weak
	}
	var out strings.Builder
	out.Grow(len(text))
	from := 0
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf || !suspicious[text[i]] {
			i++
			continue
		}
		r, n, s := match(text[i:], first)
		if s < need || s == none {
			if r, n, s = match(text[i:], second); s != strong {
				_, n = utf8.DecodeRuneInString(text[i:])
				i += n
				continue
			}
		}
		out.WriteString(text[from:i])
		out.WriteRune(r)
		i += n
		from = i
	}
	out.WriteString(text[from:])
	return out.String()
}
