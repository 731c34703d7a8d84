package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/internal/durable"
	"leolm/internal/protobuf"
	"leolm/tokenizer"
)

// TokenizerFiles are the files of a Hugging Face folder that make up its tokenizer, by name: tokenizer.model,
// tokenizer.json, tokenizer_config.json and so on, with the chat templates. It is the form in which a vocabulary passes
// from data to training, into exports and adapters, and into GGUF metadata.
type TokenizerFiles map[string][]byte

// The files' names.
const (
	fileSentencePiece = "tokenizer.model"
	fileTokenizerJSON = "tokenizer.json"
	fileConfig        = "tokenizer_config.json"
	fileSpecialMap    = "special_tokens_map.json"
	fileAddedTokens   = "added_tokens.json"
	fileChatTemplate  = "chat_template.jinja"
	fileLeo           = "leo.json"
)

var tokenizerFileNames = []string{fileLeo, fileSentencePiece, fileTokenizerJSON, fileConfig, fileSpecialMap, fileAddedTokens, "vocab.json", "merges.txt", fileChatTemplate}

// ReadTokenizerFiles reads the tokenizer of a folder, a GGUF file, a tokenizer.json or a tokenizer.model. A single file
// gets a tokenizer_config.json that fills in what it leaves open.
func ReadTokenizerFiles(path string) (TokenizerFiles, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		f, err := tokenizerFolder(path)
		if err == nil && f[fileSentencePiece] == nil && f[fileTokenizerJSON] == nil {
			err = fmt.Errorf("%s: neither tokenizer.json nor tokenizer.model is in this folder", path)
		}
		return f, err
	}
	if strings.HasSuffix(strings.ToLower(path), ".gguf") {
		c, err := Open(path)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		f, err := c.TokenizerFiles()
		if err == nil && len(f) == 0 {
			err = fmt.Errorf("%s holds no vocabulary", path)
		}
		return f, err
	}
	data, err := readSmall(path, maxJSON)
	if err != nil {
		return nil, err
	}
	t, err := tokenizer.Open(path, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	f := TokenizerFiles{}
	config := map[string]any{"add_bos_token": t.AddBOS(), "add_eos_token": t.AddEOS(), "clean_up_tokenization_spaces": false}
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		f[fileTokenizerJSON] = data
		config["tokenizer_class"] = "PreTrainedTokenizerFast"
	} else {
		f[fileSentencePiece] = data
		config["tokenizer_class"], config["legacy"] = "LlamaTokenizer", true
	}
	for key, id := range map[string]int32{"bos_token": t.BOS(), "eos_token": t.EOS(), "pad_token": t.PAD(), "unk_token": t.UNK()} {
		if id >= 0 {
			config[key] = t.Piece(id)
		}
	}
	f[fileConfig], err = indentJSON(config)
	return f, err
}

