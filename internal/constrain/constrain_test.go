package constrain

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// testVocabulary has every byte, whole words and symbols, tokens that span
// several symbols of JSON, and tokens that end inside of a character.
func testVocabulary() (*Vocabulary, []string) {
	var words []string
	words = append(words, "<control>", "</s>")
	for b := range 256 {
		words = append(words, string([]byte{byte(b)}))
	}
	words = append(words, `{"`, `":`, `": "`, `", "`, `"}`, `"]`, `},`, `}}`, `[]`, `{}`, `[[`, `, `, `,"`, ` "`, "\n  ", "\n\n", "   ",
		"true", "false", "null", "tr", "ue", "12", "0.5", "-1", "00", "1e5", "20", "2024-", "-01", "ab", "abc", "name", "alt", "er", "ä", "ö", "ß", "äö",
		"\xc3", "\xbc\xc3", "\xf0\x9f", "\x98\x80", "😀", `\"`, `\n`, `\u00`, `\\`, `\ud8`, "Hallo", " Welt", "Die", "rot", "blau", "a\"", "@", ".de", "://", "http")
	v := NewVocabulary(len(words), func(id int32) []byte {
		if id == 0 {
			return nil
		}
		return []byte(words[id])
	}, []int32{1})
	return v, words
}

func mustBind(t testing.TB, g *Grammar, v *Vocabulary) *Matcher {
	t.Helper()
	m, err := g.Bind(v)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// matches reports whether the whole text is in the grammar.
func matches(t testing.TB, g *Grammar, text string) bool {
	t.Helper()
	v, _ := testVocabulary()
	c := mustBind(t, g, v).Start()
	return c.AcceptBytes([]byte(text)) == nil && c.CanStop()
}

func TestRegexp(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		yes, no []string
	}{
		{`abc`, []string{"abc"}, []string{"ab", "abcd", ""}},
		{`a*b+c?`, []string{"b", "aabbc"}, []string{"a", "c", "bcc"}},
		{`(?:ja|nein|vielleicht)`, []string{"ja", "nein"}, []string{"j", "jaja"}},
		{`[a-cä-ü]{2,3}`, []string{"ab", "äbü", "öö"}, []string{"a", "abca", "zz", "\xc3\xa4\xc3"}},
		{`[^a]`, []string{"b", "€", "😀", "\n"}, []string{"a", "bb", "\xff"}},
		{`.`, []string{"x", "ß", "日", "😀"}, []string{"\n", "", "\xed\xa0\x80"}},
		{`(?s).`, []string{"\n"}, nil},
		{`(?i)ja`, []string{"JA", "jA"}, []string{"j"}},
		{`(?i)straße`, []string{"STRAßE", "straẞe"}, []string{"strasse"}},
		{`^a|b$`, []string{"a", "b"}, []string{"ab", "ba"}},
		{`\d{3}-\d{2}`, []string{"123-45"}, []string{"12-345", "١٢٣-٤٥"}},
		{`(a|b)*abb`, []string{"abb", "aababb"}, []string{"ab", "abba"}},
		{`((a*)*)*`, []string{"", "aaa"}, []string{"b"}},
		{`x{0}`, []string{""}, []string{"x"}},
		{`(ab){3,}`, []string{"ababab", "abababab"}, []string{"abab"}},
		{`(|a)b`, []string{"b", "ab"}, []string{"aab"}},
		{`\p{Lu}\pL*`, []string{"Über", "Ab"}, []string{"über"}},
	} {
		g, err := Regexp(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
			continue
		}
		re := regexp.MustCompile(`^(?:` + tc.pattern + `)$`)
		for _, s := range tc.yes {
			if !matches(t, g, s) {
				t.Errorf("%s does not match %q", tc.pattern, s)
			}
		}
		for _, s := range tc.no {
			if matches(t, g, s) {
				t.Errorf("%s matches %q", tc.pattern, s)
			}
		}
		// And what the masks lead to must match.
		walk(t, g, 20, func(text string) error {
			if !re.MatchString(text) {
				return fmt.Errorf("%s led to %q", tc.pattern, text)
			}
			return nil
		})
	}
	for _, bad := range []string{`(`, `a(?=b)`, `(a)\1`, `\bwort\b`, `a^b`, `a$b`, `[b-a]`, `a{99999}`, `[^\x00-\x{10FFFF}]`} {
		if _, err := Regexp(bad); err == nil {
			t.Errorf("no error for %s", bad)
		}
	}
}

