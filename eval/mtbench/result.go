package mtbench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"leolm/eval"
	"leolm/internal/journal"
)

// taskVersion changes when prompts, questions or scoring of Leo's own change their meaning.
const taskVersion = "1"

// Details are what an artifact of this task has beyond its metrics.
type Details struct {
	// Scores is FastEval's scores.json; nil if a turn has no rating.
	Scores json.RawMessage `json:"scores,omitempty"`
	// Block is the same in the layout of the file, which is that of LeoLM's cards, to the character.
	Block   string         `json:"scores_text,omitempty"`
	Ratings []PlacedRating `json:"ratings,omitempty"`
	Dropped []Failure      `json:"dropped,omitempty"` // replies without a rating
	Failed  []Failure      `json:"failed,omitempty"`  // turns without an answer or a reply
	Quality []Quality      `json:"quality,omitempty"` // of the answers
	Warning []string       `json:"warnings,omitempty"`
}

// PlacedRating is the rating of one turn.
type PlacedRating struct {
	Place
	Category string  `json:"category"`
	Rating   float64 `json:"rating"`
	Text     string  `json:"text"` // as Python prints it
}

// ReadDetails returns the details of an artifact of this task.
func ReadDetails(a *eval.Artifact) (*Details, error) {
	d := new(Details)
	if err := json.Unmarshal(a.Details, d); err != nil {
		return nil, fmt.Errorf("the result of %s on %s: its details cannot be read: %w", a.Task, a.Model.Name, err)
	}
	return d, nil
}

// inputs are what every number of the run depends on.
func (r *Run) inputs() []eval.Input {
	return []eval.Input{{Role: "questions", Name: r.Set.Name, Hash: r.Set.Hash(), Rows: len(r.Set.Questions)}}
}

// writeAnswers writes the answers in both layouts, and the artifact of the stage.
func (r *Run) writeAnswers(ctx context.Context, a *eval.Artifact, opt *AnswerOptions) error {
	path := filepath.Join(r.Dir, answersArtifact)
	if before, err := eval.ReadArtifact(ctx, path); err == nil && eval.HashOf(before.Model) == eval.HashOf(a.Model) {
		a.Seconds += before.Seconds // the time of an interrupted run, as far as it is known
		a.Started = before.Started
	}
	a.TaskVersion, a.Inputs = taskVersion, r.inputs()
	a.Config = map[string]any{"choices": opt.Choices, "max_new_tokens": opt.MaxNewTokens, "temperatures": r.usedTemperatures(opt)}
	if opt.System != "" {
		a.Config["system"] = opt.System
	}
	if opt.Limit > 0 {
		a.Config["limit"] = opt.Limit
	}
	return r.finishAnswers(a)
}

// finishAnswers writes what the answers of the run say, whoever gave them.
func (r *Run) finishAnswers(a *eval.Artifact) error {
	quality := r.quality()
	counts := map[string]int{"answers": len(r.answers), "failed": len(r.failures), "refused": len(Refusals(r.failures))}
	for _, q := range quality {
		for name, n := range map[string]int{"empty": q.Empty, "not_german": q.NotGerman, "cut_off": q.CutOff, "looping": q.Looping} {
			counts[name] += n
			if q.Answers > 0 {
				share := float64(n) / float64(q.Answers)
				a.Add(eval.Metric{Name: name, Group: q.Category, Value: &share, N: q.Answers, Unit: "fraction", Lower: true})
			}
		}
	}
	a.Counts = counts
	a.Complete = len(r.failures) == 0 && len(r.answers) == 2*r.choices()*len(r.Set.Questions)
	var err error
	if a.Details, err = json.Marshal(Details{Quality: quality, Failed: r.failures}); err != nil {
		return err
	}
	model := eval.FileName(a.Model.Name)
	files := map[string]func(w io.Writer) error{
		filepath.Join("model_answer", model+".jsonl"): func(w io.Writer) error { return r.fastChatAnswers(w, model) },
		turnsFile: r.writeTurns,
	}
	for c := range r.choices() {
		files[ofChoice(answersFile, c)] = func(w io.Writer) error { return r.fastEvalAnswers(w, c) }
	}
	for _, name := range sortedKeys(files) {
		if err := r.write(name, files[name]); err != nil {
			return err
		}
		if err := a.AddRaw(r.Dir, name); err != nil {
			return err
		}
	}
	r.model = a
	return a.WriteFile(filepath.Join(r.Dir, answersArtifact))
}

