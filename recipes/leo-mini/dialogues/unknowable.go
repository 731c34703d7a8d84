package main

import (
	"strconv"
	"strings"
)

// dontKnow begins every abstention, so that it is easy to recognize.
var dontKnow = []string{
	"Das weiß ich nicht.", "Das weiß ich leider nicht.", "Das weiß ich nicht, tut mir leid.", "Leider weiß ich das nicht.", "Da muss ich passen: Das weiß ich nicht.",
	"Das kann ich nicht wissen.", "Das kann ich leider nicht wissen.", "Tut mir leid, das weiß ich nicht.", "Das ist mir nicht bekannt.", "Darauf weiß ich keine Antwort.",
}

var whyPrivate = []string{"", "", "Ich kenne dich nur aus diesem Gespräch.", "Darüber hast du mir nichts erzählt.", "Solche Dinge über dich kenne ich nicht.", "Ich sehe nur, was du mir schreibst.", "Von deinem Leben weiß ich nur, was du mir sagst."}
var whyFuture = []string{"", "", "In die Zukunft kann niemand sehen.", "Das liegt in der Zukunft.", "Die Zukunft kenne ich nicht.", "Das steht noch nicht fest."}
var whyName = []string{"", "", "Diesen Namen kenne ich nicht.", "Davon habe ich noch nie gehört.", "Das Wort kenne ich nicht.", "Vielleicht ist es falsch geschrieben.", "Dazu finde ich nichts in meinem Wissen."}
var whyNow = []string{"", "", "Ich habe keine Verbindung zum Internet.", "Ich habe keine Uhr und keinen Kalender.", "Aktuelle Nachrichten kenne ich nicht.", "Ich sehe nicht, was gerade geschieht."}

func (g *generator) abstain(why []string) string {
	a := pick(g, dontKnow)
	if w := pick(g, why); w != "" {
		a += " " + w
	}
	return a
}

var relatives = []string{"meine Mutter", "mein Vater", "meine Schwester", "mein Bruder", "mein Opa", "meine Oma", "meine Tante", "mein Nachbar", "meine Nachbarin", "meine Lehrerin", "mein Chef", "mein bester Freund", "meine beste Freundin", "mein Cousin", "meine Katze", "mein Hund", "mein Sohn", "meine Tochter", "mein Arzt", "meine Kollegin", "mein Mitbewohner", "mein Vermieter"}
var belongings = []string{"mein Fahrrad", "mein Auto", "mein Handy", "meine Jacke", "mein Haus", "meine Wohnung", "meine Tasche", "mein Hut", "mein Sofa", "mein Zimmer", "meine Brille", "mein Rucksack", "meine Küche", "mein Hemd", "mein Koffer"}
var lost = []string{"meine Brille", "mein Handy", "meinen Geldbeutel", "mein Portemonnaie", "meine Schlüssel", "meinen Ausweis", "meine Handschuhe", "mein Buch", "meinen Regenschirm", "die Fernbedienung", "meine Kopfhörer", "meinen Ring", "meine Mütze", "das Ladekabel"}

// dative is the form of "mein Hund" after "von".
func dative(np string) string {
	w := strings.SplitN(np, " ", 2)
	if w[0] == "mein" {
		if strings.HasSuffix(w[1], "er Freund") {
			return "meinem " + strings.Replace(w[1], "bester", "besten", 1)
		}
		if w[1] == "Nachbar" {
			return "meinem Nachbarn"
		}
		return "meinem " + w[1]
	}
	return "meiner " + strings.Replace(w[1], "beste ", "besten ", 1)
}

var syllables = []string{"bru", "kla", "mor", "fen", "tul", "gra", "ska", "plo", "nim", "wer", "zar", "dol", "vek", "rim", "qua", "sto", "hul", "bin", "trop", "lak", "gom", "jas", "pel", "fux", "dra", "mil", "kno", "schwi", "tra", "ob", "el", "ran", "ust", "irk", "ank", "umf"}
var thingEnds = []string{"ler", "ling", "stein", "kraut", "maschine", "gerät", "tier", "apparat", "wurz", "pilz", "ion", "it", "or", "ium", "el", "ik", "heber", "röhrchen", "fisch", "vogel", "um", "a", "o"}
var placeEnds = []string{"hausen", "stadt", "ien", "land", "berg", "furt", "ingen", "burg", "heim", "ania", "istan", "ora", "feld", "see"}
var nameEnds = []string{"mann", "huber", "meier", "kötter", "inger", "ski", "bach", "hoff", "ow", "sen", "ert", "lein"}

// invent makes up a word that is in no dictionary.
func (g *generator) invent(ends []string) string {
	w := pick(g, syllables)
	if g.chance(0.6) {
		w += pick(g, syllables)
	}
	return upperFirst(w + pick(g, ends))
}

