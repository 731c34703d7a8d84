package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// percent is the % operator of strings.
func (ev *evaluator) percent(f Str, arg Value, line int) Str {
	var vals []Value
	if l, ok := arg.(*List); ok && l.kind == tuple {
		vals = l.items
	} else {
		vals = []Value{arg}
	}
	b := ev.builder(line)
	used := 0
	for i := 0; i < len(f.S); {
		n := strings.IndexByte(f.S[i:], '%')
		if n < 0 {
			b.slice(f, i, len(f.S))
			break
		}
		b.slice(f, i, i+n)
		var spec percentSpec
		spec, i = ev.percentSpec(f, i+n+1, line)
		if spec.verb == '%' {
			b.lit("%")
			continue
		}
		var v Value
		if spec.key != nil {
			d, ok := arg.(*Dict)
			if !ok {
				ev.fail(line, "a format with names needs a mapping")
			}
			if v, ok = d.get(*spec.key); !ok {
				ev.fail(line, "the format names %q, which is missing", spec.key.S)
			}
			used = len(vals)
		} else {
			if used >= len(vals) {
				ev.fail(line, "not enough arguments for the format string")
			}
			v = vals[used]
			used++
		}
		ev.work(line, spec.width/4)
		out := ev.percentValue(&spec, v, f.safe, line)
		pad := strings.Repeat(" ", max(0, spec.width-utf8.RuneCountInString(out.S)))
		if strings.Contains(spec.flags, "-") {
			b.str(out)
			b.lit(pad)
		} else {
			b.lit(pad)
			b.str(out)
		}
	}
	if _, isDict := arg.(*Dict); used < len(vals) && !isDict {
		ev.fail(line, "not all arguments of the format string are used")
	}
	return b.done().as(f.safe)
}

// percentSpec is what follows a % in a format: %(key)flags width.prec verb.
type percentSpec struct {
	key         *Str // nil: none
	flags       string
	width, prec int // prec −1: none
	verb        byte
}

// percentSpec reads a conversion from position i, behind its %, and returns the position after it.
func (ev *evaluator) percentSpec(f Str, i, line int) (percentSpec, int) {
	s := percentSpec{prec: -1}
	if i < len(f.S) && f.S[i] == '(' {
		end := strings.IndexByte(f.S[i:], ')')
		if end < 0 {
			ev.fail(line, "incomplete format key")
		}
		k := f.sub(i+1, i+end)
		s.key = &k
		i += end + 1
	}
	for i < len(f.S) && strings.IndexByte("-+ 0#", f.S[i]) >= 0 {
		s.flags += f.S[i : i+1]
		i++
	}
	digits := func() int {
		v := 0
		for i < len(f.S) && f.S[i] >= '0' && f.S[i] <= '9' {
			v = min(v*10+int(f.S[i]-'0'), 1<<20)
			i++
		}
		return v
	}
	s.width = digits()
	if i < len(f.S) && f.S[i] == '.' {
		i++
		s.prec = digits()
	}
	if i >= len(f.S) {
		ev.fail(line, "incomplete format")
	}
	s.verb = f.S[i]
	return s, i + 1
}

// percentValue formats a value, without the spaces that fill its width.
func (ev *evaluator) percentValue(s *percentSpec, v Value, safe bool, line int) Str {
	switch s.verb {
	case 's', 'r', 'a':
		out := ev.toStr(v)
		if s.verb != 's' {
			rb := ev.builder(line)
			ev.repr(&rb, v)
			out = rb.done()
		}
		if safe {
			out = ev.escape(out)
		}
		if s.prec >= 0 {
			if off := out.offsets(); s.prec < len(off)-1 {
				out = out.sub(0, off[s.prec])
			}
		}
		return out
	case 'd', 'i', 'u', 'x', 'X', 'o':
		num := ev.number(v, line, "%d format: a number is required")
		if fl, ok := num.(float64); ok {
			if math.IsNaN(fl) || math.Abs(fl) >= 1<<62 {
				ev.fail(line, "cannot convert %v to an integer", fl)
			}
			num = int64(fl)
		}
		verb := string(rune(s.verb))
		if s.verb == 'i' || s.verb == 'u' {
			verb = "d"
		}
		return Str{S: fmt.Sprintf("%"+numFlags(s.flags, s.width)+verb, num)}
	case 'f', 'F', 'e', 'E', 'g', 'G':
		prec := s.prec
		if prec < 0 {
			prec = 6
		}
		fl := toFloat(ev.number(v, line, "a float format needs a number"))
		return Str{S: fmt.Sprintf("%"+numFlags(s.flags, s.width)+"."+strconv.Itoa(min(prec, 1000))+string(rune(s.verb)), fl)}
	case 'c':
		switch v := v.(type) {
		case int64:
			return Str{S: string(rune(v))}
		case Str:
			return v
		}
		ev.fail(line, "%%c needs an integer or a character")
	}
	ev.fail(line, "unsupported format character %q", s.verb)
	return Str{}
}

// numFlags are the flags and width of a number that fmt understands alike.
func numFlags(flags string, width int) string {
	s := ""
	for _, c := range "-+ 0#" {
		if strings.ContainsRune(flags, c) {
			s += string(c)
		}
	}
	if width > 0 {
		s += strconv.Itoa(min(width, 1000))
	}
	return s
}
