package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// maxJSON bounds the JSON files of a folder; the largest tokenizer.json
// in use is about 30 MB.
const maxJSON = 256 << 20

// weightFiles are tried in this order, as transformers does.
var weightFiles = []struct{ index, single, format string }{
	{"model.safetensors.index.json", "model.safetensors", FormatSafetensors},
	{"pytorch_model.bin.index.json", "pytorch_model.bin", FormatPyTorch},
}

func openFolder(dir string) (_ *Checkpoint, err error) {
	c := &Checkpoint{Path: dir, TokenizerDir: dir}
	var closers []func() error
	c.close = func() error {
		var errs []error
		for _, f := range closers {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	file := filepath.Join(dir, "config.json")
	data, err := readSmall(file, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, explainFolder(dir)
	}
	if err != nil {
		return nil, err
	}
	if c.Config, err = ParseConfig(data); err != nil {
		return nil, jsonError(file, data, err)
	}
	file = filepath.Join(dir, "generation_config.json")
	if data, err := readOptional(file); err != nil {
		return nil, err
	} else if data != nil {
		if c.Generation, err = ParseGeneration(data); err != nil {
			return nil, jsonError(file, data, err)
		}
	}
	if err := c.readTokenizerFiles(dir); err != nil {
		return nil, err
	}
	stored, err := c.openWeights(dir, &closers)
	if err != nil {
		return nil, err
	}
	buffers, ignored := 0, 0
	for _, s := range stored {
		name := plainName(s.Name)
		switch {
		case strings.HasSuffix(name, ".rotary_emb.inv_freq"):
			buffers++
			continue
		case name == "embed_tokens.weight", name == "norm.weight", strings.HasPrefix(name, "layers."):
			// Saved from the bare LlamaModel.
			name = "model." + name
		}
		if name == "lm_head.weight" && c.Config.TieEmbeddings {
			c.note("lm_head.weight was ignored: config.json ties the output to the embedding.")
			continue
		}
		if _, known := ggufName(name); !known {
			if ignored++; ignored <= maxIgnored {
				c.note("Tensor %q is not part of a Llama model and was ignored.", s.Name)
			}
			continue
		}
		if err := s.readable(); err != nil {
			return nil, err
		}
		if err := c.add(&Tensor{Name: name, Stored: s.Name, DType: s.DType, Shape: s.Shape, File: s.File, Offset: s.Offset, data: s.Data}); err != nil {
			return nil, err
		}
	}
	if more := ignored - maxIgnored; more > 0 {
		c.note("%d more tensors are not part of a Llama model and were ignored.", more)
	}
	if buffers > 0 {
		c.note("%d stored rotary_emb.inv_freq buffers were ignored: frequencies follow from config.json.", buffers)
	}
	if c.HasWeights() {
		if err := c.checkTensors(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// maxIgnored is how many ignored tensors are named one by one.
const maxIgnored = 8

// wrappers are what PyTorch adds to the names of modules that it wraps: torch.compile, FSDP and
// activation checkpointing anywhere, DistributedDataParallel at the start.
var wrappers = strings.NewReplacer("_orig_mod.", "", "_fsdp_wrapped_module.", "", "_checkpoint_wrapped_module.", "")

// plainName is the name of a tensor without wrappers.
func plainName(name string) string { return strings.TrimPrefix(wrappers.Replace(name), "module.") }

// readable returns an error for a tensor in a data type that Leo doesn't read.
func (s *Stored) readable() error {
	if s.Foreign == "" {
		return nil
	}
	return &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset,
		Msg: fmt.Sprintf("stored as %q, which Leo doesn't read; convert the model to bf16 first", s.Foreign)}
}

// explainFolder says what a folder without config.json is.
func explainFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "adapter_config.json":
			return fmt.Errorf("%s: a LoRA adapter, not a model; name it beside its base model", dir)
		case strings.HasSuffix(name, ".gguf"):
			return fmt.Errorf("%s: no config.json in this folder; to open the GGUF file in it, name %s", dir, filepath.Join(dir, name))
		}
	}
	return fmt.Errorf("%s: no config.json in this folder: not a Hugging Face model, or one whose writing was interrupted", dir)
}

func readOptional(path string) ([]byte, error) {
	data, err := readSmall(path, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// jsonError adds the file and, for broken JSON, line and byte.
func jsonError(file string, data []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := min(int(syntax.Offset), len(data))
		return &FormatError{File: file, Offset: syntax.Offset, Msg: fmt.Sprintf("line %d", 1+bytes.Count(data[:at], []byte("\n"))), Err: err}
	}
	return &FormatError{File: file, Offset: -1, Err: err}
}

// openWeights maps the weight files of the folder and lists their tensors.
func (c *Checkpoint) openWeights(dir string, closers *[]func() error) ([]Stored, error) {
	for _, w := range weightFiles {
		open := func(path string) ([]Stored, error) {
			if w.format == FormatPyTorch {
				p, err := OpenPyTorch(path)
				if err != nil {
					return nil, err
				}
				*closers = append(*closers, p.Close)
				for _, key := range p.Ignored {
					c.note("Entry %q of %s is no tensor and was ignored.", key, filepath.Base(path))
				}
				return p.Tensors, nil
			}
			s, err := OpenSafetensors(path)
			if err != nil {
				return nil, err
			}
			*closers = append(*closers, s.Close)
			return s.Tensors, nil
		}
		single := filepath.Join(dir, w.single)
		if _, err := os.Stat(single); err == nil {
			c.Format, c.Files = w.format, []string{single}
			return open(single)
		}
		index := filepath.Join(dir, w.index)
		data, err := readOptional(index)
		if err != nil {
			return nil, err
		}
		if data == nil {
			continue
		}
		c.Format = w.format
		return c.openShards(dir, index, data, open)
	}
	c.Format = FormatTokenizer
	c.note("The folder holds no weights (neither model.safetensors nor pytorch_model.bin).")
	return nil, nil
}

// openShards opens the files that an index names.
func (c *Checkpoint) openShards(dir, index string, data []byte, open func(string) ([]Stored, error)) ([]Stored, error) {
	var idx struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &idx); err != nil {
		return nil, jsonError(index, data, err)
	}
	if len(idx.WeightMap) == 0 {
		return nil, &FormatError{File: index, Offset: -1, Msg: "weight_map is missing or empty"}
	}
	want := map[string]int{} // file → tensors
	for name, file := range idx.WeightMap {
		if file != filepath.Base(file) || !filepath.IsLocal(file) {
			return nil, &FormatError{File: index, Tensor: name, Offset: -1, Msg: fmt.Sprintf("is said to be in %q, which is not a plain file name", file)}
		}
		want[file]++
	}
	files := make([]string, 0, len(want))
	for f := range want {
		files = append(files, f)
	}
	sort.Strings(files)
	var all []Stored
	for _, f := range files {
		path := filepath.Join(dir, f)
		tensors, err := open(path)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w (named by %s)", err, index)
			}
			return nil, err
		}
		c.Files = append(c.Files, path)
		for _, t := range tensors {
			if idx.WeightMap[t.Name] != f {
				c.note("Tensor %q in %s was ignored: %s doesn't place it there.", t.Name, f, filepath.Base(index))
				continue
			}
			all = append(all, t)
			delete(idx.WeightMap, t.Name)
		}
	}
	for _, name := range sortedKeys(idx.WeightMap) {
		return nil, &FormatError{File: filepath.Join(dir, idx.WeightMap[name]), Tensor: name, Offset: -1, Msg: "not in this file, though " + filepath.Base(index) + " says so"}
	}
	return all, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// readTokenizerFiles takes the chat template and the special tokens' ids from
