package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nouns: article, singular, plural.
var nouns = [][3]string{
	{"der", "Baum", "Bäume"}, {"das", "Haus", "Häuser"}, {"die", "Katze", "Katzen"}, {"der", "Hund", "Hunde"}, {"das", "Kind", "Kinder"}, {"die", "Blume", "Blumen"},
	{"der", "Tisch", "Tische"}, {"der", "Stuhl", "Stühle"}, {"die", "Lampe", "Lampen"}, {"das", "Buch", "Bücher"}, {"der", "Vogel", "Vögel"}, {"die", "Maus", "Mäuse"},
	{"das", "Rad", "Räder"}, {"die", "Stadt", "Städte"}, {"der", "Berg", "Berge"}, {"der", "Fluss", "Flüsse"}, {"das", "Land", "Länder"}, {"die", "Insel", "Inseln"},
	{"der", "Garten", "Gärten"}, {"die", "Hand", "Hände"}, {"der", "Fuß", "Füße"}, {"das", "Auge", "Augen"}, {"das", "Ohr", "Ohren"}, {"die", "Nase", "Nasen"},
	{"der", "Zahn", "Zähne"}, {"der", "Stern", "Sterne"}, {"die", "Wolke", "Wolken"}, {"das", "Bild", "Bilder"}, {"der", "Brief", "Briefe"}, {"die", "Uhr", "Uhren"},
	{"das", "Auto", "Autos"}, {"der", "Zug", "Züge"}, {"das", "Schiff", "Schiffe"}, {"die", "Brücke", "Brücken"}, {"der", "Weg", "Wege"}, {"die", "Straße", "Straßen"},
	{"das", "Tier", "Tiere"}, {"die", "Kuh", "Kühe"}, {"das", "Pferd", "Pferde"}, {"das", "Schwein", "Schweine"}, {"das", "Huhn", "Hühner"}, {"der", "Fisch", "Fische"},
	{"der", "Bär", "Bären"}, {"der", "Löwe", "Löwen"}, {"der", "Wolf", "Wölfe"}, {"die", "Ente", "Enten"}, {"die", "Gans", "Gänse"}, {"das", "Schaf", "Schafe"},
	{"der", "Mann", "Männer"}, {"die", "Frau", "Frauen"}, {"der", "Freund", "Freunde"}, {"die", "Schwester", "Schwestern"}, {"der", "Bruder", "Brüder"}, {"die", "Mutter", "Mütter"},
	{"der", "Vater", "Väter"}, {"die", "Tochter", "Töchter"}, {"der", "Sohn", "Söhne"}, {"der", "Lehrer", "Lehrer"}, {"der", "Arzt", "Ärzte"}, {"der", "König", "Könige"},
	{"das", "Wort", "Wörter"}, {"der", "Satz", "Sätze"}, {"das", "Lied", "Lieder"}, {"das", "Spiel", "Spiele"}, {"der", "Ball", "Bälle"}, {"die", "Puppe", "Puppen"},
	{"das", "Messer", "Messer"}, {"die", "Gabel", "Gabeln"}, {"der", "Löffel", "Löffel"}, {"der", "Teller", "Teller"}, {"die", "Tasse", "Tassen"}, {"das", "Glas", "Gläser"},
	{"die", "Flasche", "Flaschen"}, {"der", "Schrank", "Schränke"}, {"das", "Bett", "Betten"}, {"die", "Tür", "Türen"}, {"das", "Fenster", "Fenster"}, {"die", "Wand", "Wände"},
	{"das", "Dach", "Dächer"}, {"der", "Turm", "Türme"}, {"die", "Burg", "Burgen"}, {"das", "Schloss", "Schlösser"}, {"der", "Wald", "Wälder"}, {"das", "Blatt", "Blätter"},
	{"die", "Wurzel", "Wurzeln"}, {"der", "Ast", "Äste"}, {"die", "Birne", "Birnen"}, {"die", "Nuss", "Nüsse"}, {"das", "Ei", "Eier"}, {"das", "Brot", "Brote"},
	{"der", "Kuchen", "Kuchen"}, {"die", "Suppe", "Suppen"}, {"das", "Heft", "Hefte"}, {"der", "Stift", "Stifte"}, {"die", "Schule", "Schulen"}, {"der", "Mantel", "Mäntel"},
	{"die", "Jacke", "Jacken"}, {"der", "Schuh", "Schuhe"}, {"das", "Hemd", "Hemden"}, {"die", "Hose", "Hosen"}, {"der", "Hut", "Hüte"}, {"der", "Ring", "Ringe"},
	{"das", "Jahr", "Jahre"}, {"der", "Monat", "Monate"}, {"die", "Woche", "Wochen"}, {"der", "Tag", "Tage"}, {"die", "Nacht", "Nächte"}, {"die", "Stunde", "Stunden"},
}

