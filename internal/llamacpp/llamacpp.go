// Package llamacpp times llama.cpp in a process of its own, so that Leo's benchmarks have their peer in the same
// run. It runs what a folder holds: llama-batched-bench, built from llama.cpp's source, or the npm package
// node-llama-cpp with llamacpp.mjs (bench/peers). It doesn't build or fetch either, and nothing outside
// benchmarks uses it.
package llamacpp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Job says what is measured: Sequences prompts of Prompt tokens are read, then Generate tokens are written after each.
type Job struct {
	Model                                string // a GGUF file
	Threads, Prompt, Generate, Sequences int
	Vocab                                int // tokens that the npm package may be given, from id 300 on
}

// Rates are tokens per second over all sequences.
type Rates struct {
	Prefill float64 `json:"prefill"`
	Decode  float64 `json:"decode"`
}

// Find says which program of a folder Run would start: "llama-batched-bench" or "node-llama-cpp".
func Find(dir string) (string, error) {
	for _, path := range []string{native, filepath.Join("node_modules", npm)} {
		_, err := os.Stat(filepath.Join(dir, path))
		if err == nil {
			return filepath.Base(path), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s has neither %s nor node_modules/%s; bench/peers/README.md says how to get one", dir, native, npm)
}

const (
	native = "llama-batched-bench"
	npm    = "node-llama-cpp"
)

// Run times llama.cpp at its best: flash attention, f16 cache, and weights read into memory instead of mapped, since it
// repacks those only. Both programs warm up first.
func Run(ctx context.Context, dir string, j Job) (*Rates, error) {
	name, err := Find(dir)
	if err != nil {
		return nil, err
	}
	if j.Model, err = filepath.Abs(j.Model); err != nil {
		return nil, err
	}
	// A bare name, as from the folder ".", is looked for in PATH.
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	var cmd *exec.Cmd
	if name == native {
		cmd = exec.CommandContext(ctx, filepath.Join(dir, native), "-m", j.Model, "-t", strconv.Itoa(j.Threads),
			"-c", strconv.Itoa((j.Prompt+j.Generate)*j.Sequences), "-npp", strconv.Itoa(j.Prompt), "-ntg", strconv.Itoa(j.Generate),
			"-npl", strconv.Itoa(j.Sequences), "-fa", "on", "--load-mode", "none", "--output-format", "jsonl")
	} else {
		arg, err := json.Marshal(map[string]any{"model": j.Model, "threads": j.Threads, "prompt": j.Prompt, "generate": j.Generate,
			"sequences": j.Sequences, "flash": true, "mmap": false, "vocab": j.Vocab})
		if err != nil {
			return nil, err
		}
		cmd = exec.CommandContext(ctx, "node", "llamacpp.mjs", string(arg))
		cmd.Dir = dir
	}
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, fmt.Errorf("llama.cpp (%s) in %s: %w: %s", name, dir, err, lastLine(string(exit.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("llama.cpp (%s) in %s: %w", name, dir, err)
	}
	var r Rates
	if name == native {
		r, err = parseNative(out)
	} else {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.Prefill <= 0 || r.Decode <= 0 {
		return nil, fmt.Errorf("llama.cpp (%s) in %s printed %q instead of its rates", name, dir, out)
	}
	return &r, nil
}

// parseNative reads the JSON line of llama-batched-bench --output-format jsonl.
func parseNative(out []byte) (Rates, error) {
	var line struct {
		Prefill float64 `json:"speed_pp"`
		Decode  float64 `json:"speed_tg"`
	}
	err := json.Unmarshal(bytes.TrimSpace(out), &line)
	return Rates(line), err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
