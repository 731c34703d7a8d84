package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// The cache's layout, huggingface_hub's:
//
//	models--ORG--NAME/
//	    blobs/<etag>                      contents, once each
//	    refs/<revision>                   the commit that a branch or tag is at
//	    snapshots/<commit>/<file>         links to blobs
//	.locks/models--ORG--NAME/<etag>.lock

// commit returns the commit that the cache knows a revision at.
func (c *Client) commit(repo Repo) (string, bool) {
	if commitPattern.MatchString(repo.revision()) {
		return repo.revision(), true
	}
	b, err := bounded.Regular(filepath.Join(c.CacheDir, repo.folder(), "refs", filepath.FromSlash(repo.revision())), 256)
	if err != nil {
		return "", false
	}
	s := strings.TrimSpace(string(b))
	return s, commitPattern.MatchString(s)
}

// cached returns the path of a file that is already there.
func (c *Client) cached(repo Repo, file string) (string, bool) {
	commit, ok := c.commit(repo)
	if !ok {
		return "", false
	}
	p := filepath.Join(c.CacheDir, repo.folder(), "snapshots", commit, filepath.FromSlash(file))
	info, err := os.Stat(p) // follows the link: a missing blob is a missing file
	return p, err == nil && info.Mode().IsRegular()
}

// listCached lists the files of a cached snapshot.
func (c *Client) listCached(repo Repo) (Listing, bool) {
	commit, ok := c.commit(repo)
	if !ok {
		return Listing{}, false
	}
	root := filepath.Join(c.CacheDir, repo.folder(), "snapshots", commit)
	l := Listing{Commit: commit}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil // a link whose blob was removed
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		l.Files = append(l.Files, File{Name: filepath.ToSlash(rel), Size: info.Size()})
		return nil
	})
	return l, err == nil && len(l.Files) > 0
}

func (c *Client) writeRef(repo Repo, commit string) error {
	p := filepath.Join(c.CacheDir, repo.folder(), "refs", filepath.FromSlash(repo.revision()))
	if old, err := bounded.Regular(p, 256); err == nil && string(old) == commit {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(p, []byte(commit))
}

// link makes the snapshot's entry point to the blob: a relative symbolic link,
// or a copy where the system has none.
func link(blob, entry string) error {
	if err := os.MkdirAll(filepath.Dir(entry), 0o755); err != nil {
		return err
	}
	rel, err := filepath.Rel(filepath.Dir(entry), blob)
	if err != nil {
		return err
	}
	if old, err := os.Readlink(entry); err == nil && old == rel {
		return nil
	}
	// Under a temporary name first, so that a reader finds the old or the new file.
	tmp := fmt.Sprintf("%s.link-%d", entry, os.Getpid())
	_ = os.Remove(tmp)
	if err := os.Symlink(rel, tmp); err == nil {
		return os.Rename(tmp, entry)
	}
	if err := os.Link(blob, tmp); err == nil {
		return os.Rename(tmp, entry)
	}
	in, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.WriteTo(entry, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return !errors.Is(err, fs.ErrNotExist)
}

// staleAfter is how long the remains of a killed run are kept, so that the next download can
// resume from them.
const staleAfter = 7 * 24 * time.Hour

// sweep removes downloads and links that were abandoned long ago and that no running
// program holds. What can't be removed stays: it only takes up space.
func (c *Client) sweep(repo Repo) {
	root := filepath.Join(c.CacheDir, repo.folder())
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		partial, blob := strings.CutSuffix(d.Name(), ".incomplete")
		if !blob && !linkTemp.MatchString(d.Name()) {
			return nil
		}
		info, err := os.Lstat(p)
		if err != nil || time.Since(info.ModTime()) < staleAfter {
			return nil
		}
		if blob {
			// Whoever downloads it holds this lock.
			unlock, ok := tryLock(filepath.Join(c.CacheDir, ".locks", repo.folder(), partial+".lock"))
			if !ok {
				return nil
			}
			defer unlock()
		}
		_ = os.Remove(p)
		return nil
	})
}

// linkTemp matches the temporary names of link.
var linkTemp = regexp.MustCompile(`\.link-[0-9]+$`)
