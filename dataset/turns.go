package dataset

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"leolm/chat"
	"leolm/dataset/rows"
)

// convertTurns reads a row with a list of turns: OpenAI's messages, ShareGPT's
// conversations with the columns that LLaMA-Factory knows beside them.
func convertTurns(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error) {
	if err := row.Object(v); err != nil {
		return nil, err
	}
	column := s.column("turns")
	list, ok := v.Get(column)
	if !ok {
		return nil, row.Errorf(column, "the column is missing; there are %s (name another with columns: {turns: …})", strings.Join(v.Names, ", "))
	}
	d, err := s.turns(row, column, list)
	if err != nil {
		return nil, err
	}
	if s.byPosition { // the original knew nothing else
		return []Dialogue{d}, nil
	}
	system, err := s.optional(row, v, "system")
	if err != nil {
		return nil, err
	}
	if d.System == "" {
		d.System = system
	}
	if d.Tools, err = s.tools(row, v); err != nil {
		return nil, err
	}
	return []Dialogue{d}, nil
}

// turns reads a list of turns; a system message in front is not one of them.
func (s *sourceReader) turns(row *rows.Row, column string, list *rows.Value) (d Dialogue, err error) {
	if list.Kind != rows.List {
		return d, row.Errorf(column, "want a list of turns, found %s", list.Kind)
	}
	for i := range list.Items {
		item := &list.Items[i]
		at := fmt.Sprintf("%s[%d]", column, i)
		if item.Kind != rows.Object {
			return d, row.Errorf(at, "want an object with %s and %s, found %s", s.column("role"), s.column("text"), item.Kind)
		}
		var turn Turn
		if s.byPosition {
			turn.Role = chat.User + chat.Role(i%2)
			turn.Text, err = s.turnText(row, at, item)
		} else {
			turn, err = s.turn(row, at, item)
		}
		if err != nil {
			return d, err
		}
		if c, ok := item.Get("context"); ok && c.Kind == rows.String {
			turn.Context = c.Text
		}
		if turn.Role == chat.System && i == 0 {
			d.System = turn.Text
			continue
		}
		d.Turns = append(d.Turns, turn)
	}
	return d, nil
}

// Role words of ShareGPT files with tools, as LLaMA-Factory has them.
const (
	wordCall   = "function_call" // a turn of the assistant whose text is the call
	wordResult = "observation"   // what the tool answered
)

// turn reads one labelled turn.
func (s *sourceReader) turn(row *rows.Row, at string, item *rows.Value) (t Turn, err error) {
	column := s.column("role")
	label, ok := item.Get(column)
	if !ok {
		return t, row.Errorf(at, "the field %q is missing", column)
	}
	word, err := asText(row, at+"."+column, label)
	if err != nil {
		return t, err
	}
	switch word {
	case wordCall:
		t.Role = chat.Assistant
	case wordResult:
		t.Role = chat.Tool
	default:
		if t.Role, err = chat.ParseRole(word); err != nil {
			return t, row.Errorf(at+"."+column, "unknown role %q: want system, user, human, prompter, assistant, gpt, bot, tool, %s or %s", word, wordCall, wordResult)
		}
	}
	if t.ToolCalls, err = toolCalls(row, at, item); err != nil {
		return t, err
	}
	// A turn that calls may say nothing.
	if f, ok := item.Get(s.column("text")); len(t.ToolCalls) == 0 || ok && f.Kind != rows.Null {
		if t.Text, err = s.turnText(row, at, item); err != nil {
			return t, err
		}
	}
	if word == wordCall {
		if t.ToolCalls, err = parseCalls(row, at+"."+s.column("text"), json.RawMessage(t.Text)); err != nil {
			return t, err
		}
		t.Text = ""
	}
	for _, f := range [...]struct {
		name string
		to   *string
	}{{"name", &t.Name}, {"tool_call_id", &t.ToolCallID}, {"reasoning_content", &t.Reasoning}} {
		if v, ok := item.Get(f.name); ok && v.Kind != rows.Null {
			if *f.to, err = asText(row, at+"."+f.name, v); err != nil {
				return t, err
			}
		}
	}
	t.Muted, err = s.muted(row, at, item)
	return t, err
}

func (s *sourceReader) turnText(row *rows.Row, at string, item *rows.Value) (string, error) {
	column := s.column("text")
	f, ok := item.Get(column)
	if !ok {
		return "", row.Errorf(at, "the field %q is missing", column)
	}
	return messageText(row, at+"."+column, f)
}

// messageText is text, or OpenAI's list of parts of which all must be text.
func messageText(row *rows.Row, at string, f *rows.Value) (string, error) {
	if f.Kind != rows.List {
		return asText(row, at, f)
	}
	var b strings.Builder
	for i := range f.Items {
		part, ok := f.Items[i].Get("text")
		if !ok || part.Kind != rows.String {
			return "", row.Errorf(fmt.Sprintf("%s[%d]", at, i), "want a part with text; images and other parts cannot be used")
		}
		b.WriteString(part.Text)
	}
	return b.String(), nil
}

