package jinja

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// golden reads what jinja2 made of small templates (testdata/golden.py).
func golden(t testing.TB) (vars map[string]Value, cases []struct{ Src, Want, Error string }) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Vars  json.RawMessage
		Cases json.RawMessage
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	v, err := FromJSON(g.Vars, 7)
	if err != nil {
		t.Fatal(err)
	}
	d := v.(*Dict)
	vars = map[string]Value{}
	for i, k := range d.keys {
		vars[k.(Str).S] = d.vals[i]
	}
	dec := json.NewDecoder(bytes.NewReader(g.Cases))
	if err := dec.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	return vars, cases
}

// deviations are templates that Jinja accepts and this package refuses, as
// its documentation says.
var deviations = map[string]string{
	"{% for p2 in p recursive %}{% endfor %}": "recursive loops",
	"{% block a %}x{% endblock %}":            "inheritance",
}

func TestLikeJinja2(t *testing.T) {
	vars, cases := golden(t)
	bad := 0
	for _, c := range cases {
		got, err := "", error(nil)
		tpl, err := Parse(c.Src)
		if err == nil {
			var out *Output
			if out, err = tpl.Render(vars, DefaultLimits, time.Now()); err == nil {
				got = out.Text.S
				checkMarks(t, c.Src, out)
			}
		}
		switch {
		case deviations[c.Src] != "":
			if err == nil {
				t.Errorf("%q: no error, though %s are said to be refused", c.Src, deviations[c.Src])
			}
		case c.Error != "":
			if err == nil {
				t.Errorf("%q: got %q, want an error (%s)", c.Src, got, c.Error)
				bad++
			}
		case err != nil:
			t.Errorf("%q: %v, want %q", c.Src, err, c.Want)
			bad++
		case got != c.Want:
			t.Errorf("%q:\n got %q\nwant %q", c.Src, got, c.Want)
			bad++
		}
	}
	t.Logf("%d of %d cases", len(cases)-bad, len(cases))
}

// checkMarks checks that marks cover the output in order.
func checkMarks(t testing.TB, src string, out *Output) {
	at := 0
	for _, m := range out.Text.M {
		if m.End <= at {
			t.Errorf("%q: mark ends at %d after %d", src, m.End, at)
		}
		at = m.End
	}
	if out.Text.M != nil && at != len(out.Text.S) {
		t.Errorf("%q: marks end at %d, text at %d", src, at, len(out.Text.S))
	}
}

// TestOrigins shows text of origin 1 in brackets and of origin 2 in braces.
func TestOrigins(t *testing.T) {
	vars := map[string]Value{"u": String("Über<x>\n", 1), "v": String("vau", 2), "l": NewList(String("a", 1), String("b", 2))}
	for _, tc := range []struct{ src, want string }{
		{"x{{ u }}y", "x[Über<x>\n]y"},
		{"{{ u|trim }}", "[Über<x>]"},
		{"{{ u|upper }}", "[ÜBER<X>\n]"},
		{"{{ (u ~ '-' ~ v)|lower }}", "[über<x>\n]-{vau}"},
		{"{{ u + v }}", "[Über<x>\n]{vau}"},
		{"{{ (u + v)[3:11] }}", "[r<x>\n]{vau}"},
		{"{{ (v ~ u)[::-1] }}", "[\n>x<rebÜ]{uav}"},
		{"{{ u|replace('b', v) }}", "[Ü]{vau}[er<x>\n]"},
		{"{{ u|replace('<', '&') }}", "[Über]&[x>\n]"},
		{"{{ u.split('<')[1] }}", "[x>\n]"},
		{"{{ l|join(', ') }}", "[a], {b}"},
		{"{{ l }}", "['[a]', '{b}']"},
		{"{{ u|tojson }}", "\"[Über<x>\\n]\""},
		{"{{ {'k': u, v: 1}|tojson }}", "{\"k\": \"[Über<x>\\n]\", \"{vau}\": 1}"},
		{"{{ '%s:%5s' % (u, v) }}", "[Über<x>\n]:  {vau}"},
		{"{{ '{}{}'.format(v, 1) }}", "{vau}1"},
		{"{% set x %}<{{ v }}>{% endset %}{{ x|upper }}", "<{VAU}>"},
		{"{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(v) }}", "<{vau}>"},
		{"{% filter indent(2) %}a\n{{ v }}{% endfilter %}", "a\n  {vau}"},
		{"{% for c in v %}{{ c }}.{% endfor %}", "{v}.{a}.{u}."},
		{"{{ u|e }}", "[Über&lt;x&gt;\n]"},
		{"{{ v|truncate(2, true, '', 0) }}", "{va}"},
		{"{{ u|length }}", "8"},
		{"{{ v|title ~ v.center(5, '_') }}", "{Vau}_{vau}_"},
		{"{{ v if true else u }}", "{vau}"},
		{"{{ [u, v]|sort|last }}", "[Über<x>\n]"},
		{"{{ v * 2 }}", "{vauvau}"},
	} {
		tpl, err := Parse(tc.src)
		if err != nil {
			t.Fatal(tc.src, err)
		}
		out, err := tpl.Render(vars, DefaultLimits, time.Now())
		if err != nil {
			t.Fatal(tc.src, err)
		}
		var b strings.Builder
		at := 0
		for _, m := range out.Text.M {
			s := out.Text.S[at:m.End]
			switch m.Origin {
			case 1:
				s = "[" + s + "]"
			case 2:
				s = "{" + s + "}"
			}
			b.WriteString(s)
			at = m.End
		}
		if out.Text.M == nil {
			b.WriteString(out.Text.S)
		}
		if b.String() != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.src, b.String(), tc.want)
		}
	}
}