var opposites = [][2]string{
	{"groß", "klein"}, {"heiß", "kalt"}, {"hell", "dunkel"}, {"lang", "kurz"}, {"alt", "jung"}, {"schnell", "langsam"}, {"dick", "dünn"}, {"hoch", "niedrig"}, {"schwer", "leicht"},
	{"nass", "trocken"}, {"voll", "leer"}, {"reich", "arm"}, {"stark", "schwach"}, {"gut", "schlecht"}, {"richtig", "falsch"}, {"offen", "geschlossen"}, {"früh", "spät"}, {"oben", "unten"},
	{"links", "rechts"}, {"vorne", "hinten"}, {"innen", "außen"}, {"Tag", "Nacht"}, {"Anfang", "Ende"}, {"Sommer", "Winter"}, {"Freund", "Feind"}, {"Krieg", "Frieden"}, {"Frage", "Antwort"},
	{"lachen", "weinen"}, {"kommen", "gehen"}, {"kaufen", "verkaufen"}, {"öffnen", "schließen"}, {"finden", "suchen"}, {"geben", "nehmen"}, {"mutig", "feige"}, {"fleißig", "faul"}, {"süß", "sauer"},
	{"weich", "hart"}, {"eng", "weit"}, {"breit", "schmal"}, {"scharf", "stumpf"}, {"billig", "teuer"}, {"müde", "wach"}, {"gesund", "krank"}, {"sauber", "schmutzig"}, {"glücklich", "unglücklich"},
	{"viel", "wenig"}, {"immer", "nie"}, {"alles", "nichts"}, {"Erfolg", "Misserfolg"}, {"Norden", "Süden"}, {"Osten", "Westen"}, {"Plus", "Minus"}, {"Ja", "Nein"}, {"Himmel", "Erde"}, {"Riese", "Zwerg"},
	{"lieben", "hassen"}, {"steigen", "fallen"}, {"anfangen", "aufhören"}, {"einsteigen", "aussteigen"}, {"gewinnen", "verlieren"}, {"fragen", "antworten"}, {"schlafen", "wachen"}, {"neu", "alt"}, {"nah", "fern"},
	{"höflich", "unhöflich"}, {"möglich", "unmöglich"}, {"freundlich", "unfreundlich"}, {"einfach", "schwierig"}, {"spannend", "langweilig"}, {"flüssig", "fest"}, {"roh", "gekocht"}, {"wild", "zahm"}, {"glatt", "rau"}, {"tief", "flach"},
}

