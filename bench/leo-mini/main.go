// Command leo-mini measures other methods on leo-mini's held-out texts, in bits per byte: xz, PPMd
// and a 5-gram model with modified Kneser-Ney smoothing.
//
//	go run ./bench/leo-mini --split out/leo-mini --tokenizer out/leo-mini/tokenizer.model --out bench/leo-mini/baselines.json
//
// All of them know the training texts: for Klexikon and Wikipedia those of both, for every other source its own. A
// compressor gets them before the held-out text, and only what the held-out text adds to its output counts (it is
// also measured alone). Results are merged into the JSON file. The 5-gram model predicts the pieces of the given
// tokenizer, whose byte fallback covers every text, so its bits are those of whole texts, as a language model's are.
// xz and 7zz (or 7z) must be on the path; a missing one is skipped.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"leolm/internal/durable"
	"leolm/recipes/leo-mini/minidata"
	"leolm/tokenizer"
)

type result struct {
	Method  string             `json:"method"`
	Version string             `json:"version"`
	BPB     map[string]float64 `json:"bits_per_byte"` // by source
	Alone   map[string]float64 `json:"bits_per_byte_without_training_text,omitempty"`
	Seconds float64            `json:"seconds"`
	Note    string             `json:"note,omitempty"`
}

type output struct {
	TrainBytes map[string]int `json:"train_bytes"` // by the source that is measured: what its methods have seen
	ValidBytes map[string]int `json:"valid_bytes"`
	Results    []result       `json:"results"`
}

