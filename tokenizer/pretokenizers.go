package tokenizer

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// PreTokenizer is a way to cut text into words before a byte-level vocabulary's
// merges apply: GGUF names it, tokenizer.json spells it out.
type PreTokenizer struct {
	// Names are what llama.cpp calls it in tokenizer.ggml.pre; the first one is written.
	Names []string `json:"names"`
	// JSON is the "pre_tokenizer" of a tokenizer.json.
	JSON json.RawMessage `json:"pre_tokenizer"`
	// IgnoreMerges says that a word that is a token needs no merges.
	IgnoreMerges bool `json:"ignore_merges"`
	// AddBOS says that text begins with BOS where the file doesn't say otherwise.
	AddBOS bool `json:"add_bos"`
}

// The table of pre-tokenizers. Names and the flags are llama.cpp's; the steps are
// those of the models' own tokenizer.json where those are known, because some of
// llama.cpp's expressions are approximations; else llama.cpp's.
//
//go:embed pretokenizers.json
var preTokenizerTable []byte

// PreTokenizers lists all that are known.
var PreTokenizers = sync.OnceValue(func() []PreTokenizer {
	var table []PreTokenizer
	if err := json.Unmarshal(preTokenizerTable, &table); err != nil {
		panic("tokenizer: pretokenizers.json: " + err.Error())
	}
	return table
})

// preTokenizersWithout are names of llama.cpp's that stand for no byte-level
// vocabulary: BPE over characters, or over words between spaces.
var preTokenizersWithout = []string{"gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace"}

// PreTokenizerByName finds the pre-tokenizer that tokenizer.ggml.pre names; no
// name means GPT-2's.
func PreTokenizerByName(name string) (PreTokenizer, error) {
	var known []string
	for _, p := range PreTokenizers() {
		if slices.Contains(p.Names, name) {
			return p, nil
		}
		known = append(known, p.Names...)
	}
	if slices.Contains(preTokenizersWithout, name) {
		return PreTokenizer{}, fmt.Errorf("pre-tokenizer %q belongs to a vocabulary that isn't byte-level, which Leo doesn't read from GGUF; "+
			"use the model's tokenizer.json", name)
	}
	known = slices.DeleteFunc(known, func(s string) bool { return s == "" })
	return PreTokenizer{}, fmt.Errorf("pre-tokenizer %q is unknown; known are %s", name, sortedList(known))
}

// PreTokenizerByJSON finds the pre-tokenizer that a tokenizer.json's
// "pre_tokenizer" writes out, of two that differ by ignore_merges only the one
// that fits. prefix reports whether text gets a space in front, which GGUF
// states separately from the name.
func PreTokenizerByJSON(raw json.RawMessage, ignoreMerges bool) (p PreTokenizer, prefix bool, err error) {
	want, prefix, err := preTokenizerKey(raw)
	if err != nil {
		return p, false, err
	}
	found := false
	for _, q := range PreTokenizers() {
		key, _, err := preTokenizerKey(q.JSON)
		if err != nil {
			return p, false, err
		}
		if key == want && (!found || q.IgnoreMerges == ignoreMerges && p.IgnoreMerges != ignoreMerges) {
			p, found = q, true
		}
	}
	if !found {
		return p, false, errors.New("no pre-tokenizer that GGUF has a name for")
	}
	return p, prefix, nil
}

// WithPrefix is p with a space put in front of text, which only a ByteLevel that
// comes first can do: after other steps it would put one in front of every word.
func (p PreTokenizer) WithPrefix() (PreTokenizer, error) {
	const without = `{"type": "ByteLevel", "add_prefix_space": false,`
	rest, ok := bytes.CutPrefix(p.JSON, []byte(without))
	if !ok {
		return p, fmt.Errorf("pre-tokenizer %q can't put a space in front of text in a tokenizer.json", p.Names[0])
	}
	p.JSON = append([]byte(strings.Replace(without, "false", "true", 1)), rest...)
	return p, nil
}

// preTokenizerKey writes the steps of a pre-tokenizer so that those that cut alike
// are equal.
func preTokenizerKey(raw json.RawMessage) (key string, prefix bool, err error) {
	var part *hfPart
	if err := json.Unmarshal(raw, &part); err != nil {
		return "", false, err
	}
	list, err := flatten(part, func(p *hfPart) []*hfPart { return p.Pretokenizers }, 0)
	if err != nil {
		return "", false, err
	}
	var steps []string
	step := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	rule := func(r *wordRule) { step("rule %v %d", r.modern, r.digits) }
	for _, q := range list {
		switch q.Type {
		case "ByteLevel":
			if prefix = q.PrefixSpace == nil || *q.PrefixSpace; prefix && len(steps) > 0 {
				return "", false, errors.New("a space in front of every word, which GGUF can't say")
			}
			if q.UseRegex == nil || *q.UseRegex {
				rule(ruleGPT2)
			}
			step("bytes")
		case "Digits":
			step("digits %v", q.Individual)
		case "Split":
			switch r := q.rule(); {
			case r != nil:
				rule(r)
			case q.Pattern != nil && q.Pattern.Regex != nil:
				step("split %s %v %s", q.Behavior, q.Invert, *q.Pattern.Regex)
			case q.Pattern != nil && q.Pattern.String != nil:
				step("split %s %v text %s", q.Behavior, q.Invert, *q.Pattern.String)
			}
		default:
			step("%s %s", q.Type, q.Behavior)
		}
	}
	return strings.Join(steps, "\n"), prefix, nil
}
