package germanbench_test

import (
	"context"
	"fmt"
	"log"

	"leolm/eval/germanbench"
)

// The data become tasks; MMLU one for each subject.
func ExampleLoad() {
	shots := 2
	tasks, err := germanbench.Load(context.Background(), germanbench.Options{
		Tasks: []string{"mmlu_de", "truthfulqa_de"}, Variant: germanbench.LeoLM, Shots: &shots, Dir: "testdata/documents",
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range tasks {
		fmt.Println(t.Name, t.Shots, len(t.Items), "documents, shown:", germanbench.Leaderboard(t.Name))
	}
	// Output:
	// mmlu_de_anatomy 2 7 documents, shown: acc
	// mmlu_de_high_school_geography 2 6 documents, shown: acc
	// truthfulqa_de 0 6 documents, shown: mc2
}
