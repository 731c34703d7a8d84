package mtbench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/chat"
	"leolm/eval"
	"leolm/infer"
)

// fake answers with f, in an order of its own, and fails for good after so many answers.
type fake struct {
	name  string
	f     func(r eval.Request) eval.Answer
	limit int // answers until it is gone; 0: none
	asked int
}

var errGone = errors.New("gone")

func (g *fake) Identity() eval.Identity { return eval.Identity{Name: g.name, Kind: "endpoint"} }

func (g *fake) Generate(ctx context.Context, reqs []eval.Request, done func(i int, a eval.Answer) error) error {
	for _, i := range rand.Perm(len(reqs)) {
		if g.limit > 0 && g.asked >= g.limit {
			return errGone
		}
		g.asked++
		if err := done(i, g.f(reqs[i])); err != nil {
			return err
		}
	}
	return nil
}

// model says which request it was asked.
func model() *fake {
	return &fake{name: "org/model", f: func(r eval.Request) eval.Answer {
		last := r.Messages[len(r.Messages)-1].Content
		return eval.Answer{Text: fmt.Sprintf("Antwort auf %.20q bei %g mit Keim %d", last, r.Temperature, r.Seed), Finish: "stop", NewTokens: 7, Seconds: rand.Float64()}
	}}
}

// judge gives a rating that depends on the request.
func judge(name string) *fake {
	return &fake{name: name, f: func(r eval.Request) eval.Answer {
		n := len(r.Messages[len(r.Messages)-1].Content) + len(name)
		text := fmt.Sprintf("Begründung.\nNote: [[%d]]", 1+n%10)
		if n%17 == 0 {
			text = "Dazu sage ich nichts."
		}
		return eval.Answer{Text: text, Finish: "stop"}
	}}
}

