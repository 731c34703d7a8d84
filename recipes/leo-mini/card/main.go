// Command card writes the measured parts of leo-mini's model card: the curve of the loss, bits per byte beside
// the baselines, the cost of quantization, and twenty answers.
//
//	go run ./recipes/leo-mini/card --out models/leo-mini
//
// It reads what the earlier steps left in out/leo-mini: metrics.jsonl of all trainings, base.json, chat.json and
// q8_0.json (`leo eval perplexity --json` of the base model, the chat model and the embedded file), and in models/leo-mini
// answers.json and sizes.md. In README.md it replaces the text between <!-- card:NAME --> and <!-- /card -->.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/internal/durable"
	"leolm/internal/report"
)

func main() {
	work := flag.String("work", "out/leo-mini", "folder of the earlier steps")
	out := flag.String("out", "models/leo-mini", "folder of the card")
	baselines := flag.String("baselines", "bench/leo-mini/baselines.json", "bits per byte of the baselines")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "card: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(*work, *out, *baselines); err != nil {
		fmt.Fprintln(os.Stderr, "card:", err)
		os.Exit(1)
	}
}

func run(work, out, baselines string) error {
	curve, err := lossCurve(work)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(out, "loss.svg"), curve); err != nil {
		return err
	}
	parts := map[string]func() (string, error){
		"bits":    func() (string, error) { return bits(work, baselines) },
		"answers": func() (string, error) { return answers(filepath.Join(out, "answers.json")) },
		"sizes": func() (string, error) {
			table, err := os.ReadFile(filepath.Join(out, "sizes.md"))
			return string(table), err
		},
	}
	path := filepath.Join(out, "README.md")
	card, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for name, part := range parts {
		text, err := part()
		if err != nil {
			return err
		}
		if card, err = replace(card, name, text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return durable.WriteFile(path, card)
}

// replace puts text between the markers of a part.
func replace(card []byte, name, text string) ([]byte, error) {
	begin, end := []byte("<!-- card:"+name+" -->\n"), []byte("<!-- /card -->")
	from := bytes.Index(card, begin)
	if from < 0 {
		return nil, fmt.Errorf("no line %q", strings.TrimSpace(string(begin)))
	}
	from += len(begin)
	to := bytes.Index(card[from:], end)
	if to < 0 {
		return nil, fmt.Errorf("no %q after %q", end, strings.TrimSpace(string(begin)))
	}
	return slices.Concat(card[:from], []byte(text), card[from+to:]), nil
}

// lossCurve plots the trainings one after the other, over the tokens that they read.
func lossCurve(work string) ([]byte, error) {
	plot := report.Lines{Title: "Loss of leo-mini, nats per token", XLabel: "million tokens read", YLabel: "loss"}
	offset := 0.0
	for i, stage := range []struct{ folder, name string }{{"pretrain", "pretraining"}, {"chat", "fine-tuning"}, {"again", "fine-tuning, again"}} {
		rows, err := report.ReadMetrics(filepath.Join(work, stage.folder, "metrics.jsonl"))
		if err != nil {
			return nil, err
		}
		var x, y, vx, vy []float64
		seen := 0.0
		for _, r := range rows {
			if v, ok := r.Values["tokens_seen"]; ok {
				seen = v / 1e6
			}
			if v, ok := r.Values[report.Loss]; ok {
				x, y = append(x, offset+seen), append(y, v)
			}
			if v, ok := r.Values[report.ValidLoss]; ok {
				vx, vy = append(vx, offset+seen), append(vy, v)
			}
		}
		plot.Lines = append(plot.Lines,
			report.Line{Name: stage.name, X: x, Y: report.Smooth(y, 20), Color: 2 * i},
			report.Line{Name: stage.name + ", held out", X: vx, Y: vy, Color: 2*i + 1})
		offset += seen
	}
	return plot.SVG(), nil
}

// bits is the table of bits per byte.
func bits(work, baselines string) (string, error) {
	models := []struct{ file, name string }{{"base.json", "leo-mini after pretraining"}, {"chat.json", "after fine-tuning"}, {"q8_0.json", "the embedded file (q8_0)"}}
	var names []string
	columns := make([]map[string]float64, len(models))
	for i, m := range models {
		var results []struct {
			Source string  `json:"source"`
			Bits   float64 `json:"bits_per_byte"`
		}
		if err := read(filepath.Join(work, m.file), &results); err != nil {
			return "", err
		}
		columns[i] = map[string]float64{}
		for _, r := range results {
			if name := strings.TrimSuffix(r.Source, ".valid.jsonl.gz"); name != r.Source {
				columns[i][name] = r.Bits
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	var yard struct {
		Results []struct {
			Method string             `json:"method"`
			Bits   map[string]float64 `json:"bits_per_byte"`
		} `json:"results"`
	}
	if err := read(baselines, &yard); err != nil {
		return "", err
	}
	var b strings.Builder
	row := func(name string, values map[string]float64) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, n := range names {
			if v, ok := values[n]; ok {
				fmt.Fprintf(&b, " %.3f |", v)
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "| bits per byte of held-out text | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for i, m := range models {
		row(m.name, columns[i])
	}
	for _, m := range []struct{ method, name string }{{"xz", "xz -9e"}, {"ppmd", "PPMd, order 16"}, {"kneser-ney", "5-gram, modified Kneser-Ney"}} {
		all := map[string]float64{}
		for _, r := range yard.Results {
			if r.Method == m.method {
				maps.Copy(all, r.Bits)
			}
		}
		if len(all) > 0 {
			row(m.name, all)
		}
	}
	return b.String(), nil
}

// answers shows every sixth question with its greedy answer.
func answers(path string) (string, error) {
	var ways []struct {
		Name    string `json:"name"`
		Answers []struct {
			Question string `json:"question"`
			Text     string `json:"text"`
		} `json:"answers"`
	}
	if err := read(path, &ways); err != nil {
		return "", err
	}
	if len(ways) == 0 {
		return "", fmt.Errorf("%s: no answers", path)
	}
	var b strings.Builder
	b.WriteString("| question | answer |\n|---|---|\n")
	for i := 0; i < len(ways[0].Answers); i += 6 {
		a := ways[0].Answers[i]
		fmt.Fprintf(&b, "| %s | %s |\n", cell(a.Question), cell(a.Text))
	}
	return b.String(), nil
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", "<br>").Replace(strings.TrimSpace(s))
}

func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
