package card

import (
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const goodFront = `language: [de, gsw, code]
license: other
license_name: my-license-1.0
license_link: LICENSE
datasets: [squad, OpenAssistant/OASST-DE]
base_model: LeoLM/leo-hessianai-13b
tags: [german]
model-index:
- name: m
  results:
  - task: {type: text-generation}
    dataset: {type: LeoLM/ArcChallenge_de, name: ARC}
    metrics:
    - {type: acc_norm, value: 0.5, name: accuracy}
`

func TestFrontMatterRules(t *testing.T) {
	if err := checkYAML([]byte(goodFront)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{ // what is replaced, by what, and what is said
		{"name: m\n", "name: \n", "model-index[0].name: is missing"},
		{"- name: m\n  results:", "- results:", "model-index[0].name: is missing"},
		{"{type: text-generation}", "{name: x}", "task.type: is missing"},
		{"type: LeoLM/ArcChallenge_de, ", "", "dataset.type: is missing"},
		{", name: ARC", "", "dataset.name: is missing"},
		{"type: acc_norm, ", "", "metrics[0].type: is missing"},
		{"value: 0.5, ", "", "metrics[0].value: <nil> is no number"},
		{"value: 0.5", "value: .nan", "NaN is no finite number"},
		{"value: 0.5", "value: .inf", "no finite number"},
		{"value: 0.5", `value: "71 %"`, "71 % is no number"},
		{"value: 0.5", "value: 0.5, verified: true", "only the hub verifies"},
		{"[squad, OpenAssistant/OASST-DE]", "[null]", "datasets[0]: is missing"},
		{"[squad, OpenAssistant/OASST-DE]", "[]", "datasets: must be a list with entries"},
		{"[squad, OpenAssistant/OASST-DE]", "[./files/a]", "no id on the hub"},
		{"[de, gsw, code]", "[de, no, German]", `"German" is no code`},
		{"[de, gsw, code]", "[1]", "1 is no text"},
		{"license: other", "license: Apache-2.0", "no license that the hub knows"},
		{"license: other", "license: [mit]", "is no text"},
		{"license_name: my-license-1.0\n", "", "license_name: with license other"},
		{"license_link: LICENSE\n", "", "license_link: with license other"},
		{"tags: [german]", `tags: [""]`, "tags[0]: is empty"},
		{"    metrics:\n    - {type: acc_norm, value: 0.5, name: accuracy}\n", "", "metrics: must be a list"},
		{"language:", "language: [", "YAML"},
	} {
		text := strings.Replace(goodFront, c[0], c[1], 1)
		var e *FrontMatterError
		if err := checkYAML([]byte(text)); text == goodFront || !errors.As(err, &e) || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%q for %q: %v, want %q", c[1], c[0], err, c[2])
		}
	}
	if err := CheckFrontMatter([]byte("---\nlicense: mit\n")); err == nil {
		t.Error("front matter without an end is accepted")
	}
	if err := CheckFrontMatter([]byte("# no front matter\n")); err != nil {
		t.Error(err)
	}
}

// Every text comes back from YAML as it was.
func FuzzYAMLText(f *testing.F) {
	for _, s := range []string{"", "no", "Yes", "null", "~", "1.10", "0x1F", "1e3", "2026-11-29", "- a", "a: b", "a #b", "\"q\"", "'", "Björn 🦁", "a\nb\r\n\tc", "\x00\x1b\x7f\u0085\u2028\ufeff", "@x", "%y", "{", "[", "&a", "*a", "!t", "|", ">", "\\", "=", "<<"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got struct {
			A any
			B []any
		}
		text := yamlText(s)
		if err := yaml.Unmarshal([]byte("a: "+text+"\nb:\n- "+text+"\n"), &got); err != nil {
			t.Fatalf("%q as %s: %v", s, text, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); got.A != want || len(got.B) != 1 || got.B[0] != want {
			t.Errorf("%q as %s comes back as %q", s, text, got.A)
		}
	})
}

// Whatever stands at the head of a file, the check ends with a verdict.
func FuzzCheckFrontMatter(f *testing.F) {
	f.Add(goodFront)
	for _, s := range []string{"", "a", "- a", "model-index: [[]]", "model-index: [{results: [{task: 1, dataset: [], metrics: {}}]}]", "license: {a: b}", "? a\n: b", "1: 2", "a: &a [*a]", "language: !!binary x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e *FrontMatterError
		if err := CheckFrontMatter([]byte("---\n" + s + "\n---\n")); err != nil && !errors.As(err, &e) {
			t.Errorf("%v", err)
		}
	})
}

// A text is one line, and ends neither a cell nor a block.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"a", "a|b", "`", "``` x", "\\|", "\\", "<b>", "a\nb", "# x", "1. x", "- x", "_a_b", "\u2028", "[a](b)", "&lt;", "\x00\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, out := range []string{inline(s), cell(s), codeCell(s)} {
			bare := strings.ReplaceAll(out, `\\`, "")
			if strings.ContainsAny(out, "\n\r\x00") || strings.Count(bare, "|") != strings.Count(bare, `\|`) {
				t.Errorf("%q becomes %q", s, out)
			}
		}
		lines := strings.Split(fence("", s), "\n")
		for _, l := range lines[1 : len(lines)-1] {
			if strings.HasPrefix(strings.TrimSpace(l), lines[0]) {
				t.Errorf("%q ends its block: %q", s, l)
			}
		}
	})
}
