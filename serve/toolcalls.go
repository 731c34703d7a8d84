package serve

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// delta is a piece of an answer: text, a thought, or a part of a call.
type delta struct {
	text      string
	reasoning string
	call      *callDelta
}

// callDelta is a piece of a tool call. The first one of a call has its id and name.
type callDelta struct {
	index     int
	id, name  string
	arguments string
}

// splitter finds the calls in the text of an answer, which comes in pieces.
type splitter interface {
	push(text string) []delta
	// end is called when the answer has ended.
	end() []delta
	// calls is how many calls were found.
	calls() int
}

// splitter returns the one for answers of m.
func (b *toolbox) splitter(m *model) splitter {
	switch b.mode {
	case "required":
		return &wholeCall{}
	case "named":
		return &namedCall{name: b.name}
	case "auto":
		return &callFinder{style: m.style(), tools: b.tools}
	}
	return plainText{}
}

// plainText has no calls.
type plainText struct{}

func (plainText) push(text string) []delta {
	if text == "" {
		return nil
	}
	return []delta{{text: text}}
}
func (plainText) end() []delta { return nil }
func (plainText) calls() int   { return 0 }

// newCallID returns the id of a call. Mistral's templates want nine letters and digits.
func newCallID(style callStyle) string {
	id := newID("")
	if style == callList {
		return id[:9]
	}
	return "call_" + id
}

// namedCall takes the whole text as the arguments of one function.
type namedCall struct {
	name string
	n    int
}

func (c *namedCall) push(text string) []delta {
	if text == "" {
		return nil
	}
	d := &callDelta{arguments: text}
	if c.n == 0 {
		d.id, d.name, c.n = newCallID(callTags), c.name, 1
	}
	return []delta{{call: d}}
}
func (c *namedCall) end() []delta { return nil }
func (c *namedCall) calls() int   { return c.n }

// wholeCall takes the whole text as {"name": …, "arguments": …}, which a grammar guarantees, and passes the arguments on
// as they come.
type wholeCall struct {
	head   string
	n      int
	depth  int
	quoted bool
	escape bool
}

var callHead = regexp.MustCompile(`^\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*`)

func (c *wholeCall) push(text string) []delta {
	var out []delta
	if c.n == 0 {
		c.head += text
		at := callHead.FindStringSubmatchIndex(c.head)
		if at == nil || at[1] == len(c.head) {
			return nil
		}
		var name string
		_ = json.Unmarshal([]byte(c.head[at[2]:at[3]]), &name) // the grammar wrote it
		out = append(out, delta{call: &callDelta{id: newCallID(callTags), name: name}})
		c.n, text = 1, c.head[at[1]:]
	}
	if part := c.inside(text); part != "" {
		out = append(out, delta{call: &callDelta{arguments: part}})
	}
	return out
}

// inside returns what of text belongs to the arguments: everything up to the brace that closes them.
func (c *wholeCall) inside(text string) string {
	if c.depth < 0 {
		return ""
	}
	for i := range len(text) {
		switch ch := text[i]; {
		case c.escape:
			c.escape = false
		case c.quoted:
			c.escape, c.quoted = ch == '\\', ch != '"'
		case ch == '"':
			c.quoted = true
		case ch == '{' || ch == '[':
			c.depth++
		case ch == '}' || ch == ']':
			if c.depth--; c.depth == 0 {
				c.depth = -1
				return text[:i+1]
			}
		}
	}
	return text
}

func (c *wholeCall) end() []delta {
	if c.n == 0 && c.head != "" {
		return []delta{{text: c.head}} // cut off before it became a call
	}
	return nil
}
func (c *wholeCall) calls() int { return c.n }

const (
	openTag  = "<tool_call>"
	closeTag = "</tool_call>"
	listTag  = "[TOOL_CALLS]"
)

// callFinder finds calls in free text. A call is passed on when it is complete and names a tool; what looks like one, but
// is none, is text.
type callFinder struct {
	style   callStyle
	tools   []tool
	pending string
	inside  bool // of a tag, or of a text that begins like JSON
	spoke   bool // text was passed on
	n       int
}

func (f *callFinder) calls() int { return f.n }

func (f *callFinder) push(text string) []delta {
	f.pending += text
	var out []delta
	for {
		more := f.step(&out)
		if !more {
			return out
		}
	}
}