func main() {
	split := flag.String("split", "out/leo-mini", "folder written by ./recipes/leo-mini/split")
	groups := flag.String("sources", "wikipedia+klexikon,tales,sentences,novels", "what to measure; sources joined by + share their training texts")
	tok := flag.String("tokenizer", "", "tokenizer of the 5-gram model (required unless --methods omits kneser-ney)")
	out := flag.String("out", "", "JSON file to write (default: standard output only)")
	methods := flag.String("methods", "xz,ppmd,kneser-ney", "what to measure; empty: nothing anew")
	xzMiB := flag.Int("xz-train-mib", 64, "MiB of training text for xz, taken from the end; its window holds no more than 64 MiB")
	results := flag.String("results", "", "folder for an artifact of each method in the file --out, for leo card")
	work := flag.String("work", "", "folder for temporary files (default: the system's)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "leo-mini: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	err := run(*split, *tok, *groups, *out, *methods, *work, *xzMiB)
	if err == nil && *results != "" {
		err = writeArtifacts(*results, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "leo-mini:", err)
		os.Exit(1)
	}
}

func texts(split, name string) ([]string, error) {
	var out []string
	err := minidata.ReadDocs(filepath.Join(split, name+".jsonl.gz"), func(d minidata.Doc) error {
		out = append(out, d.Text)
		return nil
	})
	return out, err
}

func run(split, tok, groups, out, methods, work string, xzMiB int) error {
	o := output{TrainBytes: map[string]int{}, ValidBytes: map[string]int{}}
	if out != "" {
		b, err := os.ReadFile(out)
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", out, err)
		}
	}
	var t *tokenizer.Tokenizer
	if strings.Contains(methods, "kneser-ney") {
		if tok == "" {
			return errors.New("kneser-ney needs --tokenizer")
		}
		var err error
		if t, err = tokenizer.Open(tok, tokenizer.Options{}); err != nil {
			return err
		}
	}
	for sources := range strings.SplitSeq(groups, ",") {
		if methods == "" {
			break
		}
		g, err := readGroup(split, strings.Split(sources, "+"))
		if err != nil {
			return err
		}
		for s := range g.valid {
			o.ValidBytes[s], o.TrainBytes[s] = g.size[s], g.trainBytes()
		}
		for _, m := range strings.Split(methods, ",") {
			r, err := g.measure(m, t, work, xzMiB)
			if errors.Is(err, exec.ErrNotFound) {
				fmt.Fprintf(os.Stderr, "%s: left out: %v\n", m, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", m, err)
			}
			fmt.Fprintf(os.Stderr, "%s: %v in %.0f s\n", m, r.BPB, r.Seconds)
			o.add(r)
		}
	}
	b, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if out != "" {
		if err := durable.WriteFile(out, b); err != nil {
			return err
		}
	}
	_, err = os.Stdout.Write(b)
	return err
}

// group is what several sources have in common: their training texts.
type group struct {
	train []string
	valid map[string][]string // by source
	size  map[string]int      // bytes of valid
}

func readGroup(split string, sources []string) (*group, error) {
	g := &group{valid: map[string][]string{}, size: map[string]int{}}
	for _, s := range sources {
		t, err := texts(split, s+".train")
		if err != nil {
			return nil, err
		}
		g.train = append(g.train, t...)
		if g.valid[s], err = texts(split, s+".valid"); err != nil {
			return nil, err
		}
		for _, t := range g.valid[s] {
			g.size[s] += len(t)
		}
	}
	return g, nil
}

func (g *group) trainBytes() int {
	n := 0
	for _, t := range g.train {
		n += len(t)
	}
	return n
}

// measure runs one method; exec.ErrNotFound says that its program is not here.
func (g *group) measure(method string, t *tokenizer.Tokenizer, work string, xzMiB int) (r result, err error) {
	start := time.Now()
	switch method {
	case "xz":
		r, err = compress(work, tail(g.train, xzMiB<<20), g.valid, g.size, "xz")
		r.Note = fmt.Sprintf("xz -9e after the last %d MiB of training text", xzMiB)
	case "ppmd":
		program := "7zz" // the name in 7-Zip's own packages
		if _, err := exec.LookPath(program); err != nil {
			program = "7z"
		}
		r, err = compress(work, g.train, g.valid, g.size, program)
		r.Note = "7z PPMd, order 16, 1 GiB of memory"
	case "kneser-ney":
		r = kneserNey(t, g.train, g.valid, g.size)
		r.Note = fmt.Sprintf("5-grams of %d pieces, interpolated modified Kneser-Ney", t.Vocab())
	default:
		err = errors.New("no method of this name")
	}
	r.Method, r.Seconds = method, time.Since(start).Seconds()
	return r, err
}

// add replaces the earlier result of r's method for the same sources.
func (o *output) add(r result) {
	same := func(old result) bool {
		return old.Method == r.Method && slices.Equal(slices.Sorted(maps.Keys(old.BPB)), slices.Sorted(maps.Keys(r.BPB)))
	}
	o.Results = slices.DeleteFunc(o.Results, same)
	o.Results = append(o.Results, r)
}

// tail returns the last texts, at most n bytes in total.
func tail(texts []string, n int) []string {
	i := len(texts)
	for i > 0 && n >= len(texts[i-1]) {
		i--
		n -= len(texts[i])
	}
	return texts[i:]
}

// compress measures a program by the growth of its output when the held-out text follows the training text.
func compress(work string, train []string, valid map[string][]string, size map[string]int, program string) (result, error) {
	r := result{BPB: map[string]float64{}, Alone: map[string]float64{}}
	if _, err := exec.LookPath(program); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(work, "leo-mini-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	if v, err := exec.Command(program, "--version").Output(); err == nil {
		r.Version, _, _ = strings.Cut(strings.TrimSpace(string(v)), "\n")
	} else if v, err := exec.Command(program).Output(); err == nil { // 7z prints its version with its help
		r.Version, _, _ = strings.Cut(strings.TrimSpace(string(v)), "\n")
	}
	measure := func(parts ...[]string) (int, error) {
		var b bytes.Buffer
		for _, p := range parts {
			b.WriteString(strings.Join(p, "\n\n"))
			b.WriteString("\n\n")
		}
		in := filepath.Join(dir, "in")
		if err := os.WriteFile(in, b.Bytes(), 0o600); err != nil {
			return 0, err
		}
		defer os.Remove(in)
		if program != "xz" {
			outFile := filepath.Join(dir, "out.7z")
			defer os.Remove(outFile)
			if msg, err := exec.Command(program, "a", "-bd", "-t7z", "-m0=PPMd:o=16:mem=1g", outFile, in).CombinedOutput(); err != nil {
				return 0, fmt.Errorf("%w: %s", err, msg)
			}
			st, err := os.Stat(outFile)
			if err != nil {
				return 0, err
			}
			return int(st.Size()), nil
		}
		data, err := exec.Command("xz", "-9e", "-k", "-c", "-T1", "--", in).Output()
		return len(data), err
	}
	base, err := measure(train)
	if err != nil {
		return r, err
	}
	for s := range valid {
		with, err := measure(train, valid[s])
		if err != nil {
			return r, err
		}
		alone, err := measure(valid[s])
		if err != nil {
			return r, err
		}
		r.BPB[s] = 8 * float64(with-base) / float64(size[s])
		r.Alone[s] = 8 * float64(alone) / float64(size[s])
	}
	return r, nil
}
