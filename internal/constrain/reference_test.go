package constrain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// wider are schemas beyond those of TestSchemaTexts, as pydantic, OpenAPI and
// people write them. The right values are those of ECMAScript's regular
// expressions (node) and Python's jsonschema.
var wider = []struct {
	schema  string
	yes, no []string
}{
	// White space, line ends and digits of other scripts.
	{`{"type":"string","pattern":"^\\S{1,3}$"}`, []string{`"a"`, `"äß😀"`}, []string{`" "`, "\"\u00a0\"", "\"\ufeff\"", "\"\u2028\"", `"\u001c"`, "\"\u0085\"", `"\n"`, `""`}},
	{`{"type":"string","pattern":"^.{1,3}$"}`, []string{`"a b"`, `"日本😀"`, "\"\u00a0\""}, []string{`"\r"`, `"\n"`, "\"\u2028\"", "\"\u2029\"", `"abcd"`}},
	{`{"type":"string","pattern":"^\\d\\D$"}`, []string{`"1a"`, `"9ä"`}, []string{`"١a"`, `"1١"`, `"12"`}},
	{`{"type":"string","pattern":"^\\w\\W$"}`, []string{`"a-"`, `"_ "`}, []string{`"ä-"`, `"aä"`, `"ab"`, "\"a\u0301\""}},
	{`{"type":"string","pattern":"^[^\\s\\d]+$"}`, []string{`"ab-"`}, []string{"\"a\u00a0\"", `"a1"`, `"a١"`, "\"\ufeff\""}},
	{`{"type":"string","pattern":"^[\\w.-]+@[\\w-]+\\.de$"}`, []string{`"a.b-c@leo.de"`}, []string{`"ä@leo.de"`, `"a@leo.com"`}},
	{`{"type":"string","pattern":"^[\\S]$"}`, []string{`"x"`}, []string{"\"\u00a0\""}},
	{`{"type":"string","pattern":"^[^\\S]$"}`, []string{`" "`, `"\t"`}, []string{`"x"`, "\"\ufeff\"", `"\u001c"`}},
	{`{"type":"string","pattern":"^[^\\W_]$"}`, []string{`"a"`}, []string{`"_"`, `"ä"`, `"-"`}},
	{`{"type":"string","pattern":"^\\u00e4\\x41\\/\\-\\t[\\b]\\cJ$"}`, []string{`"äA/-\t\b\n"`}, []string{`"aA/-"`}},
	{`{"type":"string","pattern":"^\\u{1F600}\\uD83D\\uDE00$"}`, []string{`"😀😀"`}, []string{`"😀"`}},
	{`{"type":"string","pattern":"^[[:alpha:]]$"}`, []string{`"a]"`, `":]"`}, []string{`"x"`, `"a"`}},
	{`{"type":"string","pattern":"^(?<jahr>\\d{4})-(?:0[1-9]|1[0-2])$"}`, []string{`"2024-12"`}, []string{`"2024-13"`}},
	{`{"type":"string","pattern":"^\\p{Lu}\\p{Script=Greek}$"}`, []string{`"Äα"`}, []string{`"äα"`, `"Äa"`}},
	{`{"type":"string","pattern":"^a{2}b{1,}?c{0,2}$"}`, []string{`"aab"`, `"aabbcc"`}, []string{`"ab"`, `"aabccc"`}},
	{`{"type":"string","pattern":"^x{1500}$"}`, []string{`"` + strings.Repeat("x", 1500) + `"`}, []string{`"x"`}},
	{`{"type":"string","pattern":"^(ja|nein)$|^viel"}`, []string{`"ja"`, `"vieles"`}, []string{`"jaja"`, `"x viel"`}},
	{`{"type":"string","pattern":"^{a}$"}`, []string{`"{a}"`}, []string{`"a"`}},
	{`{"type":"string","pattern":"(?i)^straße$"}`, []string{`"STRAßE"`, `"Straße"`}, []string{`"strasse"`, `"ſtraße"`}},
	// Several limits of one string.
	{`{"type":"string","pattern":"^[a-z]+$","minLength":2,"maxLength":3}`, []string{`"ab"`, `"abc"`}, []string{`"a"`, `"abcd"`, `"AB"`}},
	{`{"type":"string","pattern":"ä","maxLength":2}`, []string{`"ä"`, `"äx"`, `"xä"`}, []string{`"x"`, `"xxä"`, `"\n\nä"`}},
	{`{"type":"string","pattern":"\\\\","minLength":2,"maxLength":2}`, []string{`"\\\\"`, `"a\\"`}, []string{`"\\"`, `"aa"`}},
	{`{"type":"string","format":"date","pattern":"^2024-"}`, []string{`"2024-02-03"`}, []string{`"2023-02-03"`, `"2024-13-01"`}},
	{`{"type":"object","properties":{"u":{"format":"uri","maxLength":2083,"minLength":1,"title":"U","type":"string"}},"required":["u"]}`, []string{`{"u":"https://leo.de/a"}`}, []string{`{"u":""}`, `{"u":"leo"}`}},
	{`{"type":"string","format":"uri","pattern":"^https","maxLength":300}`, []string{`"https://leo.de/"`}, []string{`"http://leo.de/"`}},
	{`{"type":"string","format":"email","maxLength":12}`, []string{`"a@leo.de"`}, []string{`"ab.cdefg@leo.de"`}},
	{`{"allOf":[{"type":"string","pattern":"^a"},{"pattern":"b$"}],"maxLength":4}`, []string{`"ab"`, `"axxb"`}, []string{`"a"`, `"axxxb"`}},
	{`{"type":"string","format":"password","minLength":1}`, []string{`"x"`}, []string{`""`}},
	{`{"type":"string","format":"duration"}`, []string{`"P1DT2H"`, `"PT5M"`, `"P3W"`}[1:], []string{`"P"`, `"5M"`}},
	{`{"format":"int32"}`, []string{`7`}, []string{`7.5`, `2147483648`}},
	// References.
	{`{"$defs":{"Größe<int>":{"type":"string","enum":["S","M"]},"Zweites Feld":{"type":"integer","minimum":1,"maximum":3},"a/b~c":{"const":1}},"type":"object","properties":{"g":{"$ref":"#/$defs/Gr%C3%B6%C3%9Fe%3Cint%3E"},"z":{"$ref":"#/$defs/Zweites%20Feld"},"s":{"$ref":"#/$defs/a~1b~0c"}},"required":["g","z"],"additionalProperties":false}`,
		[]string{`{"g":"S","z":3}`, `{"g":"M","z":1,"s":1}`}, []string{`{"g":"L","z":3}`, `{"g":"S","z":4}`}},
	{`{"type":"object","properties":{"a":{"anyOf":[{"type":"integer"},{"type":"boolean"}]},"b":{"oneOf":[{"$ref":"#/properties/a/anyOf/0"},{"type":"string","maxLength":3}]}},"required":["a","b"]}`,
		[]string{`{"a":1,"b":2}`, `{"a":true,"b":"xyz"}`}, []string{`{"a":1,"b":true}`, `{"a":"x","b":1}`}},
	{`{"$ref":"#baum","$defs":{"b":{"$anchor":"baum","type":"array","items":{"$ref":"#baum"},"maxItems":2}}}`, []string{`[]`, `[[],[[]]]`}, []string{`[1]`}},
	{`{"$id":"https://leo.de/s.json","$ref":"https://leo.de/s.json#/$defs/x","$defs":{"x":{"type":"null"}}}`, []string{`null`}, []string{`1`}},
	// Branches that say what else is required.
	{`{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}},"required":["c"],"additionalProperties":false,"anyOf":[{"required":["a"]},{"required":["b"]}]}`,
		[]string{`{"a":null,"c":null}`, `{"b":null,"c":null}`, `{"a":null,"b":null,"c":null}`}, []string{`{"c":null}`, `{"a":null}`}},
	{`{"type":"object","properties":{"v":{"type":"integer"}},"required":["v"],"oneOf":[{"properties":{"t":{"const":"x"}},"required":["t"]},{"properties":{"t":{"const":"y"},"w":{"type":"null"}},"required":["t"]}]}`,
		[]string{`{"v":1,"t":"x"}`, `{"v":2,"t":"y","w":null}`}, []string{`{"t":"x"}`, `{"v":1}`, `{"v":1,"t":"z"}`}},
	{`{"anyOf":[{"minLength":3},{"pattern":"^a"}],"type":"string","maxLength":5}`, []string{`"a"`, `"xyz"`}, []string{`"xy"`, `"abcdef"`, `7`}},
	// Annotations.
	{`{"$defs":{"Hund":{"type":"object","properties":{"art":{"const":"hund","title":"Art","type":"string"},"pfoten":{"type":"integer","minimum":0,"maximum":4}},"required":["art","pfoten"]},"Fisch":{"type":"object","properties":{"art":{"const":"fisch","type":"string"},"salz":{"type":"boolean"}},"required":["art","salz"]}},"type":"object","properties":{"tier":{"discriminator":{"mapping":{"hund":"#/$defs/Hund"},"propertyName":"art"},"oneOf":[{"$ref":"#/$defs/Hund"},{"$ref":"#/$defs/Fisch"}],"title":"Tier","x-eigen":{"a":1}}},"required":["tier"]}`,
		[]string{`{"tier":{"art":"hund","pfoten":4}}`, `{"tier":{"art":"fisch","salz":true}}`}, []string{`{"tier":{"art":"hund","salz":true}}`}},
	{`{"type":"object","properties":{"n":{"type":"integer","format":"int32","nullable":true},"x":{"type":"number","format":"double","xml":{"name":"y"}}},"required":["n","x"],"externalDocs":{"url":"u"}}`, []string{`{"n":1,"x":1.5}`}, []string{`{"n":1.5,"x":1}`, `{"n":null,"x":1}`}},
	// Branches that only their properties tell apart.
	{`{"oneOf":[{"type":"object","properties":{"a":{"type":"null"}},"required":["a"],"additionalProperties":false},{"type":"object","properties":{"b":{"type":"null"}},"required":["b"],"additionalProperties":false}]}`, []string{`{"a":null}`, `{"b":null}`}, []string{`{}`, `{"a":null,"b":null}`}},
}

