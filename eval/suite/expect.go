package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"leolm/eval"
	"leolm/internal/constrain"
	"leolm/internal/textcheck"
)

// noTime is the time in templates, which is always the same.
var noTime = time.Time{}

// matchTime bounds one match of a regular expression.
const matchTime = 2 * time.Second

// Expect are the properties that an answer must have.
type Expect struct {
	raw    json.RawMessage
	checks []check
}

// check is one property; it returns what is wrong, or "".
type check struct {
	name  string
	check func(a *eval.Answer) string
}

// properties are the keys of an expectation. All that are given must hold.
type properties struct {
	Language    string          `json:"language"`    // ISO 639-1, "de"
	Refusal     *bool           `json:"refusal"`     // the answer declines, or does not
	Regex       string          `json:"regex"`       // is found in the answer
	NotRegex    string          `json:"not_regex"`   // is not
	Contains    texts           `json:"contains"`    // all of them, in any case of letters
	JSONSchema  json.RawMessage `json:"json_schema"` // the whole answer is JSON that fits it
	MinChars    *int            `json:"min_chars"`
	MaxChars    *int            `json:"max_chars"`
	MinWords    *int            `json:"min_words"`
	MaxWords    *int            `json:"max_words"`
	Complete    *bool           `json:"complete"`     // the answer ended by itself
	Exact       texts           `json:"exact"`        // is one of them, without white space around it, letters' case and a point at the end
	Choice      string          `json:"choice"`       // the letter of the right choice
	Number      json.RawMessage `json:"number"`       // the last number in the answer
	NumberStyle string          `json:"number_style"` // "de" (1.234,5), "en" (1,234.5) or "" for both
	Tolerance   float64         `json:"tolerance"`    // of the number
}

// texts is a text or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// ParseExpect reads the properties of an answer from a JSON object.
func ParseExpect(data []byte) (*Expect, error) {
	var p properties
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("expect: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	e := &Expect{}
	for _, add := range []func(e *Expect) error{p.language, p.patterns, p.schema, p.length, p.answers, p.number} {
		if err := add(e); err != nil {
			return nil, fmt.Errorf("expect: %w", err)
		}
	}
	if len(e.checks) == 0 {
		return nil, errors.New("expect: nothing is expected of the answer")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, err
	}
	e.raw = compact.Bytes()
	return e, nil
}

func (e *Expect) add(name string, f func(text string) string) {
	e.checks = append(e.checks, check{name, func(a *eval.Answer) string { return f(answerOf(a.Text)) }})
}

// answerOf is the text behind a model's thinking. Thinking without an end is no answer.
func answerOf(text string) string {
	if i := strings.LastIndex(text, "</think>"); i >= 0 {
		return text[i+len("</think>"):]
	}
	if i := strings.Index(text, "<think>"); i >= 0 {
		return text[:i]
	}
	return text
}

// refusals are ways to decline beside those that training data are cleaned of.
var refusals = regexp.MustCompile(`(?i)\b(?:kann|darf|werde|möchte|will)\b[^.!?]{0,60}\b(?:nicht|keine?[nrms]?)\b[^.!?]{0,80}\b(?:helfen|weiterhelfen|unterstützen|` +
	`beantworten|geben|bereitstellen|nachkommen|anbieten|erfüllen|schreiben|erstellen|nennen|sagen)\b` +
	`|\btut mir leid\b[^.!?]{0,40}\b(?:nicht|keine?[nrms]?)\b|\bdas (?:weiß ich nicht|ist mir nicht bekannt)\b` +
	`|\bI(?:'m| am) (?:sorry|unable|not able)\b|\bI (?:cannot|can't|can’t|won't|won’t|will not)\b`)

// declines looks for a refusal at the beginning of an answer.
func declines(text string) (phrase string, is bool) {
	if phrase, is = textcheck.Refusal(text); is {
		return phrase, true
	}
	r := []rune(strings.TrimSpace(text))
	phrase = refusals.FindString(string(r[:min(len(r), 300)]))
	return phrase, phrase != ""
}

func (p *properties) language(e *Expect) error {
	if p.Language != "" {
		code, err := textcheck.LanguageCode(p.Language)
		if err != nil {
			return err
		}
		e.add("language", func(text string) string {
			if got := textcheck.Detect(text).Lang; got != code {
				return fmt.Sprintf("the answer is in %q", got)
			}
			return ""
		})
	}
	if p.Refusal != nil {
		e.add("refusal", func(text string) string {
			phrase, is := declines(text)
			switch {
			case is && !*p.Refusal:
				return fmt.Sprintf("the answer declines: %q", phrase)
			case !is && *p.Refusal:
				return "the answer does not decline"
			}
			return ""
		})
	}
	return nil
}

func (p *properties) patterns(e *Expect) error {
	for _, x := range []struct {
		name, pattern string
		want          bool
	}{{"regex", p.Regex, true}, {"not_regex", p.NotRegex, false}} {
		if x.pattern == "" {
			continue
		}
		re, err := regexp2.Compile(x.pattern, regexp2.RE2)
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		re.MatchTimeout = matchTime
		e.add(x.name, func(text string) string {
			found, err := re.MatchString(text)
			switch {
			case err != nil:
				return err.Error()
			case found && !x.want:
				return "it is found"
			case !found && x.want:
				return "it is not found"
			}
			return ""
		})
	}
	if len(p.Contains) > 0 {
		e.add("contains", func(text string) string {
			text = strings.ToLower(text)
			for _, s := range p.Contains {
				if !strings.Contains(text, strings.ToLower(s)) {
					return fmt.Sprintf("%q is not found", s)
				}
			}
			return ""
		})
	}
	return nil
}

// byteVocabulary has a token for each byte.
var byteVocabulary = constrain.NewVocabulary(256, func(id int32) []byte { return []byte{byte(id)} }, nil)

func (p *properties) schema(e *Expect) error {
	if len(p.JSONSchema) == 0 {
		return nil
	}
	g, err := constrain.Schema(p.JSONSchema)
	if err != nil {
		return fmt.Errorf("json_schema: %w", err)
	}
	m, err := g.Bind(byteVocabulary)
	if err != nil {
		return fmt.Errorf("json_schema: %w", err)
	}
	e.add("json_schema", func(text string) string {
		text = unfenced(text)
		if !json.Valid([]byte(text)) {
			return "the answer is not JSON"
		}
		// The grammar wants what models write; spaces that do not matter go first.
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(text)); err != nil {
			return err.Error()
		}
		c := m.Start()
		if err := c.AcceptBytes(compact.Bytes()); err != nil || !c.CanStop() {
			return "the answer does not fit the schema"
		}
		return ""
	})
	return nil
}