// tokenizerFolder reads the tokenizer files that a folder has.
func tokenizerFolder(dir string) (TokenizerFiles, error) {
	f := TokenizerFiles{}
	for _, name := range tokenizerFileNames {
		data, err := readOptional(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if data != nil {
			f[name] = data
		}
	}
	more, err := filepath.Glob(filepath.Join(dir, moreTemplates, "*.jinja"))
	if err != nil {
		more = nil // the folder's own name holds a bad pattern; reading found none there either
	}
	for _, path := range more {
		data, err := readSmall(path, maxJSON)
		if err != nil {
			return nil, err
		}
		f[moreTemplates+"/"+filepath.Base(path)] = data
	}
	return f, nil
}

// Open opens the tokenizer; name stands for the files in errors.
func (f TokenizerFiles) Open(name string, opt tokenizer.Options) (*tokenizer.Tokenizer, error) {
	return tokenizer.FromFiles(name, f, opt)
}

// Write writes the files into dir, each atomically, and takes away tokenizer files of an earlier vocabulary.
func (f TokenizerFiles) Write(dir string) error {
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	for _, name := range tokenizerFileNames {
		if f[name] == nil {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, name := range sortedKeys(f) {
		if err := durable.MkdirAll(filepath.Dir(filepath.Join(dir, name))); err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(dir, name), f[name]); err != nil {
			return err
		}
	}
	return nil
}

// Template is the default Jinja chat template of the files, "" if there is none.
func (f TokenizerFiles) Template() (string, error) {
	var c Checkpoint
	err := c.readTemplates(f)
	return c.ChatTemplate, err
}

// WithTemplate returns the files with another default chat template, where both old and new versions of transformers
// look for it.
func (f TokenizerFiles) WithTemplate(source string) (TokenizerFiles, error) {
	out := maps.Clone(f)
	out[fileChatTemplate] = []byte(source)
	return out, out.edit(fileConfig, func(m map[string]json.RawMessage) error {
		var named []map[string]string
		if json.Unmarshal(m["chat_template"], &named) == nil && len(named) > 0 {
			named = slices.DeleteFunc(named, func(t map[string]string) bool { return t["name"] == "default" })
			return put(m, "chat_template", append([]map[string]string{{"name": "default", "template": source}}, named...))
		}
		return put(m, "chat_template", source)
	})
}

// keyFingerprint is the fingerprint in GGUF metadata.
const keyFingerprint = "tokenizer.leo.fingerprint"

// leoFile is what leo.json says: which tokenizer the weights beside it were trained with.
type leoFile struct {
	Version   int    `json:"version"` // 1
	Tokenizer string `json:"tokenizer_fingerprint"`
	Base      string `json:"base_identity,omitempty"` // of an adapter: Checkpoint.Identity of the weights it was trained on
}

// WithFingerprint returns the files with a record of what their ids must mean (tokenizer.Fingerprint), which travels
// with them into folders, adapters and GGUF.
func (f TokenizerFiles) WithFingerprint(fingerprint string) (TokenizerFiles, error) {
	return f.withLeo(leoFile{Version: 1, Tokenizer: fingerprint})
}

// WithBase returns the files saying which weights the adapter beside them was trained on (Checkpoint.Identity).
func (f TokenizerFiles) WithBase(identity string) (TokenizerFiles, error) {
	l, err := f.leo()
	if err != nil {
		return nil, err
	}
	l.Version, l.Base = 1, identity
	return f.withLeo(l)
}

// Base is the identity of the weights that an adapter was trained on, "" if nothing says so.
func (f TokenizerFiles) Base() string {
	l, _ := f.leo() // Fingerprint reports what is wrong with the file
	return l.Base
}

func (f TokenizerFiles) withLeo(l leoFile) (TokenizerFiles, error) {
	out := maps.Clone(f)
	b, err := indentJSON(l)
	out[fileLeo] = b
	return out, err
}

func (f TokenizerFiles) leo() (leoFile, error) {
	var l leoFile
	if f[fileLeo] == nil {
		return l, nil
	}
	if err := json.Unmarshal(f[fileLeo], &l); err != nil {
		return l, jsonError(fileLeo, f[fileLeo], err)
	}
	return l, nil
}

// Fingerprint is the record's, "" if there is none.
func (f TokenizerFiles) Fingerprint() (string, error) {
	l, err := f.leo()
	return l.Tokenizer, err
}

// WithoutBOS returns the files saying that nothing is put in front of a text or after it.
func (f TokenizerFiles) WithoutBOS() (TokenizerFiles, error) {
	out := maps.Clone(f)
	return out, out.edit(fileConfig, func(m map[string]json.RawMessage) error {
		m["add_bos_token"], m["add_eos_token"] = json.RawMessage("false"), json.RawMessage("false")
		return nil
	})
}

// ChatMarkers begin and end a turn of ChatML.
var ChatMarkers = []string{"<|im_start|>", "<|im_end|>"}

// MissingChatTokens lists the tokens that a vocabulary needs to write ChatML, in the order of their ids. A SentencePiece
// vocabulary gets what Megatron's tokenizer adds, as LeoLM's training data has it (32000 to 32006 after Llama-2's
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

// AddStops adds to a configuration the ids that end an answer in this vocabulary, and its padding if none is stated.
func (f TokenizerFiles) AddStops(name string, cfg *Config) error {
	t, err := f.Open(name, tokenizer.Options{})
	if err != nil {
		return err
	}
	cfg.EOS = addIDs(slices.Clone(cfg.EOS), int(t.EOS()))
	for _, text := range endOfTurn {
		if id, ok := t.ID(text); ok {
			cfg.EOS = addIDs(cfg.EOS, int(id))
		}
	}
	if cfg.PAD < 0 {
		cfg.PAD = int(t.PAD())
	}
	return nil
}

// HasVocabulary reports whether the files hold a tokenizer, and not only templates or settings.
func (f TokenizerFiles) HasVocabulary() bool {
	return f[fileSentencePiece] != nil || f[fileTokenizerJSON] != nil
}

// SentencePiece reports whether the vocabulary is a SentencePiece model's.
func (f TokenizerFiles) SentencePiece() bool { return f[fileSentencePiece] != nil }

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

// Grow returns the files with control tokens added after the vocabulary, in every file that lists tokens, so that
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
// files hold tokens after the pieces, the new ones would have the wrong ids; then tokenizer.model stays as it is.
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
		return fmt.Errorf("a Metaspace pre-tokenizer (prepend_scheme first) after a normalizer can't be given the prefixes that chat tokens need")
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

// object is the content of a JSON file, an empty object if there is none.
func (f TokenizerFiles) object(name string) []byte {
	if f[name] == nil {
		return []byte("{}")
	}
	return f[name]
}

// edit changes a JSON object file; the order of keys is not kept.
func (f TokenizerFiles) edit(name string, change func(m map[string]json.RawMessage) error) error {
	m := map[string]json.RawMessage{}
	data := f.object(name)
	if err := json.Unmarshal(data, &m); err != nil {
		return jsonError(name, data, err)
	}
	if err := change(m); err != nil {
		return err
	}
	out, err := indentJSON(m)
	f[name] = out
	return err
}

func put(m map[string]json.RawMessage, key string, v any) error {
	b, err := compactJSON(v)
	m[key] = b
	return err
}

// compactJSON is json.Marshal without HTML's escapes.
func compactJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
