package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"leolm/checkpoint"
	"leolm/internal/bounded"
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

// encodeFlags are the flags of leo tokenizer encode.
type encodeFlags struct {
	tokenizerFlags
	asJSON, pieces, lines bool
}

func newTokenizerEncodeCmd() *cobra.Command {
	f := &encodeFlags{}
	cmd := &cobra.Command{
		Use:   "encode TOKENIZER [TEXT]",
		Short: "Print the ids of a text (an argument, else standard input)",
		Args:  usageArgs(cobra.RangeArgs(1, 2)),
		RunE:  func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print text, ids and pieces as JSON")
	cmd.Flags().BoolVar(&f.pieces, "pieces", false, "print pieces instead of ids")
	cmd.Flags().BoolVar(&f.lines, "lines", false, "each line of standard input is a text of its own, without its line break")
	return cmd
}

func (f *encodeFlags) run(cmd *cobra.Command, args []string) (err error) {
	if f.asJSON && f.pieces {
		return usageError{errors.New("--json has the pieces already: leave --pieces out")}
	}
	t, err := f.open(args[0])
	if err != nil {
		return err
	}
	out := bufio.NewWriter(exactWriter(cmd))
	defer func() {
		if ferr := out.Flush(); err == nil {
			err = ferr
		}
	}()
	if len(args) == 2 {
		return f.encode(out, t, args[1])
	}
	in := bufio.NewReaderSize(bounded.Stream(cmd.Context(), cmd.InOrStdin()), 1<<20)
	if f.lines {
		return eachLine(in, func(line string) error { return f.encode(out, t, line) })
	}
	text, err := bounded.Read(cmd.Context(), in, "standard input", maxText)
	var large *bounded.SizeError
	if errors.As(err, &large) {
		return fmt.Errorf("%w; --lines reads line by line", err)
	}
	if err != nil {
		return err
	}
	return f.encode(out, t, string(text))
}

// encode writes a line of ids or pieces, or of JSON.
func (f *encodeFlags) encode(out *bufio.Writer, t *tokenizer.Tokenizer, text string) error {
	ids := t.AppendTokens([]int32{}, text)
	if f.asJSON {
		e := encodedText{Text: text, IDs: ids, Pieces: []string{}}
		for _, id := range ids {
			e.Pieces = append(e.Pieces, t.Piece(id))
		}
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	for i, id := range ids {
		if i > 0 {
			out.WriteByte(' ')
		}
		if f.pieces {
			out.WriteString(t.Piece(id))
		} else {
			out.WriteString(strconv.Itoa(int(id)))
		}
	}
	return out.WriteByte('\n')
}

// eachLine hands over the lines of in, the last one also without a line break.
func eachLine(in *bufio.Reader, fn func(line string) error) error {
	for {
		line, err := readLine(in)
		if len(line) > 0 {
			if err := fn(strings.TrimSuffix(string(line), "\n")); err != nil {
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
