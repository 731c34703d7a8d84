package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"leolm/checkpoint"
	"leolm/internal/bounded"
	"leolm/internal/durable"
	"leolm/internal/screen"
	"leolm/tokenizer"
)

func newTokenizerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tokenizer",
		Short: "Text to token ids and back; measure and learn vocabularies",
		Long: `Text to token ids and back; measure and learn vocabularies.

TOKENIZER is a SentencePiece tokenizer.model, a Hugging Face tokenizer.json, a
folder with one of them, or a .gguf file.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenizerEncodeCmd(), newTokenizerDecodeCmd(), newTokenizerStatsCmd(), newTokenizerTrainCmd())
	return cmd
}

// tokenizerFlags are what all commands that open a tokenizer share.
type tokenizerFlags struct {
	legacy  string
	special bool
}

func (f *tokenizerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.legacy, "legacy", "auto", `"▁" after every added token ("true") or only in front of the text ("false"); auto: as the files say`)
	cmd.Flags().BoolVar(&f.special, "special", false, "recognize control tokens in the text, as Hugging Face does; without it they stay text")
}

func (f *tokenizerFlags) open(path string) (*tokenizer.Tokenizer, error) {
	var opt tokenizer.Options
	switch f.legacy {
	case "auto":
	case "true":
		opt.Legacy = tokenizer.LegacyOn
	case "false":
		opt.Legacy = tokenizer.LegacyOff
	default:
		return nil, usageError{fmt.Errorf("--legacy is %q; it may be auto, true or false", f.legacy)}
	}
	if f.special {
		opt.Specials = tokenizer.SpecialsAnywhere
	}
	t, err := checkpoint.OpenTokenizer(path, opt)
	if err != nil {
		return nil, err
	}
	for _, n := range t.Notes() {
		fmt.Fprintln(os.Stderr, "leo:", screen.Line(n))
	}
	return t, nil
}

type encodedText struct {
	Text   string   `json:"text"`
	IDs    []int32  `json:"ids"`
	Pieces []string `json:"pieces"`
}

func newTokenizerEncodeCmd() *cobra.Command {
	var flags tokenizerFlags
	var asJSON, pieces, lines bool
	cmd := &cobra.Command{
		Use:   "encode TOKENIZER [TEXT]",
		Short: "Print the ids of a text (an argument, else standard input)",
		Args:  usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if asJSON && pieces {
				return usageError{errors.New("--json has the pieces already: leave --pieces out")}
			}
			t, err := flags.open(args[0])
			if err != nil {
				return err
			}
			out := bufio.NewWriter(exactWriter(cmd))
			defer func() {
				if ferr := out.Flush(); err == nil {
					err = ferr
				}
			}()
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			one := func(text string) error {
				ids := t.AppendTokens([]int32{}, text)
				if asJSON {
					e := encodedText{Text: text, IDs: ids, Pieces: []string{}}
					for _, id := range ids {
						e.Pieces = append(e.Pieces, t.Piece(id))
					}
					return enc.Encode(e)
				}
				for i, id := range ids {
					if i > 0 {
						out.WriteByte(' ')
					}
					if pieces {
						out.WriteString(t.Piece(id))
					} else {
						out.WriteString(strconv.Itoa(int(id)))
					}
				}
				return out.WriteByte('\n')
			}
			if len(args) == 2 {
				return one(args[1])
			}
			in := bufio.NewReaderSize(bounded.Stream(cmd.Context(), cmd.InOrStdin()), 1<<20)
			if !lines {
				text, err := bounded.Read(cmd.Context(), in, "standard input", maxText)
				var large *bounded.SizeError
				if errors.As(err, &large) {
					return fmt.Errorf("%w; --lines reads line by line", err)
				}
				if err != nil {
					return err
				}
				return one(string(text))
			}
			for {
				line, err := readLine(in)
				if len(line) > 0 {
					if err := one(strings.TrimSuffix(string(line), "\n")); err != nil {
						return err
					}
				}
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print text, ids and pieces as JSON")
	cmd.Flags().BoolVar(&pieces, "pieces", false, "print pieces instead of ids")
	cmd.Flags().BoolVar(&lines, "lines", false, "each line of standard input is a text of its own, without its line break")
	return cmd
}

func newTokenizerDecodeCmd() *cobra.Command {
	var skip, asJSON bool
	cmd := &cobra.Command{
		Use:   "decode TOKENIZER [ID...]",
		Short: "Print the text of ids (arguments, else standard input)",
		Long: `Print the text of ids (arguments, else standard input).

