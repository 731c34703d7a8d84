package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// Record says where the ids of a set of shards come from, so that whoever trains on them can tell whether they mean the
// same to its model. It stands beside the shards as PREFIX.leo.json, written last.
type Record struct {
	Version int `json:"version"` // 1
	// Tokenizer is the fingerprint of the tokenizer (tokenizer.Fingerprint), TokenizerDir the folder with its files,
	// from the record's own; "" if they are not kept.
	Tokenizer    string `json:"tokenizer"`
	TokenizerDir string `json:"tokenizer_dir,omitempty"`
	Vocab        int    `json:"vocab"`  // ids of the tokenizer
	MaxID        int32  `json:"max_id"` // largest id in the shards; -1 if there is none
	Samples      int    `json:"samples"`
	IDs          int64  `json:"ids"`
	// Template is the Jinja source that wrote the dialogues, TemplateName its name if it has one.
	Template     string `json:"template,omitempty"`
	TemplateName string `json:"template_name,omitempty"`
}

const recordVersion = 1

func recordPath(prefix string) string { return prefix + ".leo.json" }

// WriteRecord writes the record of the shards at prefix.
func WriteRecord(prefix string, r Record) error {
	r.Version = recordVersion
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(recordPath(prefix), append(b, '\n'))
}

// removeRecord takes the record of earlier shards away, before they are replaced.
func removeRecord(prefix string) error {
	if err := os.Remove(recordPath(prefix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// maxRecord bounds a record's file: a template is its largest part.
const maxRecord = 16 << 20

// readRecord reads the record of the shards at prefix and holds it against them; nil if there is none.
func readRecord(prefix string, s *Shards) (*Record, error) {
	path := recordPath(prefix)
	b, err := bounded.Regular(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return corpusRecord(prefix, s)
	}
	if err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("%s: version %d, only %d is known; prepare the data again with this program", path, r.Version, recordVersion)
	}
	if ids := s.IDs(); r.Samples != s.Len() || r.IDs != ids {
		return nil, fmt.Errorf("%s: the record is of %d samples with %d ids, the shards beside it hold %d with %d: the files do not belong together; prepare the data again",
			path, r.Samples, r.IDs, s.Len(), ids)
	}
	if r.TokenizerDir != "" {
		if !filepath.IsLocal(r.TokenizerDir) {
			return nil, fmt.Errorf("%s: the tokenizer's folder %q is not beside the shards", path, r.TokenizerDir)
		}
		r.TokenizerDir = filepath.Join(filepath.Dir(prefix), r.TokenizerDir)
	}
	return &r, nil
}

// corpusRecord makes a record of package corpus's manifest, which stands beside its shards; nil if there is none.
func corpusRecord(prefix string, s *Shards) (*Record, error) {
	dir := filepath.Dir(prefix)
	path := filepath.Join(dir, "manifest.json")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type entry struct {
		File    string `json:"file"`
		Samples int    `json:"samples"`
		IDs     int64  `json:"ids"`
	}
	var m struct {
		Tokenizer  string  `json:"tokenizer"`
		Vocab      int     `json:"vocab"`
		Train      []entry `json:"train"`
		Validation []entry `json:"validation"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxManifest)).Decode(&m); err != nil || m.Tokenizer == "" {
		return nil, nil // of another program, or of a Leo that kept no fingerprint
	}
	for _, e := range append(m.Train, m.Validation...) {
		if e.File != filepath.Base(prefix) {
			continue
		}
		if e.Samples != s.Len() || e.IDs != s.IDs() {
			return nil, fmt.Errorf("%s: names %d samples with %d ids for %s, which holds %d with %d: the files do not belong together", path, e.Samples, e.IDs, e.File, s.Len(), s.IDs())
		}
		return &Record{Version: recordVersion, Tokenizer: m.Tokenizer, TokenizerDir: filepath.Join(dir, "tokenizer"), Vocab: m.Vocab, MaxID: int32(m.Vocab - 1), Samples: e.Samples, IDs: e.IDs}, nil
	}
	return nil, nil
}

// maxManifest bounds the manifest of a corpus of many thousand shards.
const maxManifest = 256 << 20
