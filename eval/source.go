package eval

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"leolm/internal/bounded"
	"leolm/internal/hub"
)

// fetchTimeout bounds a download that an address names.
const fetchTimeout = 2 * time.Minute

// Fetch reads a small file by its source: a path, an address that begins with http:// or https://, or a file on the Hugging
// Face hub as "hf://datasets/ORG/NAME/PATH" or "hf://ORG/NAME/PATH", with "@REVISION" behind the name if it is not main. A
// file of more than limit bytes is an error.
func Fetch(ctx context.Context, source string, limit int64) ([]byte, error) {
	if rest, ok := strings.CutPrefix(source, "hf://"); ok {
		path, err := fetchHub(ctx, rest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		return bounded.File(ctx, path, limit)
	}
	if !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "https://") {
		return bounded.File(ctx, source, limit)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection can be used again
		return nil, fmt.Errorf("%s: HTTP %s", source, res.Status)
	}
	return bounded.Read(ctx, res.Body, source, limit)
}

// fetchHub returns the cached copy of "[datasets/]ORG/NAME[@REVISION]/PATH".
func fetchHub(ctx context.Context, name string) (string, error) {
	kind := hub.Model
	if rest, ok := strings.CutPrefix(name, "datasets/"); ok {
		kind, name = hub.Dataset, rest
	}
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 || parts[2] == "" {
		return "", fmt.Errorf("want hf://datasets/ORG/NAME/PATH or hf://ORG/NAME/PATH")
	}
	repo, err := hub.ParseRepo(kind, parts[0]+"/"+parts[1])
	if err != nil {
		return "", err
	}
	c, err := hub.FromEnv()
	if err != nil {
		return "", err
	}
	return c.Fetch(ctx, repo, parts[2], nil)
}
