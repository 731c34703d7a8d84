// Command speed measures everything that docs/speed.md says about speed, Leo and llama.cpp in turn, and
// writes a Markdown table.
//
//	go build -o /tmp/leo ./cmd/leo && go run ./bench/speed --leo /tmp/leo --files /tmp/models --out out/speed
//
// The table has a cell for each model file and kind of measurement. A cell has pairs of runs, and every pair is
// written to OUT/CELL.json at once: an interrupted measurement continues where it stopped. Missing model files
// (random weights: speed does not depend on values) are made by peers/random_gguf.py in the folder of --shared, which needs
// Python. llama.cpp is left out where the folder of --peer has none (see bench/peers/README.md); each of its two kinds
// needs an OUT of its own.
// The machine should be idle otherwise; the cells named "busy" start their own load.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"leolm/internal/durable"
	"leolm/internal/llamacpp"
	"leolm/internal/pool"
)

// shapes are the arguments of random_gguf.py after the type.
var shapes = map[string][]string{
	"tiny": {"256", "512", "2", "4", "4", "1000", "2048"},
	"1b":   {"2048", "5632", "22", "32", "4", "32000", "2048"},
	"7b":   {"4096", "11008", "32", "32", "32", "32000", "16384"},
}

// row is the part of a row of leo bench --json that the table needs.
type row struct {
	Prefill   rate    `json:"prefill_tokens_per_second"`
	Decode    rate    `json:"decode_tokens_per_second"`
	First     rate    `json:"first_token_seconds"`
	ReadShare float64 `json:"share_of_read_bandwidth"`
	PeakShare float64 `json:"share_of_arithmetic_peak"`
	Peak      string  `json:"peak"`
}

type rate struct {
	Median float64 `json:"median"`
}

type bench struct {
	Load float64 `json:"load_seconds"`
	Rows []row   `json:"rows"`
}

// pair is one measurement of each program. Peer has llama.cpp's rates with each of its settings, if it is measured.
type pair struct {
	Leo  bench            `json:"leo"`
	Peer []llamacpp.Rates `json:"llama_cpp,omitempty"`
	// PeerTimedOut is set if llama.cpp exceeded the limit: it has no rates.
	PeerTimedOut bool `json:"llama_cpp_timed_out,omitempty"`
}

// cell is one entry of the table.
type cell struct {
	name     string
	file     string
	args     []string // of leo bench
	env      []string
	prompt   int // of llama.cpp; 0: it is not measured
	generate int
	seqs     int
	busy     int // processes that compute at the same time
}

type runner struct {
	leo, files, out, peers, shared string
	runs                           int
	limit                          time.Duration
}

func main() {
	var r runner
	var shapeList, types, only string
	flag.StringVar(&r.leo, "leo", "leo", "the program")
	flag.StringVar(&r.files, "files", "out/models", "folder of the model files")
	flag.StringVar(&r.out, "out", "out/speed", "folder of the results")
	flag.StringVar(&r.peers, "peer", "bench/peers", "folder with llama.cpp: llama-batched-bench, or its npm package and llamacpp.mjs")
	flag.StringVar(&r.shared, "shared", os.Getenv("LEO_SHARED"), "folder with peers/random_gguf.py")
	flag.IntVar(&r.runs, "runs", 5, "pairs per cell")
	flag.DurationVar(&r.limit, "limit", 10*time.Minute, "time limit of one run of a program")
	flag.StringVar(&shapeList, "shapes", "1b,7b", "tiny, 1b, 7b")
	flag.StringVar(&types, "types", "q4_0,q8_0,q4_k_m,bf16", "types of weights")
	flag.StringVar(&only, "only", "", "measure only the cells that match this regular expression; the table has all results in OUT")
	flag.Parse()
	if err := r.all(strings.Split(shapeList, ","), strings.Split(types, ","), only); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1)
	}
}

func (r *runner) all(shapeList, types []string, only string) error {
	want, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(r.files, 0o777), os.MkdirAll(r.out, 0o777)); err != nil {
		return err
	}
	if _, err := llamacpp.Find(r.peers); err != nil {
		fmt.Fprintln(os.Stderr, "llama.cpp is left out:", err)
		r.peers = ""
	}
	list, err := cells(shapeList, types)
	if err != nil {
		return err
	}
	for _, c := range list {
		if !want.MatchString(c.name) {
			continue
		}
		if err := r.measure(&c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := r.table(list); err != nil {
			return err
		}
	}
	return r.table(list)
}