// compounds: word and its two parts.
var compounds = [][3]string{
	{"Schulbus", "Schule", "Bus"}, {"Apfelbaum", "Apfel", "Baum"}, {"Regenschirm", "Regen", "Schirm"}, {"Sonnenblume", "Sonne", "Blume"}, {"Handschuh", "Hand", "Schuh"}, {"Zahnbürste", "Zahn", "Bürste"},
	{"Fußball", "Fuß", "Ball"}, {"Kinderzimmer", "Kinder", "Zimmer"}, {"Bücherregal", "Bücher", "Regal"}, {"Autobahn", "Auto", "Bahn"}, {"Eisenbahn", "Eisen", "Bahn"}, {"Briefkasten", "Brief", "Kasten"},
	{"Kühlschrank", "kühl", "Schrank"}, {"Hochhaus", "hoch", "Haus"}, {"Schneemann", "Schnee", "Mann"}, {"Wasserfall", "Wasser", "Fall"}, {"Windrad", "Wind", "Rad"}, {"Sandburg", "Sand", "Burg"},
	{"Holztisch", "Holz", "Tisch"}, {"Kartoffelsuppe", "Kartoffel", "Suppe"}, {"Käsebrot", "Käse", "Brot"}, {"Milchkuh", "Milch", "Kuh"}, {"Hundehütte", "Hund", "Hütte"}, {"Vogelnest", "Vogel", "Nest"},
	{"Bienenstock", "Bienen", "Stock"}, {"Fahrrad", "fahren", "Rad"}, {"Schlafzimmer", "schlafen", "Zimmer"}, {"Waschmaschine", "waschen", "Maschine"}, {"Schwimmbad", "schwimmen", "Bad"}, {"Lesebuch", "lesen", "Buch"},
	{"Dachfenster", "Dach", "Fenster"}, {"Kirchturm", "Kirche", "Turm"}, {"Bergdorf", "Berg", "Dorf"}, {"Flussufer", "Fluss", "Ufer"}, {"Waldweg", "Wald", "Weg"}, {"Sternenhimmel", "Sterne", "Himmel"},
	{"Mondlicht", "Mond", "Licht"}, {"Tischlampe", "Tisch", "Lampe"}, {"Türklinke", "Tür", "Klinke"}, {"Schuhladen", "Schuh", "Laden"}, {"Wintermantel", "Winter", "Mantel"}, {"Sommerferien", "Sommer", "Ferien"},
	{"Geburtstag", "Geburt", "Tag"}, {"Postkarte", "Post", "Karte"}, {"Feuerwehr", "Feuer", "Wehr"}, {"Krankenhaus", "krank", "Haus"}, {"Bahnhof", "Bahn", "Hof"}, {"Flughafen", "Flug", "Hafen"},
	{"Spielplatz", "spielen", "Platz"}, {"Blumentopf", "Blume", "Topf"}, {"Gartenzaun", "Garten", "Zaun"}, {"Bauernhof", "Bauer", "Hof"}, {"Erdbeere", "Erde", "Beere"}, {"Nudelsalat", "Nudel", "Salat"}, {"Papierflieger", "Papier", "Flieger"}, {"Ohrring", "Ohr", "Ring"},
}

var rhymes = [][]string{
	{"Haus", "Maus", "Laus", "Strauß"}, {"Hand", "Sand", "Wand", "Land", "Band"}, {"Hose", "Dose", "Rose"}, {"Tisch", "Fisch"}, {"Hund", "Mund", "rund", "Grund"}, {"Baum", "Raum", "Traum", "Schaum"},
	{"Nase", "Hase", "Vase", "Blase"}, {"Kopf", "Topf", "Zopf", "Knopf"}, {"Katze", "Tatze", "Matratze"}, {"Stein", "Bein", "Wein", "klein", "fein"}, {"Licht", "Gesicht", "Gedicht", "nicht"}, {"Nacht", "Macht", "acht", "Pracht"},
	{"Sonne", "Tonne", "Wonne"}, {"Kuchen", "suchen", "buchen"}, {"Ball", "Fall", "Knall", "Stall"}, {"Tasse", "Kasse", "Klasse"}, {"Bett", "nett", "Brett", "fett"}, {"Wald", "bald", "kalt"}, {"Herz", "Schmerz", "März"}, {"Buch", "Tuch", "Besuch"},
	{"Schuh", "Kuh", "Ruh"}, {"Ring", "Ding", "Schmetterling"}, {"Wind", "Kind", "Rind"}, {"Tag", "mag", "Schlag"}, {"Löffel", "Büffel"}, {"Garten", "warten", "Karten"}, {"Leiter", "Reiter", "heiter", "weiter"}, {"Fliege", "Ziege", "Liege", "Wiege"},
}

func vowels(w string) int {
	n := 0
	for _, r := range strings.ToLower(w) {
		if strings.ContainsRune("aeiouäöü", r) {
			n++
		}
	}
	return n
}

