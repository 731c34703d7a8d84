//go:build !nomodel

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	leomini "leolm/models/leo-mini"
)

// program is a Go program of a page, with what the page says it prints.
type program struct {
	source string
	args   []string
	output string
}

// programs finds them: a block of Go that is a whole program, and the next block, which runs it.
func programs(page string) ([]program, error) {
	var found []program
	blocks := strings.Split(page, "\n```")
	for i := 1; i < len(blocks); i += 2 {
		source, isGo := strings.CutPrefix(blocks[i], "go\npackage main\n")
		if !isGo {
			continue
		}
		if i+2 >= len(blocks) {
			return nil, fmt.Errorf("nothing behind program %d says what it prints", len(found)+1)
		}
		first, output, _ := strings.Cut(strings.TrimPrefix(blocks[i+2], "\n"), "\n")
		args, ok := strings.CutPrefix(first, "$ go run .")
		if !ok {
			return nil, fmt.Errorf("the block behind program %d begins with %q, not with its command", len(found)+1, first)
		}
		found = append(found, program{"package main\n" + source + "\n", strings.Fields(args), output + "\n"})
	}
	return found, nil
}

// The programs of docs/library.md are built in a module of their own, as a reader would, and print what the page says.
func TestLibraryPage(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command")
	}
	page, err := os.ReadFile("../../docs/library.md")
	if err != nil {
		t.Fatal(err)
	}
	list, err := programs(string(page))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 3 {
		t.Fatalf("the page has %d programs", len(list))
	}
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		// What Leo itself is built from is all that is needed.
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for i, p := range list {
		folder := filepath.Join(dir, fmt.Sprint("p", i))
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(p.source), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "leo-mini.gguf"), leomini.GGUF, 0o666); err != nil {
		t.Fatal(err)
	}
	// go mod tidy, as the page says, would look for the tests of dependencies too, which may not be on this machine.
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o666); err != nil {
		t.Fatal(err)
	}
	run(goTool, "mod", "init", "example")
	run(goTool, "mod", "edit", "-require=leolm@v0.0.0", "-replace=leolm="+root)
	bin := filepath.Join(dir, "bin") + string(filepath.Separator)
	run(goTool, "build", "-mod=mod", "-ldflags=-s -w", "-o", bin, "./...")
	for i, p := range list {
		name := fmt.Sprint("p", i)
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		if got := run(bin+name, p.args...); got != p.output {
			t.Errorf("program %d printed\n%s\nthe page says\n%s", i+1, got, p.output)
		}
	}
}

func TestProgramsOfPages(t *testing.T) {
	const main = "\n```go\npackage main\n\nfunc main() {}\n```\n"
	for page, want := range map[string]string{
		"text\n```\ngo doc x\n```\n\n```go\nx := 1\n```\n": "[] <nil>",
		main + "\n```\n$ go run . a b\nout\nput\n```\n":    `[{"package main\n\nfunc main() {}\n" ["a" "b"] "out\nput\n"}] <nil>`,
		main + "\n```\n$ leo chat\n```\n":                  `[] the block behind program 1 begins with "$ leo chat", not with its command`,
		main + "and nothing":                               "[] nothing behind program 1 says what it prints",
	} {
		list, err := programs(page)
		if got := fmt.Sprintf("%q %v", list, err); got != want {
			t.Errorf("%q: %s, want %s", page, got, want)
		}
	}
}
