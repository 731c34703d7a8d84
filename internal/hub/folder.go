package hub

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// bookFolder is where huggingface_hub keeps, inside a plain folder of downloaded
// files, what it knows of them and what is not whole yet:
//
//	.cache/huggingface/.gitignore                          *
//	.cache/huggingface/download/FILE.metadata              commit, etag, time
//	.cache/huggingface/download/HASH.ETAG.incomplete       a broken download of FILE
const bookFolder = ".cache/huggingface"

// SnapshotTo is Snapshot into a plain folder, as hf download --local-dir: the
// files themselves lie in dir, and a file that is there already, by its
// checksum, is not fetched again. What the cache has is copied from there.
func (c *Client) SnapshotTo(ctx context.Context, repo Repo, dir string, include, exclude []string, choose func([]File) ([]File, error), progress Progress) (SnapshotResult, error) {
	list, files, err := c.selected(ctx, repo, include, exclude, choose)
	if err != nil {
		return SnapshotResult{}, err
	}
	res := SnapshotResult{Commit: list.Commit, Dir: dir}
	book := filepath.Join(dir, filepath.FromSlash(bookFolder))
	if err := os.MkdirAll(filepath.Join(book, "download"), 0o755); err != nil {
		return res, err
	}
	if ignore := filepath.Join(book, ".gitignore"); !exists(ignore) {
		if err := durable.WriteFile(ignore, []byte("*")); err != nil {
			return res, err
		}
	}
	at := repo
	at.Revision = list.Commit
	for _, f := range files {
		if f.Name == bookFolder || strings.HasPrefix(f.Name, bookFolder+"/") {
			continue // would be taken for our own notes
		}
		if err := c.bring(ctx, at, f.Name, dir, progress); err != nil {
			return res, err
		}
		res.Files = append(res.Files, f.Name)
	}
	sweepPartials(filepath.Join(book, "download"))
	return res, nil
}

// bring makes dir/file equal to the repository's file at a commit.
func (c *Client) bring(ctx context.Context, repo Repo, file, dir string, progress Progress) error {
	whole := filepath.Join(dir, filepath.FromSlash(file))
	note := filepath.Join(dir, filepath.FromSlash(bookFolder), "download", filepath.FromSlash(file)+".metadata")
	for _, d := range []string{filepath.Dir(whole), filepath.Dir(note)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	unlock, err := c.lock(ctx, strings.TrimSuffix(note, ".metadata")+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	known, hasNote := readNote(note, whole)
	if hasNote && known.commit == repo.revision() {
		if progress != nil {
			progress(file, known.size, known.size)
		}
		return nil
	}
	m, blob, err := c.describe(ctx, repo, file)
	if err != nil {
		return err
	}
	there, err := sameFile(whole, m, hasNote && known.etag == m.etag)
	if err != nil {
		return err
	}
	switch {
	case there:
		if progress != nil && m.size >= 0 {
			progress(file, m.size, m.size)
		}
	case blob != "":
		if err := copyFile(blob, whole); err != nil {
			return fmt.Errorf("%s: %s: %w", repo, file, err)
		}
	default:
		sum := sha1.Sum([]byte(path.Base(file) + ".metadata"))
		partial := filepath.Join(filepath.Dir(note), base64.URLEncoding.EncodeToString(sum[:])+"."+m.etag+".incomplete")
		if err := c.download(ctx, repo, file, m, partial, whole, progress); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s\n%s\n%.6f\n", m.commit, m.etag, float64(time.Now().UnixMicro())/1e6)
	return durable.WriteFile(note, []byte(text))
}

// describe says what a file is, and where the cache has it if it does.
func (c *Client) describe(ctx context.Context, repo Repo, file string) (m metadata, blob string, err error) {
	if p, ok := c.cached(repo, file); ok {
		if blob, err = filepath.EvalSymlinks(p); err != nil {
			return m, "", err
		}
		if info, err := os.Stat(blob); err == nil && etagPattern.MatchString(filepath.Base(blob)) {
			return metadata{commit: repo.revision(), etag: filepath.Base(blob), size: info.Size()}, blob, nil
		}
	}
	if c.Offline {
		return m, "", fmt.Errorf("%s: %s is not in the cache %s, and HF_HUB_OFFLINE forbids to fetch it", repo, file, c.CacheDir)
	}
	m, err = c.head(ctx, repo, file)
	return m, "", err
}

// sameFile reports whether the file at p is the one described: by its checksum, or
// by its size where trusted says that it wasn't touched since it was checked.
func sameFile(p string, m metadata, trusted bool) (bool, error) {
	info, err := os.Stat(p)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		return false, &bounded.KindError{Name: p, Kind: "a folder", Want: "a file"}
	}
	if !info.Mode().IsRegular() || m.size >= 0 && info.Size() != m.size {
		return false, nil
	}
	if trusted {
		return true, nil
	}
	if len(m.etag) != 40 && len(m.etag) != 64 {
		return false, nil // a hub that names no checksum
	}
	f, err := os.Open(p)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return check(f, info.Size(), m) == nil, nil
}

// readNote reads what was written about a file; ok is false if there is nothing or
// if the file was changed since.
func readNote(note, whole string) (m metadata, ok bool) {
	b, err := bounded.Regular(note, 4096)
	if err != nil {
		return m, false
	}
	lines := strings.Split(string(b), "\n")
	info, err := os.Stat(whole)
	if err != nil || !info.Mode().IsRegular() || len(lines) < 3 {
		return m, false
	}
	at, err := strconv.ParseFloat(strings.TrimSpace(lines[2]), 64)
	m = metadata{commit: strings.TrimSpace(lines[0]), etag: strings.TrimSpace(lines[1]), size: info.Size()}
	// As huggingface_hub allows: clocks of disks are not precise.
	return m, err == nil && float64(info.ModTime().UnixMicro())/1e6-1 <= at
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.WriteTo(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// sweepPartials removes partial downloads that were abandoned long ago.
func sweepPartials(dir string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".incomplete") {
			return nil
		}
		if info, err := d.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(p)
		}
		return nil
	})
}