func TestGBNF(t *testing.T) {
	for _, tc := range []struct {
		grammar string
		yes, no []string
	}{
		{`root ::= "a" | "b" "c"`, []string{"a", "bc"}, []string{"b", "ac"}},
		{"root ::= x+ # comment\nx ::= [0-9] | \"(\" x \")\"\n", []string{"12", "((3))4"}, []string{"(", "()"}},
		{"root ::= (\"a\"\n | \"b\")* \"c\"{2}", []string{"cc", "abcc"}, []string{"c", "ccc"}},
		{"root ::= item |\n  \"x\"\nitem ::= \"\\\"\" [^\"\\n]* \"\\\"\"", []string{`"a b"`, "x"}, []string{`"`, "\"\n\""}},
		{`root ::= [a-z\]]{2,3} "\x41\u00e4" .`, []string{"a]Aä!", "abcAäß"}, []string{"aAä!"}},
		{`root ::= "a" root "b" | "c"`, []string{"c", "aacbb"}, []string{"aacb"}},
		{`root ::= [^a-c] [-+] [a-]`, []string{"d+-", "ä-a"}, []string{"a+-"}},
		{`root ::= "x"?{2,} | ""`, []string{"", "xxx"}, []string{"y"}},
		{`root ::= e
e ::= t (("+" | "-") t)*
t ::= [0-9]+ | "(" e ")"`, []string{"1+2-(3+4)"}, []string{"1+", "(1"}},
	} {
		g, err := GBNF(tc.grammar)
		if err != nil {
			t.Errorf("%s: %v", tc.grammar, err)
			continue
		}
		for _, s := range tc.yes {
			if !matches(t, g, s) {
				t.Errorf("%s does not match %q", tc.grammar, s)
			}
		}
		for _, s := range tc.no {
			if matches(t, g, s) {
				t.Errorf("%s matches %q", tc.grammar, s)
			}
		}
		walk(t, g, 10, func(text string) error { return nil })
	}
	for _, tc := range []struct{ grammar, want string }{
		{``, "root"}, {`x ::= "a"`, "root"}, {`root ::= y`, `"y"`}, {`root ::= root "a" | "b"`, "left recursion"},
		{"root ::= a\na ::= b \"x\"\nb ::= c a\nc ::= \"y\"?", "left recursion"}, {`root ::= "a" root`, "nothing matches"},
		{`root ::= "a`, "quote"}, {`root ::= [a`, "]"}, {`root ::= ("a"`, ")"}, {`root ::= "a"{3`, "}"}, {`root ::= "a"{3,2}`, "repetition"},
		{`root ::= "a"{-1}`, "repetition"}, {`root ::= "\q"`, "escape"}, {`root = "a"`, "::="}, {"root ::= \"a\"\nroot ::= \"b\"", "twice"},
		{`root ::= <[1]>`, "token"}, {`root ::= [z-a]`, "range"}, {`root ::= "a" )`, "end of the line"}, {`root ::= "\u12"`, "escape"}, {`root ::= "\`, "escape"},
		{"root ::= " + strings.Repeat("(", 10000), "deeper"},
	} {
		if _, err := GBNF(tc.grammar); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60q: error %v, want one with %q", tc.grammar, err, tc.want)
		}
	}
}

const person = `{"type":"object","properties":{"name":{"type":"string"},"alter":{"type":"integer","minimum":0,"maximum":120},"tags":{"type":"array","items":{"enum":["rot","blau",3,null]}}},"required":["name"],"additionalProperties":false}`

// schemas with texts that must match and must not.
var schemas = []struct {
	schema  string
	yes, no []string
}{
	{`true`, []string{`1`, `"x"`, `{"a":[1,{"b":null}], "c": -1.5e3}`, `[]`, "[1,\n 2]"}, []string{`{`, `01`, `+1`, `"`, "\"\n\"", `{"a"}`, `[1,]`, `'a'`, `nul`, `1 `}},
	{`{}`, []string{`1`}, nil},
	{`{"type":"string"}`, []string{`""`, `"äöü 😀 \" \\ \n \u00e4"`}, []string{`"\x"`, `"\ud800"`, `"a`, "\"\t\"", "\"\xff\"", "\"\xed\xa0\x80\""}},
	{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"äöü"`, `"\n\u00e4"`}, []string{`"a"`, `"abcd"`}},
	{`{"type":"string","maxLength":5000}`, []string{`"` + strings.Repeat("x", 5000) + `"`}, []string{`"` + strings.Repeat("x", 5001) + `"`}},
	{`{"type":"string","pattern":"^[A-Z]{2}-\\d+$"}`, []string{`"AB-12"`}, []string{`"ab-12"`, `"AB-12x"`}},
	{`{"type":"string","pattern":"b"}`, []string{`"abc"`, `"b"`}, []string{`"ac"`}},
	{`{"type":"string","pattern":"^a\"\\\\$|^x$"}`, []string{`"a\"\\"`, `"x"`}, []string{`"a"`}},
	{`{"type":"string","format":"date"}`, []string{`"2024-12-31"`}, []string{`"2024-13-01"`, `"2024-04-31"`}},
	{`{"type":"string","format":"date-time"}`, []string{`"2024-12-31T23:59:59.5+01:00"`}, []string{`"2024-12-31 23:59:59Z"`}},
	{`{"type":"string","format":"time"}`, []string{`"23:59:59Z"`}, []string{`"24:00:00Z"`}},
	{`{"type":"string","format":"uuid"}`, []string{`"123e4567-e89b-12d3-a456-426614174000"`}, []string{`"123e4567"`}},
	{`{"type":"string","format":"ipv4"}`, []string{`"192.168.0.255"`}, []string{`"256.1.1.1"`, `"01.1.1.1"`}},
	{`{"type":"string","format":"ipv6"}`, []string{`"::1"`, `"1:2:3:4:5:6:7:8"`}, []string{`"1::2::3"`}},
	{`{"type":"string","format":"email"}`, []string{`"a.b@leo.de"`}, []string{`"@leo.de"`}},
	{`{"type":"string","format":"hostname"}`, []string{`"leo.example"`}, []string{`"-leo"`}},
	{`{"type":"string","format":"uri"}`, []string{`"https://leo.de/a/b?c=d"`}, []string{`"leo"`}},
	{`{"type":"integer"}`, []string{`0`, `-7`, `123456789012345`}, []string{`1.5`, `01`, `-`, `1e3`}},
	{`{"type":"integer","minimum":-12,"maximum":345}`, []string{`-12`, `-1`, `0`, `9`, `10`, `345`, `299`}, []string{`-13`, `346`, `1000`, `-0`}},
	{`{"type":"integer","exclusiveMinimum":5,"exclusiveMaximum":7}`, []string{`6`}, []string{`5`, `7`}},
	{`{"type":"integer","minimum":0.5,"maximum":2.5}`, []string{`1`, `2`}, []string{`0`, `3`}},
	{`{"type":"integer","minimum":98}`, []string{`98`, `100`, `12345`}, []string{`97`, `-1`}},
	{`{"type":"number"}`, []string{`0`, `-1.5e-10`, `3.25`}, []string{`.5`, `1.`, `-`, `1e`}},
	{`{"type":"number","minimum":0,"maximum":1}`, []string{`0`, `0.5`, `1`, `1.0`, `0.0`}, []string{`1.1`, `-0.1`, `2`}},
	{`{"type":"number","exclusiveMinimum":0}`, []string{`0.001`, `1`, `99.5`}, []string{`0`, `0.0`, `-1`}},
	{`{"type":"number","minimum":-3,"exclusiveMaximum":-1}`, []string{`-3`, `-2.5`, `-1.01`, `-3.00`}, []string{`-1`, `-1.0`, `-3.1`, `0`}},
	{`{"type":"integer","minimum":9007199254740991,"maximum":9007199254740991}`, []string{`9007199254740991`}, []string{`9007199254740990`, `9007199254740992`}},
	{`{"type":"integer","minimum":0,"maximum":18446744073709551615}`, []string{`18446744073709551615`, `0`, `99`}, []string{`18446744073709551616`, `-1`}},
	{`{"type":"integer","minimum":1e15}`, []string{`1000000000000000`, `9999999999999999`}, []string{`999999999999999`}},
	{`{"type":"integer","exclusiveMaximum":-9007199254740993}`, []string{`-9007199254740994`}, []string{`-9007199254740993`, `0`}},
	{`{"type":"integer","minimum":-2.5,"exclusiveMaximum":-0.5}`, []string{`-2`, `-1`}, []string{`-3`, `0`, `-0`}},
	{`{"type":"integer","minimum":3,"exclusiveMinimum":true,"maximum":4.0}`, []string{`4`}, []string{`3`, `5`}},
	{`{"type":"integer","format":"int32"}`, []string{`2147483647`, `-2147483648`}, []string{`2147483648`, `-2147483649`}},
	{`{"type":"integer","format":"int64","minimum":5}`, []string{`9223372036854775807`, `5`}, []string{`9223372036854775808`, `4`}},
	{`{"type":"number","format":"double","minimum":0}`, []string{`1.5`}, []string{`-1`}},
	{`{"type":"number","minimum":0.5,"maximum":1.5}`, []string{`0.5`, `0.50`, `0.75`, `1`, `1.0`, `1.5`, `1.49`, `0.50000000000001`}, []string{`0`, `0.4`, `0.49999`, `1.51`, `2`, `-0.5`, `0.`}},
	{`{"type":"number","exclusiveMinimum":0.5,"exclusiveMaximum":0.51}`, []string{`0.501`, `0.5000001`}, []string{`0.5`, `0.50`, `0.51`, `0.510`, `0.6`, `0`}},
	{`{"type":"number","minimum":-1.25,"maximum":1e-3}`, []string{`-1.25`, `-1`, `0`, `-0.0`, `0.001`, `0.0009`}, []string{`-1.26`, `0.0011`, `1`}},
	{`{"type":"number","exclusiveMinimum":-0.1,"maximum":0}`, []string{`0`, `-0`, `-0.09`, `0.00`}, []string{`-0.1`, `0.1`}},
	{`{"type":"number","minimum":-0.3,"maximum":-0.25}`, []string{`-0.3`, `-0.25`, `-0.27`}, []string{`-0.31`, `-0.2`, `0`}},
	{`{"type":"number","minimum":99.99}`, []string{`99.99`, `99.995`, `100`, `123456789012345`}, []string{`99.98`, `99`, `-100`}},
	{`{"type":"number","exclusiveMaximum":0}`, []string{`-0.001`, `-12.5`}, []string{`0`, `-0`, `-0.0`, `1`}},
	{`{"type":"number","minimum":1.5,"maximum":1.5}`, []string{`1.5`, `1.50`}, []string{`1.51`, `1`, `2`}},
	{`{"type":"boolean"}`, []string{`true`, `false`}, []string{`null`}},
	{`{"type":["string","null"]}`, []string{`null`, `"x"`}, []string{`1`}},
	{`{"enum":["a",1,{"k":[1,2]},null]}`, []string{`"a"`, `1`, `{"k": [1, 2]}`, `null`}, []string{`"b"`, `2`}},
	{`{"const":"Grüße \"x\"\n"}`, []string{`"Grüße \"x\"\n"`}, []string{`"Grüße"`}},
	{`{"type":"string","enum":["a",1]}`, []string{`"a"`}, []string{`1`}},
	{person, []string{`{"name":"Ute"}`, `{"name": "Ute", "alter": 30, "tags": ["rot", 3, null]}`, "{\n  \"name\":\"\",\n  \"tags\":[]\n}"},
		[]string{`{}`, `{"alter":3}`, `{"name":"U","alter":121}`, `{"name":"U","x":1}`, `{"name":"U",}`, `{"name":"U" "alter":1}`, `{"name":"U","tags":["grün"]}`}},
	{`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"},"c":{"type":"integer"}}}`,
		[]string{`{}`, `{"b":1}`, `{"a":1,"c":2}`, `{"a":1,"b":2,"c":3}`}, []string{`{"b":1,"a":1}`, `{,"b":1}`}},
	{`{"type":"object","properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"boolean"}}`,
		[]string{`{}`, `{"ab":1}`, `{"ab":1,"a":true,"abc":false,"x":true}`, `{"b":true}`}, []string{`{"ab":true}`, `{"x":1}`, `{"x":true,"ab":1}`, `{"\u0061b":true}`}},
	{`{"type":"object","required":["x"],"properties":{"y":{"type":"null"}}}`, []string{`{"x":1}`, `{"y":null,"x":[]}`}, []string{`{"y":null}`}},
	{`{"type":"array","items":{"type":"integer","minimum":1,"maximum":3},"minItems":2,"maxItems":3}`, []string{`[1,2]`, `[1, 2, 3]`}, []string{`[1]`, `[1,2,3,1]`, `[4,1]`, `[]`}},
	{`{"type":"array","maxItems":0}`, []string{`[]`}, []string{`[1]`}},
	{`{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"minItems":1}`, []string{`["a"]`, `["a",1]`}, []string{`[]`, `[1]`, `["a",1,2]`}},
	{`{"type":"array","prefixItems":[{"const":1}],"items":{"const":2}}`, []string{`[]`, `[1]`, `[1,2,2]`}, []string{`[2]`, `[1,1]`}},
	{`{"type":"array","prefixItems":[{"const":1}],"items":{"const":2},"minItems":3,"maxItems":4}`, []string{`[1,2,2]`, `[1,2,2,2]`}, []string{`[1,2]`, `[1,2,2,2,2]`}},
	{`{"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]}`, []string{`1`, `"a"`}, []string{`"ab"`}},
	{`{"oneOf":[{"type":"object","properties":{"t":{"const":"a"},"v":{"type":"integer"}},"required":["t","v"]},{"type":"object","properties":{"t":{"const":"b"}},"required":["t"]},{"type":"null"}]}`,
		[]string{`{"t":"a","v":1}`, `{"t":"b"}`, `null`}, []string{`{"t":"a"}`, `{"t":"b","v":1}`}},
	{`{"allOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":{"const":2}},"required":["b"]}]}`, []string{`{"a":1,"b":2}`}, []string{`{"a":1}`}},
	{`{"$ref":"#/$defs/baum","$defs":{"baum":{"type":"object","properties":{"wert":{"type":"integer"},"kinder":{"type":"array","items":{"$ref":"#/$defs/baum"}}},"required":["wert"],"additionalProperties":false}}}`,
		[]string{`{"wert":1}`, `{"wert":1,"kinder":[{"wert":2,"kinder":[]},{"wert":3}]}`}, []string{`{"kinder":[]}`}},
	{`{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]}`, []string{`{"next":{"next":null}}`}, []string{`{"next":{}}`}},
	{`{"title":"T","description":"d","type":"null","default":null,"examples":[1]}`, []string{`null`}, nil},
}

func TestSchemaTexts(t *testing.T) {
	for _, tc := range schemas {
		g, err := Schema([]byte(tc.schema))
		if err != nil {
			t.Errorf("%s: %v", tc.schema, err)
			continue
		}
		schema, _ := decode([]byte(tc.schema))
		for _, s := range tc.yes {
			if !matches(t, g, s) {
				t.Errorf("%s does not match %s", tc.schema, s)
			}
			if err := validText(schema, s); err != nil {
				t.Errorf("the test's validator refuses %s for %s: %v", s, tc.schema, err)
			}
		}
		for _, s := range tc.no {
			if matches(t, g, s) {
				t.Errorf("%s matches %s", tc.schema, s)
			}
		}
	}
}

// TestSchemaWalks follows the masks at random: what comes out must validate.
func TestSchemaWalks(t *testing.T) {
	n := 0
	for _, tc := range schemas {
		g, err := Schema([]byte(tc.schema))
		if err != nil {
			t.Fatal(err)
		}
		schema, _ := decode([]byte(tc.schema))
		n += walk(t, g, 25, func(text string) error {
			if err := validText(schema, text); err != nil {
				return fmt.Errorf("%s led to %s: %v", tc.schema, text, err)
			}
			return nil
		})
	}
	t.Logf("%d texts", n)
}

func TestSchemaErrors(t *testing.T) {
	for _, tc := range []struct{ schema, want string }{
		{`{"type":"string","foo":1}`, `"foo"`},
		{`{"type":"array","uniqueItems":true}`, `"uniqueItems"`},
		{`{"not":{"type":"string"}}`, `"not"`},
		{`{"type":"object","properties":{"a":{"patternProperties":{}}}}`, `#/properties/a`},
		{`{"if":true}`, `"if"`},
		{`{"type":"integer","multipleOf":2}`, `"multipleOf"`},
		{`{"type":"string","format":"roman"}`, "roman"},
		{`{"type":"string","pattern":"a(?=b)"}`, "pattern"},
		{`{"type":"string","pattern":"\\bx"}`, "word boundar"},
		{`{"type":"string","pattern":"^a{5}$","maxLength":3}`, "nothing matches"},
		{`{"type":"string","pattern":"^(a|b){50000}c*$","minLength":60000}`, "together need more than"},
		{`{"type":"number","format":"date"}`, "excludes"},
		{`{"type":"string","pattern":"a{,3}"}`, "{0,3}"},
		{`{"type":"string","pattern":"(a)\\1"}`, "back references"},
		{`{"type":"string","pattern":"\\A"}`, "unknown"},
		{`{"type":"string","pattern":"[z-a]"}`, "range"},
		{`{"type":"string","pattern":"a**"}`, "repetition"},
		{`{"type":"string","pattern":"a{100001}"}`, "repetitions"},
		{`{"type":"string","pattern":"a\\"}`, "backslash"},
		{`{"type":"integer","minimum":1e300}`, "beyond"},
		{`{"type":"integer","minimum":3,"maximum":2}`, "nothing matches"},
		{`{"type":"number","minimum":0.3,"maximum":0.2}`, "nothing matches"},
		{`{"type":"number","exclusiveMinimum":0.3,"maximum":0.3}`, "nothing matches"},
		{`{"type":"number","minimum":1e999999999}`, "beyond"},
		{`{"type":"number","minimum":1e-200}`, "beyond"},
		{`{"type":"string","minLength":3,"maxLength":2}`, "less than"},
		{`{"type":"string","minLength":-1}`, "non-negative"},
		{`{"type":"string","maxLength":1e9}`, "limit"},
		{`{"type":"strin"}`, "strin"},
		{`{"type":"string","minimum":3}`, "excludes"},
		{`{"oneOf":[{"type":"integer"},{"type":"number"}]}`, "branches 0 and 1"},
		{`{"oneOf":[{"const":1},{"enum":[1.0,2]}]}`, "branches"},
		{`{"anyOf":[]}`, "at least one"},
		{`{"enum":[]}`, "at least one"},
		{`{"$ref":"https://example.org/x"}`, "inside the document"},
		{`{"$ref":"#/nope"}`, "nothing"},
		{`{"$ref":"#"}`, "left recursion"},
		{`{"anyOf":[{"$ref":"#"},{"type":"null"}]}`, "left recursion"},
		{`{"type":"array","items":{"$ref":"#"},"minItems":1}`, "nothing matches"},
		{`{"$ref":"#/$defs/a","type":"string","minLength":1,"$defs":{"a":true}}`, "together"},
		{`{"allOf":[{"type":"string"},{"type":"integer"}]}`, "disagree"},
		{`{"type":"object","required":["a"],"additionalProperties":false}`, "neither declared"},
		{`{"type":"object","properties":{"a":true},"additionalProperties":false,"allOf":[{"properties":{"b":true}}]}`, "additionalProperties"},
		{`{"type":"object","properties":{"a":true},"additionalProperties":false,"anyOf":[{"properties":{"b":true}}]}`, "additionalProperties"},
		{`{"type":"string","anyOf":[{"type":"integer"}]}`, "disagree"},
		{`false`, "nothing matches"},
		{`7`, "object or a boolean"},
		{`{"a":1,"a":2}`, "twice"},
		{`{`, "EOF"},
		{`{} {}`, "more than one"},
		{strings.Repeat(`{"items":`, 3000) + "1" + strings.Repeat("}", 3000), "deeper"},
		{strings.Repeat(`{"type":"array","items":`, 100) + "true" + strings.Repeat("}", 100), "deeper"},
	} {
		if _, err := Schema([]byte(tc.schema)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.80s: error %v, want one with %q", tc.schema, err, tc.want)
		}
	}
}

// walk follows the masks of a grammar at random n times, checks the masks
// against AcceptBytes now and then, and hands whole texts to check.
func walk(t testing.TB, g *Grammar, n int, check func(text string) error) (texts int) {
	t.Helper()
	v, words := testVocabulary()
	m := mustBind(t, g, v)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		c := m.Start()
		var b strings.Builder
		for step := 0; ; step++ {
			ids := allowed(c, len(words))
			if len(ids) == 0 {
				t.Fatalf("no token may follow %q", b.String())
			}
			if i < 2 && step%7 == 0 {
				checkMask(t, c, words, ids)
			}
			id := ids[r.IntN(len(ids))]
			// Long texts are brought to an end.
			if step > 60 {
				for _, s := range []string{"</s>", `"`, ".de", "@", "b", `}`, `]`, `)`, `:`, "1", "Z", "l", "e"} {
					if k := int32(slices.Index(words, s)); slices.Contains(ids, k) && (step > 600 || r.IntN(3) > 0) {
						id = k
						break
					}
				}
			}
			if step > 6000 {
				t.Fatalf("no end after %d tokens, %d brackets open: %.300q…%q", step, strings.Count(b.String(), "{")-strings.Count(b.String(), "}"), b.String(), b.String()[max(0, b.Len()-80):])
			}
			if err := c.Accept(id); err != nil {
				t.Fatalf("the mask allows %q after %q, Accept does not: %v", words[id], b.String(), err)
			}
			if id == 1 {
				break
			}
			b.WriteString(words[id])
		}
		if !c.Done() {
			t.Fatal("not done after the stop token")
		}
		if err := check(b.String()); err != nil {
			t.Error(err)
			return texts
		}
		texts++
	}
	return texts
}