func reverse(w string) string {
	r := []rune(w)
	slices.Reverse(r)
	return string(r)
}

func words(g *generator) error {
	inflections(g)
	for _, o := range opposites {
		for i := range 2 {
			a, b := o[i], o[1-i]
			if i == 1 && (b == "neu" || a == "alt") {
				continue
			}
			for _, f := range []string{"Was ist das Gegenteil von %s?", "Was ist das Gegenteil von „%s“?", "Wie heißt das Gegenteil von %s?", "Nenne das Gegenteil von %s.", "Gegenteil von %s?", "%s – was ist das Gegenteil?"} {
				g.word(g.casual(upperFirst(fmt.Sprintf(f, a))), pick(g, []string{fmt.Sprintf("Das Gegenteil von „%s“ ist „%s“.", a, b), upperFirst(b) + ".", fmt.Sprintf("Das Gegenteil ist „%s“.", b)}))
			}
		}
	}
	for _, c := range compounds {
		for _, f := range []string{"Aus welchen Wörtern besteht „%s“?", "Zerlege das Wort %s.", "Welche Wörter stecken in „%s“?", "Teile das Wort „%s“ in seine zwei Teile.", "Woraus ist das Wort %s zusammengesetzt?"} {
			g.word(fmt.Sprintf(f, c[0]), pick(g, []string{fmt.Sprintf("„%s“ besteht aus „%s“ und „%s“.", c[0], c[1], c[2]), fmt.Sprintf("Das Wort setzt sich aus „%s“ und „%s“ zusammen.", c[1], c[2])}))
		}
		for _, f := range []string{"Setze „%s“ und „%s“ zu einem Wort zusammen.", "Bilde ein Wort aus %s und %s.", "Welches Wort ergibt sich aus „%s“ und „%s“?"} {
			g.word(fmt.Sprintf(f, c[1], c[2]), fmt.Sprintf("Das ergibt „%s“.", c[0]))
		}
	}
	rhyming(g)
	var list []string
	for _, n := range nouns {
		list = append(list, n[1])
	}
	for _, c := range compounds {
		list = append(list, c[0])
	}
	for _, w := range list {
		lettersOf(g, w)
	}
	for range 900 {
		severalWords(g, list)
	}
	categories(g)
	return nil
}

func (g *generator) word(q, a string) { g.add("words", "leo", q, a) }

// inflections ask for plurals, articles and singulars.
func inflections(g *generator) {
	for _, n := range nouns {
		art, one, many := n[0], n[1], n[2]
		for _, f := range []string{"Wie heißt der Plural von „%s“?", "Wie lautet der Plural von %s?", "Was ist die Mehrzahl von „%s“?", "Nenne die Mehrzahl von %s.", "Bilde den Plural: %s", "Ein %s, zwei ...?"} {
			if strings.HasPrefix(f, "Ein ") {
				if art == "die" {
					f = "Eine %s, zwei ...?"
				}
				g.word(fmt.Sprintf(f, one), fmt.Sprintf("Zwei %s.", many))
				continue
			}
			g.word(fmt.Sprintf(f, one), pick(g, []string{fmt.Sprintf("Die Mehrzahl von „%s“ ist „%s“.", one, many), fmt.Sprintf("Der Plural lautet „die %s“.", many), fmt.Sprintf("Ein%s %s, viele %s.", map[string]string{"die": "e"}[art], one, many)}))
		}
		for _, f := range []string{"Heißt es der, die oder das %s?", "Welchen Artikel hat %s?", "Der, die oder das: %s?", "Welcher Artikel gehört zu „%s“?"} {
			g.word(fmt.Sprintf(f, one), fmt.Sprintf("Es heißt „%s %s“.", art, one))
		}
		for _, f := range []string{"Wie heißt die Einzahl von „%s“?", "Was ist der Singular von %s?"} {
			if one != many {
				g.word(fmt.Sprintf(f, many), fmt.Sprintf("Die Einzahl von „%s“ ist „%s“.", many, one))
			}
		}
	}
}

