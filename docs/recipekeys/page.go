package main

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"leolm/dataset"
	"leolm/dataset/corpus"
	"leolm/train"
)

// recipeOf is a kind of recipe: the struct that it fills, and where its comments are.
type recipeOf struct {
	title, intro string
	short        string // for headings
	folder       string // of the package, from the repository's root
	value        any    // the struct, with the defaults that no tag states
	whole        any    // the same with every section filled in; nil if tags state all defaults
	required     map[string]string
}

// page is the text of docs/recipe-keys.md; root is the repository's folder.
func page(root string) (string, error) {
	var b strings.Builder
	b.WriteString("# All keys of the recipes\n\n" +
		"Written by `go generate ./docs/recipekeys` from the code; do not edit. How recipes are read, changed with `--set`\n" +
		"and extended: [recipes](recipes.md).\n\n" +
		"A key in a list is written with `[]`; on the command line an index stands there: `--set data.train.0.weight=2`.\n" +
		"An empty default is an empty text, zero, or \"not given\". A section marked *off* works only where a recipe names it;\n" +
		"`{}` is enough to take all its defaults.\n")
	bare := train.DefaultConfig()
	whole := train.DefaultConfig()
	whole.LoRA, whole.DPO, whole.ORPO = &train.LoRAConfig{}, &train.DPOConfig{}, &train.ORPOConfig{}
	whole.Evaluate = &train.EvaluateConfig{}
	whole.KTO, whole.Distill = &train.KTOConfig{}, &train.DistillConfig{}
	whole.Model.Shape, whole.Model.Generation = &train.Shape{}, &train.GenerationConfig{}
	whole.Data.Train = []train.DataSet{{}}
	whole.Validate(func(string, string, ...any) {}) // fills the defaults that follow from other values
	for _, r := range []recipeOf{
		{"leo train", "[Training](training.md), [your own model](own-model.md). The struct is `train.Config`.", "train", "train", &bare, &whole, complaints(&bare, &whole)},
		{"leo data prepare", "The datamix of [dialogues](data.md). The struct is `dataset.Mix`.", "prepare", "dataset", &dataset.Mix{}, nil, nil},
		{"leo data corpus", "[Running text](corpus.md). The struct is `corpus.Recipe`.", "corpus", "dataset/corpus", &corpus.Recipe{}, nil, nil},
	} {
		comments, err := readComments(filepath.Join(root, filepath.FromSlash(r.folder)))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", r.title, r.intro)
		sections := r.sections(comments)
		for _, s := range sections {
			b.WriteString(s.markdown())
		}
	}
	return b.String(), nil
}

// complaints asks Validate which keys an empty recipe lacks, and which ones its optional sections and lists lack.
func complaints(bare, whole *train.Config) map[string]string {
	found := map[string]string{}
	bare.Validate(func(key, format string, args ...any) { found[key] = fmt.Sprintf(format, args...) })
	whole.Validate(func(key, format string, args ...any) {
		for _, optional := range []string{"lora", "dpo", "orpo", "kto", "distill", "model.shape", "data.train[0]"} {
			if strings.HasPrefix(key, optional) {
				found[key] = fmt.Sprintf(format, args...)
			}
		}
	})
	return found
}

// section is a table: the keys of one struct.
type section struct {
	path string // dotted, "" for the recipe itself
	head string
	note string
	keys []key
}

type key struct{ name, kind, def, meaning string }

func (s *section) markdown() string {
	var b strings.Builder
	if s.path != "" {
		fmt.Fprintf(&b, "\n### %s\n", s.head)
	}
	if s.note != "" {
		fmt.Fprintf(&b, "\n%s\n", filled(s.note))
	}
	b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range s.keys {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, cell(k.kind), cell(k.def), cell(k.meaning))
	}
	return b.String()
}

