package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
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
	"{% block a %}x{% endblock %}": "blocks",
	"{{ self is defined }}":        "blocks",
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
			if err == nil && got == c.Want {
				t.Errorf("%q: as in Jinja, though %s are said to be refused", c.Src, deviations[c.Src])
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
	// marked is a string of two bytes, the user's and the template's; long is
	// one of a megabyte.
	marked := "{% set ns = namespace(s=u ~ 'a') %}"
	long := "{% set ns = namespace(s='x' * 1000000) %}"
	var keywords strings.Builder
	for i := range 50000 {
		fmt.Fprintf(&keywords, "k%d=1,", i)
	}
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
		{"{{ [[1]] * 1000 | batch(999999999999, 1) | list | length }}", "not iterable"},
		{"{{ [1] | batch(999999999, 1) | list | length }}", "steps"},
		// Strings of two origins, piece by piece: every piece has a mark.
		{marked + "{% for i in range(22) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}", "different origin"},
		{marked + "{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{% for i in range(99) %}{{ ns.s }}{% endfor %}", "different origin"},
		{marked + "{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{% for i in range(9999) %}{% set t = ns.s[1:] %}{% endfor %}", "steps"},
		{marked + "{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ (ns.s * 30)|length }}", "different origin"},
		{marked + "{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s.replace('a', ns.s)|length }}", "different origin"},
		{marked + "{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s|list|join(ns.s)|length }}", "different origin"},
		{marked + "{% for i in range(9) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{% for i in range(9999) %}{{ (ns.s * 500)|upper|length }}{% endfor %}", "steps"},
		// Work and memory that no single long string shows.
		{long + "{{ (ns.s * 15).split('x')|length }}", "steps"},
		{long + "{{ ('y' ~ ns.s).strip('z' ~ ns.s)|length }}", ""},
		{long + "{% set t = ('y' ~ ns.s)|upper %}{{ (ns.s * 8).splitlines()|length }}", ""},
		{long + "{% set a = [ns.s ~ 'a'] * 1000 %}{% set b = [ns.s ~ 'a'] * 1000 %}{% for i in range(999) %}{{ a == b }}{% endfor %}", "steps"},
		{long + "{% for i in range(99999) %}{% set d = {ns.s: i} %}{% endfor %}", "steps"},
		{long + "{{ ns.s.startswith((ns.s ~ 'x',) * 100000) }}", "steps"},
		{long + "{% for i in range(999) %}{{ ([ns.s ~ i] * 100)|sort|length }}{% endfor %}", "steps"},
		{long + "{% for i in range(999) %}{{ ([ns.s] * 1000)|unique|list|length }}{% endfor %}", "steps"},
		{long + "{% for i in range(999) %}{{ ns.s|wordcount }}{{ ns.s|tojson|length }}{% endfor %}", "steps"},
		{long + "{{ ns.s.replace('x', '\\x07')|tojson|length }}", ""},
		{long + "{{ ('{:1000}' * 20000).format(*(['a'] * 20000))|length }}", "longer than"},
		{long + "{{ ns.s|urlencode|length }}{{ ns.s|escape|length }}{{ ns.s|striptags|length }}", ""},
		{long + "{{ ('\t' * 1000000).expandtabs(99999999999)|length }}", "longer than"},
		{"{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}", "key"},
		{"{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ ns.t|string|length }}", "steps"},
		{"{% set ns = namespace(t=[1]) %}{% for i in range(60) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t|tojson(indent=1000)|length }}", "longer than"},
		{"{% for a in [[1]] * 1000 recursive %}{{ loop([[1]] * 1000) }}{% endfor %}", "deeper"},
		{"{{ range(100000)|slice(999999999)|list|length }}", "steps"},
		{"{{ m(" + keywords.String() + ") }}", "keyword arguments"},
		{"{{ " + strings.Repeat("'a' ", 250000) + " }}", ""},
		{strings.Repeat("{{ x }}", 140000), ""},
		{strings.Repeat("{{ x }}", 160000), "longer than"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		tpl, err := Parse(tc.src)
		if err == nil {
			_, err = tpl.Render(map[string]Value{"x": Str{S: "x"}, "u": String("u", 7)}, DefaultLimits, time.Now())
		}
		d := time.Since(start)
		runtime.ReadMemStats(&after)
		if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%.160q: error %v, want one with %q", tc.src, err, tc.want)
		}
		if tc.want == "" && err != nil {
			t.Errorf("%.160q: %v", tc.src, err)
		}
		if d > 8*time.Second {
			t.Errorf("%.160q took %v", tc.src, d)
		}
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 1000 {
			t.Errorf("%.160q allocated %d MB in %v", tc.src, n, d)
		} else if testing.Verbose() {
			t.Logf("%4d MB %8v %.100q %v", n, d.Round(time.Millisecond), tc.src, err)
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

// FuzzMarks renders templates over strings of two origins. What a user wrote
// stays marked as the user's, marks cover the text, and the memory of one
// rendering stays within a bound, however the strings are cut and doubled.
func FuzzMarks(f *testing.F) {
	for _, src := range []string{
		"{% set ns = namespace(s=u ~ 'a') %}{% for i in range(22) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
		"{% set x = (u ~ '-') * 400 %}{{ x.split('-')|join(x) }}",
		"{% set x = (u ~ '-') * 400 %}{{ x.replace('-', x)[::-1]|upper }}",
		"{% for c in u * 99 %}{{ c ~ loop.index }}{% endfor %}",
		"{{ [u, v, {u: v}]|tojson(indent=4) }}{{ '%s {}'.format(u) % v }}{{ u|escape ~ (v|safe + u) }}",
		"{% macro m(n) %}{{ u }}{{ m(n - 1) ~ v if n }}{% endmacro %}{{ m(9) }}",
		"{% for x in [u, [v, [u]]] recursive %}{{ x if x is string else loop(x) }}{% endfor %}",
		"{{ (u ~ 'x' ~ v)|indent(u)|center(99)|truncate(40)|title }}{{ (v * 9)|striptags|urlencode }}",
	} {
		f.Add(src, "☃<b>&amp;\n", "ä'\"")
	}
	_, cases := golden(f)
	for _, c := range cases {
		if len(c.Src) > 60 {
			f.Add(c.Src, "☃", "b")
		}
	}
	small := Limits{Steps: 50000, Output: 1 << 18, Calls: 20}
	f.Fuzz(func(t *testing.T, src, u, v string) {
		if len(src)+len(u)+len(v) > 1<<14 {
			return
		}
		tpl, err := Parse(src)
		if err != nil {
			return
		}
		vars := map[string]Value{"u": String(u, 7), "v": String(v, 8), "s": String(u+v, 7), "l": NewList(String(u, 7), String(v, 8))}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out, err := tpl.Render(vars, small, time.Unix(0, 0))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Fatalf("%d MB allocated", n>>20)
		}
		if err != nil {
			return
		}
		checkMarks(t, src, out)
		// A snowman that the template did not write is the user's.
		if strings.Contains(src, "☃") || strings.ContainsAny(src, "\\&") || strings.Contains(src, "9731") {
			return
		}
		at := 0
		for _, m := range out.Text.M {
			if m.Origin == 0 && strings.Contains(out.Text.S[at:m.End], "☃") {
				t.Fatalf("%q is trusted", out.Text.S[at:m.End])
			}
			at = m.End
		}
		if out.Text.M == nil && strings.Contains(out.Text.S, "☃") {
			t.Fatalf("%q is trusted", out.Text.S)
		}
	})
}

// Texts of tasks keep their white space, and nothing undefined passes in silence. The right values are those of
// jinja2.Environment(undefined=StrictUndefined, keep_trailing_newline=True).
func TestParseText(t *testing.T) {
	vars := map[string]Value{"q": String("Wie viele?", 0), "n": int64(2), "l": NewList(String("a", 0), String("b's", 0))}
	for _, c := range []struct{ template, want string }{
		{"Frage: {{q}}\nAntwort:\n", "Frage: Wie viele?\nAntwort:\n"},
		{"  {% if n %}\nja\n  {% endif %}\n", "  \nja\n  \n"},
		{"{%- for x in l %}\n- {{x}}{% endfor %}", "\n- a\n- b's"},
		{"{# so #}\n{{ l }}", "\n['a', \"b's\"]"},
		{"{{ 'a-b c-d'|regex_replace('([a-z])-([a-z])', '\\\\2$\\\\g<1>') }}", "b$a d$c"},
		{"{{ 'aaa'|regex_replace('a', 'x', 2) }}", "xxa"},
		{"{{ missing is defined }} {{ missing|default('leer') }}", "False leer"},
		{"{% if missing is defined and missing %}x{% endif %}y", "y"},
	} {
		tpl, err := ParseText(c.template)
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		out, err := tpl.Render(vars, DefaultLimits, time.Time{})
		if err != nil || out.Text.S != c.want {
			t.Errorf("%q: %q, %v; want %q", c.template, out.Text.S, err, c.want)
		}
	}
	for _, bad := range []string{
		"{{ missing }}", "{% if missing %}x{% endif %}", "{{ missing ~ 'a' }}", "{% for x in missing %}{% endfor %}", "{{ missing == 1 }}",
		"{{ missing|length }}", "{{ not missing }}", "{{ 'a'|regex_replace('(', '') }}",
	} {
		tpl, err := ParseText(bad)
		if err == nil {
			_, err = tpl.Render(vars, DefaultLimits, time.Time{})
		}
		if err == nil {
			t.Errorf("%q was rendered", bad)
		}
		if tpl, err := Parse(bad); err == nil && !strings.Contains(bad, "regex_replace") {
			if _, err := tpl.Render(vars, DefaultLimits, time.Time{}); err != nil {
				t.Errorf("%q is an error in a chat template too: %v", bad, err)
			}
		}
	}
}