func rhyming(g *generator) {
	for _, group := range rhymes {
		for _, w := range group {
			for _, f := range []string{"Was reimt sich auf %s?", "Nenne ein Reimwort zu „%s“.", "Finde einen Reim auf %s.", "Welches Wort reimt sich auf „%s“?"} {
				o := pick(g, group)
				for o == w {
					o = pick(g, group)
				}
				g.word(g.casual(fmt.Sprintf(f, w)), fmt.Sprintf("Auf „%s“ reimt sich „%s“.", w, o))
			}
		}
	}
}

// lettersOf asks what a word is spelled with.
func lettersOf(g *generator, w string) {
	n := utf8.RuneCountInString(w)
	first, _ := utf8.DecodeRuneInString(w)
	last, _ := utf8.DecodeLastRuneInString(w)
	var letters []string
	for _, r := range w {
		letters = append(letters, string(unicode.ToUpper(r)))
	}
	spelled := strings.Join(letters, "-")
	for _, f := range []string{"Wie viele Buchstaben hat „%s“?", "Wie viele Buchstaben hat das Wort %s?", "Zähle die Buchstaben in „%s“.", "Wie lang ist das Wort %s?"} {
		g.word(fmt.Sprintf(f, w), pick(g, []string{fmt.Sprintf("Das Wort „%s“ hat %s Buchstaben.", w, numeral(n)), fmt.Sprintf("%s: Das sind %s Buchstaben.", spelled, numeral(n))}))
	}
	for _, f := range []string{"Mit welchem Buchstaben beginnt %s?", "Was ist der erste Buchstabe von „%s“?", "Nenne den Anfangsbuchstaben von %s."} {
		g.word(fmt.Sprintf(f, w), fmt.Sprintf("„%s“ beginnt mit %s.", w, string(unicode.ToUpper(first))))
	}
	for _, f := range []string{"Mit welchem Buchstaben endet %s?", "Was ist der letzte Buchstabe von „%s“?"} {
		g.word(fmt.Sprintf(f, w), fmt.Sprintf("„%s“ endet mit %s.", w, string(unicode.ToUpper(last))))
	}
	if !strings.Contains(w, "ß") {
		for _, f := range []string{"Schreibe „%s“ in Großbuchstaben.", "Schreib %s ganz groß.", "Wandle %s in Großbuchstaben um.", "%s in Großbuchstaben, bitte."} {
			g.word(fmt.Sprintf(f, pick(g, []string{w, strings.ToLower(w)})), strings.ToUpper(w))
		}
	}
	for _, f := range []string{"Schreibe „%s“ in Kleinbuchstaben.", "Schreib %s ganz klein."} {
		g.word(fmt.Sprintf(f, pick(g, []string{w, strings.ToUpper(w)})), strings.ToLower(w))
	}
	if n <= 6 {
		for _, f := range []string{"Schreibe %s rückwärts.", "Wie heißt „%s“ rückwärts?", "Drehe das Wort %s um."} {
			g.word(fmt.Sprintf(f, w), pick(g, []string{reverse(strings.ToLower(w)) + ".", fmt.Sprintf("Rückwärts heißt es „%s“.", reverse(strings.ToLower(w)))}))
		}
	}
	for _, f := range []string{"Buchstabiere %s.", "Kannst du „%s“ buchstabieren?"} {
		g.word(fmt.Sprintf(f, w), spelled+".")
	}
	if g.chance(0.5) {
		g.word(fmt.Sprintf("Wie viele Vokale hat „%s“?", w), fmt.Sprintf("„%s“ hat %s.", w, map[bool]string{true: "einen Vokal", false: numeral(vowels(w)) + " Vokale"}[vowels(w) == 1]))
	}
}

