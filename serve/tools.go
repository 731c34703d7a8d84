package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"leolm/chat"
)

// tool is a function that the model may call.
type tool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	} `json:"function"`
	raw json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *tool) UnmarshalJSON(data []byte) error {
	type plain tool
	if err := json.Unmarshal(data, (*plain)(t)); err != nil {
		return bad("tools", "a tool must be an object with type and function")
	}
	if t.Function.Name == "" {
		return bad("tools", "a tool must have function.name")
	}
	t.raw = bytes.Clone(data)
	if t.Type == "" {
		var fields map[string]json.RawMessage
		if json.Unmarshal(data, &fields) != nil || fields["type"] != nil {
			return bad("tools", `a tool's type must be "function"`)
		}
		// Templates show the description as it came; with its type, as other servers complete it.
		t.raw = slices.Concat([]byte(`{"type":"function",`), bytes.TrimSpace(data)[1:])
	}
	return nil
}

// toolChoice says whether tools may or must be called.
type toolChoice struct {
	mode string // "none", "auto", "required", "" for not said
	name string // of the one function that must be called
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *toolChoice) UnmarshalJSON(data []byte) error {
	*c = toolChoice{}
	if string(data) == "null" {
		return nil
	}
	if json.Unmarshal(data, &c.mode) == nil {
		if !slices.Contains([]string{"none", "auto", "required"}, c.mode) {
			return bad("tool_choice", "tool_choice %q; use none, auto, required, or name a function", c.mode)
		}
		return nil
	}
	var named struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if err := json.Unmarshal(data, &named); err != nil || named.Function.Name+named.Name == "" {
		return bad("tool_choice", `tool_choice must be none, auto, required or {"type": "function", "function": {"name": …}}`)
	}
	c.name = named.Function.Name + named.Name
	return nil
}

const maxTools = 128

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// toolbox is what a request says about tools.
type toolbox struct {
	tools []tool
	mode  string // "none", "auto", "required" or "named"
	name  string
}

// newToolbox checks tools and the choice among them.
func newToolbox(tools []tool, choice toolChoice) (*toolbox, error) {
	b := &toolbox{tools: tools, mode: choice.mode, name: choice.name}
	if len(tools) == 0 {
		if b.mode == "required" || b.name != "" {
			return nil, bad("tool_choice", "tool_choice asks for a call, but there are no tools")
		}
		b.mode = "none"
		return b, nil
	}
	if len(tools) > maxTools {
		return nil, bad("tools", "%d tools; there may be %d", len(tools), maxTools)
	}
	names := map[string]bool{}
	for i, t := range tools {
		f := &t.Function
		switch {
		case t.Type != "" && t.Type != "function":
			return nil, bad("tools", "tools[%d] is of type %q; only functions are known", i, t.Type)
		case !toolName.MatchString(f.Name):
			return nil, bad("tools", "tools[%d] has the name %q; use up to 64 letters, digits, _, - and .", i, f.Name)
		case names[f.Name]:
			return nil, bad("tools", "two tools are named %q", f.Name)
		}
		names[f.Name] = true
		if p := bytes.TrimSpace(f.Parameters); len(p) == 0 || string(p) == "null" {
			tools[i].Function.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		} else if p[0] != '{' {
			return nil, bad("tools", "the parameters of %q must be a JSON schema, which is an object", f.Name)
		}
	}
	switch {
	case b.name != "":
		if !names[b.name] {
			return nil, bad("tool_choice", "tool_choice names %q, which is not among the tools", b.name)
		}
		b.mode = "named"
	case b.mode == "":
		b.mode = "auto"
	}
	return b, nil
}

// descriptions are the tools as templates take them; none if the model must not know of them.
func (b *toolbox) descriptions() []json.RawMessage {
	if b.mode == "none" {
		return nil
	}
	var out []json.RawMessage
	for _, t := range b.tools {
		out = append(out, t.raw)
	}
	return out
}

