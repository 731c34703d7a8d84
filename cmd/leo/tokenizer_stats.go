package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"leolm/tokenizer"
)

// tokenizerStats are the counts of one tokenizer over the texts given.
type tokenizerStats struct {
	Tokenizer     string  `json:"tokenizer"`
	Vocab         int     `json:"vocab"`
	Texts         int64   `json:"texts"`
	Words         int64   `json:"words"`
	Characters    int64   `json:"characters"`
	Bytes         int64   `json:"bytes"`
	Tokens        int64   `json:"tokens"`
	PerWord       float64 `json:"tokens_per_word"`
	PerCharacter  float64 `json:"tokens_per_character"`
	PerByte       float64 `json:"tokens_per_byte"`
	ByteTokens    int64   `json:"byte_tokens"`
	UnknownTokens int64   `json:"unknown_tokens"`
	Used          int     `json:"ids_used"`
	Seconds       float64 `json:"seconds"`
	MBPerSecond   float64 `json:"mb_per_second"`

	tok *tokenizer.Tokenizer
	ids []int32 // of the last text
	has []bool  // ids that occurred
}

// statsFlags are the flags of leo tokenizer stats.
type statsFlags struct {
	tokenizerFlags
	texts  []string
	field  string
	asJSON bool
}

func newTokenizerStatsCmd() *cobra.Command {
	f := &statsFlags{}
	cmd := &cobra.Command{
		Use:   "stats TOKENIZER... --text FILE",
		Short: "Compare how tokenizers cut a text: tokens per word, character and byte",
		Long: `Compare how tokenizers cut a text: tokens per word, character and byte.

A word is what stands between white space. Speed is of one core, encoding alone.
Files are JSON, JSONL, Parquet, CSV, TSV or YAML (see --field), known by their
names, or plain text (a text per line), each also as .gz or .zst.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&f.texts, "text", nil, "file to measure on (repeatable)")
	cmd.Flags().StringVar(&f.field, "field", "text", "field of each row of a data file that holds the text")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print all counts as JSON")
	return cmd
}

func (f *statsFlags) run(cmd *cobra.Command, paths []string) error {
	if len(f.texts) == 0 {
		return usageError{errors.New("--text is needed: the file to measure on (- for standard input)")}
	}
	stats := make([]tokenizerStats, len(paths))
	for i, path := range paths {
		t, err := f.open(path)
		if err != nil {
			return err
		}
		stats[i] = tokenizerStats{Tokenizer: path, Vocab: t.Vocab(), tok: t, has: make([]bool, t.Vocab())}
	}
	err := eachText(cmd.Context(), f.texts, f.field, 1, func(_ int, text string) error {
		words, chars := int64(len(strings.Fields(text))), int64(utf8.RuneCountInString(text))
		for i := range stats {
			stats[i].count(text, words, chars)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if stats[0].Bytes == 0 {
		return fmt.Errorf("no text in %s", strings.Join(f.texts, ", "))
	}
	for i := range stats {
		stats[i].finish()
	}
	out := cmd.OutOrStdout()
	if f.asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(stats)
	}
	return printTokenizerStats(out, stats)
}

// count encodes a text, whose words and characters are given.
func (s *tokenizerStats) count(text string, words, chars int64) {
	start := time.Now()
	s.ids = s.tok.AppendTokens(s.ids[:0], text)
	s.Seconds += time.Since(start).Seconds()
	s.Texts++
	s.Words += words
	s.Characters += chars
	s.Bytes += int64(len(text))
	s.Tokens += int64(len(s.ids))
	for _, id := range s.ids {
		s.has[id] = true
		switch s.tok.Kind(id) {
		case tokenizer.Byte:
			s.ByteTokens++
		case tokenizer.Unknown:
			s.UnknownTokens++
		}
	}
}

// finish works out what follows from the counts.
func (s *tokenizerStats) finish() {
	s.PerWord = float64(s.Tokens) / float64(max(s.Words, 1))
	s.PerCharacter = float64(s.Tokens) / float64(s.Characters)
	s.PerByte = float64(s.Tokens) / float64(s.Bytes)
	s.MBPerSecond = float64(s.Bytes) / 1e6 / max(s.Seconds, 1e-9)
	for _, used := range s.has {
		if used {
			s.Used++
		}
	}
}

func printTokenizerStats(out io.Writer, stats []tokenizerStats) error {
	s := &stats[0]
	fmt.Fprintf(out, "%d texts, %d words, %d characters, %d bytes\n\n", s.Texts, s.Words, s.Characters, s.Bytes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tokens\tper word\tper character\tper byte\tbyte tokens\tunknown\tids used\tMB/s\t  tokenizer")
	for i := range stats {
		s := &stats[i]
		fmt.Fprintf(w, "%d\t%.3f\t%.4f\t%.4f\t%d\t%d\t%d/%d\t%.1f\t  %s\n",
			s.Tokens, s.PerWord, s.PerCharacter, s.PerByte, s.ByteTokens, s.UnknownTokens, s.Used, s.Vocab, s.MBPerSecond, s.Tokenizer)
	}
	return w.Flush()
}
