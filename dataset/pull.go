package dataset

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"leolm/dataset/rows"
	"leolm/internal/durable"
	"leolm/internal/hub"
)

// Pulled is a dataset that lies in its folder.
type Pulled struct {
	Hub    string   `json:"hub"`
	Commit string   `json:"commit"`
	Dir    string   `json:"dir"`
	Files  []string `json:"files"`
}

// PullOptions tell who is told how Pull gets on. Both may be nil.
type PullOptions struct {
	// Progress is told how many bytes of a file are there; total is -1 if unknown.
	Progress func(file string, done, total int64)
	// Warn is told when a copy in the cache stands in for the hub.
	Warn func(message string)
}

// Pull fetches the data files of datasets on the Hugging Face hub into the
// cache shared with Python, resuming what an earlier run left, and puts them
// into to/ORG/NAME as hard links, or copies where links cannot be made. Hub,
// cache and token are those of the environment: HF_ENDPOINT, HF_HOME, HF_TOKEN
// and the other variables that huggingface_hub reads.
func Pull(ctx context.Context, ids []string, to string, opt PullOptions) ([]Pulled, error) {
	client, err := hub.FromEnv()
	if err != nil {
		return nil, err
	}
	client.Warn = opt.Warn
	var out []Pulled
	for _, id := range ids {
		repo, err := hub.ParseRepo(hub.Dataset, id)
		if err != nil {
			return out, err
		}
		got, err := client.Snapshot(ctx, repo, nil, nil, func(files []hub.File) ([]hub.File, error) {
			var data []hub.File
			for _, f := range files {
				if _, ok := rows.FormatOf(f.Name); ok && isData(f.Name) {
					data = append(data, f)
				}
			}
			if len(data) == 0 {
				return nil, fmt.Errorf("%s: no Parquet, JSON, JSONL, CSV, TSV or YAML data among its %d files", repo, len(files))
			}
			return data, nil
		}, opt.Progress)
		if err != nil {
			return out, err
		}
		p := Pulled{Hub: id, Commit: got.Commit, Dir: filepath.Join(to, filepath.FromSlash(repo.ID))}
		for _, name := range got.Files {
			dst := filepath.Join(p.Dir, filepath.FromSlash(name))
			if err := place(filepath.Join(got.Dir, filepath.FromSlash(name)), dst); err != nil {
				return out, err
			}
			p.Files = append(p.Files, name)
		}
		out = append(out, p)
	}
	return out, nil
}

// isData leaves out what repositories carry beside their data.
func isData(name string) bool {
	base := path.Base(name)
	return base != "dataset_infos.json" && base != "dataset_dict.json" && base != "state.json" && base != "dataset_info.json" &&
		!strings.HasPrefix(base, ".") && !strings.HasPrefix(base, "README")
}

// place puts a file of the cache at dst.
func place(src, dst string) error {
	src, err := filepath.EvalSymlinks(src)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(dst)); err != nil {
		return err
	}
	if a, err := os.Stat(src); err == nil {
		if b, err := os.Stat(dst); err == nil && os.SameFile(a, b) {
			return nil
		}
	}
	// The link gets a name of its own first, so that dst is never missing.
	tmp := dst + ".leo-link"
	os.Remove(tmp)
	if os.Link(src, tmp) == nil {
		return os.Rename(tmp, dst)
	}
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.WriteTo(dst, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}
