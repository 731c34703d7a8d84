package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"leolm/dataset/rows"
	"leolm/internal/shareddata"
)

// dialogues reads a file through a reader and shows what came out, one
// dialogue or error a line: "S:system U:text A:text".
func dialogues(t *testing.T, preset, source, file, content string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	mix := fmt.Sprintf("prefix: x\npreset: %s\ntokenizer: none\nsources:\n  - {name: n, files: [%s], %s}\n", preset, file, source)
	os.WriteFile(filepath.Join(dir, "mix.yaml"), []byte(mix), 0o644)
	m, err := LoadMix(filepath.Join(dir, "mix.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.open(&m.Sources[0])
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	show := func(d *Dialogue) {
		var parts []string
		if d.System != "" {
			parts = append(parts, "S:"+d.System)
		}
		for _, tool := range d.Tools {
			parts = append(parts, "D:"+string(tool))
		}
		for _, turn := range d.Turns {
			if turn.Context != "" {
				parts = append(parts, "C:"+turn.Context)
			}
			part := strings.ToUpper(turn.Role.String()[:1])
			if turn.Muted {
				part += "0"
			}
			for _, c := range turn.ToolCalls {
				part += fmt.Sprintf("(%s%s %s)", c.ID, c.Name, c.Arguments)
			}
			parts = append(parts, part+":"+turn.ToolCallID+turn.Name+turn.Text)
		}
		lines = append(lines, strings.Join(parts, " "))
	}
	fail := func(err error) { lines = append(lines, strings.ReplaceAll(err.Error(), dir+"/", "")) }
	r, err := rows.Open(path, rows.Options{Path: s.src.Path, UsualPath: s.path, Columns: s.src.Header})
	if err != nil {
		fail(err)
		return strings.Join(lines, "\n")
	}
	defer r.Close()
	var all []readRow
	for {
		var row rows.Row
		err := r.Next(&row)
		if errors.Is(err, io.EOF) {
			break
		}
		var v rows.Value
		if err == nil {
			v, err = row.Value()
		}
		wanted := true
		if err == nil {
			wanted, err = s.matches(&row, &v)
		}
		if err != nil {
			fail(err)
			return strings.Join(lines, "\n")
		}
		if !wanted {
			continue
		}
		if s.whole != nil {
			all = append(all, readRow{&row, v})
			continue
		}
		ds, err := s.convert(s, &row, &v)
		if err != nil {
			fail(err)
		}
		for i := range ds {
			show(&ds[i])
		}
	}
	if s.whole != nil {
		ds, err := s.whole(s, all)
		if err != nil {
			fail(err)
		}
		for i := range ds {
			show(&ds[i].dlg)
		}
	}
	return strings.Join(lines, "\n")
}

func TestReaders(t *testing.T) {
	for _, c := range []struct{ preset, source, file, content, want string }{
		{"default", "reader: oasst_de", "a.jsonl", `{"conversation":[{"role":"prompter","text":"a"},{"role":"assistant","text":"b"},{"role":"prompter","text":"c"}]}`, "U:a A:b U:c"},
		{"default", "reader: sharegpt", "a.json", `[{"id":"1","conversations":[{"from":"system","value":"s"},{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}]`, "S:s U:a A:b"},
		// The original goes by position, whatever the labels say.
		{"leolm", "reader: sharegpt", "a.json", `[{"conversations":[{"from":"gpt","value":"a"},{"from":"human","value":"b"}]}]`, "U:a A:b"},
		{"default", "reader: sharegpt", "a.json", `[{"conversations":[{"from":"gpt","value":"a"},{"from":"human","value":"b"}]}]`, "A:a U:b"},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c"}]}`, "S:s U:ab A:c"},
		{"default", "reader: openschnabeltier", "a.jsonl", `{"instruction":"x","output":"y","instruction_de":"a","output_de":"b"}`, "U:a A:b"},
		{"default", "reader: german_poems", "a.csv", "prompt,poem\na,\"b\nc\"\n", "U:a A:b\nc"},
		{"default", "reader: german_songs", "a.jsonl", `{"prompt":"a","song":"b","analysis_prompt":"c","analysis":"d"}`, "U:a A:b U:c A:d"},
		{"default", "reader: alpaca", "a.jsonl", `{"instruction":"a","input":"","output":"b"}` + "\n" + `{"instruction":"a","input":"i","output":"b"}`, "U:a A:b\nU:a\ni A:b"},
		{"default", "reader: qa, columns: {question: f, answer: a, system: s, context: c}", "a.jsonl", `{"f":"1","a":"2","s":"3","c":"4"}` + "\n" + `{"f":"1","a":"2","s":null}`, "S:3 U:1 C:4 A:2\nU:1 A:2"},
		{"default", "reader: qa, header: [question, answer]", "a.tsv", "Wie viel?\t18\n", "U:Wie viel? A:18"},
		{"default", `reader: qa, where: {k: ["b*", "!bad"]}`, "a.jsonl", `{"k":"a","question":"1","answer":"1"}` + "\n" + `{"k":"b1","question":"2","answer":"2"}` + "\n" + `{"k":"bad","question":"3","answer":"3"}`, "U:2 A:2"},
		{"default", "reader: pairs", "a.yml", "conversations:\n- - a\n  - 42\n- - a\n  - b\n  - c\n", "U:a A:42\nU:a A:b"},
		{"default", "reader: pairs", "a.jsonl", `["a","b"]`, "U:a A:b"},
		{"default", "reader: squad", "a.json", `{"version":"1.1","data":[{"paragraphs":[{"context":"c","qas":[{"question":"q","answers":[{"text":"x","answer_start":0},{"text":"y"}]},{"question":"r","answers":[]}]}]}]}`, "U:c\n\nq A:x"},
		{"default", "reader: choices", "a.json", `[{"num":"1","question":"q","a":"x","b":"y","solution":"b"}]`, "U:q\na) x\nb) y A:b) y"},
		{"default", "reader: oasst", "a.jsonl", `{"message_id":"1","parent_id":null,"text":"p","role":"prompter","lang":"de"}
{"message_id":"2","parent_id":"1","text":"worse","role":"assistant","rank":1}
{"message_id":"3","parent_id":"1","text":"best","role":"assistant","rank":0}
{"message_id":"4","parent_id":"3","text":"more","role":"prompter"}
{"message_id":"5","parent_id":null,"text":"alone","role":"prompter"}`, "U:p A:best"},
		{"default", "reader: oasst, paths: all", "a.jsonl", `{"message_id":"1","parent_id":null,"text":"p","role":"prompter"}
{"message_id":"2","parent_id":"1","text":"worse","role":"assistant","rank":1}
{"message_id":"3","parent_id":"1","text":"best","role":"assistant","rank":0}
{"message_id":"4","parent_id":"2","text":"more","role":"prompter"}
{"message_id":"5","parent_id":"4","text":"end","role":"assistant"}`, "U:p A:best\nU:p A:worse U:more A:end"},
		{"default", "reader: oasst, lang: de", "a.jsonl", `{"prompt":{"text":"p","role":"prompter","lang":"de","replies":[{"text":"b","role":"assistant","rank":1},{"text":"a","role":"assistant","rank":0,"replies":[{"text":"c","role":"prompter"}]}]}}
{"prompt":{"text":"e","role":"prompter","lang":"en","replies":[{"text":"f","role":"assistant"}]}}`, "U:p A:a"},
		{"default", "reader: oasst, lang: deu", "a.jsonl", `{"prompt":{"text":"p","role":"prompter","lang":"de","replies":[{"text":"b","role":"assistant","rank":1},{"text":"a","role":"assistant","rank":0,"replies":[{"text":"c","role":"prompter"}]}]}}
{"prompt":{"text":"e","role":"prompter","lang":"en","replies":[{"text":"f","role":"assistant"}]}}`, "U:p A:a"},

		// Tools: OpenAI's messages, the older function_call, columns that hold JSON as text, LLaMA-Factory's ShareGPT.
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}},{"function":{"name":"g","arguments":{}}}]},{"role":"tool","tool_call_id":"1","content":"b"},{"role":"tool","name":"g","content":""},{"role":"assistant","content":"c","tool_calls":[]}],"tools":[{"type":"function","function":{"name":"f"}}]}`,
			`D:{"type": "function", "function": {"name": "f"}} U:a A(1f {"x": 1})(g {}): T:1b T:g A:c`},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"b"},{"role":"assistant","content":"c","tool_calls":null}],"tools":null}`, `U:a A(f {}): T:fb A:c`},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"t","tool_calls":"[{\"id\":\"7\",\"name\":\"f\",\"arguments\":{}}]"}],"tools":"[{\"name\":\"f\",\"parameters\":{}}]"}`, `D:{"type": "function", "function": {"name":"f","parameters":{}}} U:a A(7f {}):t`},
		{"default", "reader: sharegpt", "a.jsonl", `{"system":"s","tools":"[]","conversations":[{"from":"human","value":"a"},{"from":"function_call","value":"{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},{"from":"observation","value":"b"},{"from":"gpt","value":"c"}]}`, `S:s U:a A(f {"x": 1}): T:b A:c`},
		{"default", "reader: sharegpt", "a.jsonl", `{"system":"s","tools":"","conversations":[{"from":"system","value":"own"},{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}`, `S:own U:a A:b`},
		{"default", "reader: sharegpt, columns: {system: anweisung}", "a.jsonl", `{"system":"x","anweisung":"s","conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}`, `S:s U:a A:b`},
		{"default", `reader: sharegpt, columns: {system: ""}`, "a.jsonl", `{"system":3,"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}`, `U:a A:b`},
		// The original dropped what it did not know.
		{"leolm", "reader: sharegpt", "a.jsonl", `{"system":"s","tools":3,"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b","weight":0,"tool_calls":7}]}`, `U:a A:b`},

		// Turns that are read and not learnt.
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0},{"role":"user","content":"c","weight":1},{"role":"assistant","content":"d","weight":1.0},{"role":"user","content":"e"},{"role":"assistant","content":"f","weight":null}]}`, `U:a A0:b U:c A:d U:e A:f`},
		{"default", "reader: sharegpt, columns: {weight: train}", "a.jsonl", `{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b","train":false},{"from":"human","value":"a"},{"from":"gpt","value":"b","train":true}]}`, `U:a A0:b U:a A:b`},

		// Alpaca with what LLaMA-Factory knows beside it.
		{"default", "reader: alpaca", "a.jsonl", `{"instruction":"a","input":"i","output":"b","system":"s","history":[["x","y"],["z","w"]]}` + "\n" + `{"instruction":"a","input":null,"output":"b","system":"","history":[]}`, "S:s U:x A:y U:z A:w U:a\ni A:b\nU:a A:b"},

		// YAML's texts need no quotes.
		{"default", "reader: qa", "a.yml", "- {question: Null, answer: 0431}\n- question: ~\n  answer: 3.10\n", "U:Null A:0431\nU:~ A:3.10"},

		// Python's fnmatch.
		{"default", `reader: qa, where: {k: ["!*x*"]}`, "a.jsonl", `{"k":"a/x","question":"1","answer":"1"}` + "\n" + `{"k":"b/y","question":"2","answer":"2"}`, "U:2 A:2"},

		// What is wrong, and where.
		{"default", `reader: qa, where: {k: ["*"]}`, "a.jsonl", `{"k":["a"],"question":"1","answer":"1"}`, `a.jsonl: row 1 (line 1), column "k": where: compares texts and numbers, found a list`},
		{"default", "reader: qa", "a.yml", "- question: a\n  answer:\n", `a.yml: row 1 (line 1), column "answer": want text, found nothing`},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"assistant","content":"a","weight":0.5}]}`, `a.jsonl: row 1 (line 1), column "messages[0].weight": want 0 or 1, found 0.5`},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]}`, `a.jsonl: row 1 (line 1), column "messages[0].tool_calls[0]": the call has no name`},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"assistant","tool_calls":[{"type":"retrieval"}]}]}`, `a.jsonl: row 1 (line 1), column "messages[0].tool_calls[0]": cannot be read as a call: chat: tool call of type "retrieval"; only "function" is known`},
		{"default", "reader: sharegpt", "a.jsonl", `{"conversations":[{"from":"function_call","value":"f(x)"}]}`, `a.jsonl: row 1 (line 1), column "conversations[0].value": want a call {name, arguments} or a list of calls: invalid character '(' in literal false (expecting 'a')`},
		{"default", "reader: sharegpt", "a.jsonl", `{"tools":"[{}]","conversations":[]}`, `a.jsonl: row 1 (line 1), column "tools[0]": the tool has no name`},
		{"default", "reader: alpaca", "a.jsonl", `{"instruction":"a","output":"b","history":[["x"]]}`, `a.jsonl: row 1 (line 1), column "history[0]": want a list of a question and its answer`},
		{"default", "reader: qa", "a.jsonl", `{"question":"a"}`, `a.jsonl: row 1 (line 1), column "answer": the column is missing; there are question (name another with columns: {answer: …})`},
		{"default", "reader: qa", "a.jsonl", "{\"question\":\"a\",\"answer\":\"b\"}\n{\"question\":\"a\",\"answer\":17}", "U:a A:b\n" + `a.jsonl: row 2 (line 2), column "answer": want text, found a number`},
		{"default", "reader: qa", "a.jsonl", `[1]`, `a.jsonl: row 1 (line 1): want an object with named columns, found a list`},
		{"default", "reader: sharegpt", "a.jsonl", `{"conversations":"x"}`, `a.jsonl: row 1 (line 1), column "conversations": want a list of turns, found text`},
		{"default", "reader: sharegpt", "a.jsonl", `{"conversations":[{"from":"human","value":null}]}`, `a.jsonl: row 1 (line 1), column "conversations[0].value": want text, found nothing`},
		{"default", "reader: sharegpt", "a.jsonl", `{"conversations":[{"from":"martian","value":"x"}]}`, `a.jsonl: row 1 (line 1), column "conversations[0].from": unknown role "martian": want system, user, human, prompter, assistant, gpt, bot, tool, function_call or observation`},
		{"default", "reader: sharegpt", "a.jsonl", `{"conversations":[3]}`, `a.jsonl: row 1 (line 1), column "conversations[0]": want an object with from and value, found a number`},
		{"default", "reader: messages", "a.jsonl", `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `a.jsonl: row 1 (line 1), column "messages[0].content[0]": want a part with text; images and other parts cannot be used`},
		{"default", "reader: choices", "a.json", `[{"question":"q","a":"x","solution":"c"}]`, `a.json: row 1 (line 1), column "solution": the solution "c" is none of the options`},
		{"default", "reader: oasst", "a.jsonl", `{"message_id":"1","parent_id":"9","text":"p","role":"prompter"}`, `a.jsonl: row 1 (line 1), column "parent_id": there is no message with the id "9"`},
		{"default", "reader: oasst", "a.jsonl", `{"message_id":"1","text":"p","role":"prompter"}` + "\n" + `{"message_id":"1","text":"q","role":"prompter"}`, `a.jsonl: row 2 (line 2), column "message_id": the message id "1" appeared before, in row 1`},
	} {
		if got := dialogues(t, c.preset, c.source, c.file, c.content); got != c.want {
			t.Errorf("%s of %s:\n got %s\nwant %s", c.source, c.content, got, c.want)
		}
	}
}