// filled breaks a text into lines of at most 120 characters, as all pages have.
func filled(text string) string {
	var b strings.Builder
	n := 0
	for i, w := range strings.Fields(text) {
		switch {
		case i == 0:
		case n+1+utf8.RuneCountInString(w) > 120:
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(w)
		n += utf8.RuneCountInString(w)
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// sections lists the tables of a recipe: the recipe's own keys, then those of every struct in it, in its order.
func (r *recipeOf) sections(c comments) []section {
	whole := r.whole
	if whole == nil {
		whole = r.value
	}
	var out []section
	r.add(&out, "", reflect.TypeOf(r.value).Elem(), reflect.ValueOf(whole).Elem(), c, map[reflect.Type]string{})
	return out
}

// heading is the one over the table of a struct: anchors are unique on the page.
func (r *recipeOf) heading(path string) string { return r.short + ": `" + path + "`" }

// add appends the table of one struct and of those inside it. v is invalid where no value of the struct exists; done
// holds the headings of the structs that have a table.
func (r *recipeOf) add(out *[]section, path string, t reflect.Type, v reflect.Value, c comments, done map[reflect.Type]string) {
	at := len(*out)
	s := section{path: path, head: r.heading(path), note: sentence(c.section(t))}
	done[t] = s.head
	*out = append(*out, s)
	if why := r.required[path]; path != "" && why != "" {
		s.note = strings.TrimSpace(s.note + " Checked: " + why + ".")
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		full := strings.TrimPrefix(path+"."+name, ".")
		inner, isList := f.Type, false
		if inner.Kind() == reflect.Slice {
			inner, isList = inner.Elem(), true
		}
		optional := inner.Kind() == reflect.Pointer
		if optional {
			inner = inner.Elem()
		}
		var value reflect.Value
		if v.IsValid() {
			value = v.Field(i)
		}
		k := key{name: full, kind: kindOf(f), def: defaultOf(f, value), meaning: c.field(t, f.Name)}
		if r.required[strings.ReplaceAll(full, "[]", "[0]")] != "" || strings.Contains(f.Tag.Get("check"), "required") {
			k.def = "required"
		}
		if inner.Kind() != reflect.Struct {
			s.keys = append(s.keys, k)
			continue
		}
		if isList {
			full += "[]"
		}
		if !isList && optional {
			k.def = "off"
		}
		if !isList && !optional {
			k.def = ""
		}
		head, again := done[inner]
		if !again {
			head = r.heading(full)
		}
		k.kind = fmt.Sprintf("[%s](#%s)", map[bool]string{false: "section", true: "list"}[isList], anchor(head))
		if k.meaning == "" {
			k.meaning = lower(c.section(inner))
		}
		s.keys = append(s.keys, k)
		if again {
			continue
		}
		sub := reflect.Value{}
		if value.IsValid() && value.Kind() == reflect.Pointer && !value.IsNil() {
			sub = value.Elem()
		} else if value.IsValid() && value.Kind() == reflect.Struct {
			sub = value
		}
		r.add(out, full, inner, sub, c, done)
	}
	(*out)[at] = s
}

// anchor is the one that a heading gets on the page.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '_' || r == '-' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// kindOf names the type of a value with its bounds.
func kindOf(f reflect.StructField) string {
	return bounded(typeName(f.Type), f.Tag.Get("check"))
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float64, reflect.Float32:
		return "number"
	case reflect.Slice:
		return "list: " + typeName(t.Elem())
	case reflect.Map:
		return "map: " + typeName(t.Key()) + " → " + typeName(t.Elem())
	case reflect.Struct:
		return "section"
	}
	return "whole number"
}

// bounded adds what a check tag says.
func bounded(kind, check string) string {
	var bounds []string
	for _, rule := range strings.Split(check, ",") {
		name, arg, _ := strings.Cut(rule, "=")
		switch name {
		case "oneof":
			var words []string
			for _, w := range strings.Split(arg, "|") {
				if w != "" {
					words = append(words, "`"+w+"`")
				}
			}
			return strings.Join(words, ", ")
		case "min":
			bounds = append(bounds, "≥ "+arg)
		case "gt":
			bounds = append(bounds, "> "+arg)
		case "max":
			bounds = append(bounds, "≤ "+arg)
		case "lt":
			bounds = append(bounds, "< "+arg)
		}
	}
	switch {
	case len(bounds) == 0:
		return kind
	case strings.HasPrefix(kind, "list"):
		if len(bounds) == 2 && bounds[0][len("≥ "):] == bounds[1][len("≤ "):] {
			return kind + ", " + bounds[0][len("≥ "):] + " of them"
		}
		return kind + ", " + strings.Join(bounds, ", ") + " of them"
	}
	return kind + " " + strings.Join(bounds, ", ")
}

// defaultOf is the default of a key: what its tag says, else the value.
func defaultOf(f reflect.StructField, v reflect.Value) string {
	if v.IsValid() && v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() != reflect.Struct {
		v = v.Elem() // a value that may be left out although zero means something
	}
	if d, ok := f.Tag.Lookup("default"); ok {
		return "`" + d + "`"
	}
	if f.Type.Kind() == reflect.Bool {
		return fmt.Sprintf("`%v`", v.IsValid() && v.Bool())
	}
	if !v.IsValid() || v.IsZero() || v.Kind() == reflect.Map && v.Len() == 0 {
		return ""
	}
	if v.Kind() == reflect.Slice {
		var parts []string
		for i := range v.Len() {
			parts = append(parts, fmt.Sprint(v.Index(i).Interface()))
		}
		return "`[" + strings.Join(parts, ", ") + "]`"
	}
	// 1e-08 as people write it
	return strings.Replace(fmt.Sprintf("`%v`", v.Interface()), "e-0", "e-", 1)
}
