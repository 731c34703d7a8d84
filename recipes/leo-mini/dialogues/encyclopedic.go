package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"leolm/recipes/leo-mini/minidata"
)

// Placeholders: {t} title, {nom} and {akk} the title with its article, {ist} the verb that fits.

// thing asks about things and concepts.
var thing = []string{
	"Was {ist} {nom}?", "Was {ist} {nom}?", "Was {ist} {nom}?", "Was {ist} {nom} genau?", "Was {ist} eigentlich {nom}?", "Was {ist} denn {nom}?",
	"Was genau {ist} {nom}?", "Erkläre mir, was {nom} {ist}.", "Erklär mir bitte, was {nom} {ist}.", "Kannst du mir erklären, was {nom} {ist}?",
	"Können Sie mir erklären, was {nom} {ist}?", "Könnten Sie mir bitte sagen, was {nom} {ist}?", "Weißt du, was {nom} {ist}?",
	"Wissen Sie, was {nom} {ist}?", "Was weißt du über {akk}?", "Was wissen Sie über {akk}?", "Was kannst du mir über {akk} sagen?",
	"Erzähl mir etwas über {akk}.", "Erzähle mir bitte etwas über {akk}.", "Erzählen Sie mir etwas über {akk}.", "Kannst du mir etwas über {akk} erzählen?",
	"Ich möchte etwas über {akk} wissen.", "Ich würde gern etwas über {akk} erfahren.", "Ich will mehr über {akk} wissen.",
	"Gib mir eine kurze Erklärung zu {t}.", "Beschreibe {akk}.", "Beschreibe bitte {akk} in wenigen Sätzen.", "Beschreib mir {akk}.",
	"{t}?", "{t} – was ist das?", "{t}: was ist das?", "Was bedeutet {t}?", "Was bedeutet das Wort {t}?", "Was versteht man unter {t}?",
	"Was ist mit {t} gemeint?", "Was meint man mit {t}?", "Erkläre den Begriff {t}.", "Erkläre mir den Begriff „{t}“.", "Bitte erkläre {t}.",
	"Definiere {t}.", "Wie würdest du {akk} erklären?", "Wie erklärst du einem Kind, was {nom} {ist}?", "Erklär mir {akk} ganz einfach.",
	"Erkläre es einfach: Was {ist} {nom}?", "Mein Kind fragt, was {nom} {ist}. Was sage ich?", "In einfachen Worten: Was {ist} {nom}?",
	"Ich habe von {t} gehört. Was ist das?", "Ich habe das Wort {t} gelesen. Was heißt das?", "Was hat es mit {t} auf sich?",
	"Wofür steht das Wort {t}?", "Kennst du {akk}?", "Hast du schon einmal von {t} gehört?", "Schreib mir zwei, drei Sätze über {akk}.",
	"Schreibe einen kurzen Text über {akk}.", "Ein paar Informationen über {akk}, bitte.", "Informiere mich über {akk}.", "Thema {t}: Was sollte man wissen?",
	"Was sollte ich über {akk} wissen?", "Was muss man über {akk} wissen?", "Worum geht es beim Thema {t}?", "Ich verstehe nicht, was {nom} {ist}.",
	"Sag mir, was {nom} {ist}.", "Sag mir bitte kurz, was {nom} {ist}.", "Könntest du {akk} kurz vorstellen?", "Stell mir {akk} vor.",
	"Wir nehmen in der Schule {akk} durch. Was ist das Wichtigste?", "Für ein Referat: Was {ist} {nom}?", "Hilf mir bei den Hausaufgaben: Was {ist} {nom}?",
	"Ich brauche Infos zu {t}.", "Hast du Infos über {akk}?", "Was fällt dir zu {t} ein?", "Fasse zusammen, was {nom} {ist}.",
}

