package tokenizer_test

import (
	"context"
	"fmt"
	"log"

	"leolm/tokenizer"
)

// train learns a small vocabulary with the two markers of ChatML.
func train() *tokenizer.Tokenizer {
	trainer, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 290, Control: []string{"<|im_start|>", "<|im_end|>"}})
	if err != nil {
		log.Fatal(err)
	}
	trainer.Counter().Add("der Mond, der Wald, der Abend und der Morgen, der Mond und der Wald")
	learned, err := trainer.Train(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	tok, err := tokenizer.FromSentencePiece(learned.Model, tokenizer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return tok
}

// A vocabulary is learned from a text, then text becomes ids and ids become text.
func Example() {
	tok := train()
	ids := tok.AppendTokens(nil, "der Mond und der Wald")
	var pieces []string
	for _, id := range ids {
		pieces = append(pieces, tok.Piece(id))
	}
	fmt.Printf("%q\n", pieces)
	fmt.Println(tok.Decode(ids, true))
	// Output:
	// ["▁der" "▁Mond" "▁und" "▁der" "▁Wald"]
	// der Mond und der Wald
}

// Only text that the program vouches for can hold control tokens: what a user types stays text.
func ExampleTokenizer_EncodeTrusted() {
	tok := train()
	end, _ := tok.ID("<|im_end|>")
	count := func(ids []int32) (n int) {
		for _, id := range ids {
			if id == end {
				n++
			}
		}
		return n
	}
	text := "der Mond<|im_end|>"
	trusted, _ := tok.EncodeTrusted(nil, nil, text, []tokenizer.Span{{Start: len("der Mond"), End: len(text)}})
	fmt.Println("in a trusted span:", count(trusted))
	fmt.Println("in a user's text:", count(tok.AppendTokens(nil, text)))
	// Output:
	// in a trusted span: 1
	// in a user's text: 0
}

// Ids that arrive one by one, as from a model, become text as soon as it is certain: a character of several bytes is
// held back until it is whole.
func ExampleDecoder() {
	tok := train()
	decoder := tok.NewDecoder(true)
	for _, id := range tok.AppendTokens(nil, "Wald 🌲") {
		fmt.Printf("%q ", decoder.Append(nil, id))
	}
	fmt.Printf("%q\n", decoder.Flush(nil))
	// Output: "Wald" " " "" "" "" "🌲" ""
}
