package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/dataset/rows"
	"leolm/eval"
	"leolm/internal/bounded"
	"leolm/open"
)

func newEvalCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newPerplexityCmd(), newMTBenchCmd(), newGermanBenchCmd(), newEvalTaskCmd(), newCompareCmd(), newSuiteCmd()} {
		for _, sub := range append(c.Commands(), c) {
			if sub.RunE != nil {
				byRanks(sub)
			}
		}
		cmd.AddCommand(c)
	}
	cmd.AddCommand(newImatrixCmd(), newEvalReportCmd())
	return cmd
}

// sourcePerplexity is one row of the result.
type sourcePerplexity struct {
	Source           string  `json:"source"`
	BitsPerByte      float64 `json:"bits_per_byte"`
	BitsPerCharacter float64 `json:"bits_per_character"`
	Exp              float64 `json:"perplexity"`
	eval.Perplexity
}

// perplexityFlags are those of leo eval perplexity.
type perplexityFlags struct {
	modelFlags
	eval.PerplexityOptions
	field, bos, out string
	limit           int64
	asJSON          bool
}

func newPerplexityCmd() *cobra.Command {
	f := &perplexityFlags{}
	cmd := &cobra.Command{
		Use:   "perplexity FILE...",
		Short: "Bits per byte of texts under a model",
		Long: `Measure how well a model predicts texts, in bits per byte and per character, so
that models with different tokenizers compare fairly. Data files (.jsonl, .json,
.csv, .tsv, .parquet; also .gz, .zst) have a document per row, any other file is one
document. Long documents are scored in overlapping windows.

--output keeps the result as an artifact, which leo card reads.`,
		Example: "  leo eval perplexity --model model.gguf text.txt corpus.jsonl.gz",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE:    f.run,
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.field, "field", "text", "column or field that holds the text")
	fl.IntVar(&f.Window, "window", 0, "tokens per window (default: the context)")
	fl.IntVar(&f.Stride, "stride", 0, "tokens between windows (default: half a window)")
	fl.StringVar(&f.bos, "bos", "auto", "begin-of-sequence token before each document: auto (as the tokenizer says), always, never")
	fl.Int64Var(&f.limit, "max-bytes", 0, "stop after N bytes of each file (0: all)")
	fl.StringVarP(&f.out, "output", "o", "", "file for the artifact")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	registerRanks(cmd)
	return cmd
}

func (f *perplexityFlags) run(cmd *cobra.Command, args []string) error {
	ctx, start := cmd.Context(), time.Now()
	bos, err := parseBOS(f.bos, chat.BOSAuto)
	if err != nil {
		return err
	}
	r := dealing(ctx)
	stderr := cmd.ErrOrStderr()
	if r != nil && !r.first() {
		stderr = io.Discard // rank 0 says the same
	}
	l, err := f.open(ctx, stderr, 1)
	if r != nil {
		err = r.together(err)
	}
	if err != nil {
		return err // of several ranks, those that have opened it end
	}
	defer l.Close()
	f.BOS = bos == chat.BOSAlways || bos == chat.BOSAuto && l.Tokenizer.BOS() >= 0 && l.Tokenizer.AddBOS()
	out, total, err := f.measure(ctx, l, args)
	if err != nil {
		return err
	}
	if r != nil && !r.first() {
		return nil
	}
	if len(out) > 1 {
		total.Source = "total"
		out = append(out, total)
	}
	return f.report(cmd.OutOrStdout(), out, func() (*eval.Artifact, error) {
		a, err := f.artifact(out, args, eval.IdentityOf(l, bos), l.Engine.Context())
		if err != nil {
			return nil, err
		}
		a.Started, a.Seconds = start.UTC().Truncate(time.Second), time.Since(start).Seconds()
		return a, nil
	})
}

// report completes and prints the rows, and writes their artifact where one is wanted.
func (f *perplexityFlags) report(w io.Writer, out []sourcePerplexity, artifact func() (*eval.Artifact, error)) error {
	for i := range out {
		p := &out[i]
		p.BitsPerByte, p.BitsPerCharacter, p.Exp = p.Perplexity.BitsPerByte(), p.Perplexity.BitsPerCharacter(), p.Value()
	}
	if f.out != "" {
		a, err := artifact()
		if err != nil {
			return err
		}
		if err := a.WriteFile(f.out); err != nil {
			return err
		}
	}
	if f.asJSON {
		return printJSON(w, out)
	}
	fmt.Fprintf(w, "%-28s %9s %10s %10s %9s %9s %11s\n", "source", "documents", "bytes", "tokens", "bits/byte", "bits/char", "perplexity")
	for _, p := range out {
		fmt.Fprintf(w, "%-28s %9d %10d %10d %9.4f %9.4f %11.4f\n", p.Source, p.Documents, p.Bytes, p.Tokens, p.BitsPerByte, p.BitsPerCharacter, p.Value())
	}
	return nil
}

// measure scores the documents of files: those that are this rank's, where there are several.
func (f *perplexityFlags) measure(ctx context.Context, l *open.Model, files []string) (out []sourcePerplexity, total sourcePerplexity, err error) {
	r := dealing(ctx)
	for i, path := range files {
		source := sourcePerplexity{Source: filepath.Base(path)}
		if slices.ContainsFunc(slices.Concat(files[:i], files[i+1:]), func(other string) bool { return filepath.Base(other) == source.Source }) {
			source.Source = path
		}
		hand := newHand(r)
		err := eachDocument(ctx, path, f.field, f.limit, func(text string) error {
			if !hand.mine(text) {
				return nil
			}
			p, err := eval.ScoreText(ctx, l.Engine, l.Tokenizer, text, f.PerplexityOptions)
			hand.add(p)
			return err
		})
		documents, err := hand.all(err)
		if err != nil {
			return nil, total, err
		}
		for _, p := range documents {
			source.Add(p)
		}
		if source.Tokens == 0 && r.who() != "" {
			return nil, total, errSilent // rank 0 says it
		}
		if source.Tokens == 0 {
			return nil, total, fmt.Errorf("%s: no token to score; is --field %s the text?", path, f.field)
		}
		total.Add(source.Perplexity)
		out = append(out, source)
	}
	return out, total, nil
}

