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
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
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
	Warn     func(msg string) // told when the cache stands in for the hub; may be nil

	// Attempts is how often a request that made no headway is repeated.
	Attempts int
	// MaxWait bounds a wait that the server asks for by Retry-After.
	MaxWait time.Duration
	// Idle ends a transfer that gives no byte for so long; it is then resumed.
	Idle  time.Duration
	sleep func(ctx context.Context, d time.Duration) error
}

// FromEnv makes a client from the variables that huggingface_hub reads:
// HF_ENDPOINT, HF_TOKEN (or HF_TOKEN_PATH, or the file token in HF_HOME),
// HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HF_HUB_OFFLINE.
func FromEnv() (*Client, error) {
	c := &Client{Endpoint: "https://huggingface.co", HTTP: newHTTP(), Attempts: 6, MaxWait: 5 * time.Minute, Idle: time.Minute, sleep: sleep}
	if e := os.Getenv("HF_ENDPOINT"); e != "" {
		c.Endpoint = strings.TrimRight(e, "/")
	}
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			dir, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("no place for the cache: %w; set HF_HOME", err)
			}
			cache = filepath.Join(dir, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	if c.CacheDir = os.Getenv("HF_HUB_CACHE"); c.CacheDir == "" {
		c.CacheDir = filepath.Join(home, "hub")
	}
	c.Token = strings.TrimSpace(os.Getenv("HF_TOKEN"))
	if c.Token == "" {
		file := os.Getenv("HF_TOKEN_PATH")
		if file == "" {
			file = filepath.Join(home, "token")
		}
		if b, err := os.ReadFile(file); err == nil && len(b) < 4096 {
			c.Token = strings.TrimSpace(string(b))
		}
	}
	switch strings.ToLower(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "true", "yes", "on":
		c.Offline = true
	}
	return c, nil
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

// checkFile refuses names that would leave the snapshot's folder.
func checkFile(file string) error {
	if file == "" || !filepath.IsLocal(filepath.FromSlash(file)) || path.Clean(file) != file || strings.ContainsAny(file, "\\\x00") {
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
// commit. Patterns are shell globs whose * also matches "/". choose, if not
// nil, narrows the list further.
func (c *Client) Snapshot(ctx context.Context, repo Repo, include, exclude []string, choose func([]File) ([]File, error), progress Progress) (SnapshotResult, error) {
	list, err := c.List(ctx, repo)
	if err != nil {
		return SnapshotResult{}, err
	}
	var files []File
	for _, f := range list.Files {
		if (len(include) == 0 || matchAny(include, f.Name)) && !matchAny(exclude, f.Name) {
			files = append(files, f)
		}
	}
	if choose != nil {
		if files, err = choose(files); err != nil {
			return SnapshotResult{}, err
		}
	}
	if len(files) == 0 {
		return SnapshotResult{}, fmt.Errorf("%s: none of its %d files was asked for", repo, len(list.Files))
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
	return res, nil
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match is a shell glob in which * and ? match any character, as Python's fnmatch.
func match(pattern, name string) bool {
	var re strings.Builder
	re.WriteString(`^(?s:`)
	for _, r := range pattern {
		switch r {
		case '*':
			re.WriteString(`.*`)
		case '?':
			re.WriteString(`.`)
		default:
			re.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	re.WriteString(`)$`)
	ok, err := regexp.MatchString(re.String(), name)
	return err == nil && ok
}