// step takes what is certain from the pending text, and reports whether there may be more.
func (f *callFinder) step(out *[]delta) bool {
	if f.inside {
		at := strings.Index(f.pending, closeTag)
		if f.style != callTags || at < 0 {
			return false // JSON ends with the answer
		}
		whole := f.pending[:at+len(closeTag)]
		f.pending, f.inside = f.pending[len(whole):], false
		f.found(out, whole, strings.TrimSuffix(strings.TrimPrefix(whole, openTag), closeTag))
		return true
	}
	begin, held := f.begin()
	if begin >= 0 {
		f.say(out, f.pending[:begin])
		f.pending, f.inside = f.pending[begin:], true
		return true
	}
	f.say(out, f.pending[:len(f.pending)-held])
	f.pending = f.pending[len(f.pending)-held:]
	return false
}

// begin finds where a call begins, or -1 and how many bytes at the end may become its beginning.
func (f *callFinder) begin() (at, held int) {
	if f.style == callTags {
		if at := strings.Index(f.pending, openTag); at >= 0 {
			return at, 0
		}
		if !f.spoke && strings.TrimSpace(f.pending) == "" {
			return -1, len(f.pending) // white space before a call is no text
		}
		for n := min(len(openTag)-1, len(f.pending)); n > 0; n-- {
			if strings.HasSuffix(f.pending, openTag[:n]) {
				return -1, n
			}
		}
		return -1, 0
	}
	text := strings.TrimLeft(f.pending, " \t\r\n")
	switch {
	case f.spoke:
		return -1, 0
	case text == "" || f.style == callList && strings.HasPrefix(listTag, text):
		return -1, len(f.pending)
	case strings.HasPrefix(text, listTag), text[0] == '{' && f.style == callJSON, text[0] == '[' && f.style == callList:
		return len(f.pending) - len(text), 0
	}
	return -1, 0
}

// say passes text on.
func (f *callFinder) say(out *[]delta, text string) {
	if text == "" || !f.spoke && strings.TrimSpace(text) == "" {
		return
	}
	f.spoke = true
	*out = append(*out, delta{text: text})
}

// found passes on the calls of a text, or the text if it has none.
func (f *callFinder) found(out *[]delta, whole, inner string) {
	calls := parseCalls(inner)
	known := func(c rawCall) bool {
		return slices.ContainsFunc(f.tools, func(t tool) bool { return t.Function.Name == c.Name })
	}
	if len(calls) == 0 || !slices.ContainsFunc(calls, known) {
		f.say(out, whole)
		return
	}
	for _, c := range calls {
		if known(c) {
			*out = append(*out,
				delta{call: &callDelta{index: f.n, id: newCallID(f.style), name: c.Name}},
				delta{call: &callDelta{index: f.n, arguments: string(c.arguments())}})
			f.n++
		}
	}
}

func (f *callFinder) end() []delta {
	var out []delta
	if f.inside {
		f.found(&out, f.pending, strings.TrimPrefix(strings.TrimPrefix(f.pending, openTag), listTag))
	} else if f.n == 0 || strings.TrimSpace(f.pending) != "" {
		if f.pending != "" {
			out = append(out, delta{text: f.pending})
		}
	}
	f.pending = ""
	return out
}

// rawCall is a call as models write it.
type rawCall struct {
	Name       string          `json:"name"`
	Arguments  json.RawMessage `json:"arguments"`
	Parameters json.RawMessage `json:"parameters"`
}

// arguments is a JSON object.
func (c *rawCall) arguments() json.RawMessage {
	for _, a := range []json.RawMessage{c.Arguments, c.Parameters} {
		var text string
		if json.Unmarshal(a, &text) == nil && json.Valid([]byte(text)) {
			a = json.RawMessage(text)
		}
		if len(a) > 0 && a[0] == '{' {
			return a
		}
	}
	return json.RawMessage("{}")
}

// parseCalls reads one call or a list of them; nil if text is neither.
func parseCalls(text string) []rawCall {
	text = strings.TrimSpace(text)
	var one rawCall
	if json.Unmarshal([]byte(text), &one) == nil && one.Name != "" {
		return []rawCall{one}
	}
	var many []rawCall
	if json.Unmarshal([]byte(text), &many) == nil {
		return slices.DeleteFunc(many, func(c rawCall) bool { return c.Name == "" })
	}
	return nil
}
