package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Counter collects text for a Trainer on behalf of one goroutine.
type Counter struct {
	index  map[string]int32
	words  []string
	counts []int64
	bytes  int64
	texts  int64
}

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