// cells lists what is measured.
func cells(shapeList, types []string) ([]cell, error) {
	var list []cell
	for _, s := range shapeList {
		if shapes[s] == nil {
			return nil, fmt.Errorf("no shape %q", s)
		}
		for _, t := range types {
			file := s + "-" + t + ".gguf"
			one := cell{name: s + "-" + t + "-one", file: file, prompt: 512, generate: 32, seqs: 1, args: []string{"--packed", "off"}}
			eight := one
			eight.name, eight.prompt, eight.seqs = s+"-"+t+"-eight", 64, 8
			list = append(list, one, eight)
		}
		for _, t := range []string{"q4_0", "q8_0"} {
			if slices.Contains(types, t) {
				// Short and long in alternation: on a shared machine the bandwidth changes within a minute.
				list = append(list, cell{name: s + "-" + t + "-long", file: s + "-" + t + ".gguf", generate: 32, seqs: 1,
					args: []string{"--packed", "off", "--cache-type", "q8_0", "--prompt", "1", "--depth", "127,8191,127,8191,127,8191"}})
			}
		}
		if slices.Contains(types, "q4_0") {
			// Runs of about 30 s: many tokens where nothing disturbs, few for a peer that collapses.
			busy := cell{name: s + "-q4_0-busy", file: s + "-q4_0.gguf", prompt: 16, generate: 100, seqs: 1, busy: 2, args: []string{"--packed", "off"}}
			quiet := busy
			quiet.name, quiet.busy = s+"-q4_0-quiet", 0
			start := cell{name: s + "-q4_0-start", file: s + "-q4_0.gguf", generate: 2, seqs: 1, args: []string{"--prompt", "16"}}
			generic := cell{name: s + "-q4_0-generic", file: s + "-q4_0.gguf", generate: 3, seqs: 1, args: []string{"--packed", "off", "--prompt", "1"}, env: []string{"LEO_CPU=generic"}}
			best := generic
			best.name, best.env, best.generate = s+"-q4_0-avx512", []string{"LEO_CPU=avx512"}, 32
			list = append(list, quiet, busy, start, generic, best)
		}
	}
	return list, nil
}

func (r *runner) path(c *cell) string { return filepath.Join(r.out, c.name+".json") }

func (r *runner) read(c *cell) ([]pair, error) {
	b, err := os.ReadFile(r.path(c))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pairs []pair
	if err := json.Unmarshal(b, &pairs); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to measure again", r.path(c), err)
	}
	return pairs, nil
}