// TestBytesAreNoText: a text column of a Parquet file that is not UTF-8 is refused
// by row and column where it is used.
func TestBytesAreNoText(t *testing.T) {
	type line struct {
		Question string `parquet:"question"`
		Answer   string `parquet:"answer"`
		Note     string `parquet:"note"`
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []line{{"a", "b", "\xff"}, {"gr\xf6n", "b", ""}}); err != nil {
		t.Fatal(err)
	}
	want := "U:a A:b\n" + `a.parquet: row 2, column "question": want text, found bytes that are not UTF-8`
	if got := dialogues(t, "default", "reader: qa", "a.parquet", b.String()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestOASSTTreesOfShared(t *testing.T) {
	data, err := os.ReadFile(shareddata.Path(t, "data/schemas_en/oasst_trees.json"))
	if err != nil {
		t.Fatal(err)
	}
	top := strings.Count(dialogues(t, "default", "reader: oasst", "a.json", string(data)), "U:")
	all := strings.Count(dialogues(t, "default", "reader: oasst, paths: all", "a.json", string(data)), "U:")
	if top < 60 || all <= top {
		t.Errorf("%d user turns on best paths, %d on all", top, all)
	}
}

func TestMixErrors(t *testing.T) {
	for yaml, want := range map[string]string{
		"sources:\n  - {name: a, reader: nonsense, files: [x]}":                   `unknown reader "nonsense"`,
		"sources:\n  - {name: a, reader: qa, files: [x], fraction: 0.5, size: 3}": "give fraction or size, not both",
		"sources:\n  - {name: a, reader: qa, files: [x], fraction: 0}":            "fraction",
		"sources:\n  - {name: a, reader: qa, files: [x], val_split: 1}":           "val_split",
		"sources:\n  - {name: a, reader: qa, files: [x], columns: {frage: f}}":    `reader qa has no "frage"; it looks for answer, context, question, system`,
		"sources: []": "sources",
		"preset: other\nsources:\n  - {name: a, reader: qa, files: [x]}":                       "preset",
		"colour: red\nsources:\n  - {name: a, reader: qa, files: [x]}":                         "colour",
		"sources:\n  - {name: a, reader: qa, files: [x], explanations: y}":                     "only reader choices uses explanations",
		"filters: {mojibake: maybe}\nsources:\n  - {name: a, reader: qa, files: [x]}":          "mojibake",
		"filters: {languages: [de, deutsch]}\nsources:\n  - {name: a, reader: qa, files: [x]}": `filters.languages.1: "deutsch" is no language that can be told from a text; known are ar, bg`,
	} {
		path := filepath.Join(t.TempDir(), "mix.yaml")
		os.WriteFile(path, []byte("prefix: x\ntokenizer: y\n"+yaml+"\n"), 0o644)
		if _, err := LoadMix(path, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", yaml, err, want)
		}
	}
}

// TestRecipes: the shipped mixes are valid, and the card's has its datasets in
// the card's order.
func TestRecipes(t *testing.T) {
	m, err := LoadMix("../recipes/data/leolm-chat.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Preset != presetLeoLM || m.Seed != 42 || m.SplitSeed != 666 || m.MinAssistantTokens != 0 {
		t.Errorf("mix %+v", m)
	}
	want := []string{"OpenAssistant/OASST-DE 0.05", "FreedomIntelligence/evol-instruct-deutsch 0.02", "FreedomIntelligence/alpaca-gpt4-deutsch 0.02",
		"LeoLM/OpenSchnabeltier 0.02", "LeoLM/German_Songs 0.02", "LeoLM/German_Poems 0.02"}
	for i, s := range m.Sources {
		if got := fmt.Sprint(s.Name, " ", m.valSplit(&s)); got != want[i] || s.Hub != s.Name {
			t.Errorf("source %d: %s from %s, want %s", i, got, s.Hub, want[i])
		}
	}
	if len(m.Sources) != len(want) {
		t.Errorf("%d sources", len(m.Sources))
	}
	if _, err := LoadMix("../recipes/data/shared.yaml", nil); err != nil {
		t.Error(err)
	}
}
