package jinja

import (
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
)

// filterStripTags removes tags and comments, makes single blanks of white
// space and characters of entities, as MarkupSafe's striptags does. The result
// is plain text.
func filterStripTags(ev *evaluator, x Value, a *callArgs, line int) Value {
	s := ev.toStr(x).as(false)
	b := ev.builder(line)
	at := 0
	for {
		n := strings.IndexByte(s.S[at:], '<')
		if n < 0 {
			break
		}
		start, mark := at+n, ">"
		from := start
		if strings.HasPrefix(s.S[start:], "<!--") {
			mark, from = "-->", start+4
		}
		end := strings.Index(s.S[from:], mark)
		if end < 0 {
			break // an unclosed tag stays, with what follows
		}
		ev.work(line, 1)
		b.slice(s, at, start)
		at = from + end + len(mark)
	}
	b.slice(s, at, len(s.S))
	words := split(b.done(), nil, -1)
	ev.work(line, len(words))
	b = ev.builder(line)
	for i, w := range words {
		if i > 0 {
			b.lit(" ")
		}
		b.str(w)
	}
	return ev.unescape(b.done(), line)
}

// unescape replaces entities; the character has the origin of the entity's
// first byte.
func (ev *evaluator) unescape(s Str, line int) Str {
	b := ev.builder(line)
	at := 0
	for {
		n := strings.IndexByte(s.S[at:], '&')
		if n < 0 {
			break
		}
		ev.work(line, 1)
		b.slice(s, at, at+n)
		at += n
		end := strings.IndexAny(s.S[at+1:min(len(s.S), at+40)], ";& ")
		if end < 0 {
			end = min(len(s.S), at+40) - at - 2
		}
		piece := s.S[at : at+end+2]
		if !strings.HasSuffix(piece, ";") {
			piece = piece[:len(piece)-1] // up to the next & or blank
		}
		if piece == "" || piece == "&" {
			b.slice(s, at, at+1)
			at++
			continue
		}
		origin := s.sub(at, at+1)
		text := Str{S: html.UnescapeString(piece)}
		if len(origin.M) > 0 {
			text.M = origin.M
			text.M[0].End = len(text.S)
		}
		b.str(text)
		at += len(piece)
	}
	b.slice(s, at, len(s.S))
	return b.done()
}

// filterURLEncode quotes a string, or makes a query of a mapping or pairs.
// What a message says stays marked as its text.
func filterURLEncode(ev *evaluator, x Value, a *callArgs, line int) Value {
	quote := func(v Value, query bool) Str {
		return ev.runes(ev.toStr(v).as(false), func(_ int, r rune) string {
			switch {
			case r == '/' && !query:
				return "/"
			case r == ' ' && !query:
				return "%20"
			}
			return url.QueryEscape(string(r))
		})
	}
	var list []Value
	switch v := x.(type) {
	case *Dict:
		list = pairs(ev, v, line)
	case *List:
		list = ev.iterate(v, line)
	default:
		return quote(x, false)
	}
	b := ev.builder(line)
	for i, p := range list {
		kv := ev.iterate(p, line)
		if len(kv) != 2 {
			ev.fail(line, "urlencode needs pairs of a key and a value")
		}
		ev.work(line, 1)
		if i > 0 {
			b.lit("&")
		}
		b.str(quote(kv[0], true))
		b.lit("=")
		b.str(quote(kv[1], true))
	}
	return b.done()
}

// filterXMLAttr writes a mapping as attributes of an element.
func filterXMLAttr(ev *evaluator, x Value, a *callArgs, line int) Value {
	d, ok := x.(*Dict)
	if !ok {
		ev.fail(line, "xmlattr needs a mapping, not %s", typeName(x))
	}
	b := ev.builder(line)
	blank := optBool(a, 0, "autospace", true)
	for i, k := range d.keys {
		_, undef := d.vals[i].(undefined)
		if undef || d.vals[i] == nil {
			continue
		}
		key := ev.toStr(k)
		if strings.ContainsAny(key.S, " \t\n\f\r/>=") {
			ev.fail(line, "invalid character in attribute name %q", key.S)
		}
		ev.work(line, 1)
		if blank {
			b.lit(" ")
		}
		blank = true
		b.str(ev.escape(key))
		b.lit(`="`)
		b.str(ev.escape(ev.toStr(d.vals[i])))
		b.lit(`"`)
	}
	return b.done()
}

// filterFileSize writes a number of bytes for people.
func filterFileSize(ev *evaluator, x Value, a *callArgs, line int) Value {
	n := toFloat(x)
	if s, ok := x.(Str); ok {
		f, err := strconv.ParseFloat(strings.TrimFunc(s.S, pySpace), 64)
		if err != nil {
			ev.fail(line, "%q is no number", s.S)
		}
		n = f
	} else if !isNumber(x) {
		ev.fail(line, "filesizeformat needs a number, not %s", typeName(x))
	}
	base, prefixes := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if optBool(a, 0, "binary", false) {
		base, prefixes = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case n == 1:
		return Str{S: "1 Byte"}
	case n < base:
		return Str{S: fmt.Sprintf("%d Bytes", int64(n))}
	}
	unit := base
	for i, p := range prefixes {
		unit *= base
		if n < unit || i == len(prefixes)-1 {
			return Str{S: fmt.Sprintf("%.1f %s", base*n/unit, p)}
		}
	}
	return nil // not reached: the last prefix always returns
}

// filterSlice cuts a sequence into a number of lists.
func filterSlice(ev *evaluator, x Value, a *callArgs, line int) Value {
	v, _ := a.get(0, "slices")
	n := ev.argInt(v, line)
	if n == 0 {
		ev.fail(line, "integer division or modulo by zero")
	}
	items := ev.iterate(x, line)
	ev.work(line, len(items))
	fill, _ := a.get(1, "fill_with")
	out := &List{kind: generator}
	if n < 0 {
		return out
	}
	size, extra := int64(len(items))/n, int64(len(items))%n
	for i, at := int64(0), int64(0); i < n; i++ {
		ev.work(line, 2)
		end := at + size
		if i < extra {
			end++
		}
		part := NewList(append([]Value(nil), items[at:end]...)...)
		if fill != nil && i >= extra {
			part.items = append(part.items, fill)
		}
		out.items = append(out.items, part)
		at = end
	}
	return out
}
