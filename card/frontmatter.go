package card

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// frontMatter is the YAML at the head of a card.
type frontMatter struct {
	languages                         []string
	license, licenseName, licenseLink string
	library                           string
	baseModel                         []string
	relation                          string
	datasets, tags                    []string
	name                              string
	results                           []indexResult
}

// indexResult is an entry of model-index: the metrics of one dataset.
type indexResult struct {
	dataset ResultDataset
	metrics []indexMetric
}

type indexMetric struct {
	kind, name string
	value      float64
}

// front is what the configuration says of the front matter.
func (c *Config) front() *frontMatter {
	f := &frontMatter{
		languages: c.Languages, license: c.License, licenseName: c.LicenseName, licenseLink: c.LicenseLink,
		baseModel: c.BaseModel, relation: c.BaseRelation, tags: slices.Clone(c.Tags), name: c.Name,
	}
	for _, d := range c.Datasets {
		if d.ID != "" && !slices.Contains(f.datasets, d.ID) {
			f.datasets = append(f.datasets, d.ID)
		}
	}
	return f
}

// String writes the front matter, without the lines of dashes. What is empty is left out: the hub refuses nulls.
func (f *frontMatter) String() string {
	var b strings.Builder
	yamlList(&b, "language", f.languages)
	yamlPair(&b, "", "license", f.license)
	yamlPair(&b, "", "license_name", f.licenseName)
	yamlPair(&b, "", "license_link", f.licenseLink)
	yamlPair(&b, "", "library_name", f.library)
	b.WriteString("pipeline_tag: text-generation\n")
	yamlList(&b, "base_model", f.baseModel)
	yamlPair(&b, "", "base_model_relation", f.relation)
	yamlList(&b, "datasets", f.datasets)
	yamlList(&b, "tags", f.tags)
	if len(f.results) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "model-index:\n- name: %s\n  results:\n", yamlText(f.name))
	for _, r := range f.results {
		b.WriteString("  - task:\n      type: text-generation\n      name: Text Generation\n    dataset:\n")
		for _, p := range [][2]string{{"type", r.dataset.Type}, {"name", r.dataset.Name}, {"config", r.dataset.Config}, {"split", r.dataset.Split}, {"revision", r.dataset.Revision}} {
			yamlPair(&b, "      ", p[0], p[1])
		}
		b.WriteString("    metrics:\n")
		for _, m := range r.metrics {
			fmt.Fprintf(&b, "    - type: %s\n      value: %s\n      name: %s\n", yamlText(m.kind), yamlNumber(m.value), yamlText(m.name))
		}
	}
	return b.String()
}

// problem is what the hub would refuse, by the configuration's key.
type problem struct{ key, what string }

// problems are those of the front matter as written.
func (f *frontMatter) problems() []problem {
	var e *FrontMatterError
	if err := checkYAML([]byte(f.String())); !errors.As(err, &e) {
		return nil
	}
	var out []problem
	for _, p := range e.Problems {
		key, _, _ := strings.Cut(p.Key, "[")
		key, _, _ = strings.Cut(key, ".")
		switch key {
		case "language":
			key = "languages"
		case "model-index":
			key = "results"
		}
		out = append(out, problem{key, p.What})
	}
	return out
}

// FrontMatterError says what the hub would refuse.
type FrontMatterError struct{ Problems []FrontMatterProblem }

// FrontMatterProblem is one of them.
type FrontMatterProblem struct{ Key, What string }

func (e *FrontMatterError) Error() string {
	var list []string
	for _, p := range e.Problems {
		list = append(list, p.Key+": "+p.What)
	}
	return "the hub would refuse the front matter: " + strings.Join(list, "; ")
}

// CheckFrontMatter checks the front matter of a card by the rules of the hub (huggingface/hub-docs: modelcard.md) and
// some that it leaves to people: numbers are finite, nothing claims to be verified. A card without any has none that is
// wrong. The error is a *FrontMatterError.
func CheckFrontMatter(card []byte) error {
	rest, ok := bytes.CutPrefix(card, []byte("---\n"))
	if !ok {
		return nil
	}
	text, _, ok := bytes.Cut(rest, []byte("\n---\n"))
	if !ok {
		return &FrontMatterError{[]FrontMatterProblem{{"---", "there is no line of three dashes at its end"}}}
	}
	return checkYAML(text)
}

// The hub's forms of names.
var (
	languageCode = regexp.MustCompile(`^([a-z]{2,3}|code|multilingual)$`)
	hubID        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
	licenseID    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
)

// relations are those between a model and its base.
var relations = []string{"adapter", "finetune", "merge", "quantized"}

// checker collects what is wrong.
type checker struct{ found []FrontMatterProblem }

func (c *checker) fail(key, format string, args ...any) {
	c.found = append(c.found, FrontMatterProblem{key, fmt.Sprintf(format, args...)})
}

