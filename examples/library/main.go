// The program library shows how a program of its own module uses Leo: it opens a model, streams an answer, and measures
// how well the model knows the language of a text.
//
//	go run . [MODEL [QUESTION]]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"leolm/converse"
	"leolm/eval"
	"leolm/infer"
	"leolm/open"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	model, question := "", "Was ist ein Vulkan?" // "" is the embedded model
	if len(os.Args) > 1 {
		model = os.Args[1]
	}
	if len(os.Args) > 2 {
		question = os.Args[2]
	}
	if err := run(ctx, os.Stdout, model, question); err != nil {
		fmt.Fprintln(os.Stderr, "library:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, model, question string) (err error) {
	m, err := open.Open(ctx, model, open.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	for _, note := range m.Notes { // what was repaired, or is contradictory
		fmt.Fprintln(os.Stderr, note)
	}
	if err := answer(ctx, w, m, question); err != nil {
		return err
	}
	return score(ctx, w, m, "Der Mond scheint hell über dem stillen Wald.")
}

// answer writes the answer piece by piece, as it comes.
func answer(ctx context.Context, w io.Writer, m *open.Model, question string) error {
	c := converse.New(m.Model, m.Engine, "")
	defer c.Close()
	req := infer.Request{MaxNewTokens: 128, TopLogProbs: -1} // without parameters: the likeliest token, always
	result, err := c.Ask(ctx, question, converse.FullDrop, req, func(t infer.Token) error {
		_, err := io.WriteString(w, t.Text)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n(%d tokens; it ended by %s)\n", result.Stats.NewTokens, result.Finish)
	return err
}

// score writes how many bits the model needs for each byte of a text.
func score(ctx context.Context, w io.Writer, m *open.Model, text string) error {
	p, err := eval.ScoreText(ctx, m.Engine, m.Tokenizer, text, eval.PerplexityOptions{BOS: true})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%q: %.1f bits per byte\n", text, p.BitsPerByte())
	return err
}
