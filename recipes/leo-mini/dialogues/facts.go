package main

import (
	"regexp"
	"strings"
)

// fact is a question that a sentence of an article answers; patterns recognize the sentence.
type fact struct {
	sign   *regexp.Regexp
	not    *regexp.Regexp // sentences that look alike and mean something else
	asks   []string
	person bool // asked of people; otherwise of everything else
	place  bool // asked of places only
	early  bool // only in the first paragraph, where the sentence is about the title
}

func re(s string) *regexp.Regexp { return regexp.MustCompile(s) }

var factQuestions = []fact{
	{sign: re(`\d Meter hoch`), asks: []string{"Wie hoch {ist} {nom}?", "Welche Höhe hat {nom}?"}, early: true},
	{sign: re(`\d Kilometer lang|Länge von .*Kilometer`), asks: []string{"Wie lang {ist} {nom}?", "Welche Länge hat {nom}?"}, early: true},
	{sign: re(`(Zentimeter|Meter) (lang|groß)`), asks: []string{"Wie groß {wird} {nom}?"}, not: re(`Kilometer`)},
	{sign: re(`(Millionen?|Tausend|tausend|\d{3}) (Menschen|Einwohner)`), asks: []string{"Wie viele Einwohner hat {nom}?", "Wie viele Menschen leben in {t}?"}, place: true, early: true},
	{sign: re(`ist die Hauptstadt (von|des|der)`), asks: []string{"Ist {t} eine Hauptstadt?", "Wovon ist {t} die Hauptstadt?", "Zu welchem Land gehört {t}?"}, place: true, early: true},
	{sign: re(`(Die|Ihre|Seine) Hauptstadt (heißt|ist)|Hauptstadt heißt`), asks: []string{"Was ist die Hauptstadt von {t}?", "Wie heißt die Hauptstadt von {t}?"}, place: true},
	{sign: re(`\b(wurde|war|ist|kam) .*(geboren|zur Welt)`), asks: []string{"Wann wurde {t} geboren?", "Wo wurde {t} geboren?", "Wann und wo wurde {t} geboren?"}, person: true},
	{sign: re(`^(Er|Sie|Im Jahr \d+|Am \d+\.) .*\b(starb|gestorben)\b`), asks: []string{"Wann starb {t}?", "Wann ist {t} gestorben?"}, person: true},
	{sign: re(`\b(erfunden|erfand|entdeckt|entdeckte)\b`), asks: []string{"Wer hat {akk} erfunden?", "Seit wann gibt es {akk}?", "Wann wurde {nom} erfunden?"}, early: true},
	{sign: re(`^(Das|Der|Dieses) (griechische |lateinische |deutsche |englische )?(Wort|Name|Begriff|Ausdruck) .*(kommt|stammt|bedeutet|heißt)`), asks: []string{"Woher kommt das Wort {t}?", "Woher kommt der Name {t}?", "Was bedeutet der Name {t}?"}},
	{sign: re(`\b(fressen|frisst|ernähren sich|ernährt sich)\b`), asks: []string{"Was {frisst} {nom}?", "Wovon {ernährt} sich {nom}?"}, not: re(`gefressen|werden`)},
	{sign: re(`^(Er|Sie|Es|Man findet sie|Man findet ihn|Die [a-zA-Zäöü]+) (lebt|leben|kommt|kommen) .*\b(in|im|auf)\b`), asks: []string{"Wo {lebt} {nom}?", "Wo {kommt} {nom} vor?"}, early: true},
	{sign: re(`\bmündet\b|fließt .*(ins|in das|in die|in den) `), asks: []string{"Wohin fließt {nom}?", "Wo mündet {nom}?"}, place: true},
	{sign: re(`^(Er|Sie|Es|Ein[e]? \p{L}+|D(er|ie|as) \p{L}+) besteht .*aus\b`), asks: []string{"Woraus besteht {nom}?", "Aus was besteht {nom}?"}},
	{sign: re(`Es gibt (etwa |rund |ungefähr |über |mehr als )?\S+ (verschiedene )?\S*[Aa]rten`), asks: []string{"Wie viele Arten von {t} gibt es?", "Gibt es verschiedene Arten von {t}?"}, early: true},
	{sign: re(`\b(wurde|wurden) .*gegründet`), asks: []string{"Wann wurde {nom} gegründet?", "Seit wann gibt es {akk}?"}, early: true},
	{sign: re(`\b(wurde|baute|bauten) .*(gebaut|errichtet)|\bbaute(n)? man`), asks: []string{"Wann wurde {nom} gebaut?"}, early: true},
	{sign: re(`(braucht|brauchen|benutzt|benutzen|verwendet|verwenden|nutzt) (man |Menschen |wir )?(ihn|sie|es|\p{Lu}\p{L}+)?.*\b(für|um|zum|zur|damit)\b`), asks: []string{"Wozu braucht man {akk}?", "Wofür verwendet man {akk}?", "Wozu dient {nom}?"}, early: true},
	{sign: re(`berühmt|bekannt (ist|wurde|durch|für)|bekanntest`), asks: []string{"Wofür ist {t} bekannt?", "Weshalb kennt man {t}?"}, person: true},
	{sign: re(`\b(schrieb|malte|komponierte|erfand|entdeckte|gewann)\b`), asks: []string{"Was hat {t} geschaffen?", "Was hat {t} gemacht?"}, person: true},
	{sign: re(`\bkommt ursprünglich|\bstammt( ursprünglich)? aus|[Uu]rsprünglich k(ommt|am|ommen|amen)`), asks: []string{"Woher kommt {nom}?", "Woher stammt {nom}?"}, early: true, not: re(`Wort|Name`)},
	{sign: re(`^(Er|Sie|Es|Dort|Das Land|Die Stadt|\p{L}+) (liegt|grenzt)\b`), asks: []string{"Wo liegt {nom}?", "Wo befindet sich {nom}?"}, place: true, early: true},
	{sign: re(`\bgrenzt an|Nachbarländer|Nachbarn sind`), asks: []string{"An welche Länder grenzt {nom}?", "Welche Nachbarn hat {t}?"}, place: true},
}