func TestWiderSchemas(t *testing.T) {
	for _, tc := range wider {
		g, err := Schema([]byte(tc.schema))
		if err != nil {
			t.Errorf("%s: %v", tc.schema, err)
			continue
		}
		for _, s := range tc.yes {
			if !matches(t, g, s) {
				t.Errorf("%s does not match %s", tc.schema, s)
			}
		}
		for _, s := range tc.no {
			if matches(t, g, s) {
				t.Errorf("%s matches %s", tc.schema, s)
			}
		}
		walk(t, g, 5, func(text string) error {
			if !json.Valid([]byte(text)) {
				return fmt.Errorf("%s led to %q, which is no JSON", tc.schema, text)
			}
			return nil
		})
	}
}

// validator reads lines of [schema, [texts]] and prints those that do not
// validate.
const validator = `
import json, sys, jsonschema
for line in sys.stdin:
    schema, texts = json.loads(line)
    v = jsonschema.Draft202012Validator(schema)
    for t in texts:
        for e in v.iter_errors(json.loads(t)):
            print(json.dumps([schema, t, e.message], ensure_ascii=False)[:400])
`

// TestAgainstJSONSchema hands what the masks lead to to Python's jsonschema.
// LEO_PYTHON names an interpreter that has it.
func TestAgainstJSONSchema(t *testing.T) {
	python := os.Getenv("LEO_PYTHON")
	if python == "" {
		t.Skip("LEO_PYTHON names no Python interpreter with jsonschema")
	}
	var in bytes.Buffer
	n := 0
	add := func(schema string, yes []string) {
		if strings.Contains(schema, `"exclusiveMinimum":true`) || strings.Contains(schema, `\\p{`) || strings.Contains(schema, `\\u{`) || strings.Contains(schema, `\\c`) || strings.Contains(schema, `<jahr>`) {
			return // what Python, or this draft, does not read
		}
		g, err := Schema([]byte(schema))
		if err != nil {
			t.Fatal(err)
		}
		texts := append([]string{}, yes...)
		walk(t, g, 60, func(text string) error { texts = append(texts, text); return nil })
		n += len(texts)
		line, err := json.Marshal([]any{json.RawMessage(schema), texts})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	for _, tc := range schemas {
		add(tc.schema, tc.yes)
	}
	for _, tc := range wider {
		add(tc.schema, tc.yes)
	}
	cmd := exec.Command(python, "-W", "ignore", "-c", validator)
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%d texts", n)
}

// TestLargeGrammars: what is only large compiles, in time that grows with its
// size; what would explode is refused within bounds of time and memory, by a
// message that names the bound.
func TestLargeGrammars(t *testing.T) {
	list := func(n int, sep, format string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteString(sep)
			}
			fmt.Fprint(&b, strings.ReplaceAll(format, "#", fmt.Sprint(i)))
		}
		return b.String()
	}
	schema := func(s string) func() (*Grammar, error) { return func() (*Grammar, error) { return Schema([]byte(s)) } }
	gbnf := func(s string) func() (*Grammar, error) { return func() (*Grammar, error) { return GBNF(s) } }
	object := `{"type":"object","properties":{"t":{"const":"a#"},"v":{"type":"integer"}},"required":["t"]}`
	v, _ := testVocabulary()
	for _, tc := range []struct {
		name    string
		compile func() (*Grammar, error)
		text    string // a match, if there is no error
		err     string
	}{
		{"20,000 rules", gbnf("root ::= " + list(20000, " | ", "r#") + "\n" + list(20000, "\n", `r# ::= "w#"`)), "w19999", ""},
		{"a chain of nullable ones", gbnf("root ::= r0\n" + chain(20000, `r%d ::= r%d?`) + "r20000 ::= \"x\""), "x", ""},
		{"a chain behind others", gbnf("root ::= r0\n" + chain(20000, `r%d ::= r%d "y"?`) + "r20000 ::= \"x\""), "xyy", ""},
		{"60,000 literals", gbnf("root ::= " + list(60000, " | ", `"a#"`)), "a59999", ""},
		{"a class of 400,000", gbnf("root ::= [^" + strings.Repeat("ab", 200000) + "]"), "c", ""},
		{"anyOf of 600", schema(`{"anyOf":[` + list(600, ",", object) + `]}`), `{"t":"a599"}`, ""},
		{"oneOf of 3000", schema(`{"oneOf":[` + list(3000, ",", object) + `]}`), `{"t":"a2999", "v": 1}`, ""},
		{"oneOf of 1000 references", schema(`{"$defs":{` + list(1000, ",", `"d#":`+object) + `},"oneOf":[` + strings.ReplaceAll(list(1000, ",", `{"$ref":"~/$defs/d#"}`), "~", "#") + `]}`), `{"t":"a999"}`, ""},
		{"a constant that comes second", schema(`{"oneOf":[` + list(1000, ",", `{"type":"object","properties":{"v":{"type":"integer"},"t":{"const":"a#"}},"required":["t"]}`) + `]}`), `{"v":1,"t":"a999"}`, ""},
		{"enum of 50,000", schema(`{"enum":[` + list(50000, ",", "#") + `]}`), "49999", ""},
		{"oneOf that shows nothing", schema(`{"oneOf":[` + list(600, ",", `{"type":"string","minLength":#}`) + `]}`), "", "exclude each other"},
		{"allOf of 10,000", schema(`{"allOf":[` + list(10000, ",", `{"properties":{"p#":{"type":"null"}},"required":["p#"]}`) + `]}`), "{" + list(10000, ",", `"p#":null`) + "}", ""},
		{"branches that multiply", schema(`{"$ref":"#/$defs/d0","$defs":{` + strings.ReplaceAll(chain(30, `"d%d":{"type":"object","anyOf":[{"$ref":"~/$defs/d%[2]d"},{"$ref":"~/$defs/d%[2]d"}]},`), "~", "#") + `"d30":{"required":["x"]}}}`), "", "unfold"},
		{"branches of themselves", schema(`{"type":"object","anyOf":[{"$ref":"#"},{"$ref":"#"}]}`), "", "deeper"},
		{"a long name", schema(`{"type":"object","properties":{"` + strings.Repeat("k", 500000) + `":{}},"additionalProperties":true}`), "", "names of more than"},
		{"repetitions of repetitions", schema(`{"type":"string","pattern":"^(((a{1000}){1000}){1000})$","maxLength":5}`), "", "need more than"},
		{"classes without end", schema(`{"type":"string","pattern":"^` + strings.Repeat(`\\w\\W\\S`, 10000) + `$"}`), "", "ranges"},
		{"a long expression", func() (*Grammar, error) { return Regexp(strings.Repeat(`\pL`, 30000)) }, "", "65536"},
		{"ambiguous", gbnf("root ::= \"a\" x | \"a\" y | \"a\"\nx ::= root \"b\" | root \"c\"\ny ::= root \"b\" | root \"d\""), strings.Repeat("a", 40), "too ambiguous"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		g, err := tc.compile()
		done := false
		if err == nil {
			var m *Matcher
			if m, err = g.Bind(v); err == nil {
				c := m.Start()
				if err = c.AcceptBytes([]byte(tc.text)); err == nil {
					done = c.CanStop()
					_, err = c.Mask()
				}
			}
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) || tc.err == "" && !done {
			t.Errorf("%s: %.300v (done %v), want %q", tc.name, err, done, tc.err)
		}
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 1000 || took > 20*time.Second || err != nil && len(err.Error()) > 600 {
			t.Errorf("%s: %d MB, %v, %.600v", tc.name, n, took, err)
		} else if testing.Verbose() {
			t.Logf("%-32s %5d MB %8v %.100v", tc.name, n, took.Round(time.Millisecond), err)
		}
	}
}

// chain is rules of which each calls the next.
func chain(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i, i+1)
	}
	return b.String()
}

// What a matcher remembers is freed when it grows too large, and texts go on.
func TestMatcherForgets(t *testing.T) {
	v, _ := testVocabulary()
	g, err := Schema([]byte(`{"type":"string","maxLength":50000}`))
	if err != nil {
		t.Fatal(err)
	}
	m := mustBind(t, g, v)
	c := m.Start()
	if err := c.AcceptBytes([]byte(`"`)); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if i%20 == 0 {
			m.forget()
		}
		if mask, err := c.Mask(); err != nil || mask[('x'+2)>>6]>>(('x'+2)&63)&1 == 0 {
			t.Fatal(err)
		}
		if err := c.AcceptBytes([]byte("xä")); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.sets) > 500 || m.memory > 1<<20 {
		t.Errorf("%d states, %d bytes", len(m.sets), m.memory)
	}
	if err := c.AcceptBytes([]byte(`"`)); err != nil || !c.CanStop() {
		t.Error(err)
	}
}
