package mtbench

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"leolm/eval"
	"leolm/internal/journal"
)

// Texts are the words behind a result: what was asked, what the model answered, what the judge said to it.
type Texts struct {
	Questions *Set
	Answers   map[Place]string
	Replies   map[Place]string
}

// ReadTexts reads the texts of a result of this task. artifact is its path, in a run's folder or in a judge's below that.
// Files that are not there leave their part empty.
func ReadTexts(ctx context.Context, artifact string) (*Texts, error) {
	judge := filepath.Dir(artifact)
	run := judge
	if filepath.Base(artifact) == resultFile {
		run = filepath.Dir(judge)
	}
	t := &Texts{Questions: &Set{}, Answers: map[Place]string{}, Replies: map[Place]string{}}
	path := filepath.Join(run, questionsFile)
	data, err := eval.Fetch(ctx, path, MaxFile)
	if err == nil {
		t.Questions, err = ParseQuestions(path, data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	path = filepath.Join(run, turnsFile)
	if _, err := os.Stat(path); err == nil {
		err := journal.Read(path, func(line []byte) error {
			var r Record
			if err := json.Unmarshal(line, &r); err != nil {
				return err
			}
			t.Answers[r.Place] = r.Text
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for choice := 0; ; choice++ {
		path := filepath.Join(judge, ofChoice(repliesFile, choice))
		data, err := eval.Fetch(ctx, path, MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		replies, err := ParseReplies(path, data)
		if err != nil {
			return nil, err
		}
		for _, r := range replies {
			t.Replies[Place{r.Question, choice, r.Turn}] = r.Text
		}
	}
}
