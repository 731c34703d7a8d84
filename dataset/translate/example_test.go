package translate_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/dataset/translate"
)

// What a translation would send is known before anything is sent.
func ExampleTranslation_Estimate() {
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	input := filepath.Join(dir, "english.jsonl")
	if err := os.WriteFile(input, []byte(`{"question": "What does the hedgehog eat?", "answer": "What it finds."}`+"\n"), 0o666); err != nil {
		log.Fatal(err)
	}
	t := &translate.Translation{
		Input: input, Output: filepath.Join(dir, "german.jsonl"), Fields: []string{"question", "answer"},
		Prompt: "Translate into German, and write nothing else:\n{text}",
	}
	e, err := t.Estimate()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Requests, "requests for", e.Rows, "row,", e.Chars, "characters")
	// Output: 2 requests for 1 row, 41 characters
}