// schema is the JSON schema of an answer that must be a call: of its arguments where the function is named, else of
// {"name": …, "arguments": …}. It is nil if an answer may be text.
func (b *toolbox) schema() []byte {
	switch b.mode {
	case "named":
		for _, t := range b.tools {
			if t.Function.Name == b.name {
				return t.Function.Parameters
			}
		}
	case "required":
		var any []string
		for i, t := range b.tools {
			at := fmt.Sprintf("#/anyOf/%d/properties/arguments", i)
			// References inside a schema begin at its root, which is elsewhere now.
			p := localRef.ReplaceAll(t.Function.Parameters, []byte(`"$$ref":"`+at))
			any = append(any, fmt.Sprintf(`{"type":"object","properties":{"name":{"const":%q},"arguments":%s},"required":["name","arguments"],"additionalProperties":false}`, t.Function.Name, p))
		}
		return []byte(`{"anyOf":[` + strings.Join(any, ",") + `]}`)
	}
	return nil
}

var localRef = regexp.MustCompile(`"\$ref"\s*:\s*"#`)

// How the texts of models call tools.
type callStyle uint8

const (
	callTags callStyle = iota // <tool_call>{"name": …, "arguments": …}</tool_call>
	callList                  // [TOOL_CALLS][{"name": …, "arguments": …}, …]
	callJSON                  // {"name": …, "parameters": …}
)

// style finds how the model calls tools, from its template.
func (m *model) style() callStyle {
	switch t := m.card.templateText; {
	case strings.Contains(t, "<tool_call>"):
		return callTags
	case strings.Contains(t, "[TOOL_CALLS]"):
		return callList
	case strings.Contains(t, "python_tag"), strings.Contains(t, `"parameters"`):
		return callJSON
	}
	return callTags
}

// knowsTools reports whether a template shows tools to the model.
func knowsTools(t *chat.Template) bool {
	probe := json.RawMessage(`{"type":"function","function":{"name":"probe_of_tools","description":"d","parameters":{"type":"object","properties":{}}}}`)
	r, err := t.Render([]chat.Message{{Role: chat.User, Content: "x"}}, chat.Options{AddGenerationPrompt: true, Tools: []json.RawMessage{probe}})
	return err == nil && strings.Contains(r.Text, "probe_of_tools")
}

// explainTools writes tools, calls and results as texts, for templates that have no place for them.
func explainTools(msgs []chat.Message, tools []json.RawMessage) []chat.Message {
	var out []chat.Message
	for _, m := range msgs {
		for _, c := range m.ToolCalls {
			if m.Content != "" {
				m.Content += "\n"
			}
			m.Content += fmt.Sprintf("<tool_call>\n{\"name\": %q, \"arguments\": %s}\n</tool_call>", c.Name, c.Arguments)
		}
		m.ToolCalls = nil
		if m.Role == chat.Tool {
			m = chat.Message{Role: chat.User, Content: "<tool_response>\n" + m.Content + "\n</tool_response>"}
		}
		out = append(out, m)
	}
	if len(tools) > 0 {
		var b strings.Builder
		b.WriteString("You can call functions. They are, in JSON:\n")
		for _, t := range tools {
			b.Write(t)
			b.WriteByte('\n')
		}
		b.WriteString("To call one, write only\n<tool_call>\n{\"name\": …, \"arguments\": {…}}\n</tool_call>")
		if len(out) > 0 && out[0].Role == chat.System {
			out[0].Content += "\n\n" + b.String()
		} else {
			out = slices.Insert(out, 0, chat.Message{Role: chat.System, Content: b.String()})
		}
	}
	return joinNeighbors(out)
}

// prompt writes the conversation with its tools.
func (m *model) prompt(msgs []chat.Message, tools *toolbox, opt chat.Options) (*chat.Encoded, error) {
	opt.Tools = tools.descriptions()
	used := len(opt.Tools) > 0 || slices.ContainsFunc(msgs, func(m chat.Message) bool { return m.Role == chat.Tool || len(m.ToolCalls) > 0 })
	if used && !m.card.tools {
		msgs, opt.Tools = explainTools(msgs, opt.Tools), nil
	}
	return m.render(msgs, opt)
}
