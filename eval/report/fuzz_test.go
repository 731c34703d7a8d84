package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"leolm/eval"
)

// Whatever artifacts and single results hold, there is a page that is only a page, or an error.
func FuzzWrite(f *testing.F) {
	f.Add([]byte(`{"num_fewshot": 1, "task_digest": "x", "parts": ["t", "u"]}`), []byte(`{"doc":0,"row":"a","hash":"h","asked":"q","log_likelihoods":[-1,-2],"picked":0,"gold":[1,"x"],"metrics":{"acc":1}}`), "acc", 0.5)
	f.Add([]byte(`{"ratings": [{"question":"1","choice":0,"turn":3,"category":"c","rating":4,"text":"4"}]}`), []byte(`{"picked":7,"log_likelihoods":[1],"choices":["","b"]}`), "average", 1e300)
	f.Add([]byte(`[]`), []byte("{}\n{}\n{\"answer\":\"<script>\",\"metrics\":{\"passed\":0}}\n"), "expect/\u202e", -1.0)
	f.Fuzz(func(t *testing.T, details, records []byte, metric string, value float64) {
		dir := t.TempDir()
		var paths []string
		for i, task := range []string{"t", "t", "mtbench"} {
			sub := filepath.Join(dir, string(rune('a'+i)))
			if err := os.Mkdir(sub, 0o777); err != nil {
				t.Fatal(err)
			}
			content := records
			if i == 1 { // the other model chose the other way
				content = bytes.ReplaceAll(records, []byte("-1"), []byte("-3"))
			}
			if err := os.WriteFile(filepath.Join(sub, "t.jsonl"), content, 0o666); err != nil {
				t.Fatal(err)
			}
			a := eval.NewArtifact(task, eval.Identity{Name: metric, Kind: sub}, eval.Software{})
			if json.Valid(details) {
				a.Details = details
			}
			a.Add(eval.Metric{Name: metric, Value: &value, StdErr: &value, N: i})
			a.Add(eval.Metric{Name: metric, Group: metric, Value: &value, CI95: &[2]float64{value, -value}, Lower: true})
			if err := a.AddRaw(sub, "t.jsonl"); err != nil {
				t.Fatal(err)
			}
			if err := a.WriteFile(filepath.Join(sub, "t.json")); err != nil {
				t.Skip(err) // a number that JSON has not
			}
			paths = append(paths, sub)
		}
		var b bytes.Buffer
		if _, err := Write(t.Context(), &b, paths, Options{Disagreements: 3}); err == nil {
			checkPage(t, b.String())
		}
	})
}
