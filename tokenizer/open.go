package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"leolm/internal/bounded"
	"leolm/internal/pyjson"
)

// maxFile bounds the tokenizer files that Open reads into memory.
const maxFile = 256 << 20

// Open reads a tokenizer.model, a tokenizer.json, or a folder that holds one of
// them (tokenizer.json first) with the files beside it.
func Open(path string, opt Options) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if info.IsDir() {
		return openFolder(path, func(name string) ([]byte, error) { return readFile(filepath.Join(path, name)) }, opt)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		t, err := FromJSON(data, opt)
		return t, inFile(path, err)
	}
	t, err := FromSentencePiece(data, opt)
	return t, inFile(path, err)
}

// FromFiles opens the tokenizer of a folder whose files are in memory, by name. name stands for the folder in errors.
func FromFiles(name string, files map[string][]byte, opt Options) (*Tokenizer, error) {
	return openFolder(name, func(file string) ([]byte, error) {
		data, ok := files[file]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: filepath.Join(name, file), Err: fs.ErrNotExist}
		}
		return data, nil
	}, opt)
}

func inFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, err)
}

func readFile(path string) ([]byte, error) {
	data, err := bounded.Regular(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return data, nil
}

// reader returns the content of a file of a folder by its name; fs.ErrNotExist if there is none.
type reader func(name string) ([]byte, error)

// openFolder reads what Hugging Face's from_pretrained reads.
func openFolder(dir string, read reader, opt Options) (*Tokenizer, error) {
	var cfg fileConfig
	if err := cfg.read(dir, read); err != nil {
		return nil, err
	}
	data, err := read("tokenizer.json")
	if err == nil {
		t, err := fromJSON(data, opt, cfg)
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", filepath.Join(dir, "tokenizer.json"), err)
		}
		return t, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	data, err = read("tokenizer.model")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tokenizer: %s has neither tokenizer.json nor tokenizer.model", dir)
	}
	if err != nil {
		return nil, err
	}
	if opt.Legacy == LegacyAuto && cfg.legacy != nil && !*cfg.legacy {
		opt.Legacy = LegacyOff
	}
	t, err := fromSentencePiece(data, opt, cfg.noPrefix())
	if err != nil {
		return nil, inFile(filepath.Join(dir, "tokenizer.model"), err)
	}
	if err := t.addFromConfig(cfg, opt); err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	return t, nil
}

// addFromConfig adds to a SentencePiece vocabulary the tokens that the files
// beside it name, as Hugging Face's LlamaTokenizer does.
func (t *Tokenizer) addFromConfig(cfg fileConfig, opt Options) error {
	control := map[string]bool{}
	for _, s := range slices.Concat(cfg.extra, []string{cfg.bos, cfg.eos, cfg.unk, cfg.pad}) {
		if s != "" {
			control[s] = true
		}
	}
	slices.SortStableFunc(cfg.added, func(a, b hfAdded) int { return cmp.Compare(a.ID, b.ID) })
	seen := map[string]int32{}
	for _, a := range cfg.added {
		if a.Content == "" {
			continue
		}
		if err := t.mayAdd(a); err != nil {
			return err
		}
		if id, ok := seen[a.Content]; ok && id != a.ID {
			// LeoLM's 70B chat names <EOD> twice, the second time for <SEP>.
			t.notes = append(t.notes, fmt.Sprintf("the files call both %d and %d %q; %d keeps the name", id, a.ID, a.Content, id))
			continue
		}
		seen[a.Content] = a.ID
		kind := UserDefined
		if a.Special || control[a.Content] || opt.Specials == SpecialsTrusted && markerShaped(a.Content) {
			kind = Control
		}
		if int(a.ID) < len(t.kinds) && t.kinds[a.ID] == Unknown && t.pieces[a.ID] == a.Content {
			t.added = append(t.added, addedToken{id: a.ID, text: a.Content, kind: Control})
			continue
		}
		t.addToken(addedToken{id: a.ID, text: a.Content, kind: kind, singleWord: a.SingleWord, lstrip: a.LStrip, rstrip: a.RStrip})
	}
	// Names of the four roles that are pieces, not added tokens.
	for name := range control {
		if id, ok := t.index[name]; ok && !t.isAdded(name) {
			t.added = append(t.added, addedToken{id: id, text: name, kind: Control})
		} else if !ok {
			t.addToken(addedToken{id: -1, text: name, kind: Control})
		}
	}
	t.raw = newMatcher(t.added)
	t.dec = t.dec.extend(t)
	t.applyConfig(cfg)
	return nil
}