// usedTemperatures are those of the set's categories.
func (r *Run) usedTemperatures(opt *AnswerOptions) map[string]float64 {
	used := map[string]float64{}
	for i := range r.Set.Questions {
		q := &r.Set.Questions[i]
		if t, err := opt.temperature(q); err == nil {
			used[q.Category] = t
		}
	}
	return used
}

// Import takes answers that were given elsewhere for those of the run.
func (r *Run) Import(name string, answers []Answers, model eval.Identity, leo eval.Software) error {
	r.answers, r.failures = map[Place]Record{}, nil
	found := map[string]bool{}
	for _, a := range answers {
		if _, ok := r.Set.Find(a.Question); !ok {
			return fmt.Errorf("%s: there is no question %s among those of %s", name, a.Question, r.Set.Name)
		}
		found[a.Question] = true
		for c, turns := range a.Choices {
			if len(turns) != 2 {
				return fmt.Errorf("%s: question %s has answers to %d turns; it needs two", name, a.Question, len(turns))
			}
			for t, text := range turns {
				p := Place{a.Question, c, t + 1}
				r.answers[p] = Record{Place: p, Text: text}
			}
		}
	}
	for _, q := range r.Set.Questions {
		if !found[q.ID] {
			r.failures = append(r.failures, Failure{Place: Place{q.ID, 0, 1}, Why: name + " has no answer"}, Failure{Place: Place{q.ID, 0, 2}, Why: name + " has no answer"})
		}
	}
	a := eval.NewArtifact("mtbench-answers", model, leo)
	a.TaskVersion, a.Inputs = taskVersion, append(r.inputs(), eval.Input{Role: "answers", Name: name, Hash: eval.HashOf(answers), Rows: len(answers)})
	a.Config = map[string]any{"imported": true}
	return r.finishAnswers(a)
}

// Load reads the answers that the folder has.
func (r *Run) Load(ctx context.Context) error {
	a, err := eval.ReadArtifact(ctx, filepath.Join(r.Dir, answersArtifact))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", r.Dir, ErrNotAnswered)
	}
	if err != nil {
		return err
	}
	if len(a.Inputs) == 0 || a.Inputs[0].Hash != r.Set.Hash() {
		return &OtherQuestionsError{r.Dir}
	}
	d, err := ReadDetails(a)
	if err != nil {
		return err
	}
	r.answers, r.failures, r.model = map[Place]Record{}, d.Failed, a
	return journal.Read(filepath.Join(r.Dir, turnsFile), func(line []byte) error {
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return err
		}
		if _, ok := r.Set.Find(rec.Question); !ok || rec.Turn < 1 || rec.Turn > 2 || rec.Choice < 0 {
			return fmt.Errorf("it is about question %q, turn %d, choice %d", rec.Question, rec.Turn, rec.Choice)
		}
		r.answers[rec.Place] = rec
		return nil
	})
}

