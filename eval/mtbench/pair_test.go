package mtbench

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"leolm/eval"
)

func TestMatches(t *testing.T) {
	for reply, want := range map[string]Verdict{
		"Also: [[A]]": FirstBetter, "[[B]]": SecondBetter, "[[C]]": Equal, "A ist besser": Unreadable, "[A]": Unreadable, "": Unreadable,
		"erst [[B]], doch [[A]]": FirstBetter, // FastChat looks for A first, wherever it stands
	} {
		if got := ParseVerdict(reply); got != want {
			t.Errorf("%q: %q, want %q", reply, got, want)
		}
	}
	for _, c := range []struct {
		first, second Verdict // with the first model's answer first, and second
		want          Outcome
		consistent    bool
	}{
		{FirstBetter, SecondBetter, Win, true}, {SecondBetter, FirstBetter, Loss, true}, {Equal, Equal, Tie, true},
		{FirstBetter, FirstBetter, Tie, false}, {SecondBetter, SecondBetter, Tie, false}, {FirstBetter, Equal, Tie, false},
		{Equal, SecondBetter, Tie, false}, {Unreadable, FirstBetter, Undecided, false}, {FirstBetter, Unreadable, Undecided, false},
		{Unreadable, Unreadable, Undecided, false},
	} {
		m := Match{Games: [2]Game{{Verdict: c.first}, {Verdict: c.second}}}
		if m.decide(); m.Outcome != c.want || m.Consistent != c.consistent {
			t.Errorf("%q and %q: %s, consistent %v", c.first, c.second, m.Outcome, m.Consistent)
		}
	}
}

// answered is a run whose answers have a mark and a length.
func answered(t *testing.T, name, mark string, length int) *Run {
	t.Helper()
	r, err := OpenRun(t.Context(), t.TempDir(), ownSet(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	m := &fake{name: name, f: func(r eval.Request) eval.Answer {
		return eval.Answer{Text: mark + strings.Repeat(" wort", length), Finish: "stop"}
	}}
	if err := r.Answer(t.Context(), m, AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompare(t *testing.T) {
	a, b := answered(t, "a", "GUT", 3), answered(t, "b", "SCHLECHT", 9)
	text := func(r eval.Request) string { return r.Messages[len(r.Messages)-1].Content }
	for name, c := range map[string]struct {
		judge      func(r eval.Request) string
		all        Standing
		check      func(c *Comparison) bool
		consistent float64
	}{
		"by what it reads": {
			func(r eval.Request) string {
				if strings.Index(text(r), "GUT") < strings.Index(text(r), "SCHLECHT") {
					return "[[A]]"
				}
				return "[[B]]"
			},
			Standing{Wins: 160, Rate: 1},
			func(c *Comparison) bool {
				return c.Inconsistent == 0 && c.FirstWins == 0.5 && c.LongerWins == 0 && c.CI95 == [2]float64{1, 1} && c.SignTest < 1e-40
			}, 0,
		},
		"always the first": {
			func(eval.Request) string { return "[[A]]" },
			Standing{Ties: 160, Rate: 0.5},
			func(c *Comparison) bool {
				return c.Inconsistent == 1 && c.FirstWins == 1 && c.LongerWins == 0.5 && c.SignTest == 1
			}, 1,
		},
		"without a verdict": {
			func(eval.Request) string { return "Beide sind schön." },
			Standing{Undecided: 160},
			func(c *Comparison) bool { return c.Result.Complete && c.Inconsistent == 0 }, 0,
		},
	} {
		g := &fake{name: "j", f: func(r eval.Request) eval.Answer { return eval.Answer{Text: c.judge(r), Finish: "stop"} }}
		dir := t.TempDir()
		got, err := Compare(t.Context(), a, b, g, ownJudge(t), dir, eval.Software{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.All != c.all || !c.check(got) || len(got.Groups) != 8 || g.asked != 320 {
			t.Errorf("%s: %+v, %+v, asked %d times", name, got.All, got, g.asked)
		}
		g.asked = 0
		if _, err := Compare(t.Context(), a, b, g, ownJudge(t), dir, eval.Software{}, nil); err != nil || g.asked != 0 {
			t.Errorf("%s: asked %d times again, %v", name, g.asked, err)
		}
	}
	other, err := OpenRun(t.Context(), t.TempDir(), ownSet(t).Head(3))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Answer(t.Context(), model(), AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Compare(t.Context(), a, other, judge("j"), ownJudge(t), t.TempDir(), eval.Software{}, nil); !errors.Is(err, ErrOtherQuestions) {
		t.Errorf("%v", err)
	}
}

func TestResultsAndTexts(t *testing.T) {
	r := answered(t, "org/<modell>", "Das ist eine Antwort.", 12)
	for _, name := range []string{"streng", "milde"} {
		if _, err := r.Judge(t.Context(), judge(name), ownJudge(t), eval.Software{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	results, err := Results(t.Context(), r.Dir)
	if err != nil || len(results) != 2 {
		t.Fatal(len(results), err)
	}
	one, err := Results(t.Context(), r.Dir+"/streng")
	if err != nil || len(one) != 1 {
		t.Fatal(len(one), err)
	}
	texts, err := ReadTexts(t.Context(), filepath.Join(r.Dir, "streng", resultFile))
	if err != nil || len(texts.Answers) == 0 || len(texts.Replies) != len(texts.Answers) || len(texts.Questions.Questions) != len(r.Set.Questions) {
		t.Errorf("%+v, %v", texts, err)
	}
	for p, text := range texts.Answers {
		if text != r.answers[p].Text {
			t.Errorf("%v: %q", p, text)
		}
	}
	if _, err := Results(t.Context(), t.TempDir()); !errors.Is(err, ErrNotAnswered) {
		t.Errorf("an empty folder: %v", err)
	}
}
