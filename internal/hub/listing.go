package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"

	"leolm/internal/bounded"
)

// File is one file of a repository. SHA256 is "" for files outside large-file
// storage, Size -1 if the hub doesn't say.
type File struct {
	Name   string
	Size   int64
	SHA256 string
}

// Listing is a repository at a commit.
type Listing struct {
	Commit string
	Files  []File // by name
}

// maxListing bounds the hub's answer to List.
const maxListing = 64 << 20

// List names the files of a repository and its commit. Offline, or when the hub
// can't be reached, it lists what the cache has.
func (c *Client) List(ctx context.Context, repo Repo) (Listing, error) {
	if err := repo.check(); err != nil {
		return Listing{}, err
	}
	cached, known := c.listCached(repo)
	if c.Offline {
		if known {
			return cached, nil
		}
		return Listing{}, fmt.Errorf("%s is not in the cache %s, and HF_HUB_OFFLINE forbids to fetch it", repo, c.CacheDir)
	}
	address := fmt.Sprintf("%s/api/%s/%s/revision/%s?blobs=true", c.Endpoint, repo.Kind, repo.ID, url.PathEscape(repo.revision()))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.do(ctx, http.MethodGet, address, nil, follow)
	if err != nil {
		var unreachable *unreachableError
		if known && errors.As(err, &unreachable) && ctx.Err() == nil {
			c.warn("%s: %v; using the files in the cache", repo, err)
			return cached, nil
		}
		return Listing{}, fmt.Errorf("%s: %w", repo, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return Listing{}, c.refusal(resp, repo, "the list of files")
	}
	body := c.patient(resp.Body, cancel)
	data, err := bounded.Read(ctx, body, "the hub's list of files", maxListing)
	body.stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return Listing{}, fmt.Errorf("%s: the hub's list of files: %w", repo, err)
	}
	answer, err := parseListing(data)
	if err != nil {
		return Listing{}, fmt.Errorf("%s: the hub's list of files: %w", repo, err)
	}
	return answer, nil
}

// parseListing reads the hub's description of a repository.
func parseListing(data []byte) (Listing, error) {
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
			Size *int64 `json:"size"`
			LFS  *struct {
				SHA256 string `json:"sha256"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Listing{}, err
	}
	if !commitPattern.MatchString(answer.SHA) {
		return Listing{}, fmt.Errorf("names the unusable commit %q", answer.SHA)
	}
	l := Listing{Commit: answer.SHA}
	for _, s := range answer.Siblings {
		if err := checkFile(s.Name); err != nil {
			return Listing{}, err
		}
		f := File{Name: s.Name, Size: -1}
		if s.Size != nil && *s.Size >= 0 {
			f.Size = *s.Size
		}
		if s.LFS != nil {
			f.SHA256 = s.LFS.SHA256
		}
		l.Files = append(l.Files, f)
	}
	sort.Slice(l.Files, func(a, b int) bool { return l.Files[a].Name < l.Files[b].Name })
	return l, nil
}