// writeTurns writes every answered turn, in the order of the questions, without what differs between equal runs.
func (r *Run) writeTurns(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, q := range r.Set.Questions {
		for choice := range r.choices() {
			for turn := 1; turn <= 2; turn++ {
				rec, ok := r.answers[Place{q.ID, choice, turn}]
				if !ok {
					continue
				}
				rec.Key, rec.Seconds, rec.Attempts = "", 0, 0
				if err := enc.Encode(rec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// result makes the artifact of a judged run. s has the ratings even where there are no means.
func (r *Run) result(j *Judged, s *Scores, judge eval.Identity, opt *JudgeOptions, leo eval.Software) (*eval.Artifact, error) {
	a := eval.NewArtifact("mtbench", r.model.Model, leo)
	a.TaskVersion, a.Judges = taskVersion, []eval.Identity{judge}
	a.Inputs = append(a.Inputs, r.model.Inputs...)
	a.Inputs = append(a.Inputs, eval.Input{Role: "judge prompts", Name: opt.Prompts.Name, Hash: opt.Prompts.Hash()})
	a.Config = map[string]any{"answers": r.model.Config, "judge": map[string]any{"name": j.Judge, "temperature": 0, "max_new_tokens": opt.MaxNewTokens}}
	of, err := ReadDetails(r.model)
	if err != nil {
		return nil, err
	}
	d := Details{Quality: of.Quality, Failed: append(append([]Failure{}, of.Failed...), j.Failures...), Warning: kin(r.model.Model, judge)}
	expected := 2 * r.choices() * len(r.Set.Questions)
	a.Counts = map[string]int{"replies_expected": expected, "replies": len(j.Replies), "rated": len(s.Rated), "dropped": len(s.Dropped), "replies_cut_off": len(j.Cut), "replies_failed": len(j.Failures), "replies_refused": len(Refusals(j.Failures))}
	for _, x := range s.Rated {
		d.Ratings = append(d.Ratings, PlacedRating{Place{x.Question, x.Choice, x.Turn}, x.Category, x.Float64(), x.Rating.String()})
		for name, is := range map[string]bool{"out_of_range": !x.InRange(), "fallback": x.Fallback, "several_ratings": x.Several} {
			if is {
				a.Counts[name]++
			}
		}
	}
	for _, x := range s.Dropped {
		d.Dropped = append(d.Dropped, Failure{Place: Place{x.Question, x.Choice, x.Turn}, Why: x.Why})
	}
	if j.Scores != nil {
		d.Block = string(s.JSON())
		if json.Valid([]byte(d.Block)) { // an infinite rating has no number in JSON
			d.Scores = json.RawMessage(d.Block)
		}
		r.addMetrics(a, s, expected)
	}
	a.Complete = r.model.Complete && len(j.Failures) == 0 && j.Scores != nil
	a.Details, err = json.Marshal(d)
	return a, err
}

// addMetrics adds the means, each with the interval of its bootstrap.
func (r *Run) addMetrics(a *eval.Artifact, s *Scores, expected int) {
	ci := bootstrapScores(s.Rated)
	add := func(name, group, text string, v float64, n, of int) {
		m := eval.Metric{Name: name, Group: group, Value: &v, Text: text, N: n, Of: of, Unit: "rating 1–10"}
		if interval, ok := ci[name+"/"+group]; ok {
			m.CI95 = &interval
		}
		a.Add(m)
	}
	byTurn := [2]int{}
	for _, x := range s.Rated {
		byTurn[x.Turn-1]++
	}
	add("first_turn", "", s.first.String(), s.first.Float64(), byTurn[0], expected/2)
	add("second_turn", "", s.second.String(), s.second.Float64(), byTurn[1], expected/2)
	perQuestion := 2 * r.choices()
	for _, c := range s.categories {
		of := 0
		for _, q := range r.Set.Questions {
			if q.Category == c.name {
				of += perQuestion
			}
		}
		add("rating", c.name, c.mean.String(), c.mean.Float64(), c.n, of)
	}
	add("average", "", s.average.String(), s.average.Float64(), len(s.Rated), expected)
}

// AnswersResult is the name of the artifact of the answers in a run's folder.
const AnswersResult = answersArtifact

// JudgedResult is the name of the artifact in the folder of a judge.
const JudgedResult = resultFile

// Results reads the results below a run's folder, one of each judge, or that of a judge's own folder. A run without a judge
// has the result of its answers.
func Results(ctx context.Context, dir string) ([]*eval.Artifact, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name(), resultFile)
		if _, err := os.Stat(path); e.IsDir() && err == nil {
			paths = append(paths, path)
		}
	}
	for _, name := range []string{resultFile, answersArtifact} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil && (name == resultFile || len(paths) == 0) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotAnswered)
	}
	var out []*eval.Artifact
	for _, path := range paths {
		a, err := eval.ReadArtifact(ctx, path)
		if err != nil {
			return nil, err
		}
		if a.Task == "mtbench" || a.Task == "mtbench-answers" {
			out = append(out, a)
		}
	}
	return out, nil
}