// unfenced takes a code block's marks away.
func unfenced(text string) string {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "```"); ok {
		if _, body, ok := strings.Cut(rest, "\n"); ok {
			return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(body), "```"))
		}
	}
	return text
}

func (p *properties) length(e *Expect) error {
	for _, x := range []struct {
		name     string
		min, max *int
		count    func(text string) int
	}{
		{"chars", p.MinChars, p.MaxChars, func(text string) int { return utf8.RuneCountInString(strings.TrimSpace(text)) }},
		{"words", p.MinWords, p.MaxWords, func(text string) int { return len(strings.Fields(text)) }},
	} {
		if x.min == nil && x.max == nil {
			continue
		}
		if x.min != nil && x.max != nil && *x.min > *x.max {
			return fmt.Errorf("min_%s is above max_%s", x.name, x.name)
		}
		e.add(x.name, func(text string) string {
			n := x.count(text)
			if x.min != nil && n < *x.min || x.max != nil && n > *x.max {
				return fmt.Sprintf("the answer has %d", n)
			}
			return ""
		})
	}
	if p.Complete != nil {
		e.checks = append(e.checks, check{"complete", func(a *eval.Answer) string {
			if a.CutOff() == *p.Complete {
				return "the answer ended with " + a.Finish
			}
			return ""
		}})
	}
	return nil
}

// plain is a text without what does not matter in a short answer.
func plain(text string) string {
	return strings.ToLower(strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("\"'„“”»«*`.!", r) }))
}

func (p *properties) answers(e *Expect) error {
	if len(p.Exact) > 0 {
		e.add("exact", func(text string) string {
			if slices.ContainsFunc(p.Exact, func(s string) bool { return plain(s) == plain(text) }) {
				return ""
			}
			return "the answer is another"
		})
	}
	if p.Choice != "" {
		want := strings.ToUpper(p.Choice)
		if len(want) != 1 || want[0] < 'A' || want[0] > 'J' {
			return fmt.Errorf("choice %q: a letter from A to J", p.Choice)
		}
		e.add("choice", func(text string) string {
			switch got := Letter(text); got {
			case want:
				return ""
			case "":
				return "the answer names no choice"
			default:
				return "the answer is " + got
			}
		})
	}
	return nil
}

func (p *properties) number(e *Expect) error {
	if len(p.Number) == 0 {
		if p.Tolerance != 0 || p.NumberStyle != "" {
			return errors.New("tolerance and number_style belong to number")
		}
		return nil
	}
	if !slices.Contains([]string{"", "de", "en"}, p.NumberStyle) {
		return fmt.Errorf("number_style %q: de, en or none", p.NumberStyle)
	}
	var want float64
	var written string
	if json.Unmarshal(p.Number, &want) != nil {
		if json.Unmarshal(p.Number, &written) != nil {
			return errors.New("number: want a number")
		}
		list := Numbers(written, p.NumberStyle)
		if len(list) != 1 {
			return fmt.Errorf("number: %q is none", written)
		}
		want = list[0]
	}
	e.add("number", func(text string) string {
		list := Numbers(text, p.NumberStyle)
		if len(list) == 0 {
			return "the answer has no number"
		}
		got := list[len(list)-1]
		if d := got - want; d > p.Tolerance+1e-9 || d < -p.Tolerance-1e-9 {
			return fmt.Sprintf("the last number is %v", got)
		}
		return ""
	})
	return nil
}
