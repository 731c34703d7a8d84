package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type source1 struct {
	Path   string  `yaml:"path" check:"required"`
	Weight float64 `yaml:"weight" default:"1" check:"gt=0"`
}

type optim struct {
	LR    float64   `yaml:"lr" default:"3e-5" check:"gt=0,max=1"`
	Betas []float64 `yaml:"betas" default:"[0.9, 0.95]" check:"min=2,max=2"`
	Floor float64   `yaml:"floor"`
}

func (o *optim) Validate(fail func(key, format string, args ...any)) {
	if o.Floor > o.LR {
		fail("floor", "must not be above lr (%g), is %g", o.LR, o.Floor)
	}
}

type listed struct {
	Items []source1 `yaml:"items"`
}

func (l *listed) Validate(fail func(key, format string, args ...any)) {
	for i, x := range l.Items {
		if x.Path == "x" {
			fail(fmt.Sprintf("items[%d].path", i), "no x here")
		}
	}
}

func TestValidatePlacesListEntries(t *testing.T) {
	var l listed
	got := messages(t, Load(write(t, "l.yaml", "items:\n  - path: a\n  - path: x\n"), nil, &l))
	if len(got) != 1 || got[0] != "l.yaml:3:11: items.1.path: no x here" {
		t.Errorf("got %q", got)
	}
}

type shape struct {
	Layers int   `yaml:"layers" check:"min=1"`
	Seed   int64 `yaml:"seed"`
}

type recipe1 struct {
	shape  `yaml:"-"`
	Name   string            `yaml:"name" check:"required"`
	Dtype  string            `yaml:"dtype" default:"f32" check:"oneof=f32|bf16"`
	Steps  int               `yaml:"steps" check:"min=1,max=1000"`
	Small  int8              `yaml:"small"`
	Rank   *int              `yaml:"rank" check:"min=1"`
	Save   bool              `yaml:"save"`
	Every  time.Duration     `yaml:"every" default:"10m"`
	Optim  optim             `yaml:"optim"`
	Data   []source1         `yaml:"data"`
	Labels map[string]string `yaml:"labels"`
	Lora   *optim            `yaml:"lora"`
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func messages(t *testing.T, err error) []string {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("got %v (%T), want Errors", err, err)
	}
	var out []string
	for _, e := range all {
		head, _, _ := strings.Cut(e.Error(), "\n")
		out = append(out, strings.TrimPrefix(head, filepath.Dir(e.File)+"/"))
	}
	return out
}