// person asks about people.
var person = []string{
	"Wer {war} {t}?", "Wer {war} {t}?", "Wer {war} {t}?", "Wer {war} eigentlich {t}?", "Wer genau {war} {t}?", "Weißt du, wer {t} {war}?", "Wissen Sie, wer {t} {war}?",
	"Kannst du mir sagen, wer {t} {war}?", "Können Sie mir sagen, wer {t} {war}?", "Erzähl mir etwas über {t}.", "Erzähle mir bitte von {t}.",
	"Was weißt du über {t}?", "Was wissen Sie über {t}?", "Was kannst du mir über {t} sagen?", "Wofür ist {t} bekannt?", "Warum kennt man {t}?",
	"Warum ist {t} berühmt?", "Was hat {t} gemacht?", "Kennst du {t}?", "Ich möchte etwas über {t} wissen.", "Ich würde gern mehr über {t} erfahren.",
	"{t}?", "{t} – wer {war} das?", "Der Name {t} sagt mir nichts. Wer {war} das?", "Erkläre mir, wer {t} {war}.", "Stell mir {t} kurz vor.",
	"Schreib mir ein paar Sätze über {t}.", "Für ein Referat: Wer {war} {t}?", "In der Schule ging es um {t}. Wer {war} das?", "Sag mir bitte, wer {t} {war}.",
	"Hast du schon von {t} gehört?", "Beschreibe {t} in wenigen Sätzen.", "Gib mir eine kurze Beschreibung von {t}.", "Ein paar Informationen über {t}, bitte.",
	"Was muss man über {t} wissen?", "Wer {war} denn {t}?",
}

// place asks about countries, towns, rivers.
var place = []string{
	"Wo liegt {nom}?", "Wo liegt eigentlich {nom}?", "Weißt du, wo {nom} liegt?", "Wo befindet sich {nom}?", "Wo findet man {akk}?", "Wo genau liegt {nom}?",
	"Kannst du mir sagen, wo {nom} liegt?", "Sag mir, wo {nom} liegt.", "Was {ist} {nom}, und wo liegt das?",
}

// brief and long ask for shorter and longer answers.
var brief = []string{
	"Was {ist} {nom}? Antworte in einem Satz.", "Erkläre in einem Satz, was {nom} {ist}.", "Ganz kurz: Was {ist} {nom}?", "Nur ein Satz bitte: Was {ist} {nom}?",
}
var long = []string{
	"Erkläre mir ausführlich, was {nom} {ist}.", "Was {ist} {nom}? Bitte ausführlich.", "Erzähl mir möglichst viel über {akk}.", "Ich möchte alles über {akk} wissen.",
}

var more = []string{
	"Erzähl mir mehr.", "Erzähl mir bitte mehr darüber.", "Und weiter?", "Was noch?", "Interessant! Was weißt du noch?", "Kannst du mehr dazu sagen?",
	"Mehr dazu, bitte.", "Das ist spannend. Erzähl weiter.", "Weißt du noch mehr darüber?", "Noch etwas?", "Danke. Und was weißt du noch darüber?", "Bitte mehr Einzelheiten.",
	"Was gibt es noch zu wissen?", "Sag mir noch etwas dazu.", "Erzählen Sie bitte weiter.",
}

// entry is one article ready for questions.
type entry struct {
	title, base    string // base: title without what is in brackets
	nom, akk       string
	ist, war       string
	isPerson       bool
	isPlace        bool
	first, second  []string // sentences of the first two paragraphs
	paras          [][]string
	ambiguousTitle bool
}

var (
	bracket     = regexp.MustCompile(`\s*\([^)]*\)$`)
	unfinished  = regexp.MustCompile(`^\p{Lu}.* (ist|war|sind|waren) .*\p{Ll}$`)
	abbrevEnd   = regexp.MustCompile(`(?i)(?:^|[^\p{L}\d])(\d+|[a-zäöü]|bzw|usw|ca|dr|st|nr|etc|vgl|art|mio|mrd|chr|sog|jh)\.$`)
	personal    = regexp.MustCompile(`^\p{Lu}\p{Ll}+( (de|da|del|van|von|der|\p{Lu}\.))* \p{Lu}[\p{L}'’-]+( \p{Lu}\p{Ll}+)?$`)
	professions = regexp.MustCompile(` (ist|war) .*(Schauspieler|Politiker|Sänger|Musiker|Maler|Schriftsteller|spieler|Sportler|Autor|Komponist|Physiker|Dichter|Erfinder|König|Kaiser|Forscher|Moderator|Künstler|Rapper|Zeichner|Regisseur|Philosoph|Präsident|Unternehmer|Mathematiker)`)
	placeWords  = regexp.MustCompile(`\b(Stadt|Großstadt|Hauptstadt|Land|Staat|Inselstaat|Fluss|Insel|Insel|Gebirge|Bundesland|Kanton|Berg|See|Halbinsel|Region|Bundesstaat|Landkreis|Meer|Gebiet)\b`)
)

