package main

import (
	"fmt"
	"strconv"
	"strings"
)

// multiTurn mixes kinds in one conversation and asks for things said before.
func multiTurn(g *generator) error {
	earlier := g.singleTurns()
	mixedTurns(g, earlier)
	entries, err := readEntries(g)
	if err != nil {
		return err
	}
	ellipticTurns(g, entries)
	memories(g, earlier)
	calculationTurns(g)
	jokeTurns(g)
	return nil
}

// turns are dialogues of one question and one answer, by kind.
type turns map[string][]dialogue

// singleTurns collects the short ones of what exists so far.
func (g *generator) singleTurns() turns {
	pool := turns{}
	for _, d := range g.out {
		if len(d.Messages) == 2 && len(d.Messages[0].Content)+len(d.Messages[1].Content) < 500 {
			kind := strings.SplitN(d.Kind, "-", 2)[0]
			pool[kind] = append(pool[kind], d)
		}
	}
	return pool
}

// mixable are the kinds of which a mixed conversation is made, as often as they are named.
var mixable = []string{"encyclopedic", "encyclopedic", "encyclopedic", "smalltalk", "arithmetic", "words", "unknowable", "numbers"}

func (t turns) pick(g *generator) dialogue { return pick(g, t[pick(g, mixable)]) }

func mixedTurns(g *generator, earlier turns) {
	for range 6000 {
		n := 2 + g.r.IntN(3)
		var turns []string
		for range n {
			d := earlier.pick(g)
			turns = append(turns, d.Messages[0].Content, d.Messages[1].Content)
		}
		g.add("mixed-turns", "mixed", turns...)
	}
}

// ellipticTurns are two articles in a row, the second asked for with half a question.
func ellipticTurns(g *generator, entries []*entry) {
	for range 2500 {
		a, b := pick(g, entries), pick(g, entries)
		x, ok1 := a.answer()
		y, ok2 := b.answer()
		if a == b || !ok1 || !ok2 || a.ambiguousTitle || b.ambiguousTitle || a.isPerson != b.isPerson {
			continue
		}
		list := thing
		if a.isPerson {
			list = person
		}
		second := pick(g, []string{"Und {nom}?", "Und was {ist} {nom}?", "Danke. Und {nom}?", "Was ist dann {nom}?", "Okay. Und was ist mit {t}?", "Jetzt zu {t}: Was weißt du darüber?"})
		if b.isPerson {
			second = pick(g, []string{"Und {t}?", "Und wer {war} {t}?", "Danke. Und {t}?", "Okay. Und was weißt du über {t}?"})
		}
		g.add("encyclopedic-turns", "klexikon", g.casual(a.ask(pick(g, list))), x, b.ask(second), y)
	}
}

// memories are names and other facts that only the conversation knows.
func memories(g *generator, earlier turns) {
	for range 2500 {
		name := pick(g, append(append([]string{}, girls...), boys...))
		city, animal, col := pick(g, cities), pick(g, animals), pick(g, colors)
		pet := pick(g, petNames)
		age := 7 + g.r.IntN(70)
		type memory struct{ say, reply, ask, answer string }
		m := pick(g, []memory{
			{"Mein Name ist " + name + ".", "Hallo " + name + "! Schön, dich kennenzulernen.", pick(g, []string{"Wie heiße ich?", "Wie ist mein Name?", "Wie war noch mal mein Name?", "Kennst du meinen Namen?"}), "Du heißt " + name + "."},
			{"Ich bin " + name + ".", "Hallo " + name + "! Freut mich.", pick(g, []string{"Wer bin ich?", "Wie heiße ich?", "Sag meinen Namen."}), "Du bist " + name + "."},
			{"Hallo, ich heiße " + name + ".", "Hallo " + name + "! Wie kann ich dir helfen?", pick(g, []string{"Wie heiße ich noch mal?", "Wie ist mein Name?", "Hast du dir meinen Namen gemerkt?"}), "Du heißt " + name + "."},
			{"Ich wohne in " + city + ".", "In " + city + "? Wie schön!", pick(g, []string{"Wo wohne ich?", "In welcher Stadt wohne ich?", "Weißt du noch, wo ich wohne?"}), "Du wohnst in " + city + "."},
			{"Ich bin " + strconv.Itoa(age) + " Jahre alt.", "Danke, dass du mir das sagst.", pick(g, []string{"Wie alt bin ich?", "Weißt du, wie alt ich bin?"}), "Du bist " + strconv.Itoa(age) + " Jahre alt."},
			{fmt.Sprintf("Mein %s heißt %s.", animal, pet), pet + " ist ein schöner Name!", pick(g, []string{"Wie heißt mein " + animal + "?", "Wie heißt mein Tier?"}), fmt.Sprintf("Dein %s heißt %s.", animal, pet)},
			{"Meine Lieblingsfarbe ist " + upperFirst(col) + ".", upperFirst(col) + " ist eine schöne Farbe.", pick(g, []string{"Was ist meine Lieblingsfarbe?", "Welche Farbe mag ich am liebsten?"}), "Deine Lieblingsfarbe ist " + upperFirst(col) + "."},
		})
		if g.chance(0.3) { // something in between
			d := earlier.pick(g)
			g.add("memory", "leo", m.say, m.reply, d.Messages[0].Content, d.Messages[1].Content, m.ask, m.answer)
		} else {
			g.add("memory", "leo", m.say, m.reply, m.ask, m.answer)
		}
	}
}

// calculationTurns continue with the last result.
func calculationTurns(g *generator) {
	for range 1500 {
		a, b, c := 1+g.r.IntN(20), 1+g.r.IntN(20), 1+g.r.IntN(10)
		sum := a + b
		q1 := fmt.Sprintf(pick(g, []string{"Was ist %d plus %d?", "Rechne %d + %d.", "%d + %d?"}), a, b)
		a1 := fmt.Sprintf("%d plus %d ist %d.", a, b, sum)
		if g.chance(0.3) {
			sum = (1 + a%10) * (1 + b%10)
			q1 = fmt.Sprintf("Was ist %d mal %d?", 1+a%10, 1+b%10)
			a1 = fmt.Sprintf("%d mal %d ist %d.", 1+a%10, 1+b%10, sum)
		}
		if g.chance(0.5) || c > sum {
			g.add("arithmetic-turns", "leo", q1, a1, fmt.Sprintf(pick(g, []string{"Und plus %d?", "Und noch %d dazu?", "Zähle %d dazu.", "Plus %d?"}), c), fmt.Sprintf("%d plus %d ist %d.", sum, c, sum+c))
		} else {
			g.add("arithmetic-turns", "leo", q1, a1, fmt.Sprintf(pick(g, []string{"Und minus %d?", "Zieh %d davon ab.", "Und %d weniger?", "Minus %d?"}), c), fmt.Sprintf("%d minus %d ist %d.", sum, c, sum-c))
		}
	}
}

// jokeTurns are one joke, and another.
func jokeTurns(g *generator) {
	for range 500 {
		joke := intentNamed("joke")
		i, j := g.r.IntN(len(jokes)), g.r.IntN(len(jokes))
		if i != j {
			g.add("smalltalk-turns", "leo", pick(g, joke.says), jokes[i], pick(g, []string{"Noch einen!", "Haha! Noch einen bitte.", "Kennst du noch einen?", "Und noch einer?", "Den kannte ich schon."}), jokes[j])
		}
	}
}