// allowed lists the ids below n in the mask.
func allowed(c *Constraint, n int) []int32 {
	mask, err := c.Mask()
	if err != nil {
		panic(err)
	}
	var ids []int32
	for id := range int32(n) {
		if mask[id>>6]>>(uint(id)&63)&1 != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

func checkMask(t testing.TB, c *Constraint, words []string, ids []int32) {
	t.Helper()
	for id := range int32(len(words)) {
		d := c.Clone()
		err := d.Accept(id)
		if (err == nil) != slices.Contains(ids, id) {
			t.Fatalf("mask says %v for token %d %q, Accept says %v", slices.Contains(ids, id), id, words[id], err)
		}
	}
}

// validText is a JSON schema validator of the test's own.
func validText(schema any, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("broken UTF-8")
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err
	}
	if !json.Valid([]byte(text)) {
		return fmt.Errorf("no JSON")
	}
	return valid(schema, schema, v)
}

func plain(v any) any {
	switch v := v.(type) {
	case *object:
		m := map[string]any{}
		for k, x := range v.vals {
			m[k] = plain(x)
		}
		return m
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plain(x)
		}
		return out
	}
	return v
}

func valid(root, schema, v any) error {
	if schema == true {
		return nil
	}
	if schema == false {
		return fmt.Errorf("false")
	}
	o := schema.(*object)
	rat := func(x any) *big.Rat {
		r, ok := new(big.Rat).SetString(string(x.(json.Number)))
		if !ok {
			panic(x)
		}
		return r
	}
	for k, s := range o.vals {
		fail := fmt.Errorf("%v: %v", k, v)
		num, isNum := v.(json.Number)
		str, isStr := v.(string)
		list, isList := v.([]any)
		obj, isObj := v.(map[string]any)
		limit := func() int { n, _ := s.(json.Number).Int64(); return int(n) }
		switch k {
		case "type":
			types, ok := s.([]any)
			if !ok {
				types = []any{s}
			}
			good := false
			for _, t := range types {
				switch t {
				case "object":
					good = good || isObj
				case "array":
					good = good || isList
				case "string":
					good = good || isStr
				case "number":
					good = good || isNum
				case "integer":
					good = good || isNum && rat(num).IsInt()
				case "boolean":
					_, is := v.(bool)
					good = good || is
				case "null":
					good = good || v == nil
				}
			}
			if !good {
				return fail
			}
		case "const":
			if !reflect.DeepEqual(plain(s), v) {
				return fail
			}
		case "enum":
			if !slices.ContainsFunc(s.([]any), func(x any) bool { return reflect.DeepEqual(plain(x), v) }) {
				return fail
			}
		case "minLength":
			if isStr && utf8.RuneCountInString(str) < limit() {
				return fail
			}
		case "maxLength":
			if isStr && utf8.RuneCountInString(str) > limit() {
				return fail
			}
		case "pattern":
			if isStr && !regexp.MustCompile(s.(string)).MatchString(str) {
				return fail
			}
		case "format":
			var err error
			switch s {
			case "int32":
				if isNum && (rat(num).Cmp(big.NewRat(1<<31-1, 1)) > 0 || rat(num).Cmp(big.NewRat(-1<<31, 1)) < 0) {
					return fail
				}
			case "int64", "double", "float":
			case "date":
				_, err = time.Parse("2006-01-02", str)
			case "time":
				_, err = time.Parse("15:04:05Z07:00", str)
			case "date-time":
				_, err = time.Parse(time.RFC3339, str)
			case "ipv4", "ipv6":
				_, err = netip.ParseAddr(str)
			case "email":
				_, err = mail.ParseAddress(str)
			case "uri":
				_, err = url.ParseRequestURI(str)
			}
			if err != nil {
				return err
			}
		case "minimum":
			if isNum && rat(num).Cmp(rat(s)) < 0 {
				return fail
			}
		case "maximum":
			if isNum && rat(num).Cmp(rat(s)) > 0 {
				return fail
			}
		case "exclusiveMinimum":
			if flag, is := s.(bool); is {
				s = o.vals["minimum"]
				if !flag {
					continue
				}
			}
			if isNum && rat(num).Cmp(rat(s)) <= 0 {
				return fail
			}
		case "exclusiveMaximum":
			if isNum && rat(num).Cmp(rat(s)) >= 0 {
				return fail
			}
		case "minItems":
			if isList && len(list) < limit() {
				return fail
			}
		case "maxItems":
			if isList && len(list) > limit() {
				return fail
			}
		case "prefixItems":
			for i, p := range s.([]any) {
				if i < len(list) {
					if err := valid(root, p, list[i]); err != nil {
						return err
					}
				}
			}
		case "items":
			skip := 0
			if p, ok := o.vals["prefixItems"]; ok {
				skip = len(p.([]any))
			}
			for _, x := range list[min(skip, len(list)):] {
				if err := valid(root, s, x); err != nil {
					return err
				}
			}
		case "properties":
			for p, sub := range s.(*object).vals {
				if x, ok := obj[p]; ok {
					if err := valid(root, sub, x); err != nil {
						return err
					}
				}
			}
		case "required":
			for _, p := range s.([]any) {
				if _, ok := obj[p.(string)]; isObj && !ok {
					return fmt.Errorf("%v is missing", p)
				}
			}
		case "additionalProperties":
			for p, x := range obj {
				if props, ok := o.vals["properties"].(*object); ok && props.vals[p] != nil {
					continue
				}
				if err := valid(root, s, x); err != nil {
					return err
				}
			}
		case "anyOf", "oneOf", "allOf":
			n := 0
			for _, sub := range s.([]any) {
				if valid(root, sub, v) == nil {
					n++
				}
			}
			if n == 0 || k == "oneOf" && n != 1 || k == "allOf" && n != len(s.([]any)) {
				return fail
			}
		case "$ref":
			target := root
			for _, part := range strings.Split(s.(string), "/")[1:] {
				target = target.(*object).vals[part]
			}
			if err := valid(root, target, v); err != nil {
				return err
			}
		case "$defs", "title", "description", "default", "examples":
		default:
			panic(k)
		}
	}
	return nil
}

