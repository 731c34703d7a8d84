package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"leolm/checkpoint"
	"leolm/internal/bounded"
	"leolm/internal/hub"
)

// DefaultName is the embedded model that is used when no model is named.
const DefaultName = "leo-mini"

func openEmbedded(name string) (*checkpoint.Checkpoint, string, error) {
	data, ok := embedded[name]
	if !ok {
		if name == DefaultName {
			return nil, "", ErrNoModel
		}
		return nil, "", fmt.Errorf("no embedded model %q", name)
	}
	c, err := checkpoint.OpenBytes(name, data)
	return c, name, err
}

// cached finds a Hugging Face id in the local cache, as huggingface_hub lays it out.
func cached(id string) (string, error) {
	if strings.Count(id, "/") != 1 {
		return "", fmt.Errorf("%q is not a Hugging Face id", id)
	}
	client, err := hub.FromEnv()
	if err != nil {
		return "", err
	}
	repo := filepath.Join(client.CacheDir, "models--"+strings.ReplaceAll(id, "/", "--"))
	ref, err := bounded.Regular(filepath.Join(repo, "refs", "main"), 256)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(repo, "snapshots", strings.TrimSpace(string(ref)))
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	// A snapshot with a single GGUF file is that file.
	if files, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(files) == 1 {
		return files[0], nil
	}
	return dir, nil
}
