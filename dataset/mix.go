package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"leolm/internal/recipe"
)

const (
	presetLeoLM   = "leolm"
	presetDefault = "default"
)

// Mix is a datamix as written in YAML: which dialogues, how many of each, and
// how they become tokens.
type Mix struct {
	// Prefix is the beginning of the output files' names.
	Prefix string `yaml:"prefix" check:"required"`
	// Preset is "leolm", which repeats the original pipeline to the bit, or
	// "default".
	Preset string `yaml:"preset" default:"default" check:"oneof=leolm|default"`
	// Base is the folder that file names below start from; relative to the
	// mix's own folder.
	Base string `yaml:"base"`
	// Tokenizer is a tokenizer.model, a tokenizer.json or a folder.
	Tokenizer string `yaml:"tokenizer" check:"required"`
	// Template is a name of package chat, a Jinja file (or the JSON file of a
	// tokenizer that holds one), or Jinja text. Empty: ChatML as LeoLM was trained.
	Template string `yaml:"template"`
	// System is put in front of every dialogue that has no system message.
	System string `yaml:"system"`
	// Seed draws subsets, SplitSeed splits off the validation set.
	Seed      uint32 `yaml:"seed" default:"42"`
	SplitSeed uint32 `yaml:"split_seed" default:"666"`
	// MinAssistantTokens skips samples whose assistant turns, header and end
	// marker included, have fewer tokens; 0 skips none.
	MinAssistantTokens int `yaml:"min_assistant_tokens" check:"min=0"`
	// EvalSize keeps the first so many samples of each validation set; 0: all.
	EvalSize int `yaml:"eval_size" check:"min=0"`
	// JSONL writes the formatted dialogues beside the shards.
	JSONL bool `yaml:"jsonl"`
	// OnError is what happens to rows that cannot be read: "stop" or "skip".
	OnError string `yaml:"on_error" default:"stop" check:"oneof=stop|skip"`
	// MaxRow bounds the bytes of one row; 0: 64 MiB.
	MaxRow int `yaml:"max_row" check:"min=0"`

	Filters Filters  `yaml:"filters"`
	Sources []Source `yaml:"sources" check:"required,min=1"`

	dir string // folder of the mix file
}

// Source is one dataset of a mix.
type Source struct {
	// Name is printed in the statistics.
	Name string `yaml:"name" check:"required"`
	// Reader says what the columns mean; leo data prepare --help lists them.
	Reader string `yaml:"reader" check:"required"`
	// Files are read one after the other; * and ? match names, ** folders.
	Files []string `yaml:"files" check:"required,min=1"`
	// Hub is the dataset's id on the Hugging Face hub, for leo data pull.
	Hub string `yaml:"hub"`
	// Format overrides what the names of the files say.
	Format string `yaml:"format" check:"oneof=|parquet|json|jsonl|csv|tsv|yaml"`
	// Path leads to the list of rows in a JSON or YAML file of one object.
	Path string `yaml:"path"`
	// Header names the columns of a CSV or TSV file without a header line.
	Header []string `yaml:"header"`
	// Columns renames what the reader looks for: meaning to column. An empty
	// name stands for no column.
	Columns map[string]string `yaml:"columns"`
	// Where keeps rows whose columns match one of the patterns each, as Python's
	// fnmatch does; a pattern that begins with ! excludes.
	Where map[string][]string `yaml:"where"`
	// ValSplit is the share held out for validation: ceil(rows × share).
	// Default 0, with preset leolm 0.2 as in the original.
	ValSplit *float64 `yaml:"val_split" check:"min=0,lt=1"`
	// MaxVal caps the validation set by a random draw.
	MaxVal int `yaml:"max_val_set" check:"min=0"`
	// Fraction or Size takes a random part of the training split.
	Fraction *float64 `yaml:"fraction" check:"gt=0,max=1"`
	Size     *int     `yaml:"size" check:"min=1"`
	// Paths is "top" or "all", for reader oasst; Lang keeps trees in one language.
	Paths string `yaml:"paths" check:"oneof=|top|all"`
	Lang  string `yaml:"lang"`
	// Explanations is a file of id → text, for reader choices.
	Explanations string `yaml:"explanations"`
}