// severalWords are to be sorted, counted, and picked from.
func severalWords(g *generator, list []string) {
	n := 3 + g.r.IntN(2)
	var some []string
	for len(some) < n {
		w := pick(g, list)
		plain := strings.IndexFunc(w, func(r rune) bool { return r > 127 }) < 0
		if plain && !slices.Contains(some, w) {
			some = append(some, w)
		}
	}
	sorted := slices.Sorted(slices.Values(some))
	g.word(fmt.Sprintf(pick(g, []string{"Ordne alphabetisch: %s", "Sortiere diese Wörter nach dem Alphabet: %s", "Bringe %s in alphabetische Reihenfolge.", "Sortiere alphabetisch: %s"}), strings.Join(some, ", ")), strings.Join(sorted, ", ")+".")
	if g.chance(0.4) {
		g.word(fmt.Sprintf(pick(g, []string{"Wie viele Wörter sind das: %s?", "Zähle die Wörter: %s"}), strings.Join(some, ", ")), fmt.Sprintf("Das sind %s Wörter.", numeral(n)))
	}
	if g.chance(0.4) {
		i := g.r.IntN(n)
		g.word(fmt.Sprintf(pick(g, []string{"Nenne das %s. Wort: %s", "Welches Wort steht an %s. Stelle: %s?"}), strconv.Itoa(i+1), strings.Join(some, ", ")), some[i]+".")
	}
}

// members of categories.
var members = map[string][]string{
	"Tiere":  {"Hund", "Katze", "Pferd", "Kuh", "Schaf", "Wolf", "Bär", "Löwe", "Ente", "Fisch", "Maus", "Igel", "Elefant", "Tiger"},
	"Farben": {"Rot", "Blau", "Grün", "Gelb", "Schwarz", "Weiß", "Braun", "Lila", "Orange", "Grau"}, "Obstsorten": {"Apfel", "Birne", "Kirsche", "Banane", "Traube", "Pflaume", "Orange"},
	"Möbel": {"Tisch", "Stuhl", "Schrank", "Bett", "Sofa", "Regal"}, "Kleidungsstücke": {"Hose", "Hemd", "Jacke", "Mantel", "Hut", "Socke", "Schuh"}, "Wochentage": days,
	"Monate": {"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"}, "Länder": {"Deutschland", "Österreich", "Schweiz", "Frankreich", "Italien", "Spanien", "Polen", "Japan", "Kanada"},
	"Städte in Deutschland": {"Berlin", "Hamburg", "München", "Köln", "Leipzig", "Dresden", "Bremen", "Stuttgart"}, "Musikinstrumente": {"Klavier", "Flöte", "Gitarre", "Trompete", "Trommel", "Harfe"}, "Berufe": jobs,
	"Gemüsesorten": {"Karotte", "Kartoffel", "Zwiebel", "Kohl", "Tomate", "Erbse", "Paprika"}, "Verkehrsmittel": {"Auto", "Bus", "Zug", "Fahrrad", "Flugzeug", "Schiff", "Straßenbahn"},
}

// categories ask for members of one, and for the word that is none.
func categories(g *generator) {
	var names []string
	for k := range members {
		names = append(names, k)
	}
	slices.Sort(names)
	for range 900 {
		kind := pick(g, names)
		n := 2 + g.r.IntN(4)
		perm := g.r.Perm(len(members[kind]))[:n]
		if kind == "Wochentage" || kind == "Monate" {
			slices.Sort(perm)
		}
		var s []string
		for _, i := range perm {
			s = append(s, members[kind][i])
		}
		g.word(fmt.Sprintf(pick(g, []string{"Nenne mir %s %s.", "Nenne %s %s.", "Kannst du mir %s %s nennen?", "Zähle %s %s auf.", "Welche %s %s kennst du?"}), numeral(n), kind), strings.Join(s[:n-1], ", ")+" und "+s[n-1]+".")
		// Which one doesn't belong?
		other := pick(g, names)
		if other != kind && g.chance(0.5) && n >= 3 {
			odd := pick(g, members[other])
			if slices.Contains(members[kind], odd) {
				continue
			}
			mixed := append(slices.Clone(s), odd)
			g.r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			g.word(fmt.Sprintf(pick(g, []string{"Welches Wort passt nicht dazu: %s?", "Was gehört nicht in die Reihe: %s?"}), strings.Join(mixed, ", ")), fmt.Sprintf("„%s“ passt nicht dazu, denn die anderen sind %s.", odd, kind))
		}
	}
}
