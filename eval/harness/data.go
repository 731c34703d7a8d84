package harness

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"leolm/dataset/rows"
	"leolm/eval"
	"leolm/internal/hub"
)

// Row is a row of a data set, or what stands in its place when it cannot be read.
type Row struct {
	File   string // its name below the folder or in the repository
	Number int64  // from 1, within the file
	Value  rows.Value
	Err    error
}

// String names the row.
func (r *Row) String() string { return fmt.Sprintf("%s, row %d", r.File, r.Number) }

// Hash is the hash of the row's contents.
func (r *Row) Hash() string {
	h := sha256.Sum256(r.Value.AppendJSON(nil))
	return hex.EncodeToString(h[:16])
}

// Bounds of a data set. Those that models are measured on are far smaller.
const (
	maxRows  = 4 << 20
	maxBytes = 1 << 30 // of rows as JSON
	maxFiles = 20000   // below a folder
)

// ReadRows reads the rows of files, one file after the other.
func ReadRows(ctx context.Context, files []Candidate) ([]Row, error) {
	var out []Row
	size := 0
	for _, file := range files {
		r, err := rows.Open(file.Path, rows.Options{})
		if err != nil {
			return nil, err
		}
		err = rows.Each(r, func(row *rows.Row) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			v, err := row.Value()
			if err == nil {
				err = row.Object(&v)
				size += len(v.AppendJSON(nil))
			}
			if len(out) >= maxRows || size > maxBytes {
				return row.Errorf("", "more than %d rows or %d bytes: too much for an evaluation", maxRows, maxBytes)
			}
			out = append(out, Row{File: file.Name, Number: row.Number, Value: v, Err: err})
			return nil
		})
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Splits are the files of a data set by split.
type Splits struct {
	Name  string // where they came from
	Files map[string][]Candidate
}

// splitWords are the words in file names that mean a split.
var splitWords = map[string]string{
	"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
	"test": "test", "dev": "dev",
}

// words cuts a path into lower-case words.
func words(path string) []string {
	return strings.FieldsFunc(strings.ToLower(path), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// splitOf says which split a file is of, by its name, else by the folders above it; "" if neither says.
func splitOf(name string) string {
	dir, base := filepath.Split(filepath.ToSlash(name))
	for _, part := range []string{base, dir} {
		for _, w := range slices.Backward(words(part)) {
			if s, ok := splitWords[w]; ok {
				return s
			}
		}
	}
	return ""
}

// Candidate is a data file that may belong to a task: its name below a folder or in a repository, and where it lies.
type Candidate struct{ Name, Path string }

// FolderFiles lists the data files below a folder.
func FolderFiles(dir string) ([]Candidate, error) {
	var out []Candidate
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != dir && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if _, ok := rows.FormatOf(path); d.IsDir() || !ok {
			return nil
		}
		if len(out) >= maxFiles {
			return fmt.Errorf("%s: more than %d data files", dir, maxFiles)
		}
		name, err := filepath.Rel(dir, path)
		out = append(out, Candidate{filepath.ToSlash(name), path})
		return err
	})
	slices.SortFunc(out, func(a, b Candidate) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}

// HubFiles fetches the data files of a repository of data sets, and returns its commit. Of files in several formats those
// in the first of Parquet, JSON lines, JSON, CSV and TSV count.
func HubFiles(ctx context.Context, id string, progress func(file string, done, total int64)) (files []Candidate, commit string, err error) {
	repo, err := hub.ParseRepo(hub.Dataset, id)
	if err != nil {
		return nil, "", err
	}
	c, err := hub.FromEnv()
	if err != nil {
		return nil, "", err
	}
	listing, err := c.List(ctx, repo)
	if err != nil {
		return nil, "", err
	}
	byFormat := map[string][]string{}
	for _, f := range listing.Files {
		if format, ok := rows.FormatOf(f.Name); ok && splitOf(f.Name) != "" {
			byFormat[format] = append(byFormat[format], f.Name)
		}
	}
	for _, format := range []string{"parquet", "jsonl", "json", "csv", "tsv"} {
		if len(byFormat[format]) == 0 {
			continue
		}
		var out []Candidate
		repo.Revision = listing.Commit
		for _, name := range byFormat[format] {
			path, err := c.Fetch(ctx, repo, name, progress)
			if err != nil {
				return nil, "", err
			}
			out = append(out, Candidate{name, path})
		}
		return out, listing.Commit, nil
	}
	return nil, "", &NoDataError{Where: id, Wanted: "files with train, validation, dev or test in their names"}
}

// NoDataError says that no file has what a task needs.
type NoDataError struct {
	Task   string
	Where  string // folder or repository
	Wanted string
}

func (e *NoDataError) Error() string {
	if e.Task == "" {
		return fmt.Sprintf("%s has no %s", e.Where, e.Wanted)
	}
	return fmt.Sprintf("%s: %s has no %s", e.Task, e.Where, e.Wanted)
}

// SplitFiles sorts files by split. Files in two formats for one split are an error, because they may have the same rows.
func SplitFiles(name string, files []Candidate) (*Splits, error) {
	s := &Splits{Name: name, Files: map[string][]Candidate{}}
	format := map[string]string{}
	for _, f := range files {
		split := splitOf(f.Name)
		if split == "" {
			continue
		}
		kind, _ := rows.FormatOf(f.Path)
		if was, ok := format[split]; ok && was != kind {
			return nil, fmt.Errorf("%s: the split %s is there as %s and as %s; keep one of them", name, split, was, kind)
		}
		format[split] = kind
		s.Files[split] = append(s.Files[split], f)
	}
	return s, nil
}

// Read reads a split; nil if there is none of this name.
func (s *Splits) Read(ctx context.Context, split string) ([]Row, error) {
	return ReadRows(ctx, s.Files[split])
}

// Input describes rows for an artifact.
func Input(role, name string, rs []Row) eval.Input {
	h := sha256.New()
	var buf []byte
	for i := range rs {
		buf = append(rs[i].Value.AppendJSON(buf[:0]), '\n')
		h.Write(buf)
	}
	return eval.Input{Role: role, Name: name, Hash: hex.EncodeToString(h.Sum(nil)), Rows: len(rs)}
}
