package mtbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"leolm/eval"
	"leolm/internal/durable"
)

// JudgeOptions say how answers are judged. Zero means MT-Bench's own.
type JudgeOptions struct {
	Name         string // of the judge, and of its folder below the run's; "" is the generator's own
	MaxNewTokens int    // of a reply; 0: 2048
	Prompts      *Prompts
}

// Judged is what one judge said about a run.
type Judged struct {
	Judge    string
	Replies  []Reply // in FastEval's order: all first turns, then all second ones
	Failures []Failure
	// Cut are the replies that ended because there was no room for more: their rating, if they have one, counts.
	Cut     []Place
	Scores  *Scores // nil if a turn has no rating
	Result  *eval.Artifact
	prompts []judgePrompt
}

// judgePrompt is what the judge was shown.
type judgePrompt struct{ name, user string }

// MissingReferenceError says that a question of a category that is judged beside a reference has none.
type MissingReferenceError struct{ Question, Category string }

func (e *MissingReferenceError) Error() string {
	return fmt.Sprintf("question %s is in category %s, which is judged beside a reference answer, and has none", e.Question, e.Category)
}

// ErrNotAnswered says that a folder has no answers to judge.
var ErrNotAnswered = errors.New("there are no answers to judge")

// Judge lets a judge rate every answered turn of the run, and writes replies and scores below the run's folder, in a folder
// with the judge's name. Replies that an earlier run got to the same requests stay.
func (r *Run) Judge(ctx context.Context, g eval.Generator, opt JudgeOptions, leo eval.Software, progress func(Progress)) (*Judged, error) {
	if r.model == nil || len(r.answers) == 0 {
		return nil, ErrNotAnswered
	}
	if opt.MaxNewTokens <= 0 {
		opt.MaxNewTokens = judgeTokens
	}
	j := &Judged{Judge: opt.Name}
	if j.Judge == "" {
		j.Judge = eval.FileName(g.Identity().Name)
	}
	tasks, err := r.judgeTasks(&opt)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(r.Dir, j.Judge)
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	start := time.Now()
	done, failed, err := runStage(ctx, filepath.Join(dir, judgeJournal), g, tasks, progress)
	if err != nil {
		return nil, err
	}
	j.Failures = failed
	for _, t := range tasks {
		rec, ok := done[t.place]
		if !ok {
			continue
		}
		j.Replies = append(j.Replies, Reply{Row: len(j.Replies) + 1, Question: rec.Question, Choice: rec.Choice, Turn: rec.Turn, Text: rec.Text})
		j.prompts = append(j.prompts, judgePrompt{t.prompt, t.req.Messages[len(t.req.Messages)-1].Content})
		if rec.CutOff() {
			j.Cut = append(j.Cut, rec.Place)
		}
	}
	s, err := Score(r.Set, j.Replies)
	if err == nil {
		j.Scores = s
	} else if !errors.Is(err, ErrNoRatings) {
		return nil, err
	}
	return j, r.writeJudged(j, s, g.Identity(), &opt, leo, time.Since(start).Seconds())
}

// judgeTasks are the requests for all answered turns, first turns first.
func (r *Run) judgeTasks(opt *JudgeOptions) ([]task, error) {
	var tasks []task
	for turn := 1; turn <= 2; turn++ {
		for _, q := range r.Set.Questions {
			if len(q.Reference) == 0 && slices.Contains(ReferenceCategories, q.Category) {
				return nil, &MissingReferenceError{q.ID, q.Category}
			}
			for choice := range r.choices() {
				texts, ok := r.answer(q.ID, choice, turn)
				if !ok {
					continue
				}
				name, msgs, err := opt.Prompts.Single(q, texts, turn)
				if err != nil {
					return nil, err
				}
				p := Place{q.ID, choice, turn}
				tasks = append(tasks, task{p, name, eval.Request{ID: p.String(), Messages: msgs, MaxNewTokens: opt.MaxNewTokens}})
			}
		}
	}
	return tasks, nil
}

// writeJudged writes the files of a judge.
func (r *Run) writeJudged(j *Judged, s *Scores, judge eval.Identity, opt *JudgeOptions, leo eval.Software, seconds float64) error {
	a, err := r.result(j, s, judge, opt, leo)
	if err != nil {
		return err
	}
	a.Seconds = seconds + r.model.Seconds
	model := eval.FileName(r.model.Model.Name)
	files := map[string]func(w io.Writer) error{
		filepath.Join("model_judgment", j.Judge+"_single.jsonl"): func(w io.Writer) error { return j.fastChatJudgments(w, model, j.Judge) },
	}
	for c := range r.choices() {
		files[ofChoice(repliesFile, c)] = func(w io.Writer) error { return fastEvalReplies(w, j.Replies, c) }
	}
	if j.Scores != nil {
		files[scoresFile] = func(w io.Writer) error { _, err := w.Write(j.Scores.JSON()); return err }
	}
	for _, name := range sortedKeys(files) {
		if err := r.write(filepath.Join(j.Judge, name), files[name]); err != nil {
			return err
		}
		if err := a.AddRaw(filepath.Join(r.Dir, j.Judge), name); err != nil {
			return err
		}
	}
	j.Result = a
	return a.WriteFile(filepath.Join(r.Dir, j.Judge, resultFile))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
