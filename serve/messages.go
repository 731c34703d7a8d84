package serve

import (
	"encoding/json"
	"fmt"
	"strings"

	"leolm/chat"
)

// content is the text of a message: a string, null, or a list of parts, of which only texts are taken.
type content struct {
	text  string
	given bool // and not null
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *content) UnmarshalJSON(data []byte) error {
	*c = content{}
	if string(data) == "null" {
		return nil
	}
	c.given = true
	if json.Unmarshal(data, &c.text) == nil {
		return nil
	}
	var parts []struct {
		Type    string  `json:"type"`
		Text    *string `json:"text"`
		Refusal string  `json:"refusal"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return bad("messages", "the content of a message must be a string, null, or a list of parts")
	}
	for i, p := range parts {
		switch p.Type {
		case "text", "input_text", "output_text":
			if p.Text == nil {
				return bad("messages", "part %d of a message is of type %q but has no text", i, p.Type)
			}
			c.text += *p.Text
		case "refusal":
			c.text += p.Refusal
		case "image_url", "input_image", "input_audio", "file", "input_file":
			return bad("messages", "part %d of a message is of type %q: these models read text only; nothing is fetched", i, p.Type)
		default:
			return bad("messages", "part %d of a message is of the unknown type %q; use text", i, p.Type)
		}
	}
	return nil
}

// wireMessage is a message of OpenAI's API.
type wireMessage struct {
	Role             string          `json:"role"`
	Content          content         `json:"content"`
	Name             string          `json:"name"`
	Reasoning        string          `json:"reasoning"`
	ReasoningContent string          `json:"reasoning_content"`
	ToolCalls        []chat.ToolCall `json:"tool_calls"`
	ToolCallID       string          `json:"tool_call_id"`
}

// messages checks what the client sent and returns it as a conversation.
func messages(wire []wireMessage) ([]chat.Message, error) {
	if len(wire) == 0 {
		return nil, bad("messages", "messages is empty; send at least one")
	}
	out := make([]chat.Message, len(wire))
	for i, w := range wire {
		where := fmt.Sprintf("messages[%d]", i)
		role, err := chat.ParseRole(w.Role)
		if err != nil {
			return nil, bad(where+".role", "%s: unknown role %q; use system, user, assistant or tool", where, w.Role)
		}
		if !w.Content.given && role != chat.Assistant {
			return nil, bad(where+".content", "%s has no content; only the assistant's turns may have none", where)
		}
		m := chat.Message{Role: role, Content: w.Content.text, Name: w.Name, Reasoning: w.ReasoningContent, ToolCallID: w.ToolCallID}
		if m.Reasoning == "" {
			m.Reasoning = w.Reasoning
		}
		for k, call := range w.ToolCalls {
			if call.Name == "" {
				return nil, bad(where+".tool_calls", "%s: tool call %d has no function name", where, k)
			}
			if len(call.Arguments) == 0 || string(call.Arguments) == `""` {
				call.Arguments = json.RawMessage("{}")
			}
			if call.Arguments[0] == '"' {
				return nil, bad(where+".tool_calls", "%s: the arguments of tool call %d are not JSON", where, k)
			}
			m.ToolCalls = append(m.ToolCalls, call)
		}
		if len(m.ToolCalls) > 0 && role != chat.Assistant {
			return nil, bad(where+".tool_calls", "%s: only the assistant calls tools", where)
		}
		out[i] = m
	}
	return out, nil
}

// render writes a conversation for m. Where the template refuses it as it is, it is tried with neighbors of one role
// joined, and then with the system turn at the head of the first question: templates differ in what they take, clients do
// not know it.
func (m *model) render(msgs []chat.Message, opt chat.Options) (*chat.Encoded, error) {
	enc, err := m.Template.EncodeAll(m.Tokenizer, msgs, opt)
	if err == nil {
		return enc, nil
	}
	for _, repair := range []func([]chat.Message) []chat.Message{joinNeighbors, foldSystem} {
		msgs = repair(msgs)
		if enc, again := m.Template.EncodeAll(m.Tokenizer, msgs, opt); again == nil {
			return enc, nil
		}
	}
	return nil, bad("messages", "%s", strings.TrimPrefix(err.Error(), "chat: "))
}

// joinNeighbors joins messages of the same role that follow each other.
func joinNeighbors(msgs []chat.Message) []chat.Message {
	var out []chat.Message
	for _, m := range msgs {
		n := len(out) - 1
		if n >= 0 && out[n].Role == m.Role && m.Role != chat.Tool && len(out[n].ToolCalls)+len(m.ToolCalls) == 0 {
			out[n].Content += "\n\n" + m.Content
			continue
		}
		out = append(out, m)
	}
	return out
}

// foldSystem puts system turns at the head of the next question.
func foldSystem(msgs []chat.Message) []chat.Message {
	var out []chat.Message
	head := ""
	for _, m := range msgs {
		switch {
		case m.Role == chat.System:
			head += m.Content + "\n\n"
			continue
		case m.Role == chat.User && head != "":
			m.Content, head = head+m.Content, ""
		}
		out = append(out, m)
	}
	return joinNeighbors(out)
}
