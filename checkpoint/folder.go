package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
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
	if err := c.readConfigs(dir); err != nil {
		return nil, err
	}
	if err := c.readTokenizerFiles(dir); err != nil {
		return nil, err
	}
	stored, err := c.openWeights(dir, &closers)
	if err != nil {
		return nil, err
	}
	if err := c.takeTensors(stored); err != nil {
		return nil, err
	}
	if c.HasWeights() {
		if err := c.checkTensors(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// readConfigs reads config.json and, if there is one, generation_config.json.
func (c *Checkpoint) readConfigs(dir string) error {
	file := filepath.Join(dir, "config.json")
	data, err := readSmall(file, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return explainFolder(dir)
	}
	if err != nil {
		return err
	}
	if c.Config, err = ParseConfig(data); err != nil {
		return jsonError(file, data, err)
	}
	file = filepath.Join(dir, "generation_config.json")
	data, err = readOptional(file)
	if err != nil || data == nil {
		return err
	}
	if c.Generation, err = ParseGeneration(data); err != nil {
		return jsonError(file, data, err)
	}
	return nil
}

// takeTensors adds the stored tensors that are weights of a Llama, under their canonical names, and reports the others.
func (c *Checkpoint) takeTensors(stored []Stored) error {
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
			return err
		}
		if err := c.add(&Tensor{Name: name, Stored: s.Name, DType: s.DType, Shape: s.Shape, File: s.File, Offset: s.Offset, data: s.Data}); err != nil {
			return err
		}
	}
	if more := ignored - maxIgnored; more > 0 {
		c.note("%d more tensors are not part of a Llama model and were ignored.", more)
	}
	if buffers > 0 {
		c.note("%d stored rotary_emb.inv_freq buffers were ignored: frequencies follow from config.json.", buffers)
	}
	return nil
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
