package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"leolm/internal/protobuf"
	"leolm/tokenizer"
)

// ChatMarkers begin and end a turn of ChatML.
var ChatMarkers = []string{"<|im_start|>", "<|im_end|>"}

// MissingChatTokens lists the tokens that a vocabulary needs to write ChatML, in the order of their ids. A SentencePiece
// vocabulary gets what Megatron's tokenizer adds, as LeoLM's training data has it (32000 to 32006 behind Llama-2's
// pieces): <CLS>, <SEP>, <EOD>, <MASK>, <PAD> if it has none of its own, and the markers. Another gets the markers. A
// vocabulary that has the markers misses nothing.
func MissingChatTokens(t *tokenizer.Tokenizer, sentencePiece bool) []string {
	var missing []string
	add := func(names ...string) {
		for _, n := range names {
			if _, ok := t.ID(n); !ok {
				missing = append(missing, n)
			}
		}
	}
	add(ChatMarkers...)
	if len(missing) == 0 || !sentencePiece {
		return missing
	}
	missing = nil
	add("<CLS>", "<SEP>", "<EOD>", "<MASK>")
	if t.PAD() < 0 {
		add("<PAD>")
	}
	add(ChatMarkers...)
	return missing
}

// WithChatTokens returns the files with the tokens that ChatML needs, and those tokens; none if nothing was missing.
func (f TokenizerFiles) WithChatTokens(name string) (TokenizerFiles, []string, error) {
	t, err := f.Open(name, tokenizer.Options{})
	if err != nil {
		return nil, nil, err
	}
	missing := MissingChatTokens(t, f.SentencePiece())
	if len(missing) == 0 {
		return f, nil, nil
	}
	grown, err := f.Grow(name, missing)
	return grown, missing, err
}

// Grow returns the files with control tokens added behind the vocabulary, in every file that lists tokens, so that
// transformers, llama.cpp's converter and Leo give them the same ids. Where ChatML's markers are among them, <|im_end|>
// becomes the end of a sequence, no BOS is put in front of a text (LeoLM's dialogues have none), and every text between
// control tokens begins with the "▁" of its own (legacy), which is the only way that GGUF can state.
func (f TokenizerFiles) Grow(name string, tokens []string) (TokenizerFiles, error) {
	t, err := f.Open(name, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	first := t.Vocab()
	added := map[string]int{}
	for i, text := range tokens {
		if text == "" || strings.ContainsAny(text, "\x00\n") {
			return nil, fmt.Errorf("%s: %q can't be a token", name, text)
		}
		if id, ok := t.ID(text); ok {
			return nil, fmt.Errorf("%s: token %q exists already with id %d", name, text, id)
		}
		if _, twice := added[text]; twice {
			return nil, fmt.Errorf("%s: token %q is to be added twice", name, text)
		}
		added[text] = first + i
	}
	out := maps.Clone(f)
	delete(out, fileLeo) // of the vocabulary before
	if err := out.growSentencePiece(name, first, tokens); err != nil {
		return nil, err
	}
	if err := out.growJSON(first, tokens); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, fileTokenizerJSON, err)
	}
	if err := out.growAdded(added); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, fileAddedTokens, err)
	}
	if err := out.growConfig(t, first, tokens); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	grown, err := out.Open(name, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	for text, id := range added {
		if got, ok := grown.ID(text); !ok || int(got) != id {
			return nil, fmt.Errorf("%s: token %q can't be added: it would have id %d where %d follows the vocabulary", name, text, got, id)
		}
	}
	return out, nil
}

// growSentencePiece appends control pieces to tokenizer.model, which sentencepiece never makes of text. Fields of a
// protocol buffer may stand anywhere, and a message that stands twice counts as one: nothing else is touched. Where other
// files hold tokens behind the pieces, the new ones would have the wrong ids; then tokenizer.model stays as it is.
func (f TokenizerFiles) growSentencePiece(name string, first int, tokens []string) error {
	data := f[fileSentencePiece]
	if data == nil {
		return nil
	}
	v, err := sentencePiece(data)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", name, fileSentencePiece, err)
	}
	if len(v.tokens) != first {
		return nil
	}
	out := slices.Clone(data)
	for _, text := range tokens {
		piece := protobuf.AppendBytes(nil, 1, text)
		piece = append(piece, 2<<3|5, 0, 0, 0, 0)
		out = protobuf.AppendBytes(out, 1, protobuf.AppendVarint(piece, 3, tokenControl))
	}
	f[fileSentencePiece] = protobuf.AppendBytes(out, 2, protobuf.AppendVarint(nil, 4, int64(first+len(tokens))))
	return nil
}