// artifact makes the artifact of the rows, of which those after the last file are the total.
func (f *perplexityFlags) artifact(out []sourcePerplexity, files []string, id eval.Identity, window int) (*eval.Artifact, error) {
	a := eval.NewArtifact("perplexity", id, software())
	a.TaskVersion, a.Complete = "1", f.limit == 0
	window = cmp.Or(f.Window, window)
	a.Config = map[string]any{"window": window, "stride": cmp.Or(f.Stride, max(1, window/2)), "bos": f.BOS, "field": f.field}
	if f.limit > 0 {
		a.Config["max_bytes"] = f.limit
	}
	for i, p := range out {
		group := p.Source
		if i >= len(files) {
			group = ""
		} else if err := a.AddInputFile("text", files[i], p.Documents); err != nil {
			return nil, err
		}
		for _, m := range []struct {
			name, unit string
			v          float64
			n          int
		}{{"bits_per_byte", "bits", p.BitsPerByte, p.Bytes}, {"bits_per_character", "bits", p.BitsPerCharacter, p.Characters}, {"perplexity", "", p.Exp, p.Tokens}} {
			a.Add(eval.Metric{Name: m.name, Group: group, Value: &m.v, N: m.n, Unit: m.unit, Lower: true})
		}
	}
	if len(files) == 1 { // the one file is the whole
		for _, m := range slices.Clone(a.Metrics) {
			m.Group = ""
			a.Add(m)
		}
	}
	return a, nil
}

// readText reads a plain text: only its first limit bytes, if limit is not 0.
func readText(ctx context.Context, path string, limit int64) ([]byte, error) {
	if limit == 0 {
		return bounded.File(ctx, path, maxText)
	}
	f, err := bounded.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded.Read(ctx, io.LimitReader(f, limit), path, maxText)
}

// eachDocument calls f with the documents of a file, until they exceed limit bytes; 0 is no limit.
func eachDocument(ctx context.Context, path, field string, limit int64, f func(text string) error) error {
	if _, ok := rows.FormatOf(path); !ok {
		b, err := readText(ctx, path, limit)
		if err != nil {
			return err
		}
		return f(strings.ToValidUTF8(string(b), "\ufffd"))
	}
	r, err := rows.Open(path, rows.Options{})
	if err != nil {
		return err
	}
	defer r.Close()
	var row rows.Row
	for left := limit; limit == 0 || left > 0; {
		err := r.Next(&row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := rowText(&row, field)
		if err != nil {
			return err
		}
		if text == "" {
			continue
		}
		if err := f(text); err != nil {
			return err
		}
		left -= int64(len(text))
	}
	return nil
}

func newImatrixCmd() *cobra.Command {
	f := &modelFlags{}
	var field, output string
	var chunk, limit int
	cmd := &cobra.Command{
		Use:   "imatrix FILE... --output FILE.imatrix.gguf",
		Short: "Measure which input columns matter, for leo quantize --imatrix",
		Long: `Run a calibration text through a model and record the mean squared input of every
column of every matrix. leo quantize --imatrix then keeps the important columns more exact.
The file is llama.cpp's; a few hundred kilobytes of typical German text are enough.`,
		Example: "  leo eval imatrix --model leo-7b.gguf deutsch.txt --output deutsch.imatrix.gguf",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usageError{errors.New("--output is needed")}
			}
			if chunk < 2 {
				return usageError{fmt.Errorf("--chunk %d: at least 2 tokens", chunk)}
			}
			l, err := f.open(cmd.Context(), cmd.ErrOrStderr(), 1)
			if err != nil {
				return err
			}
			defer l.Close()
			im := &checkpoint.Imatrix{ChunkSize: chunk, Entries: map[string]checkpoint.ImatrixEntry{}}
			var ids []int32
			for _, path := range args {
				im.Datasets = append(im.Datasets, filepath.Base(path))
				err := eachDocument(cmd.Context(), path, field, 0, func(text string) error {
					ids = l.Tokenizer.AppendTokens(ids, text)
					for len(ids) >= chunk && (limit == 0 || im.Chunks < limit) {
						if err := cmd.Context().Err(); err != nil {
							return err
						}
						if err := l.Engine.Model().Calibrate(l.Device, ids[:chunk], im.Add); err != nil {
							return err
						}
						im.Chunks++
						ids = ids[chunk:]
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			if im.Chunks == 0 {
				return fmt.Errorf("the texts have fewer than %d tokens; give more text or a smaller --chunk", chunk)
			}
			if err := im.Write(output); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d matrices over %d tokens\n", output, len(im.Entries), im.Chunks*chunk)
			return err
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&field, "field", "text", "column or field that holds the text")
	fl.StringVarP(&output, "output", "o", "", "file to write")
	fl.IntVar(&chunk, "chunk", 512, "tokens per chunk")
	fl.IntVar(&limit, "chunks", 0, "at most N chunks (0: all)")
	return cmd
}