// TestBounds: hostile grammars end in an error or a bounded match.
func TestBounds(t *testing.T) {
	for _, p := range []string{`(((a{1000}){1000}){1000})`, `(a?){1000}`, `((a|b)*(a|b)*){50}c`, strings.Repeat("(", 100000)} {
		start := time.Now()
		g, err := Regexp(p)
		if err == nil {
			v, _ := testVocabulary()
			if m, err := g.Bind(v); err == nil {
				c := m.Start()
				_ = c.AcceptBytes([]byte(strings.Repeat("a", 2000)))
				_, _ = c.Mask()
			}
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%.40s took %v", p, d)
		}
	}
	// Nesting of the text is bounded too: at some depth no further bracket
	// is allowed, and the text can still be ended.
	v, _ := testVocabulary()
	c := mustBind(t, JSON(), v).Start()
	n := 0
	for c.AcceptBytes([]byte("[")) == nil {
		if n++; n > 10*maxStack {
			t.Fatal("nesting is not bounded")
		}
	}
	if err := c.AcceptBytes([]byte(strings.Repeat("]", n))); err != nil || !c.CanStop() {
		t.Errorf("the text nested %d deep can't be ended: %v", n, err)
	}
}

func TestAcceptErrors(t *testing.T) {
	g, _ := Regexp("ab")
	v, _ := testVocabulary()
	c := mustBind(t, g, v).Start()
	for _, id := range []int32{0, 1, -1, 99999} {
		if err := c.Accept(id); err == nil {
			t.Errorf("no error for token %d", id)
		}
	}
	if err := c.AcceptBytes([]byte("ax")); err == nil {
		t.Error("no error for ax")
	}
	if err := c.AcceptBytes([]byte("ab")); err != nil || !c.CanStop() || !c.Done() {
		t.Errorf("after an error the text must be where it was: %v", err)
	}
	if err := c.Accept(1); err != nil {
		t.Error(err)
	}
	if ids := allowed(c, 2); len(ids) > 0 {
		t.Errorf("tokens %v may follow the end", ids)
	}
	// A vocabulary that can't spell what the grammar wants.
	poor := NewVocabulary(2, func(id int32) []byte { return []byte("x") }, nil)
	if ids := allowed(mustBind(t, g, poor).Start(), 2); len(ids) > 0 {
		t.Errorf("tokens %v allowed by a vocabulary that lacks all of them", ids)
	}
}

