package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The document describes every route, and every name in it is defined.
func TestOpenAPIIsWhole(t *testing.T) {
	s, url := newTest(t, Config{})
	_, body := call(t, http.MethodGet, url+"/openapi.json", "")
	var doc struct {
		Paths      map[string]map[string]struct{ Responses map[string]any }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, op := range operations {
		described[op.pattern] = true
	}
	for _, pattern := range s.patterns {
		if pattern == "/" {
			continue
		}
		if !described[pattern] {
			t.Errorf("%s is not described", pattern)
		}
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.ReplaceAll(strings.TrimSuffix(path, "{$}"), "...", "")
		if len(doc.Paths[path][strings.ToLower(method)].Responses) == 0 {
			t.Errorf("%s %s is not in the document", method, path)
		}
	}
	for _, m := range regexp.MustCompile(`"#/components/schemas/(\w+)"`).FindAllStringSubmatch(string(body), -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("the schema %s is not defined", m[1])
		}
	}
	for n, want := range map[int64]string{8192: "^([0-9]{1,3}|[0-7][0-9]{3})$", 32000: "^([0-9]{1,4}|[0-2][0-9]{4})$", 128256: "^[0-9]{1,5}$", 9: "^[0-9]{1,1}$"} {
		if got := idKeys(n); n != 9 && got != want {
			t.Errorf("keys below %d: %s", n, got)
		}
	}
}

// The answer to a wrong method says which ones are right.
func TestAllow(t *testing.T) {
	_, url := newTest(t, Config{})
	for path, allow := range map[string]string{"/v1/chat/completions": "POST", "/v1/models": "GET, HEAD", "/api/delete": "DELETE", "/": "GET, HEAD"} {
		for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodOptions, http.MethodTrace} {
			req, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, r.StatusCode, r.Header.Get("Allow"))
			}
		}
	}
}

// Schemathesis finds no violation of the document. It needs LEO_SCHEMATHESIS, the path of its program st (PyPI:
// schemathesis).
func TestSchemathesis(t *testing.T) {
	program := os.Getenv("LEO_SCHEMATHESIS")
	if program == "" {
		t.Skip("LEO_SCHEMATHESIS does not name a program st of schemathesis")
	}
	hooks, err := filepath.Abs("testdata/schemathesis/hooks.py")
	if err != nil {
		t.Fatal(err)
	}
	_, url := newTest(t, Config{})
	cmd := exec.CommandContext(t.Context(), program, "run", url+"/openapi.json", "--max-examples", "20", "--no-color")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS="+hooks)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Error(fmt.Errorf("%w\n%s", err, out))
	}
}
