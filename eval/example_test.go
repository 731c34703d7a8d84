package eval_test

import (
	"context"
	"fmt"
	"log"

	"leolm/eval"
	"leolm/open"
)

// How well a model knows the language of a text: fewer bits for each of its bytes are better.
func ExampleScoreText() {
	ctx := context.Background()
	m, err := open.Open(ctx, "", open.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	bits := func(text string) float64 {
		p, err := eval.ScoreText(ctx, m.Engine, m.Tokenizer, text, eval.PerplexityOptions{BOS: true})
		if err != nil {
			log.Fatal(err)
		}
		return p.BitsPerByte()
	}
	german := bits("Der Mond scheint hell über dem stillen Wald.")
	english := bits("The moon is shining bright over the quiet forest.")
	fmt.Println("German is the easier one:", german < english)
	// Output: German is the easier one: true
}