// sentences returns the whole sentences at the beginning of a paragraph.
func sentences(lines []string) []string {
	var out []string
	for i := 0; i < len(lines); i++ {
		s := strings.TrimSpace(lines[i])
		// The source also breaks lines at abbreviations and colons.
		for (abbrevEnd.MatchString(s) || strings.HasSuffix(s, ":")) && i+1 < len(lines) {
			i++
			s += " " + strings.TrimSpace(lines[i])
		}
		if i == 0 && unfinished.MatchString(s) { // a period was lost
			s += "."
		}
		end := strings.TrimRight(s, `"“”»«')`)
		if !strings.HasSuffix(end, ".") && !strings.HasSuffix(end, "!") && !strings.HasSuffix(end, "?") || abbrevEnd.MatchString(s) {
			break
		}
		if strings.Count(s, `"`)%2 != 0 || strings.Count(s, "(") != strings.Count(s, ")") {
			break
		}
		out = append(out, s)
	}
	return out
}

func wordCount(s string) int { return len(strings.Fields(s)) }

// passage joins sentences until there are at least minWords words and least sentences, at most most.
func passage(s []string, minWords, least, most int) (string, bool) {
	n := 0
	for i, x := range s {
		if i >= most {
			break
		}
		n += wordCount(x)
		if n >= minWords && i+1 >= least || i+1 == most || i+1 == len(s) {
			text := strings.Join(s[:i+1], " ")
			return text, n >= 12 && len(text) < 700
		}
	}
	return "", false
}

func readEntries(g *generator) ([]*entry, error) {
	var out []*entry
	bases := map[string]int{}
	err := minidata.ReadDocs(filepath.Join(g.data, "corpus_de", "klexikon.jsonl.gz"), func(d minidata.Doc) error {
		title := minidata.Clean(d.Title)
		base := bracket.ReplaceAllString(title, "")
		bases[base]++
		if minidata.FoldOf(title) != minidata.Trained {
			return nil
		}
		paras := minidata.Paragraphs(d.Text)
		if len(paras) == 0 {
			return nil
		}
		e := &entry{title: title, base: base, first: sentences(paras[0]), paras: paras}
		if len(paras) > 1 {
			e.second = sentences(paras[1])
		}
		if len(e.first) == 0 {
			return nil
		}
		e.grammar(strings.Join(paras[0], " "), d.Text)
		out = append(out, e)
		return nil
	})
	for _, e := range out {
		e.ambiguousTitle = bases[e.base] > 1
	}
	return out, err
}

var accusative = map[string]string{"der": "den", "ein": "einen", "die": "die", "das": "das", "eine": "eine"}

// grammar derives article, number and kind from the first sentence.
func (e *entry) grammar(first, text string) {
	t := e.base
	e.nom, e.akk, e.ist, e.war = t, t, "ist", "war"
	sentence := e.first[0]
	lowerText := strings.ToLower(text)
	lower := strings.ToLower(sentence)
	for _, art := range []string{"ein", "eine", "der", "die", "das"} {
		if strings.HasPrefix(lower, art+" "+strings.ToLower(t)+" ") {
			e.nom, e.akk = art+" "+t, accusative[art]+" "+t
			if art == "ein" { // masculine or neuter: the articles in the text decide
				neuter := strings.Count(lowerText, "das "+strings.ToLower(t)+" ")
				male := strings.Count(lowerText, "der "+strings.ToLower(t)+" ") + strings.Count(lowerText, "den "+strings.ToLower(t)+" ") + strings.Count(lowerText, "einen "+strings.ToLower(t)+" ")
				switch {
				case neuter > male:
					e.akk = e.nom
				case neuter == male:
					e.akk = t
				}
			}
			rest := sentence[len(art)+1+len(t):]
			if art == "die" && (strings.HasPrefix(rest, " sind ") || strings.HasPrefix(rest, " waren ") || strings.HasPrefix(rest, " gehören ")) {
				e.ist = "sind"
			}
		}
	}
	if e.nom == t && (strings.HasPrefix(sentence, t+" sind ") || strings.HasPrefix(sentence, t+" gehören ") || strings.HasPrefix(sentence, t+" waren ") || strings.HasPrefix(sentence, t+" leben ")) {
		e.ist = "sind"
	}
	start := text
	if len(start) > 1500 {
		start = start[:1500]
	}
	born := strings.Contains(start, "geboren") || strings.Contains(start, "Geburtstag") || strings.Contains(start, "kam zur Welt") || strings.Contains(start, "kam in")
	plain := e.nom == t && e.ist == "ist"
	if plain && (strings.Contains(sentence, " war ein ") || strings.Contains(sentence, " war eine ") || strings.Contains(sentence, " war der ") || strings.Contains(sentence, " war die ") || strings.Contains(sentence, " war König")) &&
		(born || strings.Contains(start, "lebte") || strings.Contains(start, " starb")) {
		e.isPerson = true
	}
	if plain && !e.isPerson && born && personal.MatchString(t) && !placeWords.MatchString(sentence) {
		e.isPerson = true
		if strings.Contains(sentence, " ist ") {
			e.war = "ist"
		}
	}
	if plain && professions.MatchString(sentence) && strings.Contains(t, " ") {
		e.isPerson = true
		if !strings.Contains(sentence, " war ") {
			e.war = "ist"
		}
	}
	if !e.isPerson && placeWords.MatchString(sentence) && (strings.Contains(first, " in ") || strings.Contains(first, " im ") || strings.Contains(first, " liegt ")) &&
		(strings.HasPrefix(sentence, t+" ist ") || strings.HasPrefix(sentence, t+" liegt ") || e.nom != t && e.nom[:2] != "ei") && regexp.MustCompile(`\b(liegt|im (Norden|Süden|Osten|Westen|Nordosten|Nordwesten|Südosten|Südwesten)|in (Europa|Afrika|Asien|Nordamerika|Südamerika|Deutschland|Österreich|der Schweiz|Italien|Frankreich|Spanien))\b`).MatchString(first) {
		e.isPlace = true
	}
}

