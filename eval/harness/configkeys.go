package harness

import (
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"leolm/dataset/rows"
)

// list calls f for each item of a list, in place of what an included file gave.
func (r *configReader) list(key string, n *yaml.Node, f func(item *yaml.Node), reset func()) {
	reset()
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, key, "want a list")
		return
	}
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		f(item)
	}
}

// datasetKey reads a key of dataset_kwargs.
func (r *configReader) datasetKey(k string, n *yaml.Node) {
	key := "dataset_kwargs." + k
	switch k {
	case "data_files":
		if n.Kind == yaml.MappingNode {
			r.pairs(key, n, func(split string, v *yaml.Node) { r.c.DataFiles[split] = r.texts(key+"."+split, v) })
			return
		}
		r.c.DataFiles["train"] = r.texts(key, n) // as Python's datasets call files without a split
	case "data_dir":
		r.c.DataDir = r.text(key, n)
	case "trust_remote_code":
		r.c.Notes = append(r.c.Notes, "trust_remote_code is ignored: no code is fetched")
	default:
		r.fail(n, key, "unknown key; there are data_files and data_dir")
	}
}

// fewshotKey reads a key of fewshot_config.
func (r *configReader) fewshotKey(k string, n *yaml.Node) {
	key, c := "fewshot_config."+k, r.c
	switch k {
	case "sampler":
		if c.Sampler = r.text(key, n); c.Sampler != "default" && c.Sampler != "first_n" {
			r.fail(n, key, "there are default and first_n")
		}
	case "split":
		c.FewshotSplit = r.text(key, n)
	case "samples":
		r.list(key, n, func(item *yaml.Node) {
			v, err := nodeValue(item)
			if err != nil {
				r.fail(item, key, "%v", err)
			}
			c.Samples = append(c.Samples, v)
		}, func() { c.Samples = nil })
	case "doc_to_text":
		c.FewshotText = r.field(key, n)
	case "doc_to_target":
		c.FewshotTarget = r.field(key, n)
	case "doc_to_choice":
		c.FewshotChoice = r.field(key, n)
	case "target_delimiter":
		s := r.text(key, n)
		c.fewshotTargetDelimiter = &s
	case "fewshot_delimiter":
		s := r.text(key, n)
		c.fewshotFewshotDelim = &s
	default:
		r.fail(n, key, "unknown key")
	}
}

// nodeValue is a YAML value as a row has it.
func nodeValue(n *yaml.Node) (rows.Value, error) {
	v := rows.Value{Kind: rows.String, Text: n.Value}
	switch n.Kind {
	case yaml.AliasNode:
		return nodeValue(n.Alias)
	case yaml.SequenceNode:
		v = rows.Value{Kind: rows.List}
		for _, item := range n.Content {
			x, err := nodeValue(item)
			if err != nil {
				return v, err
			}
			v.Items = append(v.Items, x)
		}
	case yaml.MappingNode:
		v = rows.Value{Kind: rows.Object}
		for i := 0; i+1 < len(n.Content); i += 2 {
			x, err := nodeValue(n.Content[i+1])
			if err != nil {
				return v, err
			}
			v.Names, v.Items = append(v.Names, n.Content[i].Value), append(v.Items, x)
		}
	default:
		switch n.Tag {
		case "!!null":
			v.Kind = rows.Null
		case "!!int", "!!float":
			v.Kind = rows.Number
		case "!!bool":
			v.Kind = rows.Bool
		}
	}
	return v, nil
}

// metric reads an entry of metric_list.
func (r *configReader) metric(n *yaml.Node) MetricConfig {
	m := MetricConfig{Line: n.Line}
	r.pairs("metric_list", n, func(k string, v *yaml.Node) {
		key := "metric_list." + k
		switch k {
		case "metric":
			m.Name = r.text(key, v)
		case "aggregation":
			m.Aggregation = r.text(key, v)
		case "higher_is_better":
			lower := !r.truth(key, v)
			m.Lower = &lower
		case "ignore_case":
			m.IgnoreCase = r.truth(key, v)
		case "ignore_punctuation":
			m.IgnorePunctuation = r.truth(key, v)
		case "ignore_numbers":
			m.IgnoreNumbers = r.truth(key, v)
		case "regexes_to_ignore":
			m.RegexesToIgnore = r.texts(key, v)
		default:
			r.fail(v, key, "unknown key")
		}
	})
	return m
}