Ids are separated by spaces, commas or line breaks, and may be in brackets.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := tokenizerFlags{legacy: "auto"}
			t, err := flags.open(args[0])
			if err != nil {
				return err
			}
			text := strings.Join(args[1:], " ")
			if len(args) == 1 {
				b, err := bounded.Read(cmd.Context(), cmd.InOrStdin(), "standard input", maxText)
				if err != nil {
					return err
				}
				text = string(b)
			}
			ids := []int32{}
			for i, f := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,\t\r\n[]", r) }) {
				id, err := strconv.ParseInt(f, 10, 32)
				if err != nil {
					return usageError{fmt.Errorf("id %d: %q is not a number", i+1, f)}
				}
				if id < 0 || id >= int64(t.Vocab()) {
					return fmt.Errorf("id %d: %d is outside the vocabulary (0 to %d)", i+1, id, t.Vocab()-1)
				}
				ids = append(ids, int32(id))
			}
			decoded := t.Decode(ids, skip)
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false)
				return enc.Encode(map[string]any{"text": decoded, "ids": ids})
			}
			_, err = fmt.Fprintln(exactWriter(cmd), decoded)
			return err
		},
	}
	cmd.Flags().BoolVar(&skip, "skip-special", false, "omit control tokens")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print text and ids as JSON")
	return cmd
}

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
}

