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
	"slices"
	"strconv"
	"strings"
)

// Job says what is measured: Sequences prompts of Prompt tokens are read, then Generate tokens are written after each.
type Job struct {
	Model                                string // a GGUF file
	Threads, Prompt, Generate, Sequences int
	Vocab                                int // tokens that the npm package may be given, from id 300 on
}

// Setting is what makes llama.cpp faster on one machine, with one model and load, and slower on another.
type Setting struct {
	Flash bool   `json:"flash_attention"`
	Cache string `json:"cache"` // type of keys and values; quantized ones need flash attention
}

// settings are those of llama-batched-bench; the npm package does not choose types.
var settings = []Setting{{true, "f16"}, {false, "f16"}, {true, "q8_0"}}

func (s Setting) String() string { return "-fa " + s.flash() + " -ctk " + s.Cache }

func (s Setting) flash() string {
	if s.Flash {
		return "on"
	}
	return "off"
}

// Rates are tokens per second over all sequences, with a setting.
type Rates struct {
	Setting
	Prefill float64 `json:"prefill"`
	Decode  float64 `json:"decode"`
}

// Best returns one of the rates of several calls of Run: those of the setting whose median is the highest.
func Best(runs [][]Rates, rate func(*Rates) float64) (best []float64, with Setting) {
	values := map[Setting][]float64{}
	for _, all := range runs {
		for i := range all {
			values[all[i].Setting] = append(values[all[i].Setting], rate(&all[i]))
		}
	}
	median := func(v []float64) float64 {
		v = slices.Sorted(slices.Values(v))
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	for _, s := range settings { // in order, so that equals are decided
		if v := values[s]; len(v) > 0 && (best == nil || median(v) > median(best)) {
			best, with = v, s
		}
	}
	return best, with
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

// Run times llama.cpp with each of its settings: flash attention on and off, keys and values in f16 and q8_0. Which is best
// differs by machine. Weights are read into memory instead of mapped, since it repacks those only. Both programs warm up
// first.
func Run(ctx context.Context, dir string, j Job) ([]Rates, error) {
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
	var all []Rates
	for _, s := range settings {
		if name == npm && s.Cache != "f16" {
			continue
		}
		r, err := run(ctx, dir, name, &j, s)
		if err != nil {
			return nil, err
		}
		all = append(all, *r)
	}
	return all, nil
}

func run(ctx context.Context, dir, name string, j *Job, s Setting) (*Rates, error) {
	var cmd *exec.Cmd
	if name == native {
		cmd = exec.CommandContext(ctx, filepath.Join(dir, native), "-m", j.Model, "-t", strconv.Itoa(j.Threads),
			"-c", strconv.Itoa((j.Prompt+j.Generate)*j.Sequences), "-npp", strconv.Itoa(j.Prompt), "-ntg", strconv.Itoa(j.Generate),
			"-npl", strconv.Itoa(j.Sequences), "-fa", s.flash(), "-ctk", s.Cache, "-ctv", s.Cache, "--load-mode", "none", "--output-format", "jsonl")
	} else {
		arg, err := json.Marshal(map[string]any{"model": j.Model, "threads": j.Threads, "prompt": j.Prompt, "generate": j.Generate,
			"sequences": j.Sequences, "flash": s.Flash, "mmap": false, "vocab": j.Vocab})
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
	failed := func(err error) error { return fmt.Errorf("llama.cpp (%s, %v) in %s: %w", name, s, dir, err) }
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, failed(fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr))))
	}
	if err != nil {
		return nil, failed(err)
	}
	r := Rates{}
	if name == native {
		r.Prefill, r.Decode, err = parseNative(out)
	} else {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.Prefill <= 0 || r.Decode <= 0 {
		return nil, failed(fmt.Errorf("it printed %q instead of its rates", out))
	}
	r.Setting = s
	return &r, nil
}

// parseNative reads the JSON line of llama-batched-bench --output-format jsonl.
func parseNative(out []byte) (prefill, decode float64, err error) {
	var line struct {
		Prefill float64 `json:"speed_pp"`
		Decode  float64 `json:"speed_tg"`
	}
	err = json.Unmarshal(bytes.TrimSpace(out), &line)
	return line.Prefill, line.Decode, err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
