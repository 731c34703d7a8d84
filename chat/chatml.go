package chat

import (
	"fmt"
	"strings"
)

const (
	imStart = "<|im_start|>"
	imEnd   = "<|im_end|>"
)

// chatML is one way of writing ChatML. All of them agree on a turn:
// <|im_start|>, role word, newline, text, <|im_end|>, newline.
type chatML struct {
	defaultSystem string // put first when the conversation has no system turn
	refuseSystem  bool   // a system turn is an error
	systemEnd     string // what follows <|im_end|> of a system turn
	strip         bool   // white space at the end of the whole prompt is removed
	generation    bool   // a generation prompt can be added
}

// demoSystem is the default system message of LeoLM's demo, a protocol string
// (bjoernpl/FastChat, template leolm; docs/leolm.md#renderings).
const demoSystem = "Es folgt eine Unterhaltung zwischen einem neugierigen Benutzer und einem KI Assistenten. " +
	"Der Assistent gibt hilfreiche, detaillierte und höfliche Antworten auf die Fragen des Benutzers."

// The renderings of docs/leolm.md#renderings, and docs/leolm.md#training-format.
var chatMLStyles = map[string]chatML{
	"card-template": {systemEnd: "\n", generation: true},
	"card-run":      {refuseSystem: true, generation: true},
	"card-sample":   {systemEnd: "\n\n", generation: true},
	"fasteval":      {systemEnd: "\n", strip: true, generation: true},
	"fastchat":      {systemEnd: "", defaultSystem: demoSystem, generation: true},
	"training":      {systemEnd: "\n"},
}

func (c *chatML) render(name string, msgs []Message, opts Options) (*Rendered, error) {
	if opts.AddGenerationPrompt && !c.generation {
		return nil, fmt.Errorf("chat: template %s is for whole conversations and has no generation prompt; use card-template", name)
	}
	if len(opts.Tools) > 0 || len(opts.Documents) > 0 {
		return nil, fmt.Errorf("chat: template %s has no place for tools or documents", name)
	}
	var b builder
	if c.defaultSystem != "" && (len(msgs) == 0 || msgs[0].Role != System) {
		b.add(imStart+"system\n"+c.defaultSystem+imEnd+c.systemEnd, true, System, -1)
	}
	for i, m := range msgs {
		if int(m.Role) >= len(roleWords) {
			return nil, fmt.Errorf("chat: message %d has the unknown role %d", i, uint8(m.Role))
		}
		if len(m.ToolCalls) > 0 {
			return nil, fmt.Errorf("chat: message %d calls a tool, but template %s has no place for tool calls", i, name)
		}
		if m.Role == System && c.refuseSystem {
			return nil, fmt.Errorf("chat: message %d is a system turn, but template %s has none; use card-template or card-sample", i, name)
		}
		b.add(imStart+m.Role.String()+"\n", true, m.Role, i)
		b.add(m.Content, false, m.Role, i)
		if opts.ContinueFinal && i == len(msgs)-1 {
			break
		}
		end := "\n"
		if m.Role == System {
			end = c.systemEnd
		}
		b.add(imEnd+end, true, m.Role, i)
	}
	if opts.AddGenerationPrompt {
		b.add(imStart+"assistant\n", true, Assistant, -1)
	}
	r := &Rendered{Text: b.text.String(), Segments: b.segs}
	if c.strip && !opts.ContinueFinal {
		r.cut(len(strings.TrimRight(r.Text, " \t\r\n")))
	}
	return r, nil
}

// source returns the rendering as a Jinja template, on one line so that there is no white space around statements.
func (c *chatML) source(name string) string {
	var b strings.Builder
	refuse := func(condition, why string) {
		fmt.Fprintf(&b, "{%% if %s %%}{{ raise_exception('template %s has %s') }}{%% endif %%}", condition, name, why)
	}
	refuse("tools or documents", "no place for tools or documents")
	if !c.generation {
		refuse("add_generation_prompt", "no generation prompt")
	}
	if c.strip {
		b.WriteString("{% set prompt %}")
	}
	if c.defaultSystem != "" {
		fmt.Fprintf(&b, "{%% if not messages or messages[0]['role'] != 'system' %%}{{ '%ssystem\\n%s%s%s' }}{%% endif %%}", imStart, c.defaultSystem, imEnd, jinjaNewlines(c.systemEnd))
	}
	b.WriteString("{% for message in messages %}")
	refuse("message['tool_calls']", "no place for tool calls")
	if c.refuseSystem {
		refuse("message['role'] == 'system'", "no system turn")
	}
	fmt.Fprintf(&b, "{{ '%s' + message['role'] + '\\n' + message['content'] + '%s' }}", imStart, imEnd)
	if c.systemEnd == "\n" {
		b.WriteString(`{{ '\n' }}`)
	} else {
		fmt.Fprintf(&b, `{{ '%s' if message['role'] == 'system' else '\n' }}`, jinjaNewlines(c.systemEnd))
	}
	b.WriteString("{% endfor %}")
	if c.generation {
		fmt.Fprintf(&b, `{%% if add_generation_prompt %%}{{ '%sassistant\n' }}{%% endif %%}`, imStart)
	}
	if c.strip {
		b.WriteString(`{% endset %}{{ prompt.rstrip(' \t\r\n') }}`)
	}
	return b.String()
}

func jinjaNewlines(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