func FuzzGBNF(f *testing.F) {
	f.Add("root ::= \"a\" | [b-d]{2,3} x?\nx ::= (\"y\" | .)+ # c")
	f.Add("root ::= \"\\x41\\u00e4\" [^\\]]* \"{\" root \"}\"")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := GBNF(text)
		if err != nil {
			return
		}
		use(t, g)
	})
}

func FuzzSchema(f *testing.F) {
	for _, s := range schemas {
		f.Add(s.schema)
	}
	for _, s := range wider {
		f.Add(s.schema)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Schema([]byte(text))
		if err != nil {
			return
		}
		use(t, g)
	})
}

func FuzzRegexp(f *testing.F) {
	for _, s := range []string{`a*(b|c)+[^d-f]{2,5}$`, `^(?i)ä\d\pL.`, `((a?)*){3}`, `^x|y$`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Regexp(text)
		if err != nil {
			return
		}
		use(t, g)
	})
}

var fuzzVocabulary, fuzzWords = testVocabulary()

// use takes a few random steps.
func use(t *testing.T, g *Grammar) {
	m, err := g.Bind(fuzzVocabulary)
	if err != nil {
		return
	}
	r := rand.New(rand.NewPCG(3, 4))
	c := m.Start()
	for range 20 {
		ids := allowed(c, len(fuzzWords))
		if len(ids) == 0 {
			return
		}
		id := ids[r.IntN(len(ids))]
		if err := c.Accept(id); err != nil {
			t.Fatal(err)
		}
		if c.Done() {
			return
		}
	}
}

