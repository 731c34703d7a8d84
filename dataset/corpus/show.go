package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"leolm/checkpoint"
	"leolm/dataset/shard"
	"leolm/internal/bounded"
	"leolm/tokenizer"
)

// ReadManifest reads DIR/out/manifest.json.
func ReadManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, "out", "manifest.json")
	b, err := bounded.Regular(path, maxOwnFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &NoCorpusError{Dir: dir}
	}
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: not a manifest: %w", path, err)
	}
	return &m, nil
}

// Show writes one sample of a finished plan for people. split is train or val.
func Show(w io.Writer, dir, split string, at int64) error {
	p, err := ReadPlan(dir)
	if err != nil {
		return err
	}
	m, err := ReadManifest(dir)
	if err != nil {
		return err
	}
	list := m.Train
	switch split {
	case "train":
	case "val":
		list = m.Val
	default:
		return fmt.Errorf("no split %q, want train or val", split)
	}
	total := int64(0)
	for _, s := range list {
		total += s.Samples
	}
	if at < 0 || at >= total {
		return fmt.Errorf("no %s sample %d, there are %d (counted from 0)", split, at, total)
	}
	k, left := 0, at
	for left >= list[k].Samples {
		left -= list[k].Samples
		k++
	}
	set, err := shard.Open(filepath.Join(dir, "out", list[k].File))
	if err != nil {
		return err
	}
	defer set.Close()
	sample := set.Sample(int(left))
	path := p.Recipe.Tokenizer
	if len(p.Tokenizer) == 1 {
		path = p.Tokenizer[0].Path
	}
	tok, err := checkpoint.OpenTokenizer(path, tokenizer.Options{})
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s sample %d of %d (%s): %d ids, %d documents or parts of them\n", split, at, total, list[k].File, len(sample.IDs), len(sample.Docs))
	for i, from := range sample.Docs {
		to := len(sample.IDs)
		if i+1 < len(sample.Docs) {
			to = int(sample.Docs[i+1])
		}
		fmt.Fprintf(&b, "\n── ids %d to %d ──\n%s\n", from, to-1, tok.Decode(sample.IDs[from:to], true))
	}
	_, err = io.WriteString(w, b.String())
	return err
}