func ownSet(t *testing.T) *Set {
	t.Helper()
	set, err := OwnQuestions()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func ownJudge(t *testing.T) JudgeOptions {
	t.Helper()
	p, err := OwnPrompts()
	if err != nil {
		t.Fatal(err)
	}
	return JudgeOptions{Prompts: p}
}

// stable reads the files of a folder that equal runs write equally: all but journals and artifacts, which have times.
func stable(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err != nil || d.IsDir() || name == answerJournal || name == judgeJournal || name == resultFile || name == answersArtifact || strings.HasPrefix(name, ".") {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// through runs everything in a folder with generators that are gone again and again.
func through(t *testing.T, dir string, limit int) *Judged {
	t.Helper()
	for try := 0; ; try++ {
		if try > 2000 {
			t.Fatal("no progress")
		}
		r, err := OpenRun(t.Context(), dir, ownSet(t))
		if err != nil {
			t.Fatal(err)
		}
		m, g := model(), judge("richter")
		m.limit, g.limit = limit, limit
		var j *Judged
		if err = r.Answer(t.Context(), m, AnswerOptions{Choices: 2}, eval.Software{}, nil); err == nil {
			j, err = r.Judge(t.Context(), g, ownJudge(t), eval.Software{}, nil)
		}
		r.Close()
		if err == nil {
			return j
		}
		if !errors.Is(err, errGone) {
			t.Fatal(err)
		}
	}
}

func TestResumedRunsWriteTheSameBytes(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	j := through(t, whole, 0)
	through(t, parts, 23)
	want, got := stable(t, whole), stable(t, parts)
	for _, name := range []string{
		"questions.json", "turns.jsonl", "answers.json", "answers-1.json", "model_answer/org--model.jsonl",
		"richter/judge-replies.json", "richter/judge-replies-1.json", "richter/scores.json", "richter/model_judgment/richter_single.jsonl",
	} {
		if want[name] == "" || got[name] != want[name] {
			t.Errorf("%s: %d bytes, %d bytes resumed", name, len(want[name]), len(got[name]))
		}
	}
	if len(want) != 9 {
		t.Errorf("%d files", len(want))
	}
	if len(j.Replies) != 320 || len(j.Scores.Rated)+len(j.Scores.Dropped) != 320 || len(j.Scores.Dropped) == 0 || !j.Result.Complete {
		t.Errorf("%d replies, %d rated, %d dropped", len(j.Replies), len(j.Scores.Rated), len(j.Scores.Dropped))
	}
	// Both layouts can be read again, and say the same.
	for c, name := range []string{"judge-replies.json", "judge-replies-1.json"} {
		replies, err := ParseReplies(name, []byte(want["richter/"+name]))
		if err != nil || len(replies) != 160 || replies[0].Turn != 1 || replies[159].Turn != 2 {
			t.Errorf("choice %d: %d replies, %v", c, len(replies), err)
		}
	}
	replies, err := ParseReplies("fastchat", []byte(want["richter/model_judgment/richter_single.jsonl"]))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Score(ownSet(t), replies)
	if err != nil || string(s.JSON()) != want["richter/scores.json"] {
		t.Errorf("FastChat's judgments have other scores: %v", err)
	}
}

func TestAnsweringAsks(t *testing.T) {
	r, err := OpenRun(t.Context(), t.TempDir(), ownSet(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m := model()
	var reqs []eval.Request
	f := m.f
	m.f = func(r eval.Request) eval.Answer { reqs = append(reqs, r); return f(r) }
	opt := AnswerOptions{Choices: 2, System: "Sei knapp.", Temperatures: map[string]float64{"stem": 0.3}}
	if err := r.Answer(t.Context(), m, opt, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"writing": 0.7, "roleplay": 0.7, "extraction": 0, "math": 0, "coding": 0, "reasoning": 0, "stem": 0.3, "humanities": 0.1}
	seen := 0
	for _, req := range reqs {
		var p Place
		parts := strings.Split(req.ID, "/")
		if _, err := fmt.Sscanf(parts[0]+" "+parts[1]+" "+parts[2], "%s %d %d", &p.Question, &p.Choice, &p.Turn); err != nil {
			t.Fatal(err)
		}
		q, _ := r.Set.Find(p.Question)
		if req.Temperature != want[q.Category] || req.MaxNewTokens != 1024 || req.Seed != uint64(p.Choice) || req.Messages[0].Content != "Sei knapp." {
			t.Errorf("%s (%s): %+v", req.ID, q.Category, req)
		}
		if len(req.Messages) != 2*p.Turn || req.Messages[len(req.Messages)-1].Content != q.Turns[p.Turn-1] {
			t.Errorf("%s: %d messages", req.ID, len(req.Messages))
		}
		if p.Turn == 2 {
			if own := r.answers[Place{p.Question, p.Choice, 1}].Text; req.Messages[2].Role != chat.Assistant || req.Messages[2].Content != own {
				t.Errorf("%s does not see its own first answer", req.ID)
			}
		}
		seen++
	}
	if seen != 320 {
		t.Errorf("%d requests", seen)
	}
	// The same again asks nothing; another setting asks all that it changes.
	m.asked = 0
	if err := r.Answer(t.Context(), m, opt, eval.Software{}, nil); err != nil || m.asked != 0 {
		t.Errorf("asked %d times again: %v", m.asked, err)
	}
	opt.Temperatures["stem"] = 0.4
	if err := r.Answer(t.Context(), m, opt, eval.Software{}, nil); err != nil || m.asked != 40 {
		t.Errorf("asked %d times with another temperature: %v", m.asked, err)
	}
}

func TestFailuresAreNamedAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	m := model()
	broken := true
	f := m.f
	m.f = func(r eval.Request) eval.Answer {
		if broken && (r.ID == "1/0/1" || r.ID == "2/0/2") {
			return eval.Answer{Err: errors.New("zu lang")}
		}
		return f(r)
	}
	r, err := OpenRun(t.Context(), dir, ownSet(t).Head(3))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Answer(t.Context(), m, AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	if fs := r.Failures(); len(fs) != 3 || fs[0].Why != "zu lang" || fs[1].Why != "there is no answer to its first turn" || fs[2].Place != (Place{"2", 0, 2}) {
		t.Fatalf("%+v", fs)
	}
	g := judge("richter")
	gf := g.f
	g.f = func(r eval.Request) eval.Answer {
		if broken && r.ID == "3/0/1" {
			return eval.Answer{Err: errors.New("überlastet")}
		}
		return gf(r)
	}
	j, err := r.Judge(t.Context(), g, ownJudge(t), eval.Software{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Question 1 has no answer, 2 one turn, 3 one judgment.
	if len(j.Replies) != 2 || len(j.Failures) != 1 || j.Result.Complete || j.Result.Counts["replies_expected"] != 6 {
		t.Errorf("%d replies, %+v, complete %v, %v", len(j.Replies), j.Failures, j.Result.Complete, j.Result.Counts)
	}
	// From the folder alone the judge sees the same turns.
	again := &Run{Dir: dir, Set: r.Set}
	if err := again.Load(t.Context()); err != nil || len(again.answers) != 3 || len(again.failures) != 3 {
		t.Errorf("%d answers, %d failures: %v", len(again.answers), len(again.failures), err)
	}
	broken = false
	if err := r.Answer(t.Context(), m, AnswerOptions{}, eval.Software{}, nil); err != nil || len(r.Failures()) != 0 {
		t.Fatalf("%v %v", err, r.Failures())
	}
	g.asked = 0
	if j, err = r.Judge(t.Context(), g, ownJudge(t), eval.Software{}, nil); err != nil || g.asked != 4 || !j.Result.Complete || len(j.Replies) != 6 {
		t.Errorf("%v: asked %d times, %d replies", err, g.asked, len(j.Replies))
	}
}

// What does not fit into a context is named as refused, with what depends on it; what fails for a moment is not.
func TestRefusalsAreNamed(t *testing.T) {
	set, dir := ownSet(t), t.TempDir()
	r, err := OpenRun(t.Context(), dir, set)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	answer := func(g *fake, long, broken string, turn int) *fake {
		f := g.f
		g.f = func(req eval.Request) eval.Answer {
			switch req.ID {
			case Place{long, 0, turn}.String():
				return eval.Answer{Err: fmt.Errorf("so: %w", &infer.ContextError{Tokens: 600, Limit: 512})}
			case Place{broken, 0, turn}.String():
				return eval.Answer{Err: errors.New("the line is dead")}
			}
			return f(req)
		}
		return g
	}
	ids := set.Questions
	if err := r.Answer(t.Context(), answer(model(), ids[3].ID, ids[5].ID, 1), AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	if c := r.model.Counts; c["failed"] != 4 || c["refused"] != 2 || c["answers"] != 156 || r.model.Complete {
		t.Errorf("%v", c)
	}
	j, err := r.Judge(t.Context(), answer(judge("judge"), ids[7].ID, ids[8].ID, 2), ownJudge(t), eval.Software{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := j.Result.Counts; c["replies"] != 154 || c["replies_failed"] != 2 || c["replies_refused"] != 1 || j.Scores == nil {
		t.Errorf("%v", c)
	}
	d, err := ReadDetails(j.Result)
	if err != nil {
		t.Fatal(err)
	}
	refused := Refusals(d.Failed)
	if len(refused) != 3 || refused[0].Place != (Place{ids[3].ID, 0, 1}) || refused[1].Turn != 2 || refused[1].Prompt != "" ||
		refused[2].Question != ids[7].ID || refused[2].Prompt == "" || !strings.Contains(refused[2].Why, "600 tokens do not fit") {
		t.Errorf("%+v", refused)
	}
}

func TestBadRunsAreRefused(t *testing.T) {
	dir := t.TempDir()
	math := []Question{{ID: "1", Category: "math", Turns: []string{"a", "b"}}}
	set, err := NewSet("s", math)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRun(t.Context(), dir, set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Judge(t.Context(), judge("j"), ownJudge(t), eval.Software{}, nil); !errors.Is(err, ErrNotAnswered) {
		t.Errorf("judged without answers: %v", err)
	}
	if err := r.Answer(t.Context(), model(), AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	var missing *MissingReferenceError
	if _, err := r.Judge(t.Context(), judge("j"), ownJudge(t), eval.Software{}, nil); !errors.As(err, &missing) || missing.Question != "1" {
		t.Errorf("mathematics without a reference: %v", err)
	}
	if _, err := OpenRun(t.Context(), dir, set); err == nil {
		t.Error("two runs in one folder at a time")
	}
	r.Close()
	var other *OtherQuestionsError
	if _, err := OpenRun(t.Context(), dir, ownSet(t)); !errors.As(err, &other) {
		t.Errorf("other questions in the same folder: %v", err)
	}
	for name, q := range map[string]Question{
		"one turn":               {ID: "1", Category: "stem", Turns: []string{"a"}},
		"an empty turn":          {ID: "1", Category: "stem", Turns: []string{"a", ""}},
		"one reference":          {ID: "1", Category: "math", Turns: []string{"a", "b"}, Reference: []string{"x"}},
		"an empty reference":     {ID: "1", Category: "math", Turns: []string{"a", "b"}, Reference: []string{"x", ""}},
		"a translated category":  {ID: "1", Category: "Mathematik", Turns: []string{"a", "b"}},
		"a category by mistake":  {ID: "1", Category: "maths", Turns: []string{"a", "b"}},
		"a category of your own": {ID: "1", Category: "recht", Turns: []string{"a", "b"}},
	} {
		set, err := NewSet("s", []Question{q})
		if err != nil {
			t.Fatal(err)
		}
		r, err := OpenRun(t.Context(), t.TempDir(), set)
		if err == nil {
			err = r.Answer(t.Context(), model(), AnswerOptions{Temperatures: map[string]float64{"recht": 0.2}}, eval.Software{}, nil)
			r.Close()
		}
		if (err == nil) != (name == "a category of your own") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, answerJournal), []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenRun(t.Context(), dir, set); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Answer(t.Context(), model(), AnswerOptions{}, eval.Software{}, nil); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged journal: %v", err)
	}
}

func TestReplayedReplies(t *testing.T) {
	set := ownSet(t).Head(2)
	r, err := OpenRun(t.Context(), t.TempDir(), set)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	answers, err := ParseAnswers("a", []byte(`{"1": ["eins", "zwei"], "2": ["drei", "vier"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Import("a", answers, eval.Identity{Name: "fremd", Kind: "replay"}, eval.Software{}); err != nil {
		t.Fatal(err)
	}
	replies := []Reply{{Question: "1", Turn: 1, Text: "[[4]]"}, {Question: "1", Turn: 2, Text: "[[6]]"}, {Question: "2", Turn: 1, Missing: "kein Text"}}
	j, err := r.Judge(t.Context(), NewReplay("datei", replies), ownJudge(t), eval.Software{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Failures) != 2 || !strings.Contains(j.Failures[0].Why, "kein Text") || !strings.Contains(j.Failures[1].Why, "no reply to 2/0/2") || j.Scores.Average() != 5 {
		t.Errorf("%+v, average %g", j.Failures, j.Scores.Average())
	}
	if err := r.Import("a", []Answers{{"9", nil}}, eval.Identity{}, eval.Software{}); err == nil {
		t.Error("an answer to no question was taken")
	}
	if err := r.Import("a", answers[:1], eval.Identity{Name: "halb"}, eval.Software{}); err != nil || len(r.Failures()) != 2 {
		t.Errorf("%v %v", err, r.Failures())
	}
}
