package card

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Question is what the examples ask, or the beginning of the text that they continue.
func (f *Facts) Question() string {
	if !f.model.Chat {
		return cmp.Or(oneLine(f.cfg.Question), "Ein Vulkan ist")
	}
	return cmp.Or(oneLine(f.cfg.Question), "Erkläre mir, wie ein Vulkan entsteht.")
}

// Transformers is a program that asks the model with the library of that name. It ends answers at every token that does
// so here: some models name only one of theirs.
func (f *Facts) Transformers() (string, error) {
	m := f.model
	var b strings.Builder
	literal := func(s string) string {
		text, err := pythonText(s)
		if err != nil {
			return `""` // a string always has one
		}
		return text
	}
	fmt.Fprintf(&b, "from transformers import AutoModelForCausalLM, AutoTokenizer\n\nname = %s\n", literal(f.Repository()))
	b.WriteString("tokenizer = AutoTokenizer.from_pretrained(name)\nmodel = AutoModelForCausalLM.from_pretrained(name, torch_dtype=\"auto\")\n")
	if m.Chat {
		messages, err := f.messages(literal)
		if err != nil {
			return "", err
		}
		b.WriteString(messages)
	} else {
		fmt.Fprintf(&b, "\ninputs = tokenizer(%s, return_tensors=\"pt\")\n", literal(f.Question()))
	}
	args := []string{"max_new_tokens=512"}
	g := m.Generation.Drawing()
	if greedy := g.DoSample != nil && !*g.DoSample || g.Temperature != nil && *g.Temperature == 0; !greedy {
		args = append(args, "do_sample=True")
		for _, x := range []struct {
			name string
			v    *float64
		}{{"temperature", g.Temperature}, {"top_p", g.TopP}, {"min_p", g.MinP}, {"repetition_penalty", g.RepetitionPenalty}} {
			if x.v != nil {
				args = append(args, fmt.Sprintf("%s=%v", x.name, *x.v))
			}
		}
		if g.TopK != nil {
			args = append(args, fmt.Sprintf("top_k=%d", *g.TopK))
		}
	} else {
		args = append(args, "do_sample=False")
	}
	var ids []string
	for _, id := range m.StopIDs {
		ids = append(ids, strconv.Itoa(int(id)))
	}
	if len(ids) > 0 {
		args = append(args, "eos_token_id=["+strings.Join(ids, ", ")+"]")
	}
	fmt.Fprintf(&b, "output = model.generate(**inputs.to(model.device), %s)\n", strings.Join(args, ", "))
	b.WriteString("print(tokenizer.decode(output[0, inputs[\"input_ids\"].shape[1]:], skip_special_tokens=True))\n")
	return b.String(), nil
}

// messages are the lines of the program that write the conversation.
func (f *Facts) messages(literal func(string) string) (string, error) {
	m := f.model
	var b strings.Builder
	if !m.OwnTemplate {
		fmt.Fprintf(&b, "tokenizer.chat_template = %s\n", literal(m.template.Source()))
	}
	b.WriteString("\nmessages = [\n")
	if p, err := m.split(); err != nil {
		return "", err
	} else if f.cfg.System != "" && p.system {
		fmt.Fprintf(&b, "    {\"role\": \"system\", \"content\": %s},\n", literal(f.cfg.System))
	}
	fmt.Fprintf(&b, "    {\"role\": \"user\", \"content\": %s},\n]\n", literal(f.Question()))
	b.WriteString("inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors=\"pt\")\n")
	return b.String(), nil
}

// LlamaServer are commands that serve the model with llama.cpp and ask it.
func (f *Facts) LlamaServer() (string, error) {
	m := f.model
	line := "llama-server -m " + shellWord(m.File)
	if m.Context > 0 {
		line += fmt.Sprintf(" -c %d", m.Context)
	}
	content, err := pythonText(f.Question())
	if err != nil {
		return "", err
	}
	if !m.Chat {
		return line + "\ncurl http://localhost:8080/v1/completions -d " + shellWord(fmt.Sprintf(`{"prompt": %s, "max_tokens": 64}`, content)) + "\n", nil
	}
	switch {
	case m.OwnTemplate:
		line += " --jinja"
	case m.template.ChatML():
		line += " --chat-template chatml"
	default:
		line += " --jinja --chat-template " + shellWord(m.template.Source())
	}
	body := fmt.Sprintf(`{"messages": [{"role": "user", "content": %s}]}`, content)
	return line + "\ncurl http://localhost:8080/v1/chat/completions -d " + shellWord(body) + "\n", nil
}
