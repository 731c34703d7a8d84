package corpus_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/dataset/corpus"
	"leolm/tokenizer"
)

// Texts become shuffled windows of tokens; of two equal texts one is left.
func Example() {
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trainer, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 280})
	if err != nil {
		log.Fatal(err)
	}
	trainer.Counter().Add("Es war einmal ein König. Es war einmal eine Königin.")
	learned, err := trainer.Train(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	recipe := filepath.Join(dir, "corpus.yaml")
	for name, data := range map[string]string{
		"tokenizer.model": string(learned.Model),
		"tales.jsonl": `{"title": "König", "text": "Es war einmal ein König."}
{"title": "Königin", "text": "Es war einmal eine Königin."}
{"title": "Kopie", "text": "Es war einmal ein König."}
`,
		"corpus.yaml": fmt.Sprintf(`
name: tales
tokenizer: '%[1]s/tokenizer.model'
inputs: [{path: '%[1]s/tales.jsonl'}]
pack: {window: 16, bos: true, eos: true}
`, filepath.ToSlash(dir)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			log.Fatal(err)
		}
	}

	r, err := corpus.LoadRecipe(recipe, nil)
	if err != nil {
		log.Fatal(err)
	}
	plan, err := corpus.MakePlan(r, corpus.PlanOptions{RecipeFile: recipe})
	if err != nil {
		log.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if err := plan.Write(out, false); err != nil {
		log.Fatal(err)
	}
	if err := corpus.Run(context.Background(), out, corpus.RunOptions{Task: -1}); err != nil {
		log.Fatal(err)
	}
	report, err := corpus.ReadReport(out)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Total.Read.Docs, "texts read,", report.Dedup.Exact.Docs, "copy dropped,", report.Samples, "windows")
	// Output: 3 texts read, 1 copy dropped, 3 windows
}
