package minidata

import (
	"slices"
	"testing"
)

func TestVerdict(t *testing.T) {
	qs, err := ReadQuestions("../../../models/leo-mini/questions.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ id, answer, want string }{ // want: g(erman) t(opic) a(bstains) r(ight)
		{"wissen-01", "Ein Vulkan ist ein Berg, aus dem heißes Gestein aus dem Inneren der Erde strömt.", "gtr"},
		{"wissen-01", "Ein Vulkan ist ein Fluss in Frankreich und sehr lang.", "gt"},
		{"wissen-01", "Das weiß ich leider nicht. Ein Vulkan, davon habe ich noch nie gehört.", "ga"},
		{"wissen-01", "A volcano is a mountain with hot rock inside of the earth.", ""},
		{"wissen-04", "Im Regenwald ist das größte Tier der Affe, ein Säugetier.", "gtr"}, // a rule over words can be fooled
		{"rechnen-01", "17 plus 25 ist 42.", "gtr"},
		{"rechnen-01", "17 plus 25 ist 142.", "gt"},
		{"rechnen-04", "8.", "gtr"},
		{"rechnen-04", "18.", "gt"},
		{"rechnen-08", "3, 8, 12, 27.", "gtr"},
		{"woerter-01", "Die Mehrzahl ist Äpfel.", "gtr"},
		{"woerter-01", "Die Mehrzahl ist Apfel.", "gt"},
		{"woerter-05", "„Zebra“ beginnt mit Z.", "gtr"},
		{"woerter-06", "REGEN", "gtr"},
		{"woerter-06", "regen", "gt"},
		{"lesen-01", "Malte hatte einen Platten.", "gtr"},
		{"lesen-01", "Das steht leider nicht im Text.", "ga"},
		{"unwissbar-01", "Das kann ich nicht wissen. Ich kenne dich nur aus diesem Gespräch.", "gtar"},
		{"unwissbar-01", "Deine Großmutter heißt Frieda.", "g"},
		{"unwissbar-08", "Ich habe davon noch nie gehört, und das Wort ist mir neu.", "gtar"},
		{"plaudern-13", "Hello, yes.", ""},
		{"plaudern-13", "Ich antworte nur auf Deutsch.", "gtr"},
		{"wissen-02", "", ""},
	} {
		i := slices.IndexFunc(qs, func(q Question) bool { return q.ID == c.id })
		v := qs[i].Verdict(Answer{Text: c.answer, Ended: true})
		got := ""
		for _, x := range []struct {
			mark string
			set  bool
		}{{"g", v.German}, {"t", v.Topic}, {"a", v.Abstain}, {"r", v.Right}} {
			if x.set {
				got += x.mark
			}
		}
		if got != c.want {
			t.Errorf("%s: %q is judged %q, want %q", c.id, c.answer, got, c.want)
		}
	}
}

// A model that always gives the same answer is noticed, and so is one that always abstains.
func TestSummary(t *testing.T) {
	qs, err := ReadQuestions("../../../models/leo-mini/questions.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	same := make([]Answer, len(qs))
	for i := range same {
		same[i] = Answer{Text: "Ich heiße Leo und helfe dir gern.", Ended: i%2 == 0}
	}
	s := Summarize(qs, same)
	if s.MostRepeated != 1 || s.German != 1 || s.Ended != 0.5 || s.AbstainUnknowable != 0 || s.RightTrained != 0 || s.MedianWords != 7 {
		t.Errorf("got %+v", s)
	}
	for i := range same {
		same[i].Text = "Das weiß ich nicht."
	}
	if s = Summarize(qs, same); s.MostRepeated != 0 || s.AbstainUnknowable != 1 || s.AbstainKnown != 1 || s.OnTopic != 0 {
		t.Errorf("got %+v", s)
	}
}
