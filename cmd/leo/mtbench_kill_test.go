//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
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

	"leolm/internal/shareddata"
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
func mtbenchFiles(model, judge string) []string {
	return []string{
		"questions.json", "turns.jsonl", "answers.json", "model_answer/" + model + ".jsonl",
		judge + "/judge-replies.json", judge + "/scores.json", judge + "/model_judgment/" + judge + "_single.jsonl", "radar.svg",
	}
}

// mtbenchRun is a command of leo eval mtbench that runs in a folder, and is killed there.
type mtbenchRun struct {
	dir  string
	args []string // but for --output
}

func (r *mtbenchRun) start(out string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("leo", append([]string{"eval", "mtbench", "--output", out, "-q"}, r.args...)...)
	cmd.Dir = r.dir
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	return cmd, &log
}

// read returns the contents of a file, nothing if there is none.
func (r *mtbenchRun) read(t *testing.T, out, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, out, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return data
}

// killed lets the command run undisturbed in the folder whole, and again in the folder killed, where it is killed at random
// moments and started again. Files, and what it says in the end, must be the same; killed returns that.
func (r *mtbenchRun) killed(t *testing.T, kills int, judge string, files []string) string {
	t.Helper()
	whole, want := r.start("whole")
	began := time.Now()
	if err := whole.Run(); whole.ProcessState == nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("undisturbed: %.0f s\n%s", took.Seconds(), want)
	for k := range kills {
		cmd, _ := r.start("killed")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(took/2) + 1)))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if k%3 == 2 { // the power went, too: the last line is torn
			r.tear(t, "killed/answers.jsonl")
			r.tear(t, "killed/"+judge+"/judgments.jsonl")
		}
		t.Logf("kill %d: %d answers, %d judgments", k+1, bytes.Count(r.read(t, "killed", "answers.jsonl"), []byte("\n")), bytes.Count(r.read(t, "killed", judge+"/judgments.jsonl"), []byte("\n")))
	}
	last, got := r.start("killed")
	_ = last.Run()
	if a, b := strings.ReplaceAll(want.String(), "whole", "killed"), got.String(); a != b || whole.ProcessState.ExitCode() != last.ProcessState.ExitCode() {
		t.Errorf("after %d kills:\n%s\nundisturbed:\n%s", kills, b, a)
	}
	for _, name := range files {
		if !bytes.Equal(r.read(t, "whole", name), r.read(t, "killed", name)) {
			t.Errorf("%s differs", name)
		}
	}
	return got.String()
}

// tear removes the end of the last line of a journal.
func (r *mtbenchRun) tear(t *testing.T, name string) {
	t.Helper()
	if data := r.read(t, "", name); len(data) > 20 {
		if err := os.WriteFile(filepath.Join(r.dir, name), data[:len(data)-1-rand.IntN(20)], 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// mtbenchKills is how often runs are killed.
func mtbenchKills() int {
	if n, err := strconv.Atoi(os.Getenv("LEO_KILLS")); err == nil {
		return n
	}
	return 6
}

// A run that is killed at random moments, again and again, ends with the bytes of one that was not.
func TestMTBenchSurvivesKills(t *testing.T) {
	url := parrot(t)
	r := &mtbenchRun{t.TempDir(), []string{"--base-url", url, "--model", "papagei", "--judge-base-url", url, "--judge-model", "richter", "--concurrency", "3"}}
	if got := r.killed(t, mtbenchKills(), "richter", mtbenchFiles("papagei", "richter")); !strings.Contains(got, "160 of 160 replies") {
		t.Error(got)
	}
	for _, name := range mtbenchFiles("papagei", "richter") {
		if len(r.read(t, "whole", name)) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	// Nothing was asked twice that was kept: no key occurs twice in a journal.
	for _, name := range []string{"answers.jsonl", "richter/judgments.jsonl"} {
		var keys []string
		for line := range bytes.Lines(r.read(t, "killed", name)) {
			var l struct{ Key string }
			if err := json.Unmarshal(line, &l); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			keys = append(keys, l.Key)
		}
		slices.Sort(keys)
		if n := len(slices.Compact(slices.Clone(keys))); n != 160 || len(keys) != 160 {
			t.Errorf("%s: %d lines with %d keys", name, len(keys), n)
		}
	}
}

// The same with models that run here, each its own judge, LeoLM's questions and as many new tokens as LEO_MTBENCH_TOKENS
// says. What the judge said, replayed, gives the same replies and scores. It takes from minutes to an hour.
func TestMTBenchOfModelsSurvivesKills(t *testing.T) {
	tokens := os.Getenv("LEO_MTBENCH_TOKENS")
	if tokens == "" {
		t.Skip("needs LEO_MTBENCH_TOKENS, the most tokens of an answer, 1024 in MT-Bench; and time")
	}
	smol := shareddata.SmolLM2(t)
	for _, m := range []struct{ name, path string }{{"leo-mini", "leo-mini"}, {"SmolLM2", smol}} {
		t.Run(m.name, func(t *testing.T) {
			r := &mtbenchRun{t.TempDir(), []string{
				"--model", m.path, "--name", m.name, "--max-new-tokens", tokens, "--questions", shareddata.Path(t, "data", "mtbench_de", "questions_de.json"),
				"--judge-model", m.path, "--judge-name", "richter", "--judge-max-new-tokens", tokens,
				"--judge-prompts", shareddata.Path(t, "data", "mtbench_de", "judge_prompts_de.json"),
			}}
			r.killed(t, mtbenchKills(), "richter", mtbenchFiles(m.name, "richter"))
			// A small model's ratings are few or none, so that the replies of a real judge to another model's answers are
			// replayed as well: they have a rating for every turn.
			replay := func(out, name, replies string) {
				cmd := exec.Command("leo", "eval", "mtbench", "judge", out, "--judge-replies", replies, "--judge-name", name, "-q")
				cmd.Dir = r.dir
				log, _ := cmd.CombinedOutput()
				t.Logf("%s, judged with the replies in %s:\n%s", out, replies, log)
			}
			replay("killed", "again", filepath.Join(r.dir, "killed", "richter", "judge-replies.json"))
			example := shareddata.Path(t, "data", "mtbench_de", "fasteval_example", "judge-replies.json")
			replay("whole", "example", example)
			replay("killed", "example", example)
			for _, name := range []string{"judge-replies.json", "scores.json"} {
				if !bytes.Equal(r.read(t, "killed/richter", name), r.read(t, "killed/again", name)) {
					t.Errorf("%s differs when it is replayed", name)
				}
				if a, b := r.read(t, "whole/example", name), r.read(t, "killed/example", name); len(a) == 0 || !bytes.Equal(a, b) {
					t.Errorf("%s of the example's replies differs, or is empty", name)
				}
			}
		})
	}
}
