package germanbench

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leolm/eval/harness"
)

// fakeHub serves files of one repository of data sets, as the Hugging Face hub does.
func fakeHub(t *testing.T, id string, files map[string][]byte) {
	t.Helper()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/datasets/"+id+"/revision/") {
			var siblings []map[string]any
			for name, data := range files {
				siblings = append(siblings, map[string]any{"rfilename": name, "size": len(data)})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, "/datasets/"+id+"/resolve/"+commit+"/")
		data, have := files[name]
		if !ok || !have {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00%s", len(data), data)
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", h.Sum(nil))))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(s.Close)
	home := t.TempDir()
	for name, value := range map[string]string{"HF_ENDPOINT": s.URL, "HF_HOME": home, "HF_HUB_CACHE": filepath.Join(home, "hub"), "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": ""} {
		t.Setenv(name, value)
	}
}

// The same documents from the hub and from files are the same task.
func TestDataFromTheHub(t *testing.T) {
	files := map[string][]byte{"README.md": []byte("# ARC"), "other.jsonl": []byte("{}")}
	for _, split := range []string{"test", "validation"} {
		data, err := os.ReadFile("testdata/documents/arc_de/" + split + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		files["data/"+split+"-00000-of-00001.jsonl"] = data
		files["csv/"+split+".csv"] = []byte("a,b\n1,2\n") // another format of the same rows
	}
	fakeHub(t, "LeoLM/ArcChallenge_de", files)
	shots := 2
	opt := Options{Tasks: []string{"arc_de"}, Shots: &shots}
	tasks, err := Load(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	opt.Dir = "testdata/documents"
	local, err := Load(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if tasks[0].Digest() != local[0].Digest() {
		t.Error("the hub's task is another")
	}
	in := tasks[0].Inputs[0]
	if in.Hash != local[0].Inputs[0].Hash || !strings.Contains(in.Name, "LeoLM/ArcChallenge_de@0123456789abcdef") || in.Rows != 12 {
		t.Errorf("%+v", in)
	}
	var none *harness.NoDataError
	fakeHub(t, "LeoLM/ArcChallenge_de", map[string][]byte{"README.md": nil})
	opt.Dir = ""
	if _, err := Load(t.Context(), opt); !errors.As(err, &none) {
		t.Errorf("a repository without data: %v", err)
	}
}
