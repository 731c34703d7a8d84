package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"leolm/internal/bounded"
)

// FromEnv makes a client from the variables that huggingface_hub reads:
// HF_ENDPOINT, HF_TOKEN (or HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, the file
// token in HF_HOME, ~/.huggingface/token), HF_HUB_CACHE (or
// HUGGINGFACE_HUB_CACHE), HF_HOME, XDG_CACHE_HOME, HF_HUB_OFFLINE (or
// TRANSFORMERS_OFFLINE) and HF_HUB_DISABLE_IMPLICIT_TOKEN. Paths may begin
// with ~ and hold $NAME and ${NAME}.
func FromEnv() (*Client, error) {
	c := &Client{Endpoint: "https://huggingface.co", HTTP: newHTTP(), Attempts: 6, MaxWait: 6 * time.Minute, MaxUnsized: 1 << 30, Idle: time.Minute, sleep: sleep}
	if e := os.Getenv("HF_ENDPOINT"); e != "" {
		c.Endpoint = strings.TrimRight(e, "/")
	}
	home := expand(os.Getenv("HF_HOME"))
	if home == "" {
		cache := expand(os.Getenv("XDG_CACHE_HOME"))
		if cache == "" {
			dir, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("no place for the cache: %w; set HF_HOME", err)
			}
			cache = filepath.Join(dir, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	if c.CacheDir = expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")); c.CacheDir == "" {
		c.CacheDir = filepath.Join(home, "hub")
	}
	c.Offline = isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
	if isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return c, nil
	}
	c.Token = cleanToken(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
	files := []string{expand(os.Getenv("HF_TOKEN_PATH"))}
	if files[0] == "" {
		// The second is where versions before 0.14 kept it.
		files = []string{filepath.Join(home, "token"), expand("~/.huggingface/token")}
	}
	for _, file := range files {
		if c.Token != "" {
			break
		}
		if b, err := bounded.Regular(file, 4096); err == nil {
			c.Token = cleanToken(string(b))
		}
	}
	return c, nil
}

// first returns the value of the first variable that has one.
func first(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// cleanToken drops the line breaks that copying adds.
func cleanToken(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(s))
}

// expand is Python's os.path.expandvars(os.path.expanduser(p)) for the user's
// own folder: what is not set stays as it is written.
func expand(p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") || strings.HasPrefix(p, "~"+string(filepath.Separator)) {
		if dir, err := os.UserHomeDir(); err == nil {
			p = dir + p[1:]
		}
	}
	var b strings.Builder
	for i := 0; i < len(p); {
		name, n := variable(p[i:])
		if v, set := os.LookupEnv(name); n > 0 && set {
			b.WriteString(v)
			i += n
			continue
		}
		n = max(n, 1)
		b.WriteString(p[i : i+n])
		i += n
	}
	return b.String()
}

// variable returns the name of the variable that s begins with and the length of
// its mention, 0 if it begins with none.
func variable(s string) (name string, n int) {
	if !strings.HasPrefix(s, "$") {
		return "", 0
	}
	if strings.HasPrefix(s, "${") {
		if end := strings.IndexByte(s, '}'); end > 2 {
			return s[2:end], end + 1
		}
		return "", 0
	}
	end := 1
	for end < len(s) && (s[end] == '_' || s[end] >= '0' && s[end] <= '9' || s[end]|0x20 >= 'a' && s[end]|0x20 <= 'z') {
		end++
	}
	if end == 1 {
		return "", 0
	}
	return s[1:end], end
}