func newTokenizerStatsCmd() *cobra.Command {
	var flags tokenizerFlags
	var texts []string
	var field string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats TOKENIZER... --text FILE",
		Short: "Compare how tokenizers cut a text: tokens per word, character and byte",
		Long: `Compare how tokenizers cut a text: tokens per word, character and byte.

A word is what stands between white space. Speed is of one core, encoding alone.
Files are JSON, JSONL, Parquet, CSV, TSV or YAML (see --field), known by their
names, or plain text (a text per line), each also as .gz or .zst.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(texts) == 0 {
				return usageError{errors.New("--text is needed: the file to measure on (- for standard input)")}
			}
			toks := make([]*tokenizer.Tokenizer, len(args))
			stats := make([]tokenizerStats, len(args))
			used := make([][]bool, len(args))
			for i, path := range args {
				var err error
				if toks[i], err = flags.open(path); err != nil {
					return err
				}
				stats[i] = tokenizerStats{Tokenizer: path, Vocab: toks[i].Vocab()}
				used[i] = make([]bool, toks[i].Vocab())
			}
			var ids []int32
			err := eachText(cmd.Context(), texts, field, 1, func(_ int, text string) error {
				words, chars := int64(len(strings.Fields(text))), int64(utf8.RuneCountInString(text))
				for i, t := range toks {
					start := time.Now()
					ids = t.AppendTokens(ids[:0], text)
					s := &stats[i]
					s.Seconds += time.Since(start).Seconds()
					s.Texts++
					s.Words += words
					s.Characters += chars
					s.Bytes += int64(len(text))
					s.Tokens += int64(len(ids))
					for _, id := range ids {
						used[i][id] = true
						switch t.Kind(id) {
						case tokenizer.Byte:
							s.ByteTokens++
						case tokenizer.Unknown:
							s.UnknownTokens++
						}
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			for i := range stats {
				s := &stats[i]
				if s.Bytes == 0 {
					return fmt.Errorf("no text in %s", strings.Join(texts, ", "))
				}
				s.PerWord = float64(s.Tokens) / float64(max(s.Words, 1))
				s.PerCharacter = float64(s.Tokens) / float64(s.Characters)
				s.PerByte = float64(s.Tokens) / float64(s.Bytes)
				s.MBPerSecond = float64(s.Bytes) / 1e6 / max(s.Seconds, 1e-9)
				for _, u := range used[i] {
					if u {
						s.Used++
					}
				}
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return enc.Encode(stats)
			}
			s := &stats[0]
			fmt.Fprintf(cmd.OutOrStdout(), "%d texts, %d words, %d characters, %d bytes\n\n", s.Texts, s.Words, s.Characters, s.Bytes)
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(w, "tokens\tper word\tper character\tper byte\tbyte tokens\tunknown\tids used\tMB/s\t  tokenizer")
			for i := range stats {
				s := &stats[i]
				fmt.Fprintf(w, "%d\t%.3f\t%.4f\t%.4f\t%d\t%d\t%d/%d\t%.1f\t  %s\n",
					s.Tokens, s.PerWord, s.PerCharacter, s.PerByte, s.ByteTokens, s.UnknownTokens, s.Used, s.Vocab, s.MBPerSecond, s.Tokenizer)
			}
			return w.Flush()
		},
	}
	flags.add(cmd)
	cmd.Flags().StringArrayVar(&texts, "text", nil, "file to measure on (repeatable)")
	cmd.Flags().StringVar(&field, "field", "text", "field of each row of a data file that holds the text")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all counts as JSON")
	return cmd
}

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

func newTokenizerTrainCmd() *cobra.Command {
	var opt tokenizer.TrainOptions
	var output, field string
	var workers int
	var asJSON bool
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
			if output == "" {
				return usageError{errors.New("--output is needed: where to write the model")}
			}
			if opt.VocabSize == 0 {
				return usageError{errors.New("--vocab-size is needed: the total number of ids")}
			}
			if !cmd.Flags().Changed("required-chars") && opt.VocabSize >= germanFrom {
				opt.Required = tokenizer.GermanCharacters
			}
			if workers < 1 {
				return usageError{fmt.Errorf("--workers is %d; it must be at least 1", workers)}
			}
			if err := checkThreads("--workers", workers); err != nil {
				return err
			}
			tr, err := tokenizer.NewTrainer(opt)
			if err != nil {
				return usageError{err}
			}
			start := time.Now()
			counters := make([]*tokenizer.Counter, workers)
			for i := range counters {
				counters[i] = tr.Counter()
			}
			err = eachText(cmd.Context(), args, field, workers, func(w int, text string) error {
				counters[w].Add(text)
				return nil
			})
			if err != nil {
				return err
			}
			last := time.Now()
			res, err := tr.Train(cmd.Context(), func(done, total int) {
				if done == total || time.Since(last) > 2*time.Second {
					last = time.Now()
					fmt.Fprintf(os.Stderr, "leo: %d of %d pieces learned\n", done, total)
				}
			})
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(output), 0o777); err != nil {
				return err
			}
			f, err := durable.Create(output)
			if err != nil {
				return err
			}
			defer f.Abort()
			if _, err := f.Write(res.Model); err != nil {
				return err
			}
			if err := f.Commit(); err != nil {
				return err
			}
			sum := trainSummary{output, opt.VocabSize, res.Texts, res.Bytes, res.Words, res.Characters, res.Covered, res.Merged, time.Since(start).Seconds()}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false)
				return enc.Encode(sum)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d ids from %d texts (%d bytes, %d distinct words): %d pieces learned, %d characters (%.4f %% of all) in %.1f s\n",
				sum.Output, sum.Vocab, sum.Texts, sum.Bytes, sum.Words, sum.Merged, sum.Characters, 100*sum.Coverage, sum.Seconds)
			return nil
		},
	}
	cmd.Flags().StringVar(&output, "output", "", "the file to write")
	cmd.Flags().IntVar(&opt.VocabSize, "vocab-size", 0, "total number of ids")
	cmd.Flags().StringSliceVar(&opt.Control, "control", nil, "control tokens, comma-separated: never made from text")
	cmd.Flags().StringSliceVar(&opt.UserDefined, "user-defined", nil, "tokens found wherever text has them, comma-separated")
	cmd.Flags().Float64Var(&opt.Coverage, "character-coverage", 0.9995, "share of all characters that get a piece of their own")
	cmd.Flags().StringVar(&opt.Required, "required-chars", "",
		fmt.Sprintf("characters that get a piece however rare they are (default, from %d ids on: ASCII and what German text needs: umlauts, quotes, dashes, €)", germanFrom))
	cmd.Flags().IntVar(&opt.MaxPiece, "max-piece-length", 16, "longest piece, in characters")
	cmd.Flags().StringVar(&field, "field", "text", "field of each row of a data file that holds the text")
	cmd.Flags().IntVar(&workers, "workers", runtime.GOMAXPROCS(0), "goroutines that read and count")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON")
	return cmd
}
