// Package hub fetches files of models and datasets from the Hugging Face hub
// into a cache that the Python package huggingface_hub shares: the same
// folders, the same names, the same environment variables.
//
// It owns the protocol (metadata by HEAD, downloads by ranges, checksums,
// waiting when asked to), the cache's layout and its locks. It knows nothing of
// what the files contain.
//
// A download goes to blobs/<etag>.incomplete, is resumed where it stopped, and
// gets its name only when size and checksum are right: SHA-256 for files in
// large-file storage, Git's SHA-1 for the others.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Kind is what a repository holds.
type Kind string

// The kinds of repositories.
const (
	Model   Kind = "models"
	Dataset Kind = "datasets"
)

// Repo names a repository at a revision.
type Repo struct {
	Kind     Kind
	ID       string // "LeoLM/leo-hessianai-7b"
	Revision string // branch, tag or commit; "" is "main"
}

var (
	idPattern       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	etagPattern     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
)

// ParseRepo reads "ORG/NAME" or "ORG/NAME@REVISION".
func ParseRepo(kind Kind, s string) (Repo, error) {
	id, rev, _ := strings.Cut(s, "@")
	r := Repo{Kind: kind, ID: id, Revision: rev}
	if strings.HasSuffix(s, "@") {
		return r, fmt.Errorf("%q: no revision after @", s)
	}
	return r, r.check()
}

func (r Repo) check() error {
	if !idPattern.MatchString(r.ID) || strings.Contains(r.ID, "--") || strings.Contains(r.ID, "..") {
		return fmt.Errorf("%q is no repository name; ORG/NAME or ORG/NAME@REVISION is meant", r.ID)
	}
	if r.Revision != "" && (!revisionPattern.MatchString(r.Revision) || strings.Contains(r.Revision, "..")) {
		return fmt.Errorf("%q is no revision; a branch, a tag or a commit is meant", r.Revision)
	}
	if r.Kind != Model && r.Kind != Dataset {
		return fmt.Errorf("%q is no kind of repository", r.Kind)
	}
	return nil
}

func (r Repo) revision() string {
	if r.Revision == "" {
		return "main"
	}
	return r.Revision
}

// String gives the form that ParseRepo reads.
func (r Repo) String() string {
	if r.Revision == "" {
		return r.ID
	}
	return r.ID + "@" + r.Revision
}

// folder is the repository's name in the cache.
func (r Repo) folder() string {
	return string(r.Kind) + "--" + strings.ReplaceAll(r.ID, "/", "--")
}

// Progress is told how many bytes of a file are there; total is -1 if unknown.
// It may be nil.
type Progress func(file string, done, total int64)

// Client fetches. The zero value is not usable; FromEnv makes one.
type Client struct {
	Endpoint string // "https://huggingface.co"
	Token    string // "" for anonymous
	CacheDir string // the hub folder: models--ORG--NAME and so on lie in it
	Offline  bool   // use the cache only
	HTTP     *http.Client
	Warn     func(msg string) // called when the cache stands in for the hub; may be nil

	// Attempts is how often a request that made no progress is repeated.
	Attempts int
	// MaxWait bounds a wait that the server asks for by Retry-After.
	MaxWait time.Duration
	// MaxUnsized bounds a file whose size the hub does not say.
	MaxUnsized int64
	// Idle is how long a transfer may deliver nothing; it is then closed and resumed.
	Idle  time.Duration
	sleep func(ctx context.Context, d time.Duration) error
}

func newHTTP() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	t.DisableCompression = true // ranges and checksums are of the bytes as stored
	return &http.Client{Transport: t}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkFile refuses names that would leave the snapshot's folder or change the terminal that shows them.
func checkFile(file string) error {
	if file == "" || len(file) > 4096 || strings.ContainsFunc(file, unicode.IsControl) || !filepath.IsLocal(filepath.FromSlash(file)) || path.Clean(file) != file || strings.Contains(file, `\`) {
		return fmt.Errorf("%q is no file name in a repository", file)
	}
	return nil
}

// Fetch returns the path of a file in the cache, downloading it if it isn't
// there or if the branch has moved. Without a connection a cached copy is used
// and reported through Warn.
func (c *Client) Fetch(ctx context.Context, repo Repo, file string, progress Progress) (string, error) {
	if err := repo.check(); err != nil {
		return "", err
	}
	if err := checkFile(file); err != nil {
		return "", err
	}
	cached, known := c.cached(repo, file)
	if known && commitPattern.MatchString(repo.Revision) {
		return cached, nil // a commit never changes
	}
	if c.Offline {
		if known {
			return cached, nil
		}
		return "", fmt.Errorf("%s: %s is not in the cache %s, and HF_HUB_OFFLINE forbids to fetch it", repo, file, c.CacheDir)
	}
	meta, err := c.head(ctx, repo, file)
	if err != nil {
		var unreachable *unreachableError
		if known && errors.As(err, &unreachable) && ctx.Err() == nil {
			c.warn("%v; using the copy in the cache", err)
			return cached, nil
		}
		return "", err
	}
	return c.place(ctx, repo, file, meta, progress)
}

func (c *Client) warn(format string, args ...any) {
	if c.Warn != nil {
		c.Warn(fmt.Sprintf(format, args...))
	}
}

// SnapshotResult is what Snapshot brought.
type SnapshotResult struct {
	Dir    string   // the snapshot's folder
	Commit string   // of the repository
	Files  []string // that were asked for, all in Dir
}

// Snapshot fetches the files of a repository that match one of the include
// patterns (all if there are none) and none of the exclude patterns, at one
// commit. Patterns are huggingface_hub's: those of Python's fnmatch, whose *
// also matches "/"; one that ends in "/" means all in that folder. choose, if
// not nil, narrows the list further.
func (c *Client) Snapshot(ctx context.Context, repo Repo, include, exclude []string, choose func([]File) ([]File, error), progress Progress) (SnapshotResult, error) {
	list, files, err := c.selected(ctx, repo, include, exclude, choose)
	if err != nil {
		return SnapshotResult{}, err
	}
	res := SnapshotResult{Commit: list.Commit, Dir: filepath.Join(c.CacheDir, repo.folder(), "snapshots", list.Commit)}
	at := repo
	at.Revision = list.Commit
	for _, f := range files {
		if _, err := c.Fetch(ctx, at, f.Name, progress); err != nil {
			return res, err
		}
		res.Files = append(res.Files, f.Name)
	}
	if repo.revision() != list.Commit && !c.Offline {
		if err := c.writeRef(repo, list.Commit); err != nil {
			return res, err
		}
	}
	c.sweep(repo)
	return res, nil
}

// selected lists the repository and what of it is asked for.
func (c *Client) selected(ctx context.Context, repo Repo, include, exclude []string, choose func([]File) ([]File, error)) (Listing, []File, error) {
	list, err := c.List(ctx, repo)
	if err != nil {
		return Listing{}, nil, err
	}
	var files []File
	for _, f := range list.Files {
		if (len(include) == 0 || matchAny(include, f.Name)) && !matchAny(exclude, f.Name) {
			files = append(files, f)
		}
	}
	if choose != nil {
		if files, err = choose(files); err != nil {
			return Listing{}, nil, err
		}
	}
	if len(files) == 0 {
		return Listing{}, nil, fmt.Errorf("%s: none of its %d files was asked for", repo, len(list.Files))
	}
	return list, files, nil
}
