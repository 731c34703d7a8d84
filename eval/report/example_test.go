package report_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/eval"
	"leolm/eval/report"
)

// Two results of one task become a page; what keeps them from being compared is said.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for i, model := range []string{"leo-7b", "leo-13b"} {
		a := eval.NewArtifact("quiz", eval.Identity{Name: model, Kind: "local"}, eval.Software{Version: "v1.0"})
		share := 0.5 + 0.2*float64(i)
		a.Complete, a.TaskVersion = true, fmt.Sprint(i+1)
		a.Add(eval.Metric{Name: "acc", Value: &share, N: 100, Unit: "fraction"})
		if err := a.WriteFile(filepath.Join(dir, model+".json")); err != nil {
			log.Fatal(err)
		}
	}
	var page bytes.Buffer
	s, err := report.Write(context.Background(), &page, []string{dir}, report.Options{Disagreements: report.DefaultDisagreements})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Models, "models,", s.Tasks, "task")
	for _, w := range s.Warnings {
		fmt.Println(w)
	}
	// Output:
	// 2 models, 1 task
	// quiz: the version of the task differs (leo-7b: 1; leo-13b: 2): the numbers cannot be compared.
}
