package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"leolm/recipes/leo-mini/minidata"
)

var readingForms = []string{
	"{p}\n\n{q}", "{q}\n\n{p}", "Text: {p}\n\nFrage: {q}", "Beantworte die Frage mit Hilfe des Textes.\n\n{p}\n\n{q}",
	"Hier ist ein Text:\n\n{p}\n\nMeine Frage: {q}", "Lies bitte diesen Abschnitt: {p}\n\n{q}", "Frage: {q}\n\nText: {p}",
	"Ich habe eine Frage zu diesem Text.\n\n{p}\n\n{q}", "Gegeben ist dieser Absatz:\n{p}\n\n{q}", "{p}\n\nFrage zum Text: {q}",
	"Lies den Text und antworte.\n\n{p}\n\n{q}", "Was sagt der Text dazu? {q}\n\n{p}",
}

// notInText are answers to questions that the passage does not answer.
var notInText = []string{
	"Das steht nicht im Text.", "Das steht leider nicht im Text.", "Der Text sagt dazu nichts.", "Darüber sagt der Text nichts.",
	"Das geht aus dem Text nicht hervor.", "Im Text finde ich dazu keine Antwort.", "Dazu steht in diesem Abschnitt nichts.", "Diese Angabe fehlt im Text.",
}

// around cuts context to whole sentences near the byte offset at, at most limit characters.
func around(context string, at, limit int) string {
	if utf8.RuneCountInString(context) <= limit {
		return context
	}
	ends := sentenceEnd.FindAllStringIndex(context, -1)
	var starts []int
	starts = append(starts, 0)
	for _, e := range ends {
		starts = append(starts, e[1])
	}
	if starts[len(starts)-1] < len(context) {
		starts = append(starts, len(context))
	}
	i := 0
	for i+1 < len(starts)-1 && starts[i+1] <= at {
		i++
	}
	from, to := i, i+1
	size := func() int { return utf8.RuneCountInString(context[starts[from]:starts[to]]) }
	for {
		grown := false
		if to+1 < len(starts) {
			to++
			if size() > limit {
				to--
			} else {
				grown = true
			}
		}
		if from > 0 {
			from--
			if size() > limit {
				from++
			} else {
				grown = true
			}
		}
		if !grown {
			return strings.TrimSpace(context[starts[from]:starts[to]])
		}
	}
}

var sentenceEnd = regexp.MustCompile(`[.!?]["“”»)]?\s+`)

func reading(g *generator) error {
	if err := xquad(g); err != nil {
		return err
	}
	if err := germanDPR(g); err != nil {
		return err
	}
	for range 9000 {
		scene(g)
	}
	return nil
}

const passageChars = 850

// extract words an answer found in the text.
func (g *generator) extract(answer string) string {
	answer = strings.TrimSpace(strings.Trim(strings.TrimSpace(answer), `"„“`))
	answer = strings.TrimRight(answer, ".;, ")
	switch g.r.IntN(5) {
	case 0:
		return "Die Antwort lautet: " + answer + "."
	case 1:
		return "Laut Text: " + answer + "."
	case 2:
		return "Im Text steht: " + answer + "."
	}
	return upperFirst(answer) + "."
}