func TestLoad(t *testing.T) {
	path := write(t, "r.yaml", `# a comment
name: Löwe
steps: 131
save: true
rank: 8
optim:
  lr: 2e-5
  betas: [0.9, 0.999]
data:
  - path: a.jsonl
  - {path: b.jsonl, weight: .5}
labels:
  zwei: "2"
  eins: |
    lang
    er
`)
	var r recipe1
	if err := Load(path, []string{"optim.floor=1e-6", "data.1.weight=0.25", "labels.drei=3", "name=5"}, &r); err != nil {
		t.Fatal(err)
	}
	rank := 8
	want := recipe1{
		Name: "5", Dtype: "f32", Steps: 131, Rank: &rank, Save: true, Every: 10 * time.Minute,
		Optim:  optim{LR: 2e-5, Betas: []float64{0.9, 0.999}, Floor: 1e-6},
		Data:   []source1{{"a.jsonl", 1}, {"b.jsonl", .25}},
		Labels: map[string]string{"eins": "lang\ner\n", "zwei": "2", "drei": "3"},
	}
	if d := cmp.Diff(want, r, cmp.AllowUnexported(recipe1{}), cmp.Comparer(func(a, b shape) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// Every mistake in one file is reported, with its place.
func TestEveryErrorAtOnce(t *testing.T) {
	path := write(t, "r.yaml", `nme: x
steps: 1.5
save: yes
small: 300
rank: '5'
steps: 7
every: 10
optim:
  lr: 2
  betas: 0.9
  gamma: 3
data:
  - weight: 0
  - path: 7
labels: [a]
dtype: f16
lora: !!map {}
`)
	var r recipe1
	got := messages(t, Load(path, []string{"optim.lrr=1", "steps.a=2", "optim.floor=x", "data.9.path=y", "kaputt"}, &r))
	want := []string{
		"r.yaml:1:1: nme: unknown key; did you mean name?",
		"r.yaml:1:1: name: this key is required",
		"r.yaml:2:8: steps: want a whole number such as 20 or 131_214, got 1.5",
		"r.yaml:3:7: save: want true or false, got yes",
		"r.yaml:4:8: small: 300 is too large for a 8-bit number",
		`r.yaml:5:7: rank: want a whole number, got the text "5"; leave the quotes out`,
		"r.yaml:6:1: steps: this key is already given in line 2",
		`r.yaml:7:8: every: want a duration such as "90s" or "1h30m", got 10`,
		"r.yaml:9:7: optim.lr: must be at most 1, is 2",
		"r.yaml:10:10: optim.betas: want a list, got 0.9",
		"r.yaml:11:3: optim.gamma: unknown key; known here: lr, betas, floor",
		"r.yaml:13:5: data.0.path: this key is required",
		"r.yaml:13:13: data.0.weight: must be more than 0, is 0",
		"r.yaml:14:11: data.1.path: want a text, got 7; put it in quotes if it is meant as one",
		"r.yaml:15:9: labels: want a block of keys, got a list",
		`r.yaml:16:8: dtype: must be one of f32, bf16, is "f16"`,
		"r.yaml:17:7: lora: the tag !!map isn't read here; write the plain value",
		"set:1:7: optim.lrr: unknown key; did you mean lr?",
		"set:1:7: steps.a: there are no keys below this one; it takes a whole number",
		"set:1:13: optim.floor: want a finite number such as 0.1 or 3e-5, got x",
		"set:1:6: data.9: want the number of a list entry from 0 to 1",
		"set:1:1: want key=value, as in train.lr=3e-5",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSnippet(t *testing.T) {
	path := write(t, "r.yaml", "name: Größe\noptim: {lr: 1, florr: ü}\n")
	var r recipe1
	err := Load(path, nil, &r)
	want := "    2 | optim: {lr: 1, florr: ü}\n      |                ^"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v\nwant it to contain\n%s", err, want)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"tab":       {"name: a\noptim:\n\tlr: 1\n", ":3:1: not YAML"},
		"bracket":   {"name: [a\n", "not YAML"},
		"two":       {"name: a\n---\nname: b\n", "second document"},
		"alias":     {"name: &a x\ndtype: *a\n", "anchors and aliases"},
		"merge":     {"name: a\noptim:\n  <<: {lr: 1}\n", "optim.<<: merge keys"},
		"scalar":    {"just text\n", "want a block of keys"},
		"deep":      {"name: " + strings.Repeat("[", 100000), "nested deeper"},
		"deep list": {strings.Repeat("- ", 100000), "nested deeper"},
		"nan":       {"name: a\noptim: {lr: .nan}\n", "finite number"},
		"huge":      {"name: a\nsteps: 99999999999999999999\n", "too large"},
		"octal":     {"name: a\nsteps: 010\n", "whole number"},
		"null text": {"name:\nsteps: 1\n", "want a text, got nothing"},
		"bool text": {"name: true\nsteps: 1\n", "put it in quotes"},
		"validate":  {"name: a\nsteps: 1\noptim:\n  lr: 1e-5\n  floor: 1e-4\n", ":5:10: optim.floor: must not be above lr"},
		"extends":   {"extends: nichts\n", "no preset"},
		"self":      {"extends: ./r.yaml\n", "in a circle"},
	} {
		t.Run(name, func(t *testing.T) {
			var r recipe1
			err := Load(write(t, "r.yaml", c.text), nil, &r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
		})
	}
}

func TestExtends(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"base.yaml":  "extends: leolm\nsteps: 5\ndata:\n  - path: a\n  - path: b\nlabels: {a: x, b: y}\n",
		"child.yaml": "extends: base.yaml\nname: kind\ndata:\n  - path: c\nlabels: {b: z}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := Loader{Presets: fstest.MapFS{"leolm.yaml": {Data: []byte("steps: 100\noptim: {lr: 3e-5}\nsmall: 3\nname: leolm\n")}}}
	var r recipe1
	if err := l.Load(filepath.Join(dir, "child.yaml"), nil, &r); err != nil {
		t.Fatal(err)
	}
	want := recipe1{Name: "kind", Dtype: "f32", Steps: 5, Small: 3, Every: 10 * time.Minute,
		Optim: optim{LR: 3e-5, Betas: []float64{0.9, 0.95}}, Data: []source1{{"c", 1}},
		Labels: map[string]string{"a": "x", "b": "z"}}
	if d := cmp.Diff(want, r, cmp.AllowUnexported(recipe1{}), cmp.Comparer(func(a, b shape) bool { return a == b })); d != "" {
		t.Error(d)
	}
	// A mistake in the base is reported in the base, before those of the child.
	l.Presets = fstest.MapFS{"leolm.yaml": {Data: []byte("steps: zehn\n")}}
	got := messages(t, l.Load(filepath.Join(dir, "child.yaml"), []string{"x=1"}, &r))
	if len(got) != 2 || !strings.HasPrefix(got[0], "preset leolm:1:8: steps: want a whole number") {
		t.Errorf("got %q", got)
	}
}

func TestPrintReadsBack(t *testing.T) {
	rank := -3
	in := recipe1{Name: "off", Dtype: "bf16", Steps: 12, Rank: &rank, Every: 90 * time.Second,
		Optim:  optim{LR: 3e-5, Betas: []float64{0.9, 1e-30}, Floor: 1e-5 / 3},
		Data:   []source1{{"ein Pfad: mit #", 2}, {"größe\n\"x\"", 1e20}},
		Labels: map[string]string{"": "", "007": "1.5", "ä": " x ", "null": "~"}}
	var a, b bytes.Buffer
	if err := Print(&a, in); err != nil {
		t.Fatal(err)
	}
	if err := Print(&b, &in); err != nil || a.String() != b.String() {
		t.Fatalf("pointer and value print differently (%v)", err)
	}
	in.Rank = nil
	a.Reset()
	if err := Print(&a, in); err != nil {
		t.Fatal(err)
	}
	var out recipe1
	if err := Load(write(t, "p.yaml", a.String()), nil, &out); err != nil {
		t.Fatalf("%v\n%s", err, a.String())
	}
	if d := cmp.Diff(in, out, cmp.AllowUnexported(recipe1{}), cmp.Comparer(func(a, b shape) bool { return a == b })); d != "" {
		t.Errorf("%s\n%s", d, a.String())
	}
	if !strings.Contains(a.String(), "lr: 0.00003\n") {
		t.Errorf("lr isn't printed as PyYAML reads it:\n%s", a.String())
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{"name: a\nsteps: 1\n", "optim: {lr: [1]}", "- a\n- b: c", "a: &x 1\nb: *x", "? a\n: b", "name: |\n x", "%YAML 1.2\n---\n", "\"\": 1", "a:\n  - - - b", "extends: x"} {
		f.Add(s, "steps=1")
	}
	f.Add("", "optim.betas=[1,2")
	f.Add("", "labels.=1")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, set string) {
		watch := time.AfterFunc(5*time.Second, func() { panic(fmt.Sprintf("hangs on %q, with %q", text, set)) })
		defer watch.Stop()
		path := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var r recipe1
		if err := Load(path, []string{set}, &r); err != nil {
			_ = err.Error()
			return
		}
		var b bytes.Buffer
		if err := Print(&b, r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		var again recipe1
		if err := Load(path, nil, &again); err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
	})
}

func TestValues(t *testing.T) {
	rank := -3
	got, err := Values(&recipe1{Name: "a b", Rank: &rank, Every: 90 * time.Second, Optim: optim{LR: 3e-5, Betas: []float64{0.9, 1}}, Data: []source1{{"x", 2}}})
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := Print(&printed, recipe1{}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"name": "a b", "rank": "-3", "every": "1m30s", "optim.betas": "[0.9, 1.0]"} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q; all: %v", key, got[key], want, got)
		}
	}
	if len(got) < strings.Count(printed.String(), "\n")-3 {
		t.Errorf("keys are missing: %v", got)
	}
}

type renamed struct {
	Clean struct {
		Normalize struct {
			NFC bool `yaml:"nfc"`
		} `yaml:"normalize" formerly:"normalise"`
	} `yaml:"clean"`
}

// Keys of the past are read and reported; both names at once, and other names, are errors.
func TestFormerNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.yaml")
	for text, want := range map[string]string{
		"clean:\n  normalise: {nfc: true}\n":                           "r.yaml:2:3: clean.normalise → clean.normalize",
		"clean:\n  normalize: {nfc: true}\n":                           "",
		"clean:\n  normalize: {nfc: true}\n  normalise: {nfc: true}\n": "already given in line 2",
		"clean:\n  normalise: {nfc: true}\n  normalize: {nfc: true}\n": "already given in line 2",
		"clean:\n  normalisé: {nfc: true}\n":                           "unknown key; did you mean normalize?",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, set := range []bool{false, true} {
			var got renamed
			var notes []string
			l := Loader{Renamed: func(old, now string) {
				notes = append(notes, strings.TrimPrefix(old, filepath.Dir(path)+"/")+" → "+now)
			}}
			var sets []string
			if set {
				sets = []string{"clean.normalise.nfc=false"}
			}
			err := l.Load(path, sets, &got)
			if err != nil {
				notes = []string{err.Error()}
			} else if got.Clean.Normalize.NFC == set {
				t.Errorf("%q, set %v: not read: %+v", text, set, got)
			}
			if all := strings.Join(notes, "\n"); !strings.Contains(all, want) || set && err == nil && !strings.Contains(all, "set:1:1: clean.normalise → clean.normalize") {
				t.Errorf("%q, set %v: %q, want %q", text, set, all, want)
			}
		}
	}
}