func (e *entry) ask(template string) string {
	q := fill(template, "t", e.base, "nom", e.nom, "akk", e.akk, "ist", e.ist, "war", e.war)
	return upperFirst(q)
}

// locate returns the first sentences, up to the one that names the place.
func (e *entry) locate() (string, bool) {
	for i, s := range e.first {
		if i > 2 {
			break
		}
		if strings.Contains(s, " liegt ") || strings.Contains(s, " in ") || strings.Contains(s, " im ") {
			text := strings.Join(e.first[:i+1], " ")
			if wordCount(text) < 12 && i+1 < len(e.first) {
				text += " " + e.first[i+1]
			}
			return text, len(text) < 500
		}
	}
	return "", false
}

// answer is what the article begins with: one to three sentences, at least 12 words, from the second paragraph
// too where the first is short.
func (e *entry) answer() (string, bool) {
	if text, ok := passage(e.first, 24, 1, 3); ok {
		return text, true
	}
	return passage(append(slices.Clone(e.first), e.second...), 24, 1, 4)
}

func encyclopedic(g *generator) error {
	entries, err := readEntries(g)
	if err != nil {
		return err
	}
	const variants = 11
	silent := 0
	for _, e := range entries {
		if e.ambiguousTitle {
			continue
		}
		answer, ok := e.answer()
		if !ok {
			silent++
			continue
		}
		list := thing
		if e.isPerson {
			list = person
		}
		// Every title gets the plain question; the rest of the wordings are drawn.
		g.add("encyclopedic", "klexikon", e.ask(list[0]), answer)
		g.add("encyclopedic", "klexikon", strings.TrimRight(strings.ToLower(e.ask(list[0])), "?"), answer)
		for _, i := range g.r.Perm(len(list) - 3)[:variants] {
			g.add("encyclopedic", "klexikon", g.casual(e.ask(list[3+i])), answer)
		}
		if e.isPlace {
			if where, ok := e.locate(); ok {
				for _, i := range g.r.Perm(len(place))[:3] {
					g.add("encyclopedic", "klexikon", g.casual(e.ask(place[i])), where)
				}
			}
		}
		if !e.isPerson {
			if wordCount(e.first[0]) >= 6 && g.chance(0.5) {
				g.add("encyclopedic-brief", "klexikon", e.ask(pick(g, brief)), e.first[0])
			}
			if text, ok := passage(e.first, 60, 3, 5); ok && text != answer && g.chance(0.5) {
				g.add("encyclopedic-long", "klexikon", e.ask(pick(g, long)), text)
			}
		}
		g.factDialogues(e, e.paras)
		if next, ok := passage(e.second, 24, 1, 3); ok {
			for range 2 {
				g.add("encyclopedic-more", "klexikon", g.casual(e.ask(pick(g, list))), answer, g.casual(pick(g, more)), next)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%d of %d articles have no beginning that could be an answer\n", silent, len(entries))
	return nil
}
