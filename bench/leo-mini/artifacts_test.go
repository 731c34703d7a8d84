package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The artifacts that leo-mini's card quotes are those of baselines.json.
func TestArtifacts(t *testing.T) {
	dir := t.TempDir()
	if err := writeArtifacts(dir, "baselines.json"); err != nil {
		t.Fatal(err)
	}
	for method := range names {
		got, err := os.ReadFile(filepath.Join(dir, method+".json"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("../../models/leo-mini/results", method+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s.json of models/leo-mini/results is not what baselines.json says", method)
		}
	}
	if err := writeArtifacts(dir, "none.json"); err == nil {
		t.Error("a file that is not there is accepted")
	}
}
