package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// As Python 3.13's fnmatch.fnmatchcase says.
func TestMatch(t *testing.T) {
	names := strings.Fields("m.gguf sub/a/b b.txt d.txt model-00001-of-00002 model-00003-of-00002 x ] - a [ [a a[b b aXc a/c ε xQ4_K_M.gguf [x x] d e [!] [] [! a/b axb y1 d1 z")
	all := strings.Join(names, " ")
	for _, c := range [][2]string{
		{"*.gguf", "m.gguf xQ4_K_M.gguf"},
		{"sub/*", "sub/a/b"},
		{"sub/", "sub/a/b"}, // huggingface_hub's own
		{`sub\a\*`, "sub/a/b"},
		{"[a-c]*.txt", "b.txt"},
		{"[!a-c]*.txt", "d.txt"},
		{"model-0000[12]-of-*", "model-00001-of-00002"},
		{"[]x]", "x ]"},
		{"[!]x]", "- a [ b d e z"},
		{"[a-]", "- a"},
		{"[-a]", "- a"},
		{"[", "["},
		{"[a", "[a"},
		{"a[b", "a[b"},
		{"[z-a]", ""},
		{"[!z-a]", "x ] - a [ b d e z"},
		{"a?c", "aXc a/c"},
		{"*", all},
		{"**a", "a [a"},
		{"*Q4_K_[MS].gguf", "xQ4_K_M.gguf"},
		{"[[]x", "[x"},
		{"x]", "x]"},
		{"[a-c-e]", "- a b e"},
		{"[!]", "[!]"},
		{"[]", "[]"},
		{"[!", "[!"},
		{"a[!/]b", "a[b axb"},
		{"[a-cx-z]1", "y1"},
	} {
		var got []string
		for _, n := range names {
			name := n
			if name == "ε" {
				name = "" // the empty name
			}
			if matchAny([]string{c[0]}, name) {
				got = append(got, n)
			}
		}
		if s := strings.Join(got, " "); s != c[1] {
			t.Errorf("%s matches %s, want %s", c[0], s, c[1])
		}
	}
	// Many stars must not take exponential time.
	if matchAny([]string{strings.Repeat("*a", 200) + "b"}, strings.Repeat("a", 4000)) {
		t.Error("matches")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("[!a-c]*x?", "dabcxy")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 200 || len(name) > 200 {
			return
		}
		got := matchAny([]string{pattern}, name)
		if !strings.ContainsAny(pattern, `*?[\`) && !strings.HasSuffix(pattern, "/") && utf8.ValidString(pattern) && utf8.ValidString(name) && got != (pattern == name) {
			t.Errorf("%q, %q: %v", pattern, name, got)
		}
	})
}

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".huggingface/token", "legacy\n")
	write("hf/token", "in home\r\n")
	write("other", "at a path")
	for _, c := range []struct {
		env          string
		cache, token string
		offline      bool
	}{
		{"", "~/.cache/huggingface/hub", "legacy", false},
		{"HF_HOME=~/hf", "~/hf/hub", "in home", false},
		{"HF_HOME=$HERE/hf", "~/hf/hub", "in home", false},
		{"HF_HOME=${HERE}/hf", "~/hf/hub", "in home", false},
		{"HF_HOME=~/$NOT_SET_ANYWHERE", "~/$NOT_SET_ANYWHERE/hub", "legacy", false},
		{"HF_HOME=~/hf HF_HUB_CACHE=~/c", "~/c", "in home", false},
		{"HUGGINGFACE_HUB_CACHE=$HERE/old", "~/old", "legacy", false},
		{"HUGGINGFACE_HUB_CACHE=~/old HF_HUB_CACHE=~/new", "~/new", "legacy", false},
		{"XDG_CACHE_HOME=~/xdg", "~/xdg/huggingface/hub", "legacy", false},
		{"HUGGING_FACE_HUB_TOKEN=hfht", "~/.cache/huggingface/hub", "hfht", false},
		{"HUGGING_FACE_HUB_TOKEN=hfht HF_TOKEN=hft", "~/.cache/huggingface/hub", "hft", false},
		{"HF_TOKEN_PATH=~/other", "~/.cache/huggingface/hub", "at a path", false},
		{"HF_TOKEN_PATH=$HERE/nix", "~/.cache/huggingface/hub", "", false},
		{"TRANSFORMERS_OFFLINE=1", "~/.cache/huggingface/hub", "legacy", true},
		{"HF_TOKEN=x HF_HUB_DISABLE_IMPLICIT_TOKEN=1", "~/.cache/huggingface/hub", "", false},
	} {
		for _, name := range strings.Fields("HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_TOKEN_PATH HF_HUB_OFFLINE TRANSFORMERS_OFFLINE HF_HUB_DISABLE_IMPLICIT_TOKEN HF_ENDPOINT") {
			t.Setenv(name, "")
		}
		t.Setenv("HOME", home)
		t.Setenv("USERPROFILE", home)
		t.Setenv("HERE", home)
		for _, v := range strings.Fields(c.env) {
			name, value, _ := strings.Cut(v, "=")
			t.Setenv(name, value)
		}
		got, err := FromEnv()
		if err != nil {
			t.Fatal(err)
		}
		want := filepath.Join(home, filepath.FromSlash(strings.TrimPrefix(c.cache, "~/")))
		if filepath.Clean(got.CacheDir) != want || got.Token != c.token || got.Offline != c.offline {
			t.Errorf("%s: cache %s, token %q, offline %v; want %s, %q, %v", c.env, got.CacheDir, got.Token, got.Offline, want, c.token, c.offline)
		}
	}
}
