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

	"leolm/internal/durable"
	"leolm/tokenizer"
)

// TokenizerFiles are the files of a Hugging Face folder that make up its tokenizer, by name: tokenizer.model,
// tokenizer.json, tokenizer_config.json and so on, with the chat templates. It is the form in which a vocabulary travels
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
// gets a tokenizer_config.json that says what it leaves open.
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
	if isGGUF(path) {
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

// WithoutBOS returns the files saying that nothing is put in front of a text or behind it.
func (f TokenizerFiles) WithoutBOS() (TokenizerFiles, error) {
	out := maps.Clone(f)
	return out, out.edit(fileConfig, func(m map[string]json.RawMessage) error {
		m["add_bos_token"], m["add_eos_token"] = json.RawMessage("false"), json.RawMessage("false")
		return nil
	})
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
