package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/durable"
	"leolm/tokenizer"
)

type trainSummary struct {
	Output     string  `json:"output"`
	Vocab      int     `json:"vocab"`
	Texts      int64   `json:"texts"`
	Bytes      int64   `json:"bytes"`
	Words      int     `json:"distinct_words"`
	Characters int     `json:"characters"`
	Coverage   float64 `json:"coverage"`
	Merged     int     `json:"merged_pieces"`
	Seconds    float64 `json:"seconds"`
}

// germanFrom is the size from which on a vocabulary has room for all of tokenizer.GermanCharacters.
const germanFrom = 1000

// tokenizerTrainFlags are the flags of leo tokenizer train.
type tokenizerTrainFlags struct {
	opt           tokenizer.TrainOptions
	output, field string
	workers       int
	asJSON        bool
}

func newTokenizerTrainCmd() *cobra.Command {
	f := &tokenizerTrainFlags{}
	cmd := &cobra.Command{
		Use:   "train FILE... --output tokenizer.model --vocab-size N",
		Short: "Learn a BPE vocabulary with byte fallback and write it as a SentencePiece model",
		Long: `Learn a BPE vocabulary with byte fallback and write it as a SentencePiece model.

Files are JSON, JSONL, Parquet, CSV, TSV or YAML (see --field), known by their
names, or plain text (a text per line), each also as .gz or .zst; - is plain text from
standard input. The same text gives the same file, byte for byte, whatever
the order of lines and the number of workers.

Ids 0, 1 and 2 are <unk>, <s> and </s>; the control tokens follow, then the
user-defined ones, the 256 bytes, the pieces in the order they were learned, and
the single characters.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("required-chars") && f.opt.VocabSize >= germanFrom {
				f.opt.Required = tokenizer.GermanCharacters
			}
			return f.run(cmd, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.output, "output", "", "the file to write")
	fl.IntVar(&f.opt.VocabSize, "vocab-size", 0, "total number of ids")
	fl.StringSliceVar(&f.opt.Control, "control", nil, "control tokens, comma-separated: never made from text")
	fl.StringSliceVar(&f.opt.UserDefined, "user-defined", nil, "tokens found wherever text has them, comma-separated")
	fl.Float64Var(&f.opt.Coverage, "character-coverage", 0.9995, "share of all characters that get a piece of their own")
	fl.StringVar(&f.opt.Required, "required-chars", "",
		fmt.Sprintf("characters that get a piece however rare they are (default, from %d ids on: ASCII and what German text needs: umlauts, quotes, dashes, €)", germanFrom))
	fl.IntVar(&f.opt.MaxPiece, "max-piece-length", 16, "longest piece, in characters")
	fl.StringVar(&f.field, "field", "text", "field of each row of a data file that holds the text")
	fl.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "goroutines that read and count")
	fl.BoolVar(&f.asJSON, "json", false, "print what was done as JSON")
	return cmd
}

// check refuses flags that can't go on.
func (f *tokenizerTrainFlags) check() error {
	switch {
	case f.output == "":
		return usageError{errors.New("--output is needed: where to write the model")}
	case f.opt.VocabSize == 0:
		return usageError{errors.New("--vocab-size is needed: the total number of ids")}
	case f.workers < 1:
		return usageError{fmt.Errorf("--workers is %d; it must be at least 1", f.workers)}
	}
	return checkThreads("--workers", f.workers)
}

func (f *tokenizerTrainFlags) run(cmd *cobra.Command, files []string) error {
	if err := f.check(); err != nil {
		return err
	}
	tr, err := tokenizer.NewTrainer(f.opt)
	if err != nil {
		return usageError{err}
	}
	start := time.Now()
	res, err := f.learn(cmd.Context(), tr, files)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.output), 0o777); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if err := durable.WriteFile(f.output, res.Model); err != nil {
		return err
	}
	sum := trainSummary{f.output, f.opt.VocabSize, res.Texts, res.Bytes, res.Words, res.Characters, res.Covered, res.Merged, time.Since(start).Seconds()}
	if f.asJSON {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetEscapeHTML(false)
		return enc.Encode(sum)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d ids from %d texts (%d bytes, %d distinct words): %d pieces learned, %d characters (%.4f %% of all) in %.1f s\n",
		sum.Output, sum.Vocab, sum.Texts, sum.Bytes, sum.Words, sum.Merged, sum.Characters, 100*sum.Coverage, sum.Seconds)
	return nil
}

// learn counts the words of the files on all workers and learns their pieces.
func (f *tokenizerTrainFlags) learn(ctx context.Context, tr *tokenizer.Trainer, files []string) (*tokenizer.TrainResult, error) {
	counters := make([]*tokenizer.Counter, f.workers)
	for i := range counters {
		counters[i] = tr.Counter()
	}
	err := eachText(ctx, files, f.field, f.workers, func(w int, text string) error {
		counters[w].Add(text)
		return nil
	})
	if err != nil {
		return nil, err
	}
	last := time.Now()
	return tr.Train(ctx, func(done, total int) {
		if done == total || time.Since(last) > 2*time.Second {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "leo: %d of %d pieces learned\n", done, total)
		}
	})
}