func checkYAML(text []byte) error {
	var root map[string]any
	c := &checker{}
	if err := yaml.Unmarshal(text, &root); err != nil {
		c.fail("YAML", "%v", err)
		return &FrontMatterError{c.found}
	}
	c.license(root)
	c.each(root, "language", true, func(key, s string) {
		if !languageCode.MatchString(s) {
			c.fail(key, "%q is no code of ISO 639, such as de", s)
		}
	})
	c.each(root, "base_model", true, c.hubID)
	c.each(root, "datasets", false, c.hubID)
	for _, key := range []string{"tags", "metrics"} {
		c.each(root, key, false, func(key, s string) {
			if strings.TrimSpace(s) == "" {
				c.fail(key, "is empty")
			}
		})
	}
	for _, key := range []string{"library_name", "pipeline_tag", "license_name", "license_link", "base_model_relation"} {
		if v, ok := root[key]; ok {
			c.text(v, key)
		}
	}
	if r, ok := root["base_model_relation"].(string); ok && !slices.Contains(relations, r) {
		c.fail("base_model_relation", "%q is none of %s", r, strings.Join(relations, ", "))
	}
	if v, ok := root["model-index"]; ok {
		for i, m := range c.list(v, "model-index") {
			c.model(m, fmt.Sprintf("model-index[%d]", i))
		}
	}
	if len(c.found) > 0 {
		return &FrontMatterError{c.found}
	}
	return nil
}

func (c *checker) license(root map[string]any) {
	v, ok := root["license"]
	if !ok {
		return
	}
	id := c.text(v, "license")
	switch {
	case id == "":
	case !slices.Contains(licenses, id):
		c.fail("license", "%q is no license that the hub knows; write its id, such as apache-2.0, or other with license_name and license_link", id)
	case id == "other":
		name, _ := root["license_name"].(string)
		link, _ := root["license_link"].(string)
		if !licenseID.MatchString(name) {
			c.fail("license_name", "with license other it is needed, in small letters, digits, points and dashes")
		}
		if link == "" {
			c.fail("license_link", "with license other it is needed: an address, or LICENSE for a file of that name")
		}
	}
}

func (c *checker) hubID(key, s string) {
	if !hubID.MatchString(s) || len(s) > 96 || strings.Contains(s, "--") || strings.Contains(s, "..") {
		c.fail(key, "%q is no id on the hub, such as ORG/NAME", s)
	}
}

// each calls f for the texts of a list, or of a text alone where single is true.
func (c *checker) each(root map[string]any, key string, single bool, f func(key, s string)) {
	v, ok := root[key]
	if !ok {
		return
	}
	if s, ok := v.(string); ok && single {
		f(key, s)
		return
	}
	for i, e := range c.list(v, key) {
		if s := c.text(e, fmt.Sprintf("%s[%d]", key, i)); s != "" {
			f(fmt.Sprintf("%s[%d]", key, i), s)
		}
	}
}

// text returns a text that is there.
func (c *checker) text(v any, key string) string {
	s, ok := v.(string)
	switch {
	case v == nil:
		c.fail(key, "is missing")
	case !ok:
		c.fail(key, "%v is no text; it needs quotes", v)
	case strings.TrimSpace(s) == "":
		c.fail(key, "is empty")
	}
	return s
}

func (c *checker) list(v any, key string) []any {
	l, ok := v.([]any)
	if !ok || len(l) == 0 {
		c.fail(key, "must be a list with entries")
	}
	return l
}

func (c *checker) mapping(v any, key string) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		c.fail(key, "must have keys of its own")
	}
	return m
}

// model checks an entry of model-index.
func (c *checker) model(v any, key string) {
	m := c.mapping(v, key)
	if m == nil {
		return
	}
	c.text(m["name"], key+".name")
	for i, v := range c.list(m["results"], key+".results") {
		at := fmt.Sprintf("%s.results[%d]", key, i)
		r := c.mapping(v, at)
		if r == nil {
			continue
		}
		if task := c.mapping(r["task"], at+".task"); task != nil {
			c.text(task["type"], at+".task.type")
		}
		if d := c.mapping(r["dataset"], at+".dataset"); d != nil {
			c.text(d["type"], at+".dataset.type")
			c.text(d["name"], at+".dataset.name")
		}
		for j, v := range c.list(r["metrics"], at+".metrics") {
			c.metric(v, fmt.Sprintf("%s.metrics[%d]", at, j))
		}
	}
}

func (c *checker) metric(v any, key string) {
	m := c.mapping(v, key)
	if m == nil {
		return
	}
	c.text(m["type"], key+".type")
	if name, ok := m["name"]; ok {
		c.text(name, key+".name")
	}
	if _, ok := m["verified"]; ok {
		c.fail(key+".verified", "only the hub verifies results")
	}
	switch x := m["value"].(type) {
	case int, int64, uint64:
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			c.fail(key+".value", "%v is no finite number", x)
		}
	default:
		c.fail(key+".value", "%v is no number", m["value"])
	}
}
