package llamacpp

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// program writes a shell script that stands for one of llama.cpp's programs.
func program(t *testing.T, path, body string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestNativeProgram(t *testing.T) {
	dir := t.TempDir()
	program(t, filepath.Join(dir, native), `echo "$@" >> "$(dirname "$0")/args"
echo loading >&2
case "$*" in
*"-fa off"*) echo '{"pp": 64, "speed_pp": 120.5, "speed_tg": 93.5, "speed": 112.4}' ;;
*) echo '{"pp": 64, "speed_pp": 136.1, "speed_tg": 83.5, "speed": 112.4}' ;;
esac
echo
`)
	r, err := Run(t.Context(), dir, Job{Model: "/m.gguf", Threads: 2, Prompt: 64, Generate: 32, Sequences: 8})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Rates{{settings[0], 136.1, 83.5}, {settings[1], 120.5, 93.5}, {settings[2], 136.1, 83.5}}; !slices.Equal(r, want) {
		t.Errorf("rates %v", r)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "args"))
	const start, end = "-m /m.gguf -t 2 -c 768 -npp 64 -ntg 32 -npl 8 ", " --load-mode none --output-format jsonl\n"
	want := start + "-fa on -ctk f16 -ctv f16" + end + start + "-fa off -ctk f16 -ctv f16" + end + start + "-fa on -ctk q8_0 -ctv q8_0" + end
	if string(args) != want {
		t.Errorf("started with %q, want %q", args, want)
	}
	t.Chdir(dir)
	if _, err := Run(t.Context(), ".", Job{Model: "/m.gguf", Threads: 2, Prompt: 64, Generate: 32, Sequences: 8}); err != nil {
		t.Errorf("in the working folder: %v", err)
	}
}

func TestBest(t *testing.T) {
	on, off := settings[0], settings[1]
	runs := [][]Rates{{{on, 10, 1}, {off, 30, 4}}, {{on, 20, 5}, {off, 5, 2}}, {{on, 21, 5}, {off, 6, 3}}}
	if v, s := Best(runs, func(r *Rates) float64 { return r.Prefill }); s != on || !slices.Equal(v, []float64{10, 20, 21}) {
		t.Errorf("prefill: %v with %v", v, s)
	}
	if v, s := Best(runs[:1], func(r *Rates) float64 { return r.Decode }); s != off || !slices.Equal(v, []float64{4}) {
		t.Errorf("decode: %v with %v", v, s)
	}
	if v, _ := Best(nil, func(r *Rates) float64 { return r.Decode }); v != nil {
		t.Errorf("of nothing: %v", v)
	}
}

func TestPackage(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "node_modules", npm), 0o777); err != nil {
		t.Fatal(err)
	}
	program(t, filepath.Join(bin, "node"), `[ "$1" = llamacpp.mjs ] && case "$2" in *'"flash":true,'*'"prompt":16,'*) echo '{"prefill":130.5,"decode":25.5}';; *) echo '{"prefill":99,"decode":33}';; esac
`)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	r, err := Run(t.Context(), dir, Job{Model: "m.gguf", Threads: 2, Prompt: 16, Generate: 8, Sequences: 1, Vocab: 600})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Rates{{settings[0], 130.5, 25.5}, {settings[1], 99, 33}}; !slices.Equal(r, want) {
		t.Errorf("rates %v", r)
	}
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"ends with an error": {"echo starting >&2; echo 'invalid argument' >&2; exit 3\n", "exit status 3: invalid argument"},
		"says nothing":       {"", "instead of its rates"},
		"says something":     {"echo Hello\n", `"Hello\n" instead of its rates`},
		"no rates":           {"echo '{}'\n", "instead of its rates"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			program(t, filepath.Join(dir, native), c.body)
			if _, err := Run(t.Context(), dir, Job{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Run(t.Context(), t.TempDir(), Job{}); err == nil || !strings.Contains(err.Error(), "bench/peers/README.md") {
		t.Errorf("error for an empty folder: %v", err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	program(t, filepath.Join(dir, native), "exec sleep 60\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, dir, Job{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