// BenchmarkMask computes masks over a vocabulary of 32000 German-like tokens:
// new is a place seen for the first time, known one seen before.
func BenchmarkMask(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	var words [][]byte
	for i := range 256 {
		words = append(words, []byte{byte(i)})
	}
	const letters = "eeennnnissrrattdhulcgmobwfkzvpüäößj   \"{}[]:,.0123456789"
	runes := []rune(letters)
	for len(words) < 32000 {
		var w []rune
		for range 1 + r.IntN(8) {
			w = append(w, runes[r.IntN(len(runes))])
		}
		words = append(words, []byte(string(w)))
	}
	v := NewVocabulary(len(words), func(id int32) []byte { return words[id] }, nil)
	g, err := Schema([]byte(person))
	if err != nil {
		b.Fatal(err)
	}
	for _, known := range []bool{false, true} {
		b.Run(map[bool]string{false: "new/32k", true: "known/32k"}[known], func(b *testing.B) {
			m := mustBind(b, g, v)
			c := m.Start()
			if err := c.AcceptBytes([]byte(`{"name": "Ha`)); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				if !known {
					c.at.mask = nil
				}
				if _, err := c.Mask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("accept/32k", func(b *testing.B) {
		c := mustBind(b, g, v).Start()
		if err := c.AcceptBytes([]byte(`{"name": "`)); err != nil {
			b.Fatal(err)
		}
		for range b.N {
			if err := c.AcceptBytes([]byte("Hallo")); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestRuneRanges checks the UTF-8 automata of ranges at and around their ends.
func TestRuneRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	tiny := NewVocabulary(1, func(int32) []byte { return []byte("x") }, nil)
	edges := []rune{0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0x10ffff}
	pick := func() rune {
		if r.IntN(2) == 0 {
			return edges[r.IntN(len(edges))]
		}
		return rune(r.IntN(1 << (1 + r.IntN(20))))
	}
	for range 400 {
		lo, hi := pick(), pick()
		if lo > hi {
			lo, hi = hi, lo
		}
		g, err := compile([]expr{class{lo, hi}}, []string{"a range"})
		if err != nil {
			if lo >= 0xd800 && hi <= 0xdfff {
				continue // no character is in it
			}
			t.Fatal(err)
		}
		m := mustBind(t, g, tiny)
		for _, c := range []rune{lo - 1, lo, lo + 1, (lo + hi) / 2, hi - 1, hi, hi + 1, pick(), pick()} {
			if !utf8.ValidRune(c) {
				continue
			}
			k := m.Start()
			got := k.AcceptBytes([]byte(string(c))) == nil && k.CanStop()
			if want := lo <= c && c <= hi; got != want {
				t.Errorf("%x in [%x, %x]: %v, want %v", c, lo, hi, got, want)
			}
		}
	}
}