func xquad(g *generator) error {
	path := filepath.Join(g.data, "instruct_de", "xquad.de.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file struct {
		Data []struct {
			Paragraphs []struct {
				Context string
				QAs     []struct {
					Question string
					Answers  []struct {
						Text  string
						Start int `json:"answer_start"`
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for i, d := range file.Data {
		for _, p := range d.Paragraphs {
			for _, qa := range p.QAs {
				if len(qa.Answers) == 0 {
					continue
				}
				a := qa.Answers[0]
				runes := []rune(p.Context)
				if a.Start > len(runes) || !strings.Contains(p.Context, a.Text) {
					continue
				}
				at := len(string(runes[:a.Start]))
				text := minidata.Clean(around(p.Context, at, passageChars))
				answer := minidata.Clean(a.Text)
				if !strings.Contains(text, answer) || len(answer) > 200 {
					continue
				}
				for range 2 {
					g.add("reading", "xquad", fill(pick(g, readingForms), "p", text, "q", qa.Question), g.extract(answer))
				}
				// A question about another article: the passage can't answer it.
				if g.chance(0.15) {
					other := file.Data[(i+1+g.r.IntN(len(file.Data)-1))%len(file.Data)]
					op := other.Paragraphs[g.r.IntN(len(other.Paragraphs))]
					g.add("reading-open", "xquad", fill(pick(g, readingForms), "p", text, "q", op.QAs[g.r.IntN(len(op.QAs))].Question), pick(g, notInText))
				}
			}
		}
	}
	return nil
}

var (
	dprQuestion = regexp.MustCompile(`(?:Frage|Fragestellung|Anfrage|Problemstellung|Problem)(?: dazu)?(?: lautet)?: (.+)`)
	dprQuoted   = regexp.MustCompile(`(?s)"(.+)"`)
	dprPrefix   = regexp.MustCompile(`^(Im|In|Nutze|Hier|Verwende)[^:.]{0,60}(Text|Abschnitt|Absatz|Passage)[^:.]{0,40}:\s*`)
	dprPrompt   = regexp.MustCompile(`(?i)^(gegeben ist|ich habe|finde|die (frage|anfrage)|meine |bitte |antworte|informiere|wenn nichts|gebe|gib|suche|schreibe|nutze|gefragt)`)
)

func germanDPR(g *generator) error {
	path := filepath.Join(g.data, "instruct_de", "instruct_german_dpr.csv")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, row := range rows[1:] {
		in, out := minidata.Clean(row[0]), minidata.Clean(row[1])
		m := dprQuestion.FindStringSubmatch(in)
		if m == nil {
			continue
		}
		q := upperFirst(strings.TrimSpace(m[1]))
		if !strings.HasSuffix(q, "?") {
			q += "?"
		}
		// The passage is the rest without the lines of the instruction.
		var keep []string
		for _, line := range strings.Split(in, "\n") {
			if line = strings.TrimSpace(line); line != "" && !dprPrompt.MatchString(line) {
				keep = append(keep, strings.ReplaceAll(line, "''", ""))
			}
		}
		text := dprPrefix.ReplaceAllString(strings.Join(keep, " "), "")
		if len(text) < 150 || strings.Contains(text, "gefunden") {
			continue
		}
		if strings.Contains(out, "gefunden.") || strings.Contains(out, "gefunden") && len(out) < 45 {
			if g.chance(0.35) {
				g.add("reading-open", "german-dpr", fill(pick(g, readingForms), "p", around(text, 0, passageChars), "q", q), pick(g, notInText))
			}
			continue
		}
		answer := out
		if m := dprQuoted.FindStringSubmatch(out); m != nil {
			answer = m[1]
		} else if i := strings.LastIndex(out, ": "); i > 0 && strings.Contains(out[:i], "lautet") {
			answer = out[i+2:]
		}
		answer = strings.ReplaceAll(strings.TrimSpace(strings.TrimRight(answer, ". ")), "''", "")
		at := strings.Index(text, answer)
		if at < 0 || len(answer) > 250 || answer == "" {
			continue
		}
		text = around(text, at, passageChars)
		if !strings.Contains(text, answer) {
			continue
		}
		for range 2 {
			g.add("reading", "german-dpr", fill(pick(g, readingForms), "p", text, "q", q), g.extract(answer))
		}
	}
	return nil
}

// Scenes are small texts with slots, and questions whose answers are the values of the slots. They teach the model to
// look up an answer that only the text can have.

var (
	girls    = []string{"Anna", "Lea", "Marie", "Emma", "Clara", "Ida", "Greta", "Nora", "Ella", "Frieda", "Luise", "Hanna", "Mia", "Sofie", "Jana", "Meike", "Petra", "Sabine", "Ayşe", "Elif", "Nina", "Theresa", "Johanna", "Katrin"}
	boys     = []string{"Paul", "Tim", "Lukas", "Ben", "Felix", "Max", "Emil", "Anton", "Oskar", "Karl", "Moritz", "Hannes", "Jan", "Erik", "Mehmet", "David", "Simon", "Peter", "Stefan", "Klaus", "Tobias", "Fritz", "Georg", "Leon"}
	surnames = []string{"Müller", "Schmidt", "Weber", "Becker", "Hoffmann", "Koch", "Richter", "Wolf", "Neumann", "Braun", "Krüger", "Hartmann", "Lange", "Schulz", "Keller", "Huber", "Yılmaz", "Peters", "Brandt", "Sommer"}
	cities   = []string{"Hamburg", "Leipzig", "Freiburg", "Bremen", "Kassel", "Ulm", "Graz", "Basel", "Rostock", "Erfurt", "Bonn", "Lübeck", "Augsburg", "Mainz", "Jena", "Linz", "Bern", "Dresden", "Köln", "Passau"}
	days     = []string{"Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"}
	colors   = []string{"rot", "blau", "grün", "gelb", "weiß", "schwarz", "braun", "grau", "orange", "lila"}
	things   = []string{"das Fahrrad", "das Buch", "die Tasche", "die Lampe", "die Gitarre", "das Zelt", "die Jacke", "der Koffer", "die Uhr", "das Radio", "der Ball", "der Hut"}
	animals  = []string{"Hund", "Kater", "Papagei", "Hamster", "Esel", "Hase", "Frosch", "Hahn"}
	jobs     = []string{"Lehrer", "Tischler", "Arzt", "Koch", "Gärtner", "Maler", "Bäcker", "Pilot", "Richter", "Förster", "Elektriker", "Musiker"}
	numbers  = []string{"zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"}
	meals    = []string{"Nudeln", "Suppe", "Pizza", "Kartoffeln", "Reis", "Pfannkuchen", "Salat", "Linsen", "Fisch", "Klöße"}
	petNames = []string{"Bello", "Mucki", "Flocke", "Strolch", "Susi", "Rocky", "Krümel", "Fips"}
	places   = []string{"im Park", "am Bahnhof", "in der Bibliothek", "auf dem Markt", "im Schwimmbad", "am See", "im Museum", "vor der Schule", "im Garten", "auf dem Spielplatz"}
)

// scene asks about a short scene with people, places and numbers.
func scene(g *generator) {
	c := newCast(g)
	text, qas := c.play(g)
	x := pick(g, qas)
	if x.a == "" && g.chance(0.6) { // a model this small would rather abstain than look
		x = pick(g, qas)
	}
	kind := "reading-scene"
	if x.a == "" {
		kind, x.a = "reading-open", pick(g, notInText)
	}
	g.add(kind, "leo", fill(pick(g, readingForms), "p", text, "q", x.q), x.a)
}

// cast is who and what a scene is made of.
type cast struct {
	girl, boy, girl2, sur, job  string
	animal, name                string // of the animal
	day, at, city, city2, place string
	n, n2, price, col, meal     string
	thing, akk                  string // with its article, in both cases
}

func newCast(g *generator) *cast {
	c := &cast{girl: pick(g, girls), boy: pick(g, boys), girl2: pick(g, girls)}
	for c.girl2 == c.girl {
		c.girl2 = pick(g, girls)
	}
	c.day, c.city, c.city2 = pick(g, days), pick(g, cities), pick(g, cities)
	for c.city2 == c.city {
		c.city2 = pick(g, cities)
	}
	c.n, c.n2 = pick(g, numbers), pick(g, numbers)
	c.col, c.place, c.meal, c.job, c.animal, c.sur = pick(g, colors), pick(g, places), pick(g, meals), pick(g, jobs), pick(g, animals), pick(g, surnames)
	c.thing = pick(g, things)
	c.akk = strings.Replace(c.thing, "der ", "den ", 1)
	c.name = pick(g, petNames)
	hour, min := fmt.Sprint(7+g.r.IntN(13)), pick(g, []string{"", " 15", " 30", " 45", " 10", " 20"})
	c.at = hour + " Uhr" + min
	c.price = fmt.Sprint(2 + g.r.IntN(48))
	return c
}

// qa is a question about a text; without an answer, the text does not say.
type qa struct{ q, a string }

// play tells one of the scenes and what may be asked about it.
func (c *cast) play(g *generator) (text string, qas []qa) {
	switch g.r.IntN(14) {
	case 0:
		text = fmt.Sprintf("%s und %s trafen sich am %s %s. Sie blieben %s Stunden dort und gingen dann zusammen nach Hause.", c.girl, c.boy, c.day, c.place, c.n)
		qas = []qa{{"Wo trafen sich die beiden?", fmt.Sprintf("Die beiden trafen sich %s.", c.place)}, {"An welchem Tag trafen sie sich?", fmt.Sprintf("Sie trafen sich am %s.", c.day)},
			{"Wie lange blieben sie dort?", fmt.Sprintf("Sie blieben %s Stunden dort.", c.n)}, {"Wen traf " + c.girl + "?", fmt.Sprintf("%s traf %s.", c.girl, c.boy)}, {"Wie alt ist " + c.boy + "?", ""}}
	case 1:
		text = fmt.Sprintf("Der %s von Familie %s heißt %s. Er ist %s Jahre alt und schläft am liebsten in der Küche.", c.animal, c.sur, c.name, c.n)
		qas = []qa{{"Wie heißt der " + c.animal + "?", fmt.Sprintf("Der %s heißt %s.", c.animal, c.name)}, {"Wie alt ist " + c.name + "?", fmt.Sprintf("%s ist %s Jahre alt.", c.name, c.n)},
			{"Wo schläft " + c.name + " am liebsten?", c.name + " schläft am liebsten in der Küche."}, {"Wem gehört der " + c.animal + "?", fmt.Sprintf("Der %s gehört Familie %s.", c.animal, c.sur)}, {"Welche Farbe hat " + c.name + "?", ""}}
	case 2:
		text = fmt.Sprintf("Herr %s arbeitet als %s in %s. Jeden Morgen fährt er um %s mit dem Bus zur Arbeit. Am Wochenende besucht er seine Schwester in %s.", c.sur, c.job, c.city, c.at, c.city2)
		qas = []qa{{"Was ist Herr " + c.sur + " von Beruf?", fmt.Sprintf("Herr %s ist %s.", c.sur, c.job)}, {"Wo arbeitet Herr " + c.sur + "?", fmt.Sprintf("Er arbeitet in %s.", c.city)},
			{"Wann fährt er zur Arbeit?", fmt.Sprintf("Er fährt um %s zur Arbeit.", c.at)}, {"Wo wohnt seine Schwester?", fmt.Sprintf("Seine Schwester wohnt in %s.", c.city2)}, {"Womit fährt er zur Arbeit?", "Er fährt mit dem Bus zur Arbeit."}, {"Wie heißt seine Schwester?", ""}}
	case 3:
		text = fmt.Sprintf("Zum Geburtstag bekam %s von ihrer Tante %s geschenkt. Das Geschenk war %s und kostete %s Euro. Die Feier fand am %s statt.", c.girl, c.akk, c.col, c.price, c.day)
		qas = []qa{{"Was bekam " + c.girl + " geschenkt?", fmt.Sprintf("%s bekam %s geschenkt.", c.girl, c.akk)}, {"Von wem bekam " + c.girl + " das Geschenk?", "Das Geschenk kam von ihrer Tante."},
			{"Welche Farbe hatte das Geschenk?", fmt.Sprintf("Das Geschenk war %s.", c.col)}, {"Was kostete das Geschenk?", fmt.Sprintf("Es kostete %s Euro.", c.price)}, {"Wann war die Feier?", fmt.Sprintf("Die Feier war am %s.", c.day)}, {"Wie viele Gäste kamen?", ""}}
	case 4:
		text = fmt.Sprintf("In der Kantine gibt es heute %s. Das Essen kostet %s Euro. Ab %s ist die Küche geschlossen.", c.meal, c.price, c.at)
		qas = []qa{{"Was gibt es heute zu essen?", fmt.Sprintf("Heute gibt es %s.", c.meal)}, {"Wie viel kostet das Essen?", fmt.Sprintf("Das Essen kostet %s Euro.", c.price)}, {"Ab wann ist die Küche zu?", fmt.Sprintf("Die Küche ist ab %s geschlossen.", c.at)}, {"Was gibt es morgen zu essen?", ""}}
	case 5:
		text = fmt.Sprintf("%s zieht nächste Woche von %s nach %s. Dort beginnt sie eine Lehre als %sin. Ihr Bruder %s hilft ihr beim Umzug.", c.girl, c.city, c.city2, "Gärtner", c.boy)
		qas = []qa{{"Wohin zieht " + c.girl + "?", fmt.Sprintf("%s zieht nach %s.", c.girl, c.city2)}, {"Woher kommt " + c.girl + "?", fmt.Sprintf("%s kommt aus %s.", c.girl, c.city)}, {"Wer hilft beim Umzug?", fmt.Sprintf("Ihr Bruder %s hilft ihr.", c.boy)},
			{"Welche Lehre beginnt " + c.girl + "?", "Sie beginnt eine Lehre als Gärtnerin."}, {"Wie viel Miete zahlt " + c.girl + "?", ""}}
	case 6:
		text = fmt.Sprintf("%s hat %s verloren. Zuletzt hatte er sie oder es am %s %s gesehen. Gefunden wurde %s schließlich von %s.", c.boy, c.akk, c.day, c.place, c.thing, c.girl)
		text = strings.Replace(text, "sie oder es ", "das Stück ", 1)
		qas = []qa{{"Was hat " + c.boy + " verloren?", fmt.Sprintf("%s hat %s verloren.", c.boy, c.akk)}, {"Wer hat " + c.akk + " gefunden?", fmt.Sprintf("%s hat %s gefunden.", c.girl, c.akk)}, {"Wo hatte er es zuletzt gesehen?", fmt.Sprintf("Er hatte es zuletzt %s gesehen.", c.place)}, {"Was hat " + c.thing + " gekostet?", ""}}
	case 7:
		text = fmt.Sprintf("Der Kurs beginnt am %s um %s und dauert %s Wochen. Die Teilnahme kostet %s Euro. Leiterin ist Frau %s.", c.day, c.at, c.n, c.price, c.sur)
		qas = []qa{{"Wann beginnt der Kurs?", fmt.Sprintf("Der Kurs beginnt am %s um %s.", c.day, c.at)}, {"Wie lange dauert der Kurs?", fmt.Sprintf("Der Kurs dauert %s Wochen.", c.n)}, {"Wer leitet den Kurs?", fmt.Sprintf("Frau %s leitet den Kurs.", c.sur)}, {"Was kostet die Teilnahme?", fmt.Sprintf("Die Teilnahme kostet %s Euro.", c.price)}, {"Wie viele Leute nehmen teil?", ""}}
	case 8:
		text = fmt.Sprintf("Auf dem Bauernhof von Familie %s leben %s Kühe, %s Schafe und ein %s. Im Sommer verkauft die Familie Eier und Käse auf dem Markt in %s.", c.sur, c.n, c.n2, c.animal, c.city)
		qas = []qa{{"Wie viele Kühe leben auf dem Hof?", fmt.Sprintf("Auf dem Hof leben %s Kühe.", c.n)}, {"Wie viele Schafe hat die Familie?", fmt.Sprintf("Die Familie hat %s Schafe.", c.n2)}, {"Was verkauft die Familie im Sommer?", "Sie verkauft Eier und Käse."}, {"In welcher Stadt ist der Markt?", fmt.Sprintf("Der Markt ist in %s.", c.city)}, {"Wie heißt der Bauer mit Vornamen?", ""}}
	case 9:
		text = fmt.Sprintf("%s wollte zuerst %s werden. Weil ihr das zu langweilig war, lernte sie Klavierbauerin. Seit %s Jahren hat sie eine Werkstatt in %s.", c.girl, c.job+"in", c.n, c.city)
		text = strings.ReplaceAll(text, "Arztin", "Ärztin")
		text = strings.ReplaceAll(text, "Kochin", "Köchin")
		qas = []qa{{"Was hat " + c.girl + " gelernt?", c.girl + " hat Klavierbauerin gelernt."}, {"Wo ist ihre Werkstatt?", fmt.Sprintf("Ihre Werkstatt ist in %s.", c.city)}, {"Seit wann hat sie die Werkstatt?", fmt.Sprintf("Sie hat die Werkstatt seit %s Jahren.", c.n)}, {"Wie heißt ihr Mann?", ""}}
	case 10:
		text = fmt.Sprintf("Gestern regnete es in %s den ganzen Tag. %s nahm deshalb den Bus und nicht %s. In %s dagegen schien die Sonne.", c.city, c.boy, "das Rad", c.city2)
		qas = []qa{{"Wie war das Wetter gestern in " + c.city + "?", fmt.Sprintf("In %s regnete es den ganzen Tag.", c.city)}, {"Warum nahm " + c.boy + " den Bus?", fmt.Sprintf("%s nahm den Bus, weil es regnete.", c.boy)}, {"Wo schien die Sonne?", fmt.Sprintf("Die Sonne schien in %s.", c.city2)}, {"Wie warm war es?", ""}}
	case 11:
		text = fmt.Sprintf("Für den Teig braucht man %s Eier, %s00 Gramm Mehl und ein Glas Milch. Der Teig ruht %s Minuten. Danach backt man ihn in der Pfanne.", c.n, fmt.Sprint(1+g.r.IntN(8)), fmt.Sprint(10*(1+g.r.IntN(5))))
		qas = []qa{{"Wie viele Eier kommen in den Teig?", fmt.Sprintf("In den Teig kommen %s Eier.", c.n)}, {"Worin backt man den Teig?", "Man backt ihn in der Pfanne."}, {"Wie viel Zucker kommt in den Teig?", ""}}
	case 12:
		text = fmt.Sprintf("Die Bibliothek in %s ist %s und %s geschlossen. An den anderen Tagen öffnet sie um %s. Wer ein Buch zu spät zurückgibt, zahlt %s Euro.", c.city, "montags", "sonntags", c.at, c.price)
		qas = []qa{{"An welchen Tagen ist die Bibliothek geschlossen?", "Die Bibliothek ist montags und sonntags geschlossen."}, {"Wann öffnet die Bibliothek?", fmt.Sprintf("Sie öffnet um %s.", c.at)}, {"Was zahlt man, wenn man ein Buch zu spät bringt?", fmt.Sprintf("Man zahlt %s Euro.", c.price)}, {"Wie viele Bücher gibt es dort?", ""}}
	default:
		text = fmt.Sprintf("%s, %s und %s bauten am %s ein Baumhaus. %s brachte das Holz mit, %s die Nägel. Am Abend strichen sie es %s an.", c.girl, c.boy, c.girl2, c.day, c.girl, c.boy, c.col)
		qas = []qa{{"Wer brachte das Holz mit?", c.girl + " brachte das Holz mit."}, {"Wer brachte die Nägel mit?", c.boy + " brachte die Nägel mit."}, {"Welche Farbe hat das Baumhaus?", fmt.Sprintf("Das Baumhaus ist %s.", c.col)}, {"Was bauten die Kinder?", "Die Kinder bauten ein Baumhaus."}, {"Wann bauten sie das Baumhaus?", fmt.Sprintf("Sie bauten es am %s.", c.day)}, {"Wie hoch ist das Baumhaus?", ""}}
	}
	return text, qas
}
