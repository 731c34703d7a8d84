package serve

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/open"
)

// split feeds text to a splitter in pieces of n bytes, and returns what was thought and said.
func split(s splitter, text string, n int) (reasoning, said string) {
	add := func(pieces []delta) {
		for _, p := range pieces {
			reasoning += p.reasoning
			said += p.text
			if p.call != nil && p.call.id != "" {
				said += "CALL(" + p.call.name + ")"
			}
		}
	}
	for len(text) > 0 {
		k := min(n, len(text))
		add(s.push(text[:k]))
		text = text[k:]
	}
	add(s.end())
	return reasoning, said
}

// Thoughts are told from the answer wherever the text is cut, before calls are looked for.
func TestThoughts(t *testing.T) {
	think := tagsOf("{{ '<think>' }}{{ '</think>' }}")
	for _, c := range []struct {
		text            string
		opened, hide    bool
		reasoning, said string
	}{
		{"Hallo", false, false, "", "Hallo"},
		{"<think>\nhm, 1 < 2\n</think>\n\nHallo\n", false, false, "\nhm, 1 < 2", "Hallo\n"},
		{"\n<think>hm</think>Hallo", false, false, "hm", "Hallo"},
		{"hm\n</think>\nHallo", true, false, "hm", "Hallo"},
		{"hm\n</think>\nHallo", true, true, "", "Hallo"},
		{"<think>hm</think>Hallo", false, true, "", "Hallo"},
		{"<think>never ends", false, false, "never ends", ""},
		{"never ends </thi", true, false, "never ends </thi", ""},
		{"never ends", true, true, "", ""},
		{"<thin air", false, false, "", "<thin air"},
		{"<th", false, false, "", "<th"},
		{"Text <think>is no thought</think>", false, false, "", "Text <think>is no thought</think>"},
		{"<think>a</think><think>b</think>", false, false, "a", "<think>b</think>"},
		{"<think></think>Hallo", false, false, "", "Hallo"},
		{`<think>f?</think><tool_call>{"name":"f","arguments":{}}</tool_call>`, false, false, "f?", "CALL(f)"},
	} {
		for n := 1; n <= len(c.text); n++ {
			inner := &callFinder{style: callTags, tools: []tool{named("f")}}
			reasoning, said := split(newThoughts(think, c.opened, c.hide, inner), c.text, n)
			if strings.TrimLeft(reasoning, "\n") != strings.TrimLeft(c.reasoning, "\n") || said != c.said {
				t.Errorf("%q in pieces of %d: thought %q, said %q", c.text, n, reasoning, said)
			}
		}
	}
	if got := tagsOf("no thoughts here"); got.open != "" {
		t.Errorf("%+v", got)
	}
	if got := tagsOf("[/THINK]"); got.open != "[THINK]" {
		t.Errorf("%+v", got)
	}
}

// thinker serves leo-mini with a template that knows of thoughts; opened begins each answer with one.
func thinker(t *testing.T, opened bool) string {
	t.Helper()
	text := `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content.split('</think>')[-1] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% elif OPENED %}<think>
{% endif %}{% endif %}`
	text = strings.ReplaceAll(text, "OPENED", map[bool]string{true: "true", false: "false"}[opened])
	path := filepath.Join(t.TempDir(), "think.jinja")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	_, url := newTest(t, Config{Models: []Source{{Options: open.Options{Template: path}}}})
	return url
}

// forced makes the model write a thought and an answer.
const forced = `"guided_regex":"<think>\\nEr fragt\\.\\n</think>\\n\\nParis\\."`