func unknowable(g *generator) error {
	titles := map[string]bool{}
	entries, err := readEntries(g)
	if err != nil {
		return err
	}
	for _, e := range entries {
		titles[strings.ToLower(e.base)] = true
	}
	askPrivate(g)
	askFuture(g)
	askInvented(g, titles)
	askNow(g)
	return nil
}

// unknown adds a question with a refusal that says why.
func (g *generator) unknown(kind, q string, why []string) {
	g.add(kind, "leo", g.casual(q), g.abstain(why))
}

// askPrivate asks about the user.
func askPrivate(g *generator) {
	for range 2600 {
		who, what, gone := pick(g, relatives), pick(g, belongings), pick(g, lost)
		q := pick(g, []string{
			"Wie heißt " + who + "?", "Wie alt ist " + who + "?", "Wann hat " + who + " Geburtstag?", "Wo wohnt " + who + "?", "Was ist das Lieblingsessen von " + dative(who) + "?",
			"Wie groß ist " + who + "?", "Was macht " + who + " gerade?", "Wo ist " + who + " im Moment?", "Welche Augenfarbe hat " + who + "?", "Was wünscht sich " + who + " zu Weihnachten?",
			"Welche Telefonnummer hat " + who + "?", "Was hat " + who + " gestern gemacht?", "Wie lautet der Vorname von " + dative(who) + "?", "Was denkt " + who + " über mich?", "Wie schwer ist " + who + "?", "Hat " + who + " heute gute Laune?",
			"Welche Farbe hat " + what + "?", "Wo steht " + what + "?", "Wie alt ist " + what + "?", "Was hat " + what + " gekostet?", "Von wem habe ich " + strings.Replace(what, "mein ", "mein ", 1) + "?",
			"Wo habe ich " + gone + " gelassen?", "Wo ist " + strings.Replace(gone, "meinen", "mein", 1) + "?", "Weißt du, wo ich " + gone + " hingetan habe?", "Wer hat " + gone + " genommen?", "Wo liegt " + strings.Replace(gone, "meinen", "mein", 1) + "?",
			"Was habe ich " + pick(g, []string{"gestern", "heute Morgen", "vorgestern", "am Sonntag", "letzte Woche"}) + " " + pick(g, []string{"gegessen", "gekauft", "getrunken", "gelesen", "geträumt", "gemacht", "angezogen"}) + "?",
			"Wie alt bin ich?", "Wie groß bin ich?", "Wo wohne ich?", "Wo bin ich geboren?", "Wann habe ich Geburtstag?", "Was ist meine Lieblingsfarbe?", "Welche Schuhgröße habe ich?", "Was arbeite ich?", "Was mache ich gerade?", "Welche Farbe hat mein Pullover heute?",
			"Wie lautet mein Passwort?", "Wie ist meine Handynummer?", "Wie lautet meine PIN?", "Wie viel Geld habe ich auf dem Konto?", "Was steht in meinem Tagebuch?", "Was habe ich in der Hosentasche?", "Welche Zahl denke ich mir gerade?", "Was denke ich jetzt?",
			"Wie viele Geschwister habe ich?", "In welche Schule gehe ich?", "Wann muss ich morgen aufstehen?", "Welchen Bus nehme ich morgen?", "Mag " + who + " lieber Tee oder Kaffee?", "Was steht auf dem Zettel an " + "meinem Kühlschrank?", "Wie hieß mein erster Lehrer?",
			"Wann kommt " + who + " nach Hause?", "Was hat " + who + " mir zum Geburtstag geschenkt?", "Wie viele Bücher stehen in meinem Regal?", "Wer hat mich heute angerufen?", "Was hat mir " + who + " gestern gesagt?",
		})
		g.unknown("unknowable-private", q, whyPrivate)
	}
}