// growJSON adds to the added_tokens of tokenizer.json.
func (f TokenizerFiles) growJSON(first int, tokens []string) error {
	data := f[fileTokenizerJSON]
	if data == nil {
		return nil
	}
	return f.edit(fileTokenizerJSON, func(m map[string]json.RawMessage) error {
		var list []json.RawMessage
		if raw := m["added_tokens"]; len(raw) > 0 {
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("added_tokens: %w", err)
			}
		}
		for i, text := range tokens {
			entry, err := compactJSON(addedEntry(text, first+i))
			if err != nil {
				return err
			}
			list = append(list, entry)
		}
		if slices.Contains(tokens, ChatMarkers[0]) {
			if err := legacyPrefix(m); err != nil {
				return err
			}
		}
		return put(m, "added_tokens", list)
	})
}

// legacyPrefix turns Metaspace with the scheme "first" (legacy: false), with which only the text at the very beginning
// gets a "▁", into the normalizer of the original conversion of Llama-2, with which every text gets one.
func legacyPrefix(m map[string]json.RawMessage) error {
	var pre struct {
		Type   string `json:"type"`
		Scheme string `json:"prepend_scheme"`
	}
	if json.Unmarshal(m["pre_tokenizer"], &pre) != nil || pre.Type != "Metaspace" || pre.Scheme != "first" {
		return nil
	}
	if n := string(bytes.TrimSpace(m["normalizer"])); n != "" && n != "null" {
		return fmt.Errorf("a Metaspace pre-tokenizer (prepend_scheme first) behind a normalizer can't be given the prefixes that chat tokens need")
	}
	m["pre_tokenizer"] = json.RawMessage("null")
	return put(m, "normalizer", map[string]any{"type": "Sequence", "normalizers": []any{
		map[string]any{"type": "Prepend", "prepend": "▁"},
		map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"},
	}})
}

func addedEntry(text string, id int) map[string]any {
	return map[string]any{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
}

// growAdded adds to added_tokens.json, which only vocabularies without tokenizer.json need.
func (f TokenizerFiles) growAdded(added map[string]int) error {
	if f[fileAddedTokens] == nil && f[fileTokenizerJSON] != nil {
		return nil
	}
	return f.edit(fileAddedTokens, func(m map[string]json.RawMessage) error {
		for text, id := range added {
			if err := put(m, text, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// growConfig adds the tokens to tokenizer_config.json and special_tokens_map.json.
func (f TokenizerFiles) growConfig(t *tokenizer.Tokenizer, first int, tokens []string) error {
	chat := slices.Contains(tokens, ChatMarkers[1])
	roles := map[string]string{}
	for key, text := range map[string]string{"cls_token": "<CLS>", "sep_token": "<SEP>", "mask_token": "<MASK>", "pad_token": "<PAD>"} {
		if slices.Contains(tokens, text) {
			roles[key] = text
		}
	}
	if chat {
		roles["eos_token"] = ChatMarkers[1]
	}
	err := f.edit(fileConfig, func(m map[string]json.RawMessage) error {
		decoder := map[string]json.RawMessage{}
		if raw := m["added_tokens_decoder"]; len(raw) > 0 {
			if err := json.Unmarshal(raw, &decoder); err != nil {
				return fmt.Errorf("%s: added_tokens_decoder: %w", fileConfig, err)
			}
		} else {
			// transformers takes the list as whole: the vocabulary's own control tokens belong into it.
			for _, id := range t.Specials() {
				if err := putAdded(decoder, t.Piece(id), int(id)); err != nil {
					return err
				}
			}
			if id := t.UNK(); id >= 0 {
				if err := putAdded(decoder, t.Piece(id), int(id)); err != nil {
					return err
				}
			}
		}
		for i, text := range tokens {
			if err := putAdded(decoder, text, first+i); err != nil {
				return err
			}
		}
		if err := put(m, "added_tokens_decoder", decoder); err != nil {
			return err
		}
		for key, text := range roles {
			if err := put(m, key, text); err != nil {
				return err
			}
		}
		if chat {
			if f.SentencePiece() {
				m["legacy"] = json.RawMessage("true")
			}
			m["add_bos_token"] = json.RawMessage("false")
		}
		return nil
	})
	if err != nil || f[fileSpecialMap] == nil {
		return err
	}
	return f.edit(fileSpecialMap, func(m map[string]json.RawMessage) error {
		for key, text := range roles {
			if err := put(m, key, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// putAdded adds an entry of added_tokens_decoder.
func putAdded(decoder map[string]json.RawMessage, text string, id int) error {
	entry := addedEntry(text, id)
	delete(entry, "id")
	return put(decoder, fmt.Sprint(id), entry)
}