// filter reads an entry of filter_list.
func (r *configReader) filter(n *yaml.Node) FilterConfig {
	var f FilterConfig
	r.pairs("filter_list", n, func(k string, v *yaml.Node) {
		switch k {
		case "name":
			f.Name = r.text("filter_list.name", v)
		case "filter":
			r.list("filter_list.filter", v, func(item *yaml.Node) { f.Steps = append(f.Steps, r.filterStep(item)) }, func() { f.Steps = nil })
		default:
			r.fail(v, "filter_list."+k, "unknown key")
		}
	})
	return f
}

// filterStep reads one function of a filter.
func (r *configReader) filterStep(n *yaml.Node) FilterStep {
	s := FilterStep{Fallback: "[invalid]", Pattern: `#### (\-?[0-9\.\,]+)`, Line: n.Line}
	r.pairs("filter_list.filter", n, func(k string, v *yaml.Node) {
		key := "filter_list.filter." + k
		switch k {
		case "function":
			s.Function = r.text(key, v)
		case "regex_pattern":
			s.Pattern = r.text(key, v)
		case "group_select":
			s.GroupSelect = r.number(key, v)
		case "fallback":
			s.Fallback = r.text(key, v)
		case "mapping_dict":
			s.Mapping = map[string]string{}
			r.pairs(key, v, func(from string, to *yaml.Node) { s.Mapping[from] = r.text(key, to) })
		case "default_value":
			text := r.text(key, v)
			s.Default = &text
		default:
			r.fail(v, key, "unknown key")
		}
	})
	return s
}

// generationKey reads a key of generation_kwargs.
func (r *configReader) generationKey(k string, n *yaml.Node) {
	key, g := "generation_kwargs."+k, &r.c.Generation
	switch k {
	case "until":
		r.c.untilGiven = true
		g.Until = nil
		for _, s := range r.texts(key, n) {
			if s != "" { // an empty text is everywhere
				g.Until = append(g.Until, s)
			}
		}
	case "max_gen_toks", "max_new_tokens", "max_tokens":
		g.MaxTokens = r.number(key, n)
	case "temperature":
		g.Temperature = r.float(key, n)
	case "do_sample":
		if r.truth(key, n) {
			r.c.Notes = append(r.c.Notes, "do_sample: answers are drawn at the temperature, with seed 0")
		}
	default:
		r.fail(n, key, "unknown key; there are until, max_gen_toks, temperature and do_sample")
	}
}

// check looks at what single keys do not show.
func (c *Config) check() error {
	fail := func(key, why string) error { return &ConfigError{File: c.Path, Key: key, Why: why} }
	if c.Task == "" {
		c.Task = strings.TrimSuffix(path.Base(strings.ReplaceAll(c.Path, `\`, "/")), path.Ext(c.Path))
	}
	if strings.ContainsAny(c.Task, `/\`) || strings.HasPrefix(c.Task, ".") {
		return fail("task", "a name may have no slash and no point before it: files are called so")
	}
	if _, ok := known[c.OutputType]; !ok {
		return fail("output_type", fmt.Sprintf("%q: there are multiple_choice, loglikelihood, loglikelihood_rolling and generate_until", c.OutputType))
	}
	if c.TestSplit == "" && c.ValidationSplit == "" {
		return fail("test_split", "one of test_split and validation_split is needed")
	}
	if c.Target == nil {
		return fail("doc_to_target", "is needed")
	}
	if c.Text == nil {
		if c.OutputType != "loglikelihood_rolling" {
			return fail("doc_to_text", "is needed")
		}
		c.Text = &Field{}
	}
	if (c.OutputType == "multiple_choice") != (c.Choice != nil) && c.OutputType != "generate_until" {
		return fail("doc_to_choice", "belongs to output_type multiple_choice, which needs it")
	}
	if c.NumFewshot != nil && *c.NumFewshot < 0 {
		return fail("num_fewshot", "must not be negative")
	}
	if c.Generation.MaxTokens < 1 || !(c.Generation.Temperature >= 0) {
		return fail("generation_kwargs", "max_gen_toks takes numbers from 1, temperature none below 0")
	}
	if !c.untilGiven {
		c.Generation.Until = []string{c.FewshotDelimiter}
	}
	if c.DatasetPath == "" && len(c.DataFiles) == 0 && c.DataDir == "" {
		return fail("dataset_path", "is needed: json, csv or parquet with data_files, a folder, or a repository on the hub")
	}
	return nil
}