// tokenName reads both "<s>" and {"content": "<s>", …}.
type tokenName string

func (n *tokenName) UnmarshalJSON(b []byte) error {
	var obj struct {
		Content string `json:"content"`
	}
	if len(b) > 0 && b[0] == '{' {
		if err := json.Unmarshal(b, &obj); err != nil {
			return err
		}
		*n = tokenName(obj.Content)
		return nil
	}
	var text *string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	if text != nil {
		*n = tokenName(*text)
	}
	return nil
}

// read collects what the files of a folder say; each of them may be missing.
func (c *fileConfig) read(dir string, read reader) error {
	var config struct {
		BOS    tokenName          `json:"bos_token"`
		EOS    tokenName          `json:"eos_token"`
		UNK    tokenName          `json:"unk_token"`
		PAD    tokenName          `json:"pad_token"`
		CLS    tokenName          `json:"cls_token"`
		SEP    tokenName          `json:"sep_token"`
		MASK   tokenName          `json:"mask_token"`
		More   json.RawMessage    `json:"additional_special_tokens"`
		AddBOS *bool              `json:"add_bos_token"`
		AddEOS *bool              `json:"add_eos_token"`
		Legacy *bool              `json:"legacy"`
		Prefix *bool              `json:"add_prefix_space"`
		Class  string             `json:"tokenizer_class"`
		Added  map[string]hfAdded `json:"added_tokens_decoder"`
	}
	load := func(name string, into any) (bool, error) {
		data, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if err := json.Unmarshal(pyjson.Standard(data), into); err != nil {
			return false, fmt.Errorf("tokenizer: %s: %w", filepath.Join(dir, name), jsonError(data, err))
		}
		return true, nil
	}
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		if _, err := load(name, &config); err != nil {
			return err
		}
		var list []tokenName
		if len(config.More) > 0 && config.More[0] == '[' {
			if err := json.Unmarshal(config.More, &list); err != nil {
				return fmt.Errorf("tokenizer: %s: additional_special_tokens: %w", filepath.Join(dir, name), err)
			}
		}
		for _, n := range append(list, config.CLS, config.SEP, config.MASK) {
			if n != "" && !slices.Contains(c.extra, string(n)) {
				c.extra = append(c.extra, string(n))
			}
		}
	}
	c.bos, c.eos, c.unk, c.pad = string(config.BOS), string(config.EOS), string(config.UNK), string(config.PAD)
	c.addBOS, c.addEOS, c.legacy = config.AddBOS, config.AddEOS, config.Legacy
	c.prefixSpace, c.class = config.Prefix, config.Class
	for key, a := range config.Added {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return fmt.Errorf("tokenizer: %s: added_tokens_decoder: %q is no id", filepath.Join(dir, "tokenizer_config.json"), key)
		}
		a.ID = int32(id)
		c.added = append(c.added, a)
	}
	var added map[string]int32
	if _, err := load("added_tokens.json", &added); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, a := range c.added {
		known[a.Content] = true
	}
	for text, id := range added {
		if !known[text] {
			c.added = append(c.added, hfAdded{ID: id, Content: text})
		}
	}
	slices.SortFunc(c.added, func(a, b hfAdded) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Content, b.Content)) })
	return nil
}