// the files beside config.json.
func (c *Checkpoint) readTokenizerFiles(dir string) error {
	ids := map[string][]int{} // token text → ids
	var bos, eos string
	file := filepath.Join(dir, "tokenizer_config.json")
	data, err := readOptional(file)
	if err != nil {
		return err
	}
	if data != nil {
		o, err := parseObject(data)
		if err != nil {
			return jsonError(file, data, err)
		}
		var added map[string]struct {
			Content string `json:"content"`
		}
		o.get("added_tokens_decoder", "a map of ids", &added)
		for key, t := range added {
			if id, err := strconv.Atoi(key); err == nil {
				ids[t.Content] = append(ids[t.Content], id)
			}
		}
		bos, eos = tokenText(o, "bos_token"), tokenText(o, "eos_token")
		if o.err != nil {
			return jsonError(file, data, o.err)
		}
	}
	files, err := tokenizerFolder(dir)
	if err != nil {
		return err
	}
	if err := c.readTemplates(files); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if c.TokenizerFingerprint, err = files.Fingerprint(); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	file = filepath.Join(dir, "special_tokens_map.json")
	if data, err := readOptional(file); err != nil {
		return err
	} else if data != nil {
		o, err := parseObject(data)
		if err != nil {
			return jsonError(file, data, err)
		}
		if s := tokenText(o, "bos_token"); bos == "" {
			bos = s
		}
		if s := tokenText(o, "eos_token"); eos == "" {
			eos = s
		}
	}
	file = filepath.Join(dir, "added_tokens.json")
	if data, err := readOptional(file); err != nil {
		return err
	} else if data != nil {
		// What tokenizer_config.json names has the id that it says, as transformers reads it.
		more := map[string][]int{}
		if err := addedTokens(data, more); err != nil {
			return jsonError(file, data, err)
		}
		for text, list := range more {
			if _, known := ids[text]; !known {
				ids[text] = list
			} else if !slices.Equal(ids[text], slices.Compact(slices.Sorted(slices.Values(list)))) {
				c.note("%s gives %q the ids %v, tokenizer_config.json %v: the second counts.", fileAddedTokens, text, list, ids[text])
			}
		}
	}
	if len(ids) == 0 {
		if err := addedFromTokenizerJSON(dir, ids); err != nil {
			return err
		}
	}
	for text := range ids {
		sort.Ints(ids[text])
		ids[text] = slices.Compact(ids[text])
	}
	if n := len(ids["<EOD>"]); n > 1 {
		c.note("The tokenizer files name <EOD> %d times (ids %v): the first stands where LeoLM's <SEP> belongs.", n, ids["<EOD>"])
	}
	stops := endOfTurn
	if eos != "" {
		stops = append([]string{eos}, stops...)
	}
	for _, s := range stops {
		for _, id := range ids[s] {
			before := c.StopIDs()
			if slices.Contains(before, id) {
				continue
			}
			c.Config.EOS = addIDs(c.Config.EOS, id)
			c.note("config.json's end of sequence %v is not the end of a turn: %s (%d) stops an answer too.", before, s, id)
		}
	}
	if bos == "<|im_start|>" {
		c.note("The tokenizer calls <|im_start|> its beginning of sequence: it opens turns and is never put before a whole prompt.")
	}
	return nil
}

