package harness

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"leolm/dataset/rows"
	"leolm/internal/jinja"
)

// part renders one part of a document: doc_to_text and the like.
type part struct {
	key    string
	field  *Field
	tpl    *jinja.Template
	choice bool // the documents have choices: digits are the number of one
}

// newPart parses a field; nil stays nil.
func (c *Config) newPart(key string, f *Field) (*part, error) {
	if f == nil {
		return nil, nil
	}
	p := &part{key: key, field: f, choice: c.Choice != nil}
	if len(f.List) > 0 || f.Number != nil {
		return p, nil
	}
	var err error
	if p.tpl, err = jinja.ParseText(f.Source); err != nil {
		return nil, &ConfigError{File: c.Path, Line: f.Line, Key: key, Why: err.Error()}
	}
	return p, nil
}

// document is a row with the variables of its templates.
type document struct {
	row  *Row
	vars map[string]jinja.Value
}

func newDocument(row *Row) (*document, error) {
	if row.Err != nil {
		return nil, row.Err
	}
	d := &document{row: row, vars: map[string]jinja.Value{}}
	for i, name := range row.Value.Names {
		v, err := jinja.FromJSON(row.Value.Items[i].AppendJSON(nil), 0)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", name, err)
		}
		d.vars[name] = v
	}
	return d, nil
}

// value is the part of a document: what its column has, or what the template makes.
func (p *part) value(d *document) (rows.Value, error) {
	if p.field.Number != nil {
		return rows.Value{Kind: rows.Number, Text: strconv.Itoa(*p.field.Number)}, nil
	}
	if len(p.field.List) > 0 {
		v := rows.Value{Kind: rows.List}
		for _, s := range p.field.List {
			v.Items = append(v.Items, rows.Value{Kind: rows.String, Text: s})
		}
		return v, nil
	}
	if v, ok := d.row.Value.Get(p.field.Source); ok {
		return *v, nil
	}
	out, err := p.tpl.Render(d.vars, jinja.DefaultLimits, time.Time{})
	if err != nil {
		return rows.Value{}, fmt.Errorf("%s: %w", p.key, err)
	}
	return rows.Value{Kind: rows.String, Text: out.Text.S}, nil
}

// text is the part as text.
func (p *part) text(d *document) (string, error) {
	v, err := p.value(d)
	if err != nil {
		return "", err
	}
	switch v.Kind {
	case rows.String, rows.Number, rows.Bool:
		return v.Text, nil
	}
	return "", fmt.Errorf("%s: want text, found %s", p.key, v.Kind)
}

// choices are the texts between which a model chooses.
func (p *part) choices(d *document) ([]string, error) {
	v, err := p.value(d)
	if err != nil {
		return nil, err
	}
	if v.Kind == rows.String {
		if v, err = parseLiteral(v.Text); err != nil {
			return nil, fmt.Errorf("%s: %w", p.key, err)
		}
	}
	if v.Kind != rows.List || len(v.Items) < 2 {
		return nil, fmt.Errorf("%s: want at least two choices, found %s of %d", p.key, v.Kind, len(v.Items))
	}
	var out []string
	for i := range v.Items {
		item := &v.Items[i]
		if item.Kind != rows.String && item.Kind != rows.Number && item.Kind != rows.Bool {
			return nil, fmt.Errorf("%s: choice %d: want text, found %s", p.key, i+1, item.Kind)
		}
		if item.Text == "" {
			return nil, fmt.Errorf("%s: choice %d is empty", p.key, i+1)
		}
		out = append(out, item.Text)
	}
	return out, nil
}

// target is what is right: a text, numbers of choices, or several texts.
type target struct {
	texts   []string
	indexes []int
}

// target reads the part as what is right. Digits are the number of a choice where there are choices; brackets make a list.
func (p *part) target(d *document) (target, error) {
	v, err := p.value(d)
	if err != nil {
		return target{}, err
	}
	if s := v.Text; p.tpl != nil && v.Kind == rows.String {
		if _, column := d.row.Value.Get(p.field.Source); !column {
			switch {
			case p.choice && s != "" && strings.Trim(s, "0123456789") == "":
				v.Kind = rows.Number
			case len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']':
				if list, err := parseLiteral(s); err == nil {
					v = list
				}
			}
		}
	}
	var t target
	items := []rows.Value{v}
	if v.Kind == rows.List {
		items = v.Items
	}
	for i := range items {
		if err := t.add(&items[i], p.choice); err != nil {
			return t, fmt.Errorf("%s: %w", p.key, err)
		}
	}
	if len(t.texts)+len(t.indexes) == 0 {
		return t, fmt.Errorf("%s: is empty", p.key)
	}
	return t, nil
}

func (t *target) add(v *rows.Value, choice bool) error {
	switch v.Kind {
	case rows.Number:
		if !choice {
			t.texts = append(t.texts, v.Text)
			return nil
		}
		n, err := strconv.Atoi(v.Text)
		if err != nil {
			return fmt.Errorf("%q is the number of no choice", v.Text)
		}
		t.indexes = append(t.indexes, n)
	case rows.String, rows.Bool:
		t.texts = append(t.texts, v.Text)
	default:
		return fmt.Errorf("want text or a number, found %s", v.Kind)
	}
	return nil
}

// gold are the indexes of the right choices.
func (t *target) gold(choices []string) ([]int, error) {
	out := t.indexes
	for _, s := range t.texts {
		at := -1
		for i, c := range choices {
			if c == s && at < 0 {
				at = i
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("doc_to_target: %q is none of the choices", s)
		}
		out = append(out, at)
	}
	for _, i := range out {
		if i < 0 || i >= len(choices) {
			return nil, fmt.Errorf("doc_to_target: choice number %d of %d", i, len(choices))
		}
	}
	return out, nil
}

// answer is what stands behind an example.
func (t *target) answer(choices []string) (string, error) {
	if len(t.texts) > 0 {
		return t.texts[0], nil
	}
	if i := t.indexes[0]; i >= 0 && i < len(choices) {
		return choices[i], nil
	}
	return "", fmt.Errorf("doc_to_target: choice number %d of %d", t.indexes[0], len(choices))
}
