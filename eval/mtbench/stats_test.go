package mtbench

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"leolm/eval"
)

func TestAgreementEqualsScikitLearnAndSciPy(t *testing.T) {
	data, err := os.ReadFile("testdata/agreement.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			X, Y                      []float64
			Kappa, Weighted, Spearman float64
		}
		Signs     [][3]float64
		Values    []float64
		Quantiles [][2]float64
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Cases) < 15 {
		t.Fatal(len(golden.Cases), err)
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
	for i, c := range golden.Cases {
		var x, y []PlacedRating
		for k := range c.X {
			p := Place{Question: fmt.Sprint(k), Turn: 1}
			x, y = append(x, PlacedRating{Place: p, Rating: c.X[k]}), append([]PlacedRating{{Place: p, Rating: c.Y[k]}}, y...)
		}
		y = append(y, PlacedRating{Place: Place{Question: "only one judge"}, Rating: 3})
		g := Agree("a", "b", x, y)
		if g.N != len(c.X) || !near(g.Kappa, c.Kappa) || !near(g.Weighted, c.Weighted) || !near(g.Spearman, c.Spearman) {
			t.Errorf("case %d: %+v, want %+v", i, g, c)
		}
	}
	for _, s := range golden.Signs {
		if p := signTest(int(s[0]), int(s[1])); !near(p, s[2]) {
			t.Errorf("%v wins, %v losses: p = %g, want %g", s[0], s[1], p, s[2])
		}
	}
	for _, q := range golden.Quantiles {
		if v := quantile(golden.Values, q[0]); !near(v, q[1]) {
			t.Errorf("quantile %g: %g, want %g", q[0], v, q[1])
		}
	}
	if g := Agree("a", "b", []PlacedRating{{Rating: 5}}, []PlacedRating{{Rating: 5}}); !math.IsNaN(g.Kappa) || !math.IsNaN(g.Spearman) || g.Equal != 1 {
		t.Errorf("judges that say one thing only: %+v", g)
	}
}

func TestBootstrapHoldsTheMean(t *testing.T) {
	set := ownSet(t)
	var replies []Reply
	for turn := 1; turn <= 2; turn++ {
		for i, q := range set.Questions {
			replies = append(replies, Reply{Question: q.ID, Turn: turn, Text: fmt.Sprintf("[[%d]]", 1+(i*7+turn*3)%10)})
		}
	}
	s, err := Score(set, replies)
	if err != nil {
		t.Fatal(err)
	}
	ci := bootstrapScores(s.Rated)
	for name, mean := range map[string]float64{"average/": s.Average(), "first_turn/": s.Turn(1), "second_turn/": s.Turn(2)} {
		if v := ci[name]; v[0] >= mean || v[1] <= mean || v[1]-v[0] > 2 || v[1]-v[0] < 0.3 {
			t.Errorf("%s: %v around %g", name, v, mean)
		}
	}
	if again := bootstrapScores(s.Rated); again["average/"] != ci["average/"] {
		t.Error("the interval changes from call to call")
	}
	if len(ci) != 11 {
		t.Errorf("%d intervals", len(ci))
	}
}

func TestQuality(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", " \n": "empty",
		"Der Mond scheint heute Nacht sehr hell über dem stillen Wald, und niemand sieht ihn.":   "",
		"The moon is shining very brightly tonight above the silent forest, and nobody sees it.": "foreign",
		"42": "", "Yes, of course.": "",
		"Hier ist das Programm:\n```python\nfor line in open(\"file\"):\n    print(line.strip(), \"is what the file has\")\n```\nEs liest die Datei und gibt jede Zeile aus.": "",
		"```go\nfunc main() { fmt.Println(\"the quick brown fox jumps over the lazy dog\") }\n```":                                                                            "",
		"Das ist so. " + strings.Repeat("Und so weiter und so fort. ", 6):                                                                                                     "loops",
		"Gut. " + strings.Repeat("ha", 60):                          "loops",
		strings.Repeat("Der Wald ist still.\n", 5):                  "loops",
		"Eine Liste:\n" + strings.Repeat("- Punkt\n", 4):            "",
		"| a | b |\n|---|---|\n" + strings.Repeat("|---|---|\n", 8): "",
		"Überschrift\n" + strings.Repeat("=", 80):                   "",
		"Die Zahl ist 33333333333333333333.":                        "",
	} {
		var q Quality
		q.add(&Record{Text: text})
		got := ""
		switch {
		case q.Empty > 0:
			got = "empty"
		case q.NotGerman > 0:
			got = "foreign"
		case q.Looping > 0:
			got = "loops"
		}
		if got != want {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
	var q Quality
	for _, finish := range []string{"stop", "length", "context", ""} {
		q.add(&Record{Text: "Ja.", Finish: finish})
	}
	if q.CutOff != 2 || q.Answers != 4 {
		t.Errorf("%+v", q)
	}
}

func TestJudgesOfTheirOwnFamilyAreNamed(t *testing.T) {
	id := func(name, kind, weights string) eval.Identity {
		return eval.Identity{Name: name, Kind: kind, Weights: weights}
	}
	for _, c := range []struct {
		model, judge eval.Identity
		warned       bool
	}{
		{id("leo", "local", "x"), id("other", "local", "x"), true},
		{id("gpt-4o", "endpoint", ""), id("gpt-4o", "endpoint", ""), true},
		{id("org/Qwen2-7B", "endpoint", ""), id("qwen-max", "endpoint", ""), true},
		{id("leo-7b", "local", "x"), id("gpt-4o", "endpoint", ""), false},
		{id("leo-7b", "local", "x"), id("leo-7b", "replay", ""), false},
	} {
		if got := kin(c.model, c.judge); (len(got) > 0) != c.warned {
			t.Errorf("%s judged by %s: %v", c.model.Name, c.judge.Name, got)
		}
	}
}
