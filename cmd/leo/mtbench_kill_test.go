//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parrot is an endpoint that answers, and judges, by what it is asked, after a moment.
func parrot(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		time.Sleep(time.Duration(1+rand.IntN(6)) * time.Millisecond)
		last := req.Messages[len(req.Messages)-1].Content
		text := fmt.Sprintf("Über %.30q: [[%d]], sage ich.", last, 1+len(last)%10)
		body, _ := json.Marshal(map[string]any{
			"choices": []any{map[string]any{"message": map[string]string{"content": text}, "finish_reason": "stop"}},
			"usage":   map[string]int{"prompt_tokens": len(last), "completion_tokens": len(text)},
		})
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/v1"
}

// mtbenchFiles are those that equal runs write with equal bytes.
var mtbenchFiles = []string{
	"questions.json", "turns.jsonl", "answers.json", "model_answer/papagei.jsonl",
	"richter/judge-replies.json", "richter/scores.json", "richter/model_judgment/richter_single.jsonl", "radar.svg",
}

// A run that is killed at random moments, again and again, ends with the bytes of one that was not.
func TestMTBenchSurvivesKills(t *testing.T) {
	url, dir := parrot(t), t.TempDir()
	start := func(out string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command("leo", "eval", "mtbench", "-o", out, "--base-url", url, "--model", "papagei", "--judge-base-url", url, "--judge-model", "richter", "-q", "--concurrency", "3")
		cmd.Dir = dir
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		return cmd, &log
	}
	read := func(out, name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, out, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole, log := start("whole")
	began := time.Now()
	if err := whole.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	took := time.Since(began)
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("LEO_KILLS")); err == nil {
		kills = n
	}
	for k := 0; ; k++ {
		cmd, log := start("killed")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if k >= kills {
			if err := cmd.Wait(); err != nil {
				t.Fatalf("after %d kills: %v\n%s", k, err, log)
			}
			if got, want := log.String(), "160 of 160 replies"; !strings.Contains(got, want) {
				t.Errorf("after %d kills: %s", k, got)
			}
			break
		}
		time.Sleep(time.Duration(rand.Int64N(int64(took/2) + 1)))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if k%3 == 2 { // the power went, too: the last line is torn
			for _, name := range []string{"killed/answers.jsonl", "killed/richter/judgments.jsonl"} {
				path := filepath.Join(dir, name)
				if data, err := os.ReadFile(path); err == nil && len(data) > 20 {
					if err := os.WriteFile(path, data[:len(data)-1-rand.IntN(20)], 0o666); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	for _, name := range mtbenchFiles {
		if !bytes.Equal(read("whole", name), read("killed", name)) {
			t.Errorf("%s differs", name)
		}
	}
	// Nothing was asked twice that was kept: no key occurs twice in a journal.
	for _, name := range []string{"answers.jsonl", "richter/judgments.jsonl"} {
		var keys []string
		for line := range bytes.Lines(read("killed", name)) {
			var r struct{ Key string }
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			keys = append(keys, r.Key)
		}
		slices.Sort(keys)
		if n := len(slices.Compact(slices.Clone(keys))); n != 160 || len(keys) != 160 {
			t.Errorf("%s: %d lines with %d keys", name, len(keys), n)
		}
	}
}
