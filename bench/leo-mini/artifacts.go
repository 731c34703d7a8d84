package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"leolm/eval"
)

// names are the methods as leo-mini's card calls them.
var names = map[string]string{"xz": "xz -9e", "ppmd": "PPMd, order 16", "kneser-ney": "5-gram, modified Kneser-Ney"}

// writeArtifacts writes the results in a file of this program as artifacts, one for each method, for leo card. They say
// what the file says: neither when nor on which machine each number was measured.
func writeArtifacts(dir, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var o output
	if err := json.Unmarshal(data, &o); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	sum := sha256.Sum256(data)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for method, name := range names {
		a := eval.NewArtifact("perplexity", eval.Identity{Name: name, Kind: "program"}, eval.Software{})
		a.TaskVersion, a.Complete, a.Started, a.Machine, a.Leo = "1", true, time.Time{}, eval.Machine{}, eval.Software{}
		a.Inputs = []eval.Input{{Role: "measured by bench/leo-mini, in", Name: filepath.Base(file), Hash: hex.EncodeToString(sum[:])}}
		var notes []string
		for _, r := range o.Results {
			if r.Method != method {
				continue
			}
			a.Seconds += r.Seconds
			for _, source := range slices.Sorted(maps.Keys(r.BPB)) {
				v := r.BPB[source]
				a.Add(eval.Metric{Name: "bits_per_byte", Group: source + ".valid.jsonl.gz", Value: &v, N: o.ValidBytes[source], Unit: "bits", Lower: true})
			}
			if !slices.Contains(notes, r.Note) {
				notes = append(notes, r.Note)
			}
		}
		if len(a.Metrics) == 0 {
			continue
		}
		a.Config = map[string]any{"notes": strings.Join(notes, "; ")}
		if err := a.WriteFile(filepath.Join(dir, method+".json")); err != nil {
			return err
		}
	}
	return nil
}
