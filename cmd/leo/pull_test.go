package main

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"leolm/internal/hub"
)

// Of all files of a repository, one form of the weights and the small files are fetched.
func TestChooseModelFiles(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{"config.json model.safetensors pytorch_model.bin tokenizer.model README.md .gitattributes original/consolidated.00.pth tf_model.h5 LICENSE chat_template.jinja",
			"config.json model.safetensors tokenizer.model README.md LICENSE chat_template.jinja"},
		{"config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin",
			"config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json"},
		{"config.json pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json training_args.bin modeling_flash_llama.py",
			"config.json pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json"},
		{"config.json consolidated.safetensors model-00001-of-00001.safetensors model.safetensors.index.json consolidated.safetensors.index.json params.json tekken.json",
			"config.json model-00001-of-00001.safetensors model.safetensors.index.json params.json tekken.json"},
		{"config.json model.safetensors model.fp16.safetensors model-fp8.safetensors pytorch_model.fp16.bin onnx/model.onnx onnx/model.safetensors openvino/model.bin",
			"config.json model.safetensors"},
		{"config.json pytorch_model.bin pytorch_model.fp16.bin consolidated.00.pth weights.safetensors model.gguf", "config.json pytorch_model.bin"},
		{"config.json consolidated.safetensors tokenizer.model", "config.json consolidated.safetensors tokenizer.model"},
		{"big-00001-of-00002.gguf big-00002-of-00002.gguf", "big-00001-of-00002.gguf big-00002-of-00002.gguf"},
		{"adapter_config.json adapter_model.safetensors adapter_model.bin", "adapter_config.json adapter_model.safetensors"},
		{"README.md leo.Q4_K_M.gguf", "README.md leo.Q4_K_M.gguf"},
		{"adapter_config.json adapter_model.bin", "adapter_config.json adapter_model.bin"},
	} {
		var files []hub.File
		for _, n := range strings.Fields(c.have) {
			files = append(files, hub.File{Name: n})
		}
		got, err := chooseModelFiles(files)
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, f := range got {
			names = append(names, f.Name)
		}
		if !slices.Equal(names, strings.Fields(c.want)) {
			t.Errorf("of %s:\n%v, want\n%s", c.have, names, c.want)
		}
	}
	_, err := chooseModelFiles([]hub.File{{Name: "a.Q2_K.gguf", Size: 3 << 20}, {Name: "a.Q8_0.gguf"}})
	if err == nil || !strings.Contains(err.Error(), "a.Q2_K.gguf (3.0 MiB)") {
		t.Errorf("two GGUF files: %v", err)
	}
}

// leo pull ORG/NAME --to DIR leaves plain files, prints first what it will fetch, and does not fetch again.
func TestPullToFolder(t *testing.T) {
	files := map[string]string{"config.json": "{}", "model.safetensors": "weights", "consolidated.safetensors": "again"}
	gets := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		commit := strings.Repeat("a", 40)
		if strings.HasPrefix(r.URL.Path, "/api/models/org/name/") {
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"config.json","size":2},{"rfilename":"model.safetensors","size":7},{"rfilename":"consolidated.safetensors","size":5}]}`, commit)
			return
		}
		content := files[path.Base(r.URL.Path)]
		if r.Method == http.MethodGet {
			gets++
		}
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("ETag", fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_HOME", t.TempDir())
	dir := filepath.Join(t.TempDir(), "models", "name")
	for range 2 {
		var out, diag bytes.Buffer
		root := newRootCmd()
		root.SetOut(&out)
		root.SetErr(&diag)
		root.SetArgs([]string{"pull", "org/name", "--to", dir})
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out.String() != dir+"\n" || !strings.HasPrefix(diag.String(), "org/name: 2 files, 1 KiB\n") {
			t.Errorf("printed %q and %q", out.String(), diag.String())
		}
		for _, name := range []string{"config.json", "model.safetensors"} {
			info, err := os.Lstat(filepath.Join(dir, name))
			if err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "consolidated.safetensors")); err == nil {
			t.Error("the weights came twice")
		}
	}
	if gets != 2 {
		t.Errorf("%d downloads of 2 files", gets)
	}
}
