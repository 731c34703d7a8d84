package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"leolm/tokenizer"
)

// hfTokenizer is the part of tokenizer.json that a vocabulary is made of.
type hfTokenizer struct {
	Added []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
		Special bool   `json:"special"`
	} `json:"added_tokens"`
	Normalizer   json.RawMessage `json:"normalizer"`
	PreTokenizer json.RawMessage `json:"pre_tokenizer"`
	Model        struct {
		Type         string            `json:"type"`
		Vocab        map[string]int    `json:"vocab"`
		Merges       []json.RawMessage `json:"merges"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
	} `json:"model"`
}

func tokenizerJSON(data []byte, size int) (*rawVocab, error) {
	var t hfTokenizer
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, err
	}
	if t.Model.Type != "BPE" {
		return nil, fmt.Errorf("a tokenizer of type %q; GGUF takes BPE", t.Model.Type)
	}
	for text, id := range t.Model.Vocab {
		if id < 0 || id >= size {
			return nil, fmt.Errorf("token %q has id %d, the model has %d rows", text, id, size)
		}
	}
	v := &rawVocab{bos: -1, eos: -1, unk: -1, pad: -1, tokens: make([]string, size), types: make([]int32, size), scores: make([]float32, size)}
	for i := range v.types {
		v.types[i] = tokenUnused
	}
	for text, id := range t.Model.Vocab {
		v.tokens[id], v.types[id] = text, tokenNormal
	}
	for _, m := range t.Model.Merges {
		var pair []string
		var line string
		switch {
		case json.Unmarshal(m, &line) == nil:
		case json.Unmarshal(m, &pair) == nil && len(pair) == 2:
			line = pair[0] + " " + pair[1]
		default:
			return nil, fmt.Errorf("merge %s is no pair", abbreviate(m))
		}
		v.merges = append(v.merges, line)
	}
	for _, a := range t.Added {
		if a.ID < 0 {
			return nil, fmt.Errorf("added token %q has id %d", a.Content, a.ID)
		}
		if a.ID >= size {
			v.beyond = append(v.beyond, a.Content)
			continue
		}
		v.tokens[a.ID], v.types[a.ID] = a.Content, tokenUserDefined
		if a.Special {
			v.types[a.ID] = tokenControl
		}
	}
	switch {
	case t.Model.ByteFallback:
		v.likeSentencePiece(&t)
	case bytes.Contains(t.PreTokenizer, []byte(`"ByteLevel"`)):
		pre, prefix, err := tokenizer.PreTokenizerByJSON(t.PreTokenizer, t.Model.IgnoreMerges)
		if err != nil {
			return nil, fmt.Errorf("its pre-tokenizer (%s): %w", abbreviate(t.PreTokenizer), err)
		}
		v.model, v.pre, v.dummyPrefix = "gpt2", pre.Names[0], prefix
	default:
		return nil, fmt.Errorf("neither byte fallback nor byte-level: GGUF has no such vocabulary")
	}
	return v, nil
}

var byteToken = regexp.MustCompile(`^<0x[0-9A-F]{2}>$`)

// likeSentencePiece makes a llama vocabulary of a tokenizer.json that was
// converted from a SentencePiece BPE model: the earlier a merge, the higher the
// score of what it makes.
func (v *rawVocab) likeSentencePiece(t *hfTokenizer) {
	v.model, v.pre = "llama", "default"
	norm, pre := string(t.Normalizer), string(t.PreTokenizer)
	v.dummyPrefix = strings.Contains(norm, `"Prepend"`) || strings.Contains(pre, `"Metaspace"`) && !strings.Contains(pre, `"never"`)
	v.firstOnly = strings.Contains(pre, `"Metaspace"`) && strings.Contains(pre, `"first"`)
	rank := make(map[string]int, len(v.merges))
	for i, m := range v.merges {
		l, r, _ := strings.Cut(m, " ")
		if _, ok := rank[l+r]; !ok {
			rank[l+r] = i
		}
	}
	v.merges = nil
	for i, text := range v.tokens {
		switch {
		case v.types[i] == tokenUnused:
		case byteToken.MatchString(text):
			v.types[i] = tokenByte
		case text == "<unk>":
			v.types[i], v.unk = tokenUnknown, i
		case v.types[i] == tokenNormal:
			v.scores[i] = -float32(len(rank)) - float32(i)
			if r, ok := rank[text]; ok {
				v.scores[i] = -float32(r)
			}
		}
	}
}

// byteLevelJSON writes the tokenizer.json of a byte-level vocabulary.
func byteLevelJSON(tokens []string, types []int32, merges []string, pre string, prefix bool) ([]byte, error) {
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true}
	rule, err := tokenizer.PreTokenizerByName(pre)
	if err != nil {
		return nil, err
	}
	if prefix {
		if rule, err = rule.WithPrefix(); err != nil {
			return nil, err
		}
	}
	vocab := make(map[string]int, len(tokens))
	var added []any
	for i, text := range tokens {
		if t := types[i]; t == tokenControl || t == tokenUserDefined || t == tokenUnknown {
			added = append(added, map[string]any{"id": i, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": t != tokenUserDefined})
		}
		if _, dup := vocab[text]; dup {
			return nil, fmt.Errorf("two tokens are called %q", text)
		}
		vocab[text] = i
	}
	pairs := make([][2]string, len(merges))
	for i, m := range merges {
		l, r, ok := strings.Cut(m, " ")
		if !ok {
			return nil, fmt.Errorf("merge %d (%q) is no pair", i, m)
		}
		pairs[i] = [2]string{l, r}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err = e.Encode(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "pre_tokenizer": rule.JSON, "post_processor": nil,
		"decoder": byteLevel,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": rule.IgnoreMerges, "vocab": vocab, "merges": pairs},
	})
	return b.Bytes(), err
}