// measure adds the missing pairs of a cell.
func (r *runner) measure(c *cell) error {
	pairs, err := r.read(c)
	if err != nil || len(pairs) >= r.runs {
		return err
	}
	model := filepath.Join(r.files, c.file)
	if _, err := os.Stat(model); err != nil {
		shape, kind, _ := strings.Cut(strings.TrimSuffix(c.file, ".gguf"), "-")
		fmt.Fprintln(os.Stderr, "making", model)
		cmd := exec.Command("python3", append([]string{filepath.Join(r.shared, "peers", "random_gguf.py"), model + ".tmp", kind}, shapes[shape]...)...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
		if err := os.Rename(model+".tmp", model); err != nil {
			return err
		}
	}
	for len(pairs) < r.runs {
		stop, err := burn(c.busy)
		if err != nil {
			return err
		}
		p, err := r.pair(c, model)
		stop()
		if err != nil {
			return err
		}
		pairs = append(pairs, *p)
		b, err := json.MarshalIndent(pairs, "", " ")
		if err != nil {
			return err
		}
		if err := durable.WriteFile(r.path(c), append(b, '\n')); err != nil {
			return err
		}
		last := p.Leo.Rows[len(p.Leo.Rows)-1]
		fmt.Fprintf(os.Stderr, "%s %d/%d: prefill %.1f, decode %.1f", c.name, len(pairs), r.runs, last.Prefill.Median, last.Decode.Median)
		for _, q := range p.Peer {
			fmt.Fprintf(os.Stderr, "; llama.cpp %v: %.1f, %.1f", q.Setting, q.Prefill, q.Decode)
		}
		fmt.Fprintln(os.Stderr)
	}
	return nil
}

// burn starts processes that do nothing but compute; stop ends them.
func burn(n int) (stop func(), err error) {
	var running []*exec.Cmd
	stop = func() {
		for _, c := range running {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	for range n {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			stop()
			return nil, err
		}
		running = append(running, c)
	}
	return stop, nil
}

func (r *runner) pair(c *cell, model string) (*pair, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	args := append([]string{"bench", "--model", model, "--json", "--runs", "1", "-n", fmt.Sprint(c.generate), "--sequences", fmt.Sprint(c.seqs)}, c.args...)
	if c.prompt > 0 {
		args = append(args, "--prompt", fmt.Sprint(c.prompt))
	}
	cmd := exec.CommandContext(ctx, r.leo, args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	p := &pair{}
	if err := json.Unmarshal(b, &p.Leo); err != nil || len(p.Leo.Rows) == 0 {
		return nil, fmt.Errorf("%s printed %q: %w", strings.Join(cmd.Args, " "), b, err)
	}
	if c.prompt == 0 || r.peers == "" {
		return p, nil
	}
	ctx, cancel = context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	generate := c.generate
	if c.busy > 0 {
		generate = min(generate, 8)
	}
	p.Peer, err = llamacpp.Run(ctx, r.peers, llamacpp.Job{Model: model, Threads: pool.Processors(), Prompt: c.prompt, Generate: generate, Sequences: c.seqs, Vocab: 600})
	if ctx.Err() != nil {
		p.PeerTimedOut = true
		return p, nil
	}
	return p, err
}

// stat is the median of a value over the pairs, with its smallest and largest.
type stat struct {
	median, low, high float64
	n                 int
}

func statOf(pairs []pair, f func(p *pair) (float64, bool)) stat {
	var v []float64
	for i := range pairs {
		if x, ok := f(&pairs[i]); ok {
			v = append(v, x)
		}
	}
	if len(v) == 0 {
		return stat{}
	}
	slices.Sort(v)
	return stat{(v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[0], v[len(v)-1], len(v)}
}

func (s stat) rate() string {
	if s.n == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s–%s)", short(s.median), short(s.low), short(s.high))
}

// short prints three significant digits, or all digits before the point.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (s stat) percent() string {
	if s.n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*s.median)
}

func (s stat) times() string {
	if s.n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", s.median)
}

// leo and against return a value of row i of a pair: Leo's, and its ratio to llama.cpp's.
func leo(i int, f func(*row) float64) func(*pair) (float64, bool) {
	return func(p *pair) (float64, bool) {
		if i >= len(p.Leo.Rows) {
			return 0, false
		}
		return f(&p.Leo.Rows[i]), true
	}
}

// against is Leo's value over llama.cpp's, with the setting whose median over all pairs is the highest.
func against(pairs []pair, f func(*row) float64, g func(*llamacpp.Rates) float64) func(*pair) (float64, bool) {
	peer := peerRate(pairs, g)
	return func(p *pair) (float64, bool) {
		v, ok := peer(p)
		return f(&p.Leo.Rows[0]) / v, ok
	}
}

// peerRate is llama.cpp's value with that setting.
func peerRate(pairs []pair, g func(*llamacpp.Rates) float64) func(*pair) (float64, bool) {
	_, with := llamacpp.Best(peers(pairs), g)
	return func(p *pair) (float64, bool) {
		for i := range p.Peer {
			if p.Peer[i].Setting == with {
				return g(&p.Peer[i]), true
			}
		}
		return 0, false
	}
}

func peers(pairs []pair) [][]llamacpp.Rates {
	var all [][]llamacpp.Rates
	for i := range pairs {
		all = append(all, pairs[i].Peer)
	}
	return all
}

// with names the settings in which llama.cpp reads and writes best.
func with(pairs []pair) string {
	v, read := llamacpp.Best(peers(pairs), peerRead)
	if len(v) == 0 {
		return "–"
	}
	_, write := llamacpp.Best(peers(pairs), peerWrite)
	if read == write {
		return read.String()
	}
	return read.String() + "; " + write.String()
}

// turns returns the medians of every other row, starting with row first.
func turns(first int) func(p *pair, f func(*row) float64) float64 {
	return func(p *pair, f func(*row) float64) float64 {
		var v []float64
		for i := first; i < len(p.Leo.Rows); i += 2 {
			v = append(v, f(&p.Leo.Rows[i]))
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
}

func prefill(r *row) float64              { return r.Prefill.Median }
func decode(r *row) float64               { return r.Decode.Median }
func readShare(r *row) float64            { return r.ReadShare }
func peakShare(r *row) float64            { return r.PeakShare }
func peerRead(r *llamacpp.Rates) float64  { return r.Prefill }
func peerWrite(r *llamacpp.Rates) float64 { return r.Decode }

// table writes OUT/speed.md from all results in OUT.
func (r *runner) table(list []cell) error {
	results := map[string][]pair{}
	for i := range list {
		pairs, err := r.read(&list[i])
		if err != nil {
			return err
		}
		results[list[i].name] = pairs
	}
	var b strings.Builder
	b.WriteString("| model | pairs | prefill 512, tokens/s | of the peak | × llama.cpp | decode, tokens/s | of the read bandwidth | × llama.cpp | decode, 8 sequences | × llama.cpp | × its prefill | llama.cpp with, one; eight |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range list {
		base, found := strings.CutSuffix(c.name, "-one")
		one, eight := results[c.name], results[base+"-eight"]
		if !found || len(one)+len(eight) == 0 {
			continue
		}
		name := ""
		if len(one) > 0 {
			name = one[0].Leo.Rows[0].Peak
		}
		fmt.Fprintf(&b, "| %s | %d, %d | %s | %s %s | %s | %s | %s | %s | %s | %s | %s | %s / %s |\n", base, len(one), len(eight),
			statOf(one, leo(0, prefill)).rate(), statOf(one, leo(0, peakShare)).percent(), name, statOf(one, against(one, prefill, peerRead)).times(),
			statOf(one, leo(0, decode)).rate(), statOf(one, leo(0, readShare)).percent(), statOf(one, against(one, decode, peerWrite)).times(),
			statOf(eight, leo(0, decode)).rate(), statOf(eight, against(eight, decode, peerWrite)).times(), statOf(eight, against(eight, decode, peerRead)).times(), with(one), with(eight))
	}
	b.WriteString("\n| other | result |\n|---|---|\n")
	for _, c := range list {
		p := results[c.name]
		if len(p) == 0 {
			continue
		}
		base := c.name[:strings.LastIndex(c.name, "-")]
		line := ""
		switch strings.TrimPrefix(c.name[len(base):], "-") {
		case "long":
			short, long := turns(0), turns(1)
			ratio := statOf(p, func(p *pair) (float64, bool) { return long(p, decode) / short(p, decode), true })
			line = fmt.Sprintf("decode behind 8192 tokens (q8_0 cache): %s tokens/s, %s of the read bandwidth; %s × decode behind 128, with %s",
				statOf(p, func(p *pair) (float64, bool) { return long(p, decode), true }).rate(),
				statOf(p, func(p *pair) (float64, bool) { return long(p, readShare), true }).percent(), ratio.rate(),
				statOf(p, func(p *pair) (float64, bool) { return short(p, readShare), true }).percent())
		case "busy":
			quiet := results[base+"-quiet"]
			line = fmt.Sprintf("decode beside two busy processes: %s tokens/s, %s of the quiet ones", statOf(p, leo(0, decode)).rate(), share(statOf(p, leo(0, decode)), statOf(quiet, leo(0, decode))))
			if a := statOf(p, peerRate(p, peerWrite)); a.n > 0 {
				line += fmt.Sprintf("; llama.cpp %s, %s", a.rate(), share(a, statOf(quiet, peerRate(quiet, peerWrite))))
			}
		case "start":
			line = fmt.Sprintf("first token of 16 after loading: %s s; loading, from the second start on: %s s", statOf(p, leo(0, func(r *row) float64 { return r.First.Median })).rate(),
				statOf(p[min(1, len(p)-1):], func(p *pair) (float64, bool) { return p.Leo.Load, true }).rate())
		case "generic":
			best := statOf(results[base+"-avx512"], leo(0, decode))
			mine := statOf(p, leo(0, decode))
			line = fmt.Sprintf("decode in plain Go: %s tokens/s; AVX-512 is %.0f × as fast", mine.rate(), best.median/mine.median)
		default:
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |\n", c.name, line)
	}
	return durable.WriteFile(filepath.Join(r.out, "speed.md"), []byte(b.String()))
}

func share(a, of stat) string {
	if of.median == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*a.median/of.median)
}
