// Command scaling writes the tables of docs/scaling.md: what plans of train say of 7B and 13B on many machines, beside a
// rate that was measured on one.
//
//	go generate ./docs/scaling                            writes the page's tables
//	go run ./docs/scaling -cores 128 -gflops 150          prints them for other machines
//
// Nothing is trained: a step's FLOPs over the rate of all machines, and its messages over the bandwidth, if nothing
// overlaps.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"leolm/train"
)

//go:generate go run . -write

// pageFile is where the page stands, from this folder.
const pageFile = "../scaling.md"

// machine is what each node of a cluster is assumed to be.
type machine struct {
	cores  int
	gflops float64 // of a core in bf16
	share  float64 // of the peak that a step reaches
}

// assumed is a node of 64 cores of the kind that docs/scaling.md measures, at the share of the peak that leo train --plan
// assumes.
var assumed = machine{cores: 64, gflops: 500, share: 0.45}

// bandwidths are of a node's network in one direction, in Gbit/s.
var bandwidths = []float64{10, 25, 100, 200}

// models are the tables; 13B differs from the recipe of 7B by its base only.
var models = []struct{ name, base string }{{"7B", ""}, {"13B", "models/Llama-2-13b-hf"}}

const recipe = "leo-7b-pretrain.yaml"

var (
	nodes     = []int{8, 16, 32, 64, 128, 256}
	shardings = []string{"none", "optimizer", "gradients", "parameters"}
)

func main() {
	m := assumed
	flag.IntVar(&m.cores, "cores", m.cores, "cores of a node")
	flag.Float64Var(&m.gflops, "gflops", m.gflops, "bf16 GFLOP/s of a core")
	flag.Float64Var(&m.share, "share", m.share, "share of the peak that a step reaches")
	write := flag.Bool("write", false, "write the tables into the page")
	flag.Parse()
	if err := run(os.Stdout, m, *write); err != nil {
		fmt.Fprintln(os.Stderr, "scaling:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, m machine, write bool) error {
	recipes := filepath.Join("..", "..", "recipes")
	if !write { // from the root
		recipes = "recipes"
	}
	tables, err := allTables(recipes, m)
	if err != nil {
		return err
	}
	if !write {
		for _, t := range tables {
			fmt.Fprintln(w, t)
		}
		return nil
	}
	text, err := os.ReadFile(pageFile)
	if err != nil {
		return err
	}
	if text, err = fill(text, tables); err != nil {
		return err
	}
	return os.WriteFile(pageFile, text, 0o666)
}

// allTables makes one for each model, from a folder of recipes.
func allTables(recipes string, m machine) ([]string, error) {
	var tables []string
	for _, model := range models {
		t, err := table(filepath.Join(recipes, recipe), model.base, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", model.name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// table has a row for every number of nodes and every sharding that there are plans for.
func table(path, base string, m machine) (string, error) {
	var b strings.Builder
	b.WriteString("| nodes | sharding | GiB each | GiB sent a step | computing a step |")
	for _, gbit := range bandwidths {
		fmt.Fprintf(&b, " network at %g Gbit/s |", gbit)
	}
	fmt.Fprintf(&b, " days at %g |\n|%s\n", bandwidths[2], strings.Repeat("---|", 6+len(bandwidths)))
	planned := 0
	for _, n := range nodes {
		for _, sharding := range shardings {
			sets := []string{"parallel.sharding=" + sharding}
			if base != "" {
				sets = append(sets, "model.base="+base)
			}
			c, err := train.Load(path, sets)
			if err != nil {
				continue // a sharding that is not there yet; the page says which
			}
			p, err := train.MakePlan(c)
			if err != nil {
				return "", err
			}
			r, err := p.ForRanks(n)
			if err != nil {
				return "", err
			}
			planned++
			compute := p.FLOPs / float64(p.Steps) / (float64(n) * m.share * float64(m.cores) * m.gflops * 1e9)
			fmt.Fprintf(&b, "| %d | `%s` | %.1f | %.1f | %s |", n, sharding, gib(r.Memory.Total()), gib(r.Sent), seconds(compute))
			for _, gbit := range bandwidths {
				network := float64(r.Sent) * 8 / (gbit * 1e9)
				fmt.Fprintf(&b, " %s, %.0f %% |", seconds(network), 100*network/(compute+network))
			}
			fmt.Fprintf(&b, " %.0f |\n", float64(p.Steps)*(compute+float64(r.Sent)*8/(bandwidths[2]*1e9))/86400)
		}
	}
	if planned == 0 {
		return "", fmt.Errorf("%s: no plan", path)
	}
	return b.String(), nil
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}

// fill puts the tables into the page, each behind its mark up to the next empty line.
func fill(page []byte, tables []string) ([]byte, error) {
	for i, t := range tables {
		mark := []byte("<!-- " + models[i].name + " -->\n\n")
		before, rest, ok := bytes.Cut(page, mark)
		if !ok {
			return nil, fmt.Errorf("the page has no mark for %s", models[i].name)
		}
		if end := bytes.Index(rest, []byte("\n\n")); end >= 0 {
			rest = rest[end+1:]
		} else {
			rest = nil
		}
		page = bytes.Join([][]byte{before, mark, []byte(t), rest}, nil)
	}
	return page, nil
}