// One way leads thoughts to all APIs: apart from the answer, counted, and left out where they were not wanted.
func TestReasoning(t *testing.T) {
	url := thinker(t, false)
	type message struct {
		Content   string
		Reasoning string
		Other     string `json:"reasoning_content"`
	}
	var a struct {
		Choices []struct {
			Message message
			Finish  string `json:"finish_reason"`
		}
		Usage usage
	}
	post(t, url+"/v1/chat/completions", `{`+hello+`,`+forced+`}`, &a)
	m := a.Choices[0].Message
	if m.Content != "Paris." || strings.TrimSpace(m.Reasoning) != "Er fragt." || m.Other != m.Reasoning || a.Usage.CompletionDetails.Reasoning < 5 || a.Usage.CompletionDetails.Reasoning >= a.Usage.Completion {
		t.Errorf("%+v %+v", m, a.Usage)
	}
	var thought, said string
	for _, e := range sse(t, url+"/v1/chat/completions", `{`+hello+`,`+forced+`,"stream":true,"logprobs":true}`) {
		var c struct {
			Choices []struct {
				Delta    message
				LogProbs *struct{ Content []tokenLogProb }
			}
		}
		if err := json.Unmarshal([]byte(e), &c); err != nil {
			t.Fatal(err)
		}
		thought += c.Choices[0].Delta.Other
		said += c.Choices[0].Delta.Content
	}
	if said != "Paris." || strings.TrimSpace(thought) != "Er fragt." {
		t.Errorf("streamed: thought %q, said %q", thought, said)
	}
	for _, field := range []string{`"reasoning_effort":"none"`, `"chat_template_kwargs":{"enable_thinking":false}`, `"include_reasoning":false`} {
		a.Choices[0].Message = message{}
		post(t, url+"/v1/chat/completions", `{`+hello+`,`+forced+`,`+field+`}`, &a)
		if m := a.Choices[0].Message; m.Content != "Paris." || m.Reasoning+m.Other != "" {
			t.Errorf("%s: %+v", field, m)
		}
	}
	// A small bound on the answer cuts the thought, not silently.
	post(t, url+"/v1/chat/completions", `{`+hello+`,`+forced+`,"max_completion_tokens":12,"reasoning_effort":"high"}`, &a)
	if m := a.Choices[0].Message; m.Content != "" || m.Reasoning == "" || a.Choices[0].Finish != "length" {
		t.Errorf("%+v", a)
	}
}

// Ollama's think reaches the template, and its answers have thoughts apart.
func TestOllamaThinking(t *testing.T) {
	for _, opened := range []bool{false, true} {
		url := thinker(t, opened)
		prompt := func(field string) string {
			var p struct{ Prompt string }
			post(t, url+"/apply-template", `{`+hello+field+`}`, &p)
			return p.Prompt
		}
		if off := prompt(`,"chat_template_kwargs":{"enable_thinking":false}`); !strings.Contains(off, "</think>") || strings.Contains(prompt(`,"reasoning_effort":"low"`), "</think>") {
			t.Errorf("the template does not know: %q", off)
		}
		var l ollamaLine
		for _, think := range []string{`true`, `"low"`, `null`} {
			post(t, url+"/api/chat", `{`+hello+`,"think":`+think+`,"stream":false,"options":{"num_predict":5,"temperature":0}}`, &l)
			if opened != (l.Message.Thinking != "") || opened != (l.Message.Content == "") {
				t.Errorf("think %s: %+v", think, l.Message)
			}
		}
		for _, path := range []string{"/api/chat", "/api/generate"} {
			l = ollamaLine{}
			post(t, url+path, `{`+hello+`,"prompt":"x","think":false,"stream":false,"options":{"num_predict":5,"temperature":0}}`, &l)
			if l.Message.Thinking+l.Thinking != "" || l.Message.Content+l.Response == "" {
				t.Errorf("think false: %+v", l)
			}
		}
		var show struct{ Capabilities []string }
		post(t, url+"/api/show", `{"model":"leo-mini"}`, &show)
		if !strings.Contains(strings.Join(show.Capabilities, " "), "thinking") {
			t.Errorf("%q", show.Capabilities)
		}
		if opened {
			var r responseObject
			post(t, url+"/v1/responses", `{"input":"x","max_output_tokens":5}`, &r)
			if r.Output[0].Type != "reasoning" || r.Output[0].Content[0].Type != "reasoning_text" || *r.Usage.Reasoned.Tokens != 5 || r.Status != "incomplete" {
				t.Errorf("%+v", r)
			}
		}
	}
}

// Where the template has begun a thought, a constraint waits until it has ended.
func TestConstraintAfterThought(t *testing.T) {
	s, _ := newTest(t, Config{})
	m, release, err := s.models.get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	m.card.tags = tagsOf("</think>")
	build, err := m.constraint(t.Context(), kindOf{"choice", `["ja","nein"]`, "guided_choice"})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := build().Mask()
	if err != nil {
		t.Fatal(err)
	}
	c := m.afterThought(build)()
	for _, id := range m.Tokenizer.AppendTokens(nil, "Er fragt. 3 > 2 </think>") {
		mask, err := c.Mask()
		if err != nil || mask[id/64]>>(id%64)&1 == 0 || c.Done() {
			t.Fatalf("%q: %v", m.bytes(id), err)
		}
		for _, stop := range m.StopIDs {
			if mask[stop/64]>>(stop%64)&1 == 1 {
				t.Fatal("a thought may stop the answer")
			}
		}
		if err := c.Accept(id); err != nil {
			t.Fatal(err)
		}
	}
	mask, err := c.Mask()
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range mask {
		if word != inner[i] {
			t.Fatal("the constraint has not begun")
		}
	}
}
