package harness_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/eval/harness"
)

// A task file becomes a task whose prompts are written out.
func ExampleReadConfig() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"task.yaml": `
task: hauptstadt
dataset_path: json
dataset_kwargs: {data_files: {test: fragen.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Frage: {{frage}}\nAntwort:"
doc_to_choice: antworten
doc_to_target: richtig
`,
		"fragen.jsonl": `{"frage": "Wie heißt die Hauptstadt von Österreich?", "antworten": ["Graz", "Wien"], "richtig": 1}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			log.Fatal(err)
		}
	}
	c, err := harness.ReadConfig(context.Background(), filepath.Join(dir, "task.yaml"))
	if err != nil {
		log.Fatal(err)
	}
	t, err := c.Build(context.Background(), harness.BuildOptions{Seed: harness.DefaultSeed})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range t.Items[0].Scores {
		fmt.Printf("%q %q\n", s.Context, s.Continuation)
	}
	// Output:
	// "Frage: Wie heißt die Hauptstadt von Österreich?\nAntwort:" " Graz"
	// "Frage: Wie heißt die Hauptstadt von Österreich?\nAntwort:" " Wien"
}
