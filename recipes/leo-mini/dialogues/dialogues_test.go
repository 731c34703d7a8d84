package main

import (
	"math/rand/v2"
	"strings"
	"testing"

	"leolm/recipes/leo-mini/minidata"
)

func TestNumeral(t *testing.T) {
	for n, want := range map[int]string{0: "null", 1: "eins", 16: "sechzehn", 21: "einundzwanzig", 30: "dreißig", 77: "siebenundsiebzig", 100: "einhundert", 101: "einhunderteins", 219: "zweihundertneunzehn", 999: "neunhundertneunundneunzig"} {
		if got := numeral(n); got != want {
			t.Errorf("numeral(%d) = %q, want %q", n, got, want)
		}
	}
}

// A fixed question is excluded verbatim and in nearly the same words; others that merely look similar are accepted.
func TestFixedQuestionsStayOut(t *testing.T) {
	q := func(turns ...string) minidata.Question {
		var m []minidata.Message
		for _, s := range turns {
			m = append(m, minidata.Message{Role: "user", Content: s})
		}
		return minidata.Question{Messages: m}
	}
	f := newFixed([]minidata.Question{q("Was ist ein Vulkan?"), q("Was ergibt 17 plus 25?"), q("Hallo Leo!", "Kannst du mir etwas über Pferde erzählen?"), q("Wo liegt der hohe Berg Ararat eigentlich genau?")})
	for turn, want := range map[string]bool{
		"Was ist ein Vulkan?": true, "was ist ein vulkan": true, "Was ist ein Igel?": false, "Was ist der Vulkan?": false,
		"Was ergibt 17 plus 25": true, "Was ergibt 17 plus 26?": false, "Hallo Leo!": false, "Kannst du mir etwas über Pferde erzählen": true,
		"Wo liegt der hohe Berg Ararat genau?": true,
	} {
		if got := f.matches([]string{turn}); got != want {
			t.Errorf("matches(%q) = %v, want %v", turn, got, want)
		}
	}
	if !f.matches([]string{"Erzähl mir mehr.", "Was ist ein Vulkan?"}) {
		t.Error("a fixed question inside a longer dialogue gets in")
	}
}

func TestAddRefuses(t *testing.T) {
	held := map[uint64]bool{}
	for _, x := range minidata.Grams(nil, "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn", 13) {
		held[x] = true
	}
	g := &generator{fixed: newFixed(nil), held: held, seen: map[string]bool{}, refused: map[string]int{}}
	g.add("k", "s", "Frage", "Antwort")
	g.add("k", "s", "Frage", "Antwort")
	g.add("k", "s", "Frage", strings.Repeat("x", maxChars))
	g.add("k", "s", "Frage")
	g.add("k", "s", "Frage", " ")
	g.add("k", "s", "Frage", "Eins, zwei, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf, dreizehn!")
	for reason, want := range map[string]int{"repeated": 1, "too long": 1, "no answer": 1, "empty turn": 1, "13 words of a held-out text": 1} {
		if g.refused[reason] != want {
			t.Errorf("%s: refused %d, want %d", reason, g.refused[reason], want)
		}
	}
	if len(g.out) != 1 {
		t.Errorf("%d dialogues, want 1", len(g.out))
	}
}

func TestSentences(t *testing.T) {
	if got := sentences([]string{"Gold ist schön.", "Es ist schwer:", "Ein Liter wiegt viel.", "Ohne Punkt"}); strings.Join(got, "|") != "Gold ist schön.|Es ist schwer: Ein Liter wiegt viel." {
		t.Errorf("got %q", got)
	}
	if got := sentences([]string{"Mozart war ein Komponist aus dem 18. Jahrhundert", "Er lebte lange."}); len(got) != 2 || !strings.HasSuffix(got[0], "hundert.") {
		t.Errorf("got %q", got)
	}
	got := sentences([]string{"Nach Art.", "282 gilt das.", "Er sagte: \"Ja.\"", "Der Rest (offen.", "Nie."})
	if want := "Nach Art. 282 gilt das.|Er sagte: \"Ja.\""; strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

func TestAroundKeepsWholeSentences(t *testing.T) {
	text := strings.Repeat("Ein Satz mit vielen Wörtern steht davor. ", 20) + "Die Lösung ist blau. " + strings.Repeat("Noch ein Satz folgt danach. ", 20)
	got := around(text, strings.Index(text, "blau"), 200)
	if !strings.Contains(got, "Die Lösung ist blau.") || len([]rune(got)) > 200 || !strings.HasSuffix(got, ".") || !strings.HasPrefix(got, "Ein Satz") {
		t.Errorf("got %q", got)
	}
}

func TestGrammar(t *testing.T) {
	for _, c := range []struct{ title, first, text, nom, akk, ist string }{
		{"Igel", "Der Igel ist ein Tier.", "", "der Igel", "den Igel", "ist"},
		{"Studium", "Ein Studium ist eine Zeit.", "Das Studium ist lang.", "ein Studium", "ein Studium", "ist"},
		{"Wald", "Ein Wald ist groß.", "Der Wald ist grün.", "ein Wald", "einen Wald", "ist"},
		{"Bienen", "Bienen gehören zu den Insekten.", "", "Bienen", "Bienen", "sind"},
	} {
		e := &entry{base: c.title, first: []string{c.first}}
		e.grammar(c.first, c.text)
		if e.nom != c.nom || e.akk != c.akk || e.ist != c.ist {
			t.Errorf("%s: got %q, %q, %q", c.title, e.nom, e.akk, e.ist)
		}
	}
	e := &entry{base: "Isaac Newton", first: []string{"Isaac Newton war ein englischer Mathematiker."}}
	if e.grammar(e.first[0], "Er wurde 1642 geboren."); !e.isPerson {
		t.Error("Isaac Newton is not seen as a person")
	}
}

// Every intent has words and answers, and its helpers find it.
func TestIntents(t *testing.T) {
	seen := map[string]bool{}
	for _, in := range intents {
		if len(in.says) == 0 || len(in.answers) < 3 || seen[in.name] {
			t.Errorf("intent %s: %d wordings, %d answers", in.name, len(in.says), len(in.answers))
		}
		seen[in.name] = true
	}
}

// Random wording never panics and never empties a question.
func TestCasual(t *testing.T) {
	g := &generator{r: rand.New(rand.NewPCG(1, 2))}
	for range 20000 {
		if q := g.casual(pick(g, thing)); strings.TrimSpace(q) == "" {
			t.Fatal("empty question")
		}
	}
}