func askFuture(g *generator) {
	for range 1500 {
		year := strconv.Itoa(2031 + g.r.IntN(60))
		q := pick(g, []string{
			"Wer wird im Jahr " + year + " Bundeskanzler?", "Wer wird " + year + " Fußballweltmeister?", "Wer gewinnt die nächste " + pick(g, []string{"Wahl", "Meisterschaft", "Europameisterschaft", "Bundesliga-Saison"}) + "?",
			"Wie viele Menschen leben im Jahr " + year + " in " + pick(g, cities) + "?", "Was kostet ein Brot im Jahr " + year + "?", "Wie wird das Wetter " + pick(g, []string{"nächsten Sommer", "in drei Wochen", "an Weihnachten", "nächstes Jahr im Mai", "übermorgen", "am nächsten Wochenende"}) + "?",
			"Wann geht die Welt unter?", "Welche Zahlen kommen beim nächsten Lotto?", "Wird es morgen regnen?", "Wie steht der Euro in einem Jahr?", "Was passiert im Jahr " + year + "?", "Wer gewinnt das Spiel am " + pick(g, days) + "?",
			"Wie alt werde ich?", "Wen werde ich heiraten?", "Wie viele Kinder werde ich haben?", "Werde ich reich?", "Bestehe ich die Prüfung?", "Welche Note bekomme ich in Mathe?", "Wann sterbe ich?", "Gewinne ich dieses Jahr im Lotto?",
			"Welcher Film gewinnt " + year + " den Oscar?", "Wer bekommt im Jahr " + year + " den Nobelpreis?", "Wie heißt der Papst im Jahr " + year + "?", "Wann fliegen Menschen zu einem anderen Stern?", "Wie sieht die Welt in " + strconv.Itoa(20+g.r.IntN(500)) + " Jahren aus?",
			"Wann ist das nächste Erdbeben in " + pick(g, cities) + "?", "Wie hoch sind die Aktien in einem Monat?", "Schneit es am " + strconv.Itoa(1+g.r.IntN(28)) + ". Dezember?", "Welche Farbe ist im Jahr " + year + " in Mode?",
		})
		g.unknown("unknowable-future", q, whyFuture)
	}
}

// askInvented asks for invented names, in the same words as for real ones.
func askInvented(g *generator, titles map[string]bool) {
	invented := func(ends []string) string {
		for {
			if w := g.invent(ends); !titles[strings.ToLower(w)] {
				return w
			}
		}
	}
	for range 3800 {
		w, town, sur := invented(thingEnds), invented(placeEnds), invented(nameEnds)
		first := pick(g, append(append([]string{}, girls...), "Balthasar", "Kunigunde", "Eusebius", "Theobald", "Adelheid", "Ottokar", "Hildegund"))
		var q string
		switch g.r.IntN(5) {
		case 0, 1:
			e := entry{base: w, nom: w, akk: w, ist: "ist"}
			switch g.r.IntN(3) {
			case 0:
				e.nom, e.akk = "ein "+w, "einen "+w
			case 1:
				e.nom, e.akk = "eine "+w, "eine "+w
			}
			q = e.ask(pick(g, thing))
		case 2:
			e := entry{base: first + " " + sur, war: "war"}
			q = e.ask(pick(g, person))
		case 3:
			e := entry{base: town, nom: town, akk: town, ist: "ist"}
			q = e.ask(pick(g, place))
		default:
			q = pick(g, []string{
				"Was ist die größte Stadt von " + town + "?", "Wie heißt die Hauptstadt von " + town + "?", "Wie viele Einwohner hat " + town + "?", "Wann wurde " + town + " gegründet?", "Welche Sprache spricht man in " + town + "?",
				"Wann war der Krieg um " + town + "?", "Wer siegte in der Schlacht bei " + town + "?", "Wer erfand den " + w + "?", "Wozu benutzt man einen " + w + "?", "Wann wurde " + first + " " + sur + " geboren?", "Was hat " + first + " " + sur + " erfunden?",
				"Welche Bücher schrieb " + first + " " + sur + "?", "Wie hoch ist der " + town + "er Turm?", "Wer war König von " + town + "?", "Wie lang ist der Fluss " + w + "?", "Welches Tier frisst " + w + "?", "In welchem Land liegt " + town + "?", "Wer komponierte die Oper „" + w + "“?",
			})
		}
		g.unknown("unknowable-name", q, whyName)
	}
}

// askNow asks for what only somebody there can know.
func askNow(g *generator) {
	for range 900 {
		q := pick(g, []string{
			"Wie spät ist es?", "Wie viel Uhr ist es gerade?", "Welcher Tag ist heute?", "Welches Datum haben wir heute?", "Wie ist das Wetter gerade in " + pick(g, cities) + "?", "Wie warm ist es draußen?", "Scheint bei mir die Sonne?",
			"Was läuft heute Abend im Fernsehen?", "Wie hat " + pick(g, cities) + " gestern gespielt?", "Was steht heute in der Zeitung?", "Gibt es Stau auf der A" + strconv.Itoa(1+g.r.IntN(99)) + "?", "Wann fährt der nächste Bus nach " + pick(g, cities) + "?",
			"Hat der Zug nach " + pick(g, cities) + " Verspätung?", "Welche Apotheke hat heute Notdienst?", "Wie teuer ist Benzin heute?", "Welches Restaurant in " + pick(g, cities) + " hat jetzt offen?", "Was kostet der Flug nach " + pick(g, cities) + "?", "Wer ist gerade online?",
			"Welcher Feiertag ist morgen?", "Was gibt es Neues?", "Wer hat gestern die Wahl gewonnen?", "Wie steht es im Spiel?", "Ist der Supermarkt in " + pick(g, cities) + " noch offen?", "Wie voll ist mein Akku?",
		})
		g.unknown("unknowable-now", q, whyNow)
	}
}