// TestTags checks whose loop wrote what.
func TestTags(t *testing.T) {
	msg := func(i int32, s string) *Dict {
		d := NewDict(i)
		d.Set("c", String(s, i))
		return d
	}
	vars := map[string]Value{"ms": NewList(msg(1, "a"), msg(2, "b"))}
	for _, tc := range []struct{ src, want string }{
		{"x{% for m in ms %}<{{ m.c }}>{% endfor %}y", "0x1<a>2<b>0y"},
		{"{% for m in ms[::-1] %}<{{ m.c }}>{% endfor %}", "2<b>1<a>"},
		{"{% for i in range(2) %}{% set m = ms[i] %}<{{ m.c }}>{% endfor %}", "1<a>2<b>"},
		{"{% for m in ms %}<{% for x in [1] %}-{% endfor %}{{ ms[0].c }}>{% endfor %}", "1<-a>2<-a>"},
		{"{% macro r() %}{% for m in ms %}<{{ m.c }}>{% endfor %}{% endmacro %}[{{ r() }}]", "0[1<a>2<b>0]"},
		{"{% macro w(m) %}({{ m.c }}){% endmacro %}{% for m in ms %}{{ w(m) }}{% endfor %}", "1(a)2(b)"},
		{"{% for m in ms %}{% break %}{% endfor %}x", "0x"},
	} {
		tpl, err := Parse(tc.src)
		if err != nil {
			t.Fatal(tc.src, err)
		}
		out, err := tpl.Render(vars, DefaultLimits, time.Now())
		if err != nil {
			t.Fatal(tc.src, err)
		}
		var b strings.Builder
		at, tag := 0, int32(-1)
		for _, m := range out.Text.M {
			if m.Tag != tag {
				tag = m.Tag
				b.WriteByte(byte('0' + tag))
			}
			b.WriteString(out.Text.S[at:m.End])
			at = m.End
		}
		if out.Text.M == nil {
			b.WriteString("0" + out.Text.S)
		}
		if b.String() != tc.want {
			t.Errorf("%s: got %s, want %s", tc.src, b.String(), tc.want)
		}
	}
}

// TestBounds runs templates that want too much.
func TestBounds(t *testing.T) {
	deep := strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000)
	for _, tc := range []struct{ src, want string }{
		{"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "steps"},
		{"{{ 'x' * 999999999 }}", "longer than"},
		{"{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "longer than"},
		{"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", "steps"},
		{"{{ [1] * 999999999999 }}", "too long"},
		{"{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "deeper"},
		{"{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == [ns.x] }}{{ ns.x|tojson }}", "deeper"},
		{"{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}", "deeper"},
		{"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deeper"},
		{"{{ " + deep + " }}", "deeper"},
		{"{{ " + strings.Repeat("1+", 200000) + "1 }}", "deeper"},
		{"{{ x" + strings.Repeat("|upper", 100000) + " }}", "deeper"},
		{strings.Repeat("{% if 1 %}", 5000) + strings.Repeat("{% endif %}", 5000), "deeper"},
		{"{{ 9223372036854775807 + 1 }}", "overflow"},
		{"{{ 3 ** 99999 }}", "overflow"},
		{"{{ 99999999999999999999 }}", "range"},
		{"{{ range(999999999) }}", "range"},
		{"{{ '%999999999d' % 3 }}", ""},
		{"{{ 'a'.replace('', 'xxxxxxxxxxxxxxxxxxxx' * 400000).replace('x', 'y' * 1000) }}", "longer than"},
		{"{{ 'a'.center(999999999999) }}", "longer than"},
		{"{{ [[1]] * 1000 | batch(999999999999, 1) | list | length }}", ""},
		{"{{ [1] | batch(999999999, 1) | list | length }}", "steps"},
	} {
		start := time.Now()
		tpl, err := Parse(tc.src)
		if err == nil {
			_, err = tpl.Render(map[string]Value{"x": Str{S: "x"}}, DefaultLimits, time.Now())
		}
		if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%.60q: error %v, want one with %q", tc.src, err, tc.want)
		}
		if d := time.Since(start); d > 8*time.Second {
			t.Errorf("%.60q took %v", tc.src, d)
		}
	}
}

func TestStrftime(t *testing.T) {
	at := time.Date(2024, 7, 6, 5, 4, 3, 0, time.UTC)
	if got, want := strftime(at, "%d %b %Y, %A %B %-d %j %H:%M:%S %I%p %y %e %% %F"), "06 Jul 2024, Saturday July 6 188 05:04:03 05AM 24  6 % 2024-07-06"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzRender(f *testing.F) {
	vars, cases := golden(f)
	for _, c := range cases {
		f.Add(c.Src)
	}
	small := Limits{Steps: 20000, Output: 1 << 16, Calls: 20}
	f.Fuzz(func(t *testing.T, src string) {
		tpl, err := Parse(src)
		if err != nil {
			return
		}
		out, err := tpl.Render(vars, small, time.Unix(0, 0))
		if err == nil {
			checkMarks(t, src, out)
		}
	})
}
