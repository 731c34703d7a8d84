package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/internal/screen"
	"leolm/tensor"
)

// openModel opens a model's files without its tokenizer. arg is a path, or a name that
// package catalog finds.
func openModel(arg string) (*checkpoint.Checkpoint, error) {
	if _, err := os.Stat(arg); err == nil {
		return checkpoint.Open(arg)
	}
	m, err := catalog.Open(arg, catalog.Options{})
	if err != nil {
		return nil, err
	}
	return m.Checkpoint, nil
}

type inspectTypes struct {
	DType   string `json:"dtype"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

type inspectTensor struct {
	Name   string       `json:"name"`
	Stored string       `json:"stored_name"`
	DType  string       `json:"dtype"`
	Shape  tensor.Shape `json:"shape"`
	Bytes  int          `json:"bytes"`
	File   string       `json:"file"`
	Offset int64        `json:"offset"`
}

type inspectReport struct {
	Path         string                `json:"path"`
	Format       string                `json:"format"`
	Files        []string              `json:"files"`
	Config       checkpoint.Config     `json:"config"`
	Generation   checkpoint.Generation `json:"generation"`
	Parameters   int64                 `json:"parameters"`
	Bytes        int64                 `json:"bytes"`
	Types        []inspectTypes        `json:"types"`
	StopIDs      []int                 `json:"stop_ids"`
	Tokenizer    string                `json:"tokenizer"`
	ChatTemplate string                `json:"chat_template"`
	Memory       *checkpoint.Memory    `json:"memory,omitempty"`
	Metadata     map[string]any        `json:"metadata,omitempty"`
	Notes        []string              `json:"notes"`
	Tensors      []inspectTensor       `json:"tensors"`
}

func newInspectCmd() *cobra.Command {
	var asJSON, list bool
	var context int
	cmd := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Show what a model's files hold: shape, data types, tokenizer, template, memory",
		Long: "Show what a model's files hold: configuration, tensors and their data types, tokenizer, chat template, what was repaired,\n" +
			"and the memory that a context takes. MODEL is a Hugging Face folder, a .gguf file, or an id in the local cache; of a LoRA adapter\n" +
			"(PEFT folder or GGUF) it shows rank, alpha and what it changes.",
		Example: "  leo inspect model.gguf --context 4096\n  leo inspect ./leo-hessianai-7b --tensors\n  leo inspect ./lora",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if context < 0 {
				return usageError{fmt.Errorf("--context must not be negative")}
			}
			if checkpoint.IsAdapter(args[0]) {
				r, err := inspectAdapter(args[0])
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(cmd.OutOrStdout(), r)
				}
				return r.print(cmd.OutOrStdout(), list)
			}
			c, err := openModel(args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := inspectModel(c, context)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.print(cmd.OutOrStdout(), c, list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with every tensor")
	cmd.Flags().BoolVar(&list, "tensors", false, "list every tensor")
	cmd.Flags().IntVarP(&context, "context", "c", 0, "context length in tokens to predict memory for (default: the model's own)")
	return cmd
}

func inspectModel(c *checkpoint.Checkpoint, context int) (*inspectReport, error) {
	r := &inspectReport{Path: c.Path, Format: c.Format, Files: c.Files, Config: c.Config, Generation: c.Generation, StopIDs: c.StopIDs(),
		ChatTemplate: c.ChatTemplate, Notes: c.Notes, Bytes: c.Size(), Tokenizer: tokenizerText(c)}
	types := map[tensor.DType]*inspectTypes{}
	for _, t := range c.Tensors() {
		e := types[t.DType]
		if e == nil {
			e = &inspectTypes{DType: t.DType.String()}
			types[t.DType] = e
		}
		e.Tensors++
		e.Bytes += int64(t.Size())
		r.Tensors = append(r.Tensors, inspectTensor{t.Name, t.Stored, t.DType.String(), t.Shape, t.Size(), t.File, t.Offset})
	}
	for _, e := range types {
		r.Types = append(r.Types, *e)
	}
	sort.Slice(r.Types, func(i, j int) bool { return r.Types[i].Bytes > r.Types[j].Bytes })
	if c.GGUF != nil {
		r.Metadata = map[string]any{}
		for _, e := range c.GGUF.KV {
			// The vocabulary's arrays are long and have their own commands.
			if !strings.HasPrefix(e.Key, "tokenizer.ggml.") || !isSlice(e.Value) {
				r.Metadata[e.Key] = e.Value
			}
		}
	}
	if c.Config.Layers == 0 {
		return r, nil
	}
	r.Parameters = c.Config.Parameters()
	if context == 0 {
		context = c.Config.MaxPositions
	}
	m, err := c.Memory(context)
	if err != nil {
		return nil, err
	}
	r.Memory = &m
	return r, nil
}

func isSlice(v any) bool {
	switch v.(type) {
	case []string, []float32, []int32, []uint32, []uint8, []int8:
		return true
	}
	return false
}

func tokenizerText(c *checkpoint.Checkpoint) string {
	if v := c.Vocab; v != nil {
		if len(v.Tokens) == 0 {
			return "none"
		}
		s := fmt.Sprintf("%d tokens, %s", len(v.Tokens), v.Model)
		if v.Pre != "" {
			s += " (" + v.Pre + ")"
		}
		return s
	}
	var files []string
	for _, f := range []string{"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"} {
		if _, err := os.Stat(c.TokenizerDir + string(os.PathSeparator) + f); err == nil {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return "none"
	}
	return strings.Join(files, ", ")
}

// reportLine writes one line of a report. The text comes from untrusted files, so it is escaped to stay on its line.
func reportLine(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "%s\t%s\n", name, screen.Line(fmt.Sprintf(format, args...)))
}

func (r *inspectReport) print(w io.Writer, c *checkpoint.Checkpoint, list bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { reportLine(t, name, format, args...) }
	name := func(id int) string {
		if v := c.Vocab; v != nil && id >= 0 && id < len(v.Tokens) {
			return fmt.Sprintf("%d %q", id, v.Tokens[id])
		}
		if id < 0 {
			return "none"
		}
		return fmt.Sprint(id)
	}
	format := r.Format
	if c.GGUF != nil {
		format = fmt.Sprintf("GGUF v%d", c.GGUF.Version)
	}
	line("File", "%s, %s in %d file(s)", format, bytesText(r.Bytes), len(r.Files))
	cfg := r.Config
	if cfg.Layers > 0 {
		line("Model", "%s, %s parameters", cfg.Architecture, countText(r.Parameters))
		line("Shape", "%d layers, %d wide, %d inner; %d heads of %d, %d for keys and values", cfg.Layers, cfg.HiddenSize, cfg.IntermediateSize, cfg.Heads, cfg.HeadDim, cfg.KVHeads)
		tied := "output matrix of its own"
		if cfg.TieEmbeddings {
			tied = "tied to the output"
		}
		line("Embedding", "%d rows, %s", cfg.VocabSize, tied)
		line("Positions", "%d, RoPE θ %g%s", cfg.MaxPositions, cfg.RopeTheta, ropeText(cfg.RopeScaling))
		if cfg.SlidingWindow > 0 {
			line("Window", "%d positions", cfg.SlidingWindow)
		}
	} else {
		line("Model", "%s", cfg.Architecture)
	}
	line("Tokenizer", "%s", r.Tokenizer)
	stops := make([]string, len(r.StopIDs))
	for i, id := range r.StopIDs {
		stops[i] = name(id)
	}
	line("Special", "bos %s, pad %s, stops %s", name(cfg.BOS), name(cfg.PAD), strings.Join(stops, ", "))
	template := "none"
	if n := len([]rune(r.ChatTemplate)); n > 0 {
		template = fmt.Sprintf("Jinja, %d characters", n)
	}
	line("Template", "%s", template)
	for i, e := range r.Types {
		head := ""
		if i == 0 {
			head = "Types"
		}
		line(head, "%s: %d tensors, %s", e.DType, e.Tensors, bytesText(e.Bytes))
	}
	if m := r.Memory; m != nil {
		line("Memory", "for %d tokens: %s weights + %s cache (f16) = %s; %s with a q8_0 cache", m.Tokens, bytesText(m.Weights), bytesText(m.CacheF),
			bytesText(m.Weights+m.CacheF), bytesText(m.Weights+m.CacheQ8))
	}
	for _, n := range r.Notes {
		line("Note", "%s", n)
	}
	if err := t.Flush(); err != nil || !list {
		return err
	}
	fmt.Fprintln(w)
	for _, x := range r.Tensors {
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\n", screen.Line(x.Name), x.DType, x.Shape, bytesText(int64(x.Bytes)))
	}
	return t.Flush()
}

func ropeText(s checkpoint.RopeScaling) string {
	switch s.Type {
	case "linear":
		return fmt.Sprintf(", scaled linearly by %g", s.Factor)
	case "llama3":
		return fmt.Sprintf(", Llama-3 scaling by %g from %d", s.Factor, s.OriginalMaxPositions)
	case "yarn":
		return fmt.Sprintf(", YaRN scaling by %g from %d", s.Factor, s.OriginalMaxPositions)
	case "dynamic":
		return fmt.Sprintf(", dynamic scaling by %g beyond that", s.Factor)
	case "longrope":
		return fmt.Sprintf(", LongRoPE from %d", s.OriginalMaxPositions)
	case "factors":
		return ", scaled by factors of its own"
	}
	return ""
}

// countText writes a number of parameters for people.
func countText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f k", float64(n)/1e3)
}