// factDialogues asks an article for single facts; the answer is the sentence, and the one after it when the
// sentence alone is short.
func (g *generator) factDialogues(e *entry, paras [][]string) {
	seen := 0
	for pi, p := range paras {
		if pi > 3 || seen >= 10 {
			return
		}
		s := sentences(p)
		for i, text := range s {
			for _, f := range factQuestions {
				if !f.sign.MatchString(text) || f.not != nil && f.not.MatchString(text) || f.early && pi > 0 || f.person != e.isPerson || f.place && !e.isPlace {
					continue
				}
				answer := text
				if wordCount(answer) < 9 && i+1 < len(s) {
					answer += " " + s[i+1]
				}
				if len(answer) > 320 || wordCount(answer) < 5 {
					continue
				}
				for _, ask := range pickSome(g, f.asks, 2) {
					if g.add("encyclopedic-fact", "klexikon", g.casual(e.factQuestion(ask)), answer) {
						seen++
					}
				}
				break
			}
		}
	}
}

// factQuestion fills a question in, with the verb in the number of the title.
func (e *entry) factQuestion(ask string) string {
	plural := e.ist == "sind"
	q := fill(e.ask(ask), "wird", one(plural, "werden", "wird"), "frisst", one(plural, "fressen", "frisst"), "ernährt", one(plural, "ernähren", "ernährt"),
		"lebt", one(plural, "leben", "lebt"), "kommt", one(plural, "kommen", "kommt"))
	if plural {
		q = strings.NewReplacer(" hat die ", " haben die ", " dient die ", " dienen die ", " besteht die ", " bestehen die ").Replace(q)
	}
	return q
}

// pickSome draws at most n different entries.
func pickSome(g *generator, list []string, n int) []string {
	var out []string
	for _, i := range g.r.Perm(len(list))[:min(n, len(list))] {
		out = append(out, list[i])
	}
	return out
}

func one(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