func (c *Checkpoint) addTemplate(name, text string) {
	if name == "default" {
		c.ChatTemplate = text
		return
	}
	if c.ChatTemplates == nil {
		c.ChatTemplates = map[string]string{}
	}
	c.ChatTemplates[name] = text
}

// moreTemplates is the folder of further templates beside chat_template.jinja.
const moreTemplates = "additional_chat_templates"

// readTemplates reads the chat templates: those of tokenizer_config.json, then chat_template.jinja and
// additional_chat_templates/NAME.jinja, which outrank them.
func (c *Checkpoint) readTemplates(f TokenizerFiles) error {
	o, err := parseObject(f.object(fileConfig))
	if err != nil {
		return jsonError(fileConfig, f[fileConfig], err)
	}
	if o.has("chat_template") && bytes.HasPrefix(bytes.TrimSpace(o.m["chat_template"]), []byte("[")) {
		var named []struct{ Name, Template string }
		o.get("chat_template", "a list of named templates", &named)
		for _, t := range named {
			c.addTemplate(t.Name, t.Template)
		}
	} else {
		c.ChatTemplate = o.string("chat_template")
	}
	if o.err != nil {
		return jsonError(fileConfig, f[fileConfig], o.err)
	}
	if t := f[fileChatTemplate]; t != nil {
		c.ChatTemplate = string(t)
	}
	for _, name := range sortedKeys(f) {
		if base, ok := strings.CutPrefix(name, moreTemplates+"/"); ok {
			c.addTemplate(strings.TrimSuffix(base, ".jinja"), string(f[name]))
		}
	}
	return nil
}

// tokenText reads a special token that is a text or an object with "content".
func tokenText(o *jsonObject, key string) string {
	if !o.has(key) {
		return ""
	}
	var s string
	if json.Unmarshal(o.m[key], &s) == nil {
		return s
	}
	var t struct {
		Content string `json:"content"`
	}
	o.get(key, "a text or a token", &t)
	return t.Content
}

// addedTokens reads added_tokens.json, in which LeoLM's 70B names one key twice.
func addedTokens(data []byte, ids map[string][]int) error {
	if !json.Valid(data) {
		return json.Unmarshal(data, new(map[string]int)) // says where
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("not a JSON object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var id int
		if err := dec.Decode(&id); err != nil {
			return err
		}
		if text, ok := key.(string); ok {
			ids[text] = append(ids[text], id)
		}
	}
	_, err = dec.Token()
	return err
}

func addedFromTokenizerJSON(dir string, ids map[string][]int) error {
	file := filepath.Join(dir, "tokenizer.json")
	data, err := readOptional(file)
	if err != nil || data == nil {
		return err
	}
	var t struct {
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return jsonError(file, data, err)
	}
	for _, a := range t.Added {
		ids[a.Content] = append(ids[a.Content], a.ID)
	}
	return nil
}