// muted reports whether a turn has weight 0 (OpenAI's fine-tuning format), or
// false where a file says so with truth values.
func (s *sourceReader) muted(row *rows.Row, at string, item *rows.Value) (bool, error) {
	f, ok := s.find(item, "weight")
	if !ok || f.Kind == rows.Null {
		return false, nil
	}
	switch f.Kind {
	case rows.Bool:
		return strings.EqualFold(f.Text, "false"), nil
	case rows.Number:
		if w, err := strconv.ParseFloat(f.Text, 64); err == nil && (w == 0 || w == 1) {
			return w == 0, nil
		}
	}
	return false, row.Errorf(at+"."+s.column("weight"), "want 0 or 1, found %s", f.AppendJSON(nil))
}

// toolCalls reads what an OpenAI message calls: tool_calls, or the older
// function_call.
func toolCalls(row *rows.Row, at string, item *rows.Value) ([]chat.ToolCall, error) {
	for _, name := range [...]string{"tool_calls", "function_call"} {
		if f, ok := item.Get(name); ok && f.Kind != rows.Null {
			return parseCalls(row, at+"."+name, rawJSON(f))
		}
	}
	return nil, nil
}

// rawJSON is a value as JSON; a text is taken for JSON itself, as files keep it
// whose columns have one type.
func rawJSON(v *rows.Value) json.RawMessage {
	if v.Kind == rows.String {
		return json.RawMessage(v.Text)
	}
	return v.AppendJSON(nil)
}

// parseCalls reads one call or a list of them, each as OpenAI writes it or as a
// bare {name, arguments}.
func parseCalls(row *rows.Row, at string, raw json.RawMessage) ([]chat.ToolCall, error) {
	items, err := jsonItems(raw)
	if err != nil {
		return nil, row.Errorf(at, "want a call {name, arguments} or a list of calls: %v", err)
	}
	var calls []chat.ToolCall
	for i, item := range items {
		var c chat.ToolCall
		err := json.Unmarshal(item, &c)
		if err == nil && c.Name == "" {
			id := c.ID
			err = json.Unmarshal([]byte(`{"function": `+string(item)+`}`), &c)
			c.ID = id
		}
		if err != nil {
			return nil, row.Errorf(fmt.Sprintf("%s[%d]", at, i), "cannot be read as a call: %v", err)
		}
		if c.Name == "" {
			return nil, row.Errorf(fmt.Sprintf("%s[%d]", at, i), "the call has no name")
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// jsonItems are the items of a JSON list, or the one object itself.
func jsonItems(raw json.RawMessage) ([]json.RawMessage, error) {
	var list []json.RawMessage
	text := strings.TrimSpace(string(raw))
	if strings.HasPrefix(text, "{") {
		list = []json.RawMessage{json.RawMessage(text)}
		var object map[string]json.RawMessage
		return list, json.Unmarshal(list[0], &object)
	}
	return list, json.Unmarshal([]byte(text), &list)
}

// tools are the descriptions of functions beside the turns: a list, or its JSON
// as text. A bare {name, description, parameters} is put into the object that
// templates expect.
func (s *sourceReader) tools(row *rows.Row, v *rows.Value) ([]json.RawMessage, error) {
	f, ok := s.find(v, "tools")
	if !ok || f.Kind == rows.Null || f.Kind == rows.String && strings.TrimSpace(f.Text) == "" {
		return nil, nil
	}
	column := s.column("tools")
	items, err := jsonItems(rawJSON(f))
	if err != nil {
		return nil, row.Errorf(column, "want a list of tools as JSON: %v", err)
	}
	for i, item := range items {
		name, wrapped := toolName(item)
		if name == "" {
			return nil, row.Errorf(fmt.Sprintf("%s[%d]", column, i), "the tool has no name")
		}
		if !wrapped {
			items[i] = json.RawMessage(`{"type": "function", "function": ` + string(item) + `}`)
		}
	}
	return items, nil
}

// toolName is the name of a described function, and whether it stands inside
// "function".
func toolName(raw json.RawMessage) (name string, wrapped bool) {
	var tool struct {
		Name     string
		Function *struct{ Name string }
	}
	if json.Unmarshal(raw, &tool) != nil {
		return "", false
	}
	if tool.Function != nil {
		return tool.Function.Name, true
	}
	return tool.Name, false
}

// openAI reads conversations as reader messages does where nothing is renamed.
func openAI() *sourceReader {
	return &sourceReader{reader: readers["messages"], columns: readers["messages"].columns, named: newNamedColumns(nil)}
}

// ReadMessages reads a list of messages {role, content, …} in a column of a row,
// as reader messages does.
func ReadMessages(row *rows.Row, column string, list *rows.Value) ([]chat.Message, error) {
	d, err := openAI().turns(row, column, list)
	if err != nil {
		return nil, err
	}
	msgs, _ := d.messages()
	return msgs, nil
}

// ReadTools reads the descriptions of tools in a row's column "tools", if it has
// any.
func ReadTools(row *rows.Row, v *rows.Value) ([]json.RawMessage, error) {
	return openAI().tools(row, v)
}