// Validate checks what the fields alone cannot say.
func (s *Source) Validate(fail func(key, format string, args ...any)) {
	r, ok := readers[s.Reader]
	if s.Reader != "" && !ok {
		names, _ := ReaderNames()
		fail("reader", "unknown reader %q; known are %s", s.Reader, strings.Join(names, ", "))
		return
	}
	if s.Fraction != nil && s.Size != nil {
		fail("size", "give fraction or size, not both")
	}
	for meaning := range s.Columns {
		if r == nil {
			break
		}
		if _, ok := r.columns[meaning]; !ok {
			var known []string
			for k := range r.columns {
				known = append(known, k)
			}
			slices.Sort(known)
			fail("columns", "reader %s has no %q; it looks for %s", s.Reader, meaning, strings.Join(known, ", "))
		}
	}
	if s.Explanations != "" && s.Reader != "choices" {
		fail("explanations", "only reader choices uses explanations")
	}
	if (s.Paths != "" || s.Lang != "") && s.Reader != "oasst" {
		fail("paths", "paths and lang belong to reader oasst")
	}
}

// LoadMix reads a mix. Sets are assignments KEY=VALUE over it.
func LoadMix(path string, sets []string) (*Mix, error) {
	m := &Mix{dir: filepath.Dir(path)}
	if err := recipe.Load(path, sets, m); err != nil {
		return nil, err
	}
	return m, nil
}

// path resolves a file name of the mix.
func (m *Mix) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	if filepath.IsAbs(m.Base) {
		return filepath.Join(m.Base, name)
	}
	return filepath.Join(m.dir, m.Base, name)
}

// MissingError reports a source whose files are not there.
type MissingError struct {
	Source string
	Hub    string // repository of the Hub that has them, or ""
	Err    error
}

func (e *MissingError) Error() string { return fmt.Sprintf("source %s: %v", e.Source, e.Err) }

func (e *MissingError) Unwrap() error { return e.Err }

// files lists the files of a source in order.
func (m *Mix) files(s *Source) ([]string, error) {
	var out []string
	for _, name := range s.Files {
		full := m.path(name)
		if !strings.ContainsAny(name, "*?[") {
			if _, err := os.Stat(full); err != nil {
				return nil, &MissingError{Source: s.Name, Hub: s.Hub, Err: err}
			}
			out = append(out, full)
			continue
		}
		found, err := glob(full)
		if err != nil {
			return nil, fmt.Errorf("source %s: pattern %q: %w", s.Name, name, err)
		}
		if len(found) == 0 {
			return nil, &MissingError{Source: s.Name, Hub: s.Hub, Err: fmt.Errorf("no file matches %s", full)}
		}
		slices.Sort(found)
		out = append(out, found...)
	}
	return out, nil
}

// valSplit is the share of the source's validation set.
func (m *Mix) valSplit(s *Source) float64 {
	switch {
	case s.ValSplit != nil:
		return *s.ValSplit
	case m.Preset == presetLeoLM:
		return 0.2
	}
	return 0
}

// open makes the source ready to read.
func (m *Mix) open(s *Source) (*sourceReader, error) {
	r := &sourceReader{reader: readers[s.Reader], src: s, columns: map[string]string{}, byPosition: m.Preset == presetLeoLM, named: newNamedColumns(s.Columns)}
	for k, v := range r.reader.columns {
		r.columns[k] = v
	}
	for k, v := range s.Columns {
		r.columns[k] = v
	}
	if s.Explanations != "" {
		var err error
		if r.explanations, err = loadExplanations(m.path(s.Explanations)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// HubIDs lists the hub datasets that the mix names, each once.
func (m *Mix) HubIDs() []string {
	var ids []string
	for _, s := range m.Sources {
		if s.Hub != "" && !slices.Contains(ids, s.Hub) {
			ids = append(ids, s.Hub)
		}
	}
	return ids
}

// Folder is where the file names of the mix start from.
func (m *Mix) Folder() string { return m.path(".") }

// glob expands a pattern whose ** stands for any number of folders.
func glob(pattern string) ([]string, error) {
	root, rest, deep := strings.Cut(filepath.ToSlash(pattern), "**/")
	if !deep {
		return filepath.Glob(pattern)
	}
	var out []string
	err := filepath.WalkDir(filepath.FromSlash(root), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if n := strings.Count(rest, "/"); n > 0 {
			parts := strings.Split(filepath.ToSlash(p), "/")
			name = strings.Join(parts[max(0, len(parts)-n-1):], "/")
		}
		ok, err := path.Match(rest, name)
		if ok {
			out = append(out, p)
		}
		return err
	})
	if os.IsNotExist(err) {
		err = nil
	}
	return out, err
}
