package dataset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/tokenizer"
)

// toolTemplate writes ChatML with tools and calls, in marks of its own.
const toolTemplate = `{% for t in tools or [] %}#{{ t | tojson }}
{% endfor %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}!{{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}{{ "\n" }}{% endfor %}`

// marked shows a sample: its text, with the role byte in brackets where it changes.
func marked(tok *tokenizer.Tokenizer, s shard.Sample) string {
	var b strings.Builder
	from := 0
	for i := 1; i <= len(s.IDs); i++ {
		if i == len(s.IDs) || s.Roles[i] != s.Roles[from] {
			fmt.Fprintf(&b, "[%d]%s", s.Roles[from], strings.ReplaceAll(tok.Decode(s.IDs[from:i], false), "\n", "⏎"))
			from = i
		}
	}
	return b.String()
}

// samplesOf prepares a mix of one file and shows its samples, or the error.
func samplesOf(t *testing.T, mix, rows string, files map[string]string) string {
	t.Helper()
	all := map[string]string{"a.jsonl": rows}
	for name, text := range files {
		all[name] = text
	}
	m := writeMix(t, mix, all)
	dir := t.TempDir()
	if _, err := Prepare(context.Background(), m, dir, PrepareOptions{}); err != nil {
		return strings.ReplaceAll(err.Error(), m.dir+"/", "")
	}
	tok, err := tokenizer.Open(filepath.Join(m.dir, "tiny.model"), tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	shards, err := shard.Open(filepath.Join(dir, "x-train"))
	if err != nil {
		t.Fatal(err)
	}
	defer shards.Close()
	var out []string
	for i := range shards.Len() {
		s := shards.Sample(i)
		for k, id := range s.IDs { // LeoLM's added tokens are not in the file
			if int(id) >= tok.Vocab() {
				s.IDs[k] = tok.UNK()
			}
		}
		out = append(out, marked(tok, s))
	}
	skipped, err := os.ReadFile(filepath.Join(dir, "x_skipped.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.Join(append(out, strings.TrimSpace(string(skipped))), "\n"), m.dir+"/", "")
	// A lone tokenizer.model asks for BOS in front, which belongs to no message.
	return strings.NewReplacer("[0]<s>[1]", "[1]", "[0]<s> ", "[0]", "[0]<s>", "[0]").Replace(text)
}

func TestToolDialogues(t *testing.T) {
	const source = "sources:\n  - {name: A, reader: messages, files: [a.jsonl]}\n"
	const own = "template: t.jinja\n" + source
	const tools = `"tools":[{"name":"wetter","parameters":{}}],`
	const call = `{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"wetter","arguments":"{\"stadt\": \"Ulm\"}"}}]}`
	whole := `{` + tools + `"messages":[{"role":"user","content":"warm?"},` + call + `,{"role":"tool","tool_call_id":"1","content":"12"},{"role":"assistant","content":"Ja."}]}`
	bare := `{"messages":[{"role":"user","content":"warm?"},` + call + `]}`
	noCalls := strings.ReplaceAll(toolTemplate, "m.tool_calls or []", "[]")
	noTools := strings.ReplaceAll(toolTemplate, "tools or []", "[]")
	noRole := strings.ReplaceAll(toolTemplate, "for m in messages", "for m in messages if m.role != 'tool'")
	for name, tc := range map[string]struct{ mix, rows, template, want string }{
		"whole": {own, whole, toolTemplate,
			`[0]#{"type": "function", "function": {"name": "wetter", "parameters": {}}}⏎[1]<user>warm?⏎[2]<assistant>!wetter {"stadt": "Ulm"}⏎[4]<tool>12⏎[2]<assistant>Ja.⏎` + "\n"},
		"ends with a call": {own, bare, toolTemplate, `[1]<user>warm?⏎[2]<assistant>!wetter {"stadt": "Ulm"}⏎` + "\n"},
		// A row that a template would cut is refused by name, never trained without a part of it.
		"ChatML":            {source, bare, "", "source A: a.jsonl: row 1 (line 1): cannot be encoded: message 2 calls the tool wetter: LeoLM's ChatML has no place for calls; name a template that has (template:) (on_error: skip leaves such rows out and lists them)"},
		"ChatML, tools":     {source, `{` + tools + `"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, "", "source A: a.jsonl: row 1 (line 1): cannot be encoded: the tool wetter is described: LeoLM's ChatML has no place for tools; name a template that has (template:), or leave tools out (columns: {tools: \"\"}) (on_error: skip leaves such rows out and lists them)"},
		"ChatML, reasoning": {source, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","reasoning_content":"c"}]}`, "", "source A: a.jsonl: row 1 (line 1): cannot be encoded: message 2 has reasoning_content: LeoLM's ChatML has no place for it; name a template that has (template:) (on_error: skip leaves such rows out and lists them)"},
		"no calls":          {own, bare, noCalls, "source A: a.jsonl: row 1 (line 1): cannot be encoded: the template does not write the call of the tool wetter in message 2; use one that knows tool_calls (on_error: skip leaves such rows out and lists them)"},
		"no tools":          {own, whole, noTools, "source A: a.jsonl: row 1 (line 1): cannot be encoded: the template does not write the description of the tool wetter; use one that knows tools, or leave them out (columns: {tools: \"\"}) (on_error: skip leaves such rows out and lists them)"},
		"no tool's turns":   {own, whole, noRole, "source A: a.jsonl: row 1 (line 1): cannot be encoded: the template does not write message 3, the tool's (on_error: skip leaves such rows out and lists them)"},
		"built in":          {"template: card-template\n" + source, bare, "", "template card-template needs"},
		// What does not alternate.
		"unanswered": {"on_error: skip\n" + own, whole + "\n" + `{"messages":[{"role":"user","content":"a"},` + call + `,{"role":"tool","content":"12"}]}`, toolTemplate,
			`[0]#{"type": "function", "function": {"name": "wetter", "parameters": {}}}⏎[1]<user>warm?⏎[2]<assistant>!wetter {"stadt": "Ulm"}⏎[4]<tool>12⏎[2]<assistant>Ja.⏎` + "\n" +
				`{"source":"A","file":"a.jsonl","row":2,"line":2,"reason":"unbalanced turns","detail":"the last turn is the tool's"}`},
		"tool first": {own, `{"messages":[{"role":"tool","content":"12"},{"role":"assistant","content":"a"}]}`, toolTemplate,
			`every sample was skipped, nothing is left to write: 1 for "unbalanced turns"; the first is a.jsonl: row 1: unbalanced turns (turn 1 is the tool's, where the user's is expected)`},
		"twice the assistant": {own, `{"messages":[{"role":"user","content":"a"},` + call + `,{"role":"assistant","content":"a"}]}`, toolTemplate,
			`every sample was skipped, nothing is left to write: 1 for "unbalanced turns"; the first is a.jsonl: row 1: unbalanced turns (turn 3 is the assistant's, where the user's is expected)`},
		// Calls count where dialogues are compared.
		"duplicates": {"filters: {duplicates: true}\n" + own, bare + "\n" + strings.Replace(bare, "Ulm", "Kiel", 1) + "\n" + bare, toolTemplate,
			`[1]<user>warm?⏎[2]<assistant>!wetter {"stadt": "Ulm"}⏎` + "\n" + `[1]<user>warm?⏎[2]<assistant>!wetter {"stadt": "Kiel"}⏎` + "\n" +
				`{"source":"A","file":"a.jsonl","row":3,"line":3,"reason":"duplicate","detail":"of row 1 of A"}`},
	} {
		got := samplesOf(t, tc.mix, tc.rows, map[string]string{"t.jinja": tc.template})
		if name == "built in" {
			if !strings.Contains(got, tc.want) {
				t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
			}
		} else if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

// TestLossMarks: turns with weight 0 carry no loss, and where a template marks
// what is generated, that alone is the assistant's.
func TestLossMarks(t *testing.T) {
	const plain = "sources:\n  - {name: A, reader: messages, files: [a.jsonl]}\n"
	const own = "template: t.jinja\n" + plain
	const rows = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"falsch","weight":0},{"role":"user","content":"n"},{"role":"assistant","content":"ja"}]}`
	const marks = "{% for m in messages %}{% if m.role == 'assistant' %}<A>{% generation %}{{ m.content }}.{% endgeneration %}{{ '\n' }}{% else %}<U>{{ m.content }}{{ '\n' }}{% endif %}{% endfor %}"
	for name, tc := range map[string]struct{ mix, template, want string }{
		"ChatML":   {plain, "", "[1] ⁇  user⏎a ⁇  ⏎[18] ⁇  assistant⏎falsch ⁇  ⏎[1] ⁇  user⏎n ⁇  ⏎[2] ⁇  assistant⏎ja ⁇  ⏎\n"},
		"template": {own, "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}", "[1]user:a⏎[18]assistant:falsch⏎[1]user:n⏎[2]assistant:ja⏎\n"},
		"marks not reached": {own, "{% for m in messages %}{{ m.role }}:{% if m.content == 'nie' %}{% generation %}!{% endgeneration %}{% endif %}{{ m.content + '\n' }}{% endfor %}",
			"[1]user:a⏎[26]assistant:falsch⏎[1]user:n⏎[10]assistant:ja⏎\n"},
		"template marks": {own, marks, "[1]<U>a⏎[26]<A>[18]falsch.[26]⏎[1]<U>n⏎[10]<A>[2]ja.[10]⏎\n"},
	} {
		if got := samplesOf(t, tc.mix, rows, map[string]string{"t.jinja": tc.template}); got != tc.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, tc.want)
		}
	}
	all, assistant := loader.AllLoss(), loader.AssistantLoss()
	roles, err := loader.RoleLoss(map[string]float64{"assistant": 2, "user": 0.5})
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[uint8][3]float32{0: {1, 0, 0}, 1: {1, 0, 0.5}, 2: {1, 1, 2}, 10: {1, 0, 0}, 18: {}, 26: {}, 17: {}, 255: {}} {
		if got := [3]float32{all.Of(role), assistant.Of(role), roles.Of(role)}; got != want {
			t.Errorf("role byte %d weighs %v, want %v", role, got, want)
		}
	}
}

// TestSizeCountsWhatIsLearnt: a subset is drawn from what passed the filters.
func TestSizeCountsWhatIsLearnt(t *testing.T) {
	var rows strings.Builder
	for i := range 6 {
		for range 3 {
			fmt.Fprintf(&rows, `{"question":"Frage %d?","answer":"Antwort %d."}`+"\n", i, i)
		}
	}
	one := func(options string) (*Report, error) {
		m := writeMix(t, "filters: {duplicates: true}\nsources:\n  - {name: A, reader: qa, files: [a.jsonl], "+options+"}\n", map[string]string{"a.jsonl": rows.String()})
		return Prepare(context.Background(), m, t.TempDir(), PrepareOptions{})
	}
	for options, want := range map[string]string{
		"size: 5":       "5 of 5",
		"size: 6":       "6 of 18",
		"fraction: 0.5": "3 of 3",
		"val_split: 0":  "6 of 18",
	} {
		r, err := one(options)
		if err != nil {
			t.Fatalf("%s: %v", options, err)
		}
		if got := fmt.Sprintf("%d of %d", r.Train[0].Accepted, r.Train[0].Samples); got != want {
			t.Errorf("%s: accepted %s, want %s", options, got, want)
		}
	}
	if _, err := one("size: 7"); err == nil || !strings.Contains(err.Error(), "size 7, but only 6 of 18 training samples passed the filters") {
		t.Errorf("size: 7: %v", err)
	}
	// So is a validation set.
	r, err := one("val_split: 0.9, max_val_set: 2")
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Val[0]; v.Accepted != 2 || v.Samples != 2 {
		t.Errorf("validation: %d of %d accepted, want 2 of 2", v.Accepted, v.Samples)
	}
}

// TestMisspeltColumn: a column that the mix names and no row has stops; one that
// some rows lack does not.
func TestMisspeltColumn(t *testing.T) {
	for _, tc := range []struct{ source, rows, want string }{
		{"reader: qa, columns: {system: sytem}", `{"question":"a","answer":"b","system":"c"}`, `columns: {system: sytem}: no row has a column "sytem"; there are answer, question, system`},
		{"reader: qa, columns: {system: s}", `{"question":"a","answer":"b"}` + "\n" + `{"question":"a","answer":"b","s":"c"}`, ""},
		{"reader: qa, columns: {context: kontext}", `{"question":"a","answer":"b"}`, `columns: {context: kontext}: no row has a column "kontext"; there are answer, question`},
		{"reader: alpaca, columns: {history: h}", `{"instruction":"a","input":"","output":"b"}`, `no row has a column "h"; there are input, instruction, output`},
		{"reader: alpaca", `{"instruction":"a","output":"b"}`, ""},
		{"reader: messages, columns: {weight: train}", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `no row has a column "train"; there are content, role`},
		{"reader: messages, columns: {tools: functions}", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `no row has a column "functions"; there are messages`},
		{"reader: oasst, columns: {rank: rang}", `{"message_id":"1","parent_id":null,"text":"p","role":"prompter"}` + "\n" + `{"message_id":"2","parent_id":"1","text":"q","role":"assistant"}`, `no row has a column "rang"; there are message_id, parent_id, role, text`},
	} {
		for _, mode := range []string{"", "on_error: skip\n"} {
			got := samplesOf(t, mode+"sources:\n  - {name: A, files: [a.jsonl], "+tc.source+"}\n", tc.rows, nil)
			if failed := strings.HasPrefix(got, "source A: "); failed != (tc.want != "") || !strings.Contains(got, tc.want) {
				t.Errorf("%s%s: got %q, want %q", mode, tc.source, got, tc.want)
			}
		}
	}
}
