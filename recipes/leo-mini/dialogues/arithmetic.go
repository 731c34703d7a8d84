package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var ones = []string{"null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"}
var tens = []string{"", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"}

// numeral is the German word for 0 ≤ n < 1000.
func numeral(n int) string {
	switch {
	case n < 20:
		return ones[n]
	case n < 100:
		if n%10 == 0 {
			return tens[n/10]
		}
		one := ones[n%10]
		if n%10 == 1 {
			one = "ein"
		}
		return one + "und" + tens[n/10]
	}
	head := "hundert"
	if n/100 > 1 {
		head = ones[n/100] + "hundert"
	} else {
		head = "ein" + head
	}
	if n%100 == 0 {
		return head
	}
	return head + numeral(n%100)
}

var (
	sumForms  = []string{"Was ist {a} plus {b}?", "Wie viel ist {a} + {b}?", "Wie viel ergibt {a} plus {b}?", "{a} + {b} = ?", "Rechne {a} + {b}.", "{a}+{b}", "Addiere {a} und {b}.", "Zähle {a} und {b} zusammen.", "Was ergibt {a} + {b}?", "Wie viel sind {a} und {b} zusammen?", "Berechne {a} plus {b}.", "Was macht {a} plus {b}?"}
	diffForms = []string{"Was ist {a} minus {b}?", "Wie viel ist {a} - {b}?", "Wie viel ergibt {a} minus {b}?", "{a} - {b} = ?", "Rechne {a} - {b}.", "{a}-{b}", "Ziehe {b} von {a} ab.", "Subtrahiere {b} von {a}.", "Was bleibt von {a}, wenn man {b} abzieht?", "Berechne {a} minus {b}."}
	prodForms = []string{"Was ist {a} mal {b}?", "Wie viel ist {a} · {b}?", "Wie viel ergibt {a} mal {b}?", "{a} * {b} = ?", "Rechne {a} mal {b}.", "{a} x {b}", "Multipliziere {a} mit {b}.", "Was macht {a} mal {b}?", "Berechne {a} × {b}.", "Das {a}-fache von {b}?"}
	quotForms = []string{"Was ist {a} geteilt durch {b}?", "Wie viel ist {a} : {b}?", "Wie viel ergibt {a} durch {b}?", "{a} / {b} = ?", "Rechne {a} geteilt durch {b}.", "{a} : {b}", "Dividiere {a} durch {b}.", "Wie oft passt {b} in {a}?", "Berechne {a} ÷ {b}."}
)

func (g *generator) sum(kind string, forms []string, op string, a, b, result int) {
	q := fill(pick(g, forms), "a", strconv.Itoa(a), "b", strconv.Itoa(b))
	if g.chance(0.15) && max(a, b) < 100 {
		q = fill(pick(g, forms[:3]), "a", numeral(a), "b", numeral(b))
	}
	r := strconv.Itoa(result)
	var answer string
	switch g.r.IntN(6) {
	case 0:
		answer = "Das ergibt " + r + "."
	case 1:
		answer = fmt.Sprintf("Das Ergebnis ist %s.", r)
	case 2:
		answer = r + "."
	default:
		answer = fmt.Sprintf("%d %s %d ist %s.", a, op, b, r)
	}
	g.add(kind, "leo", g.casual(q), answer)
}

func arithmetic(g *generator) error {
	for range 3000 {
		a, b := g.r.IntN(100), g.r.IntN(100)
		if g.chance(0.5) {
			a, b = g.r.IntN(21), g.r.IntN(21)
		}
		g.sum("arithmetic", sumForms, "plus", a, b, a+b)
	}
	for range 2500 {
		a, b := g.r.IntN(101), g.r.IntN(101)
		if g.chance(0.5) {
			a, b = g.r.IntN(21), g.r.IntN(21)
		}
		if a < b {
			a, b = b, a
		}
		g.sum("arithmetic", diffForms, "minus", a, b, a-b)
	}
	for range 2200 {
		a, b := 1+g.r.IntN(10), 1+g.r.IntN(10)
		if g.chance(0.1) {
			a, b = 1+g.r.IntN(20), 1+g.r.IntN(12)
		}
		g.sum("arithmetic", prodForms, "mal", a, b, a*b)
	}
	for range 1600 {
		b, c := 1+g.r.IntN(10), 1+g.r.IntN(10)
		g.sum("arithmetic", quotForms, "geteilt durch", b*c, b, c)
	}
	for range 2500 {
		g.wordProblem()
	}
	for range 1800 {
		g.numberTask()
	}
	return nil
}

type ware struct {
	one, many string
}

var wares = []ware{{"Apfel", "Äpfel"}, {"Birne", "Birnen"}, {"Stift", "Stifte"}, {"Heft", "Hefte"}, {"Keks", "Kekse"}, {"Bonbon", "Bonbons"}, {"Buch", "Bücher"}, {"Ball", "Bälle"}, {"Ei", "Eier"}, {"Karte", "Karten"}, {"Brezel", "Brezeln"}, {"Blume", "Blumen"}, {"Aufkleber", "Aufkleber"}, {"Nuss", "Nüsse"}}

func count(n int, w ware) string {
	if n == 1 {
		if strings.HasSuffix(w.one, "e") || w.one == "Nuss" || w.one == "Brezel" {
			return "eine " + w.one
		}
		if w.one == "Apfel" || w.one == "Stift" || w.one == "Keks" || w.one == "Ball" || w.one == "Aufkleber" {
			return "einen " + w.one
		}
		return "ein " + w.one
	}
	return strconv.Itoa(n) + " " + w.many
}

func (g *generator) wordProblem() {
	w := pick(g, wares)
	name := pick(g, append(slices.Clone(girls), boys...))
	other := pick(g, boys)
	a, b := 2+g.r.IntN(18), 2+g.r.IntN(9)
	if a <= b {
		a, b = b+1, a
	}
	var q, ans string
	switch g.r.IntN(8) {
	case 0:
		q = fmt.Sprintf("%s hat %s und bekommt noch %s dazu. Wie viele %s hat %s jetzt?", name, count(a, w), count(b, w), w.many, name)
		ans = fmt.Sprintf("%d plus %d ist %d. %s hat jetzt %s.", a, b, a+b, name, count(a+b, w))
	case 1:
		q = fmt.Sprintf("%s hat %s und gibt %s davon ab. Wie viele %s hat %s noch?", name, count(a, w), strconv.Itoa(b), w.many, name)
		ans = fmt.Sprintf("%d minus %d ist %d. %s hat noch %s.", a, b, a-b, name, count(a-b, w))
	case 2:
		k := 2 + g.r.IntN(8)
		q = fmt.Sprintf("Eine Packung enthält %s. Wie viele %s sind in %s Packungen?", count(k, w), w.many, numeral(b))
		ans = fmt.Sprintf("%d mal %d ist %d. Es sind %s.", b, k, b*k, count(b*k, w))
	case 3:
		k := 2 + g.r.IntN(5)
		q = fmt.Sprintf("%s verteilt %s gleichmäßig an %s Kinder. Wie viele bekommt jedes Kind?", name, count(b*k, w), numeral(k))
		ans = fmt.Sprintf("%d geteilt durch %d ist %d. Jedes Kind bekommt %s.", b*k, k, b, count(b, w))
	case 4:
		p := 2 + g.r.IntN(9)
		if g.chance(0.4) {
			p *= 5
			q = fmt.Sprintf("Eine Briefmarke kostet %d Cent. Was kosten %s Briefmarken?", p, numeral(b))
			ans = fmt.Sprintf("%d mal %d ist %d. Die Briefmarken kosten %d Cent.", b, p, b*p, b*p)
			break
		}
		q = fmt.Sprintf("Ein Buch kostet %d Euro. Wie viel kosten %s Bücher?", p, numeral(b))
		ans = fmt.Sprintf("%d mal %d ist %d. Die Bücher kosten %d Euro.", b, p, b*p, b*p)
	case 5:
		q = fmt.Sprintf("Im Bus sitzen %d Leute. An der Haltestelle steigen %d ein. Wie viele sind es nun?", a, b)
		ans = fmt.Sprintf("%d plus %d ist %d. Nun sitzen %d Leute im Bus.", a, b, a+b, a+b)
	case 6:
		q = fmt.Sprintf("%s ist %d Jahre alt. %s ist %d Jahre jünger. Wie alt ist %s?", name, a, other, b, other)
		ans = fmt.Sprintf("%d minus %d ist %d. %s ist %d Jahre alt.", a, b, a-b, other, a-b)
	default:
		q = fmt.Sprintf("%s hat %d Euro gespart und gibt %d Euro aus. Wie viel Geld bleibt übrig?", name, a, b)
		ans = fmt.Sprintf("%d minus %d ist %d. Es bleiben %d Euro übrig.", a, b, a-b, a-b)
	}
	g.add("arithmetic-text", "leo", q, ans)
}

func (g *generator) numberTask() {
	a, b := g.r.IntN(200), g.r.IntN(200)
	for a == b {
		b = g.r.IntN(200)
	}
	switch g.r.IntN(9) {
	case 0:
		g.add("numbers", "leo", g.casual(fmt.Sprintf(pick(g, []string{"Welche Zahl ist größer: %d oder %d?", "Was ist mehr, %d oder %d?", "Ist %d oder %d größer?", "Nenne die größere Zahl: %d oder %d."}), a, b)), fmt.Sprintf("%d ist größer als %d.", max(a, b), min(a, b)))
	case 1:
		g.add("numbers", "leo", g.casual(fmt.Sprintf(pick(g, []string{"Welche Zahl ist kleiner: %d oder %d?", "Was ist weniger, %d oder %d?", "Nenne die kleinere Zahl: %d oder %d."}), a, b)), fmt.Sprintf("%d ist kleiner als %d.", min(a, b), max(a, b)))
	case 2, 3:
		n := 3 + g.r.IntN(3)
		var list []int
		for len(list) < n {
			x := g.r.IntN(100)
			if !slices.Contains(list, x) {
				list = append(list, x)
			}
		}
		str := func(l []int) string {
			var s []string
			for _, x := range l {
				s = append(s, strconv.Itoa(x))
			}
			return strings.Join(s, ", ")
		}
		in := str(list)
		up := slices.Sorted(slices.Values(list))
		sorted := []string{"Sortiert: ", "In der richtigen Reihenfolge: ", "Der Größe nach sind das: "}
		if g.chance(0.7) {
			g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Sortiere diese Zahlen: %s", "Sortiere die Zahlen %s.", "Bringe %s in die richtige Reihenfolge.", "Ordne von klein nach groß: %s", "Sortiere aufsteigend: %s"}), in), pick(g, sorted)+str(up)+".")
		} else {
			slices.Reverse(up)
			g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Sortiere absteigend: %s", "Ordne von groß nach klein: %s", "Sortiere diese Zahlen absteigend: %s"}), in), pick(g, sorted)+str(up)+".")
		}
	case 4:
		g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Schreibe die Zahl %d als Wort.", "Wie schreibt man %d in Worten?", "Schreib %d aus."}), a), upperFirst(numeral(a))+".")
	case 5:
		g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Schreibe %s als Ziffern.", "Welche Zahl ist %s?", "Wie schreibt man %s in Ziffern?"}), numeral(a)), strconv.Itoa(a)+".")
	case 6:
		c := 1 + g.r.IntN(50)
		if g.chance(0.5) {
			g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Was ist das Doppelte von %d?", "Verdopple %d.", "Wie viel ist das Doppelte von %d?"}), c), fmt.Sprintf("Das Doppelte von %d ist %d.", c, 2*c))
		} else {
			g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Was ist die Hälfte von %d?", "Halbiere %d.", "Wie viel ist die Hälfte von %d?"}), 2*c), fmt.Sprintf("Die Hälfte von %d ist %d.", 2*c, c))
		}
	case 7:
		c := 1 + g.r.IntN(100)
		if g.chance(0.5) {
			g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Welche Zahl kommt nach %d?", "Was kommt nach %d?", "Nenne die Zahl nach %d."}), c), fmt.Sprintf("Nach %d kommt %d.", c, c+1))
		} else {
			g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Welche Zahl kommt vor %d?", "Was kommt vor %d?", "Nenne die Zahl vor %d."}), c), fmt.Sprintf("Vor %d kommt %d.", c, c-1))
		}
	default:
		c := 2 + g.r.IntN(9)
		start := g.r.IntN(30)
		var s []string
		for i := range c {
			s = append(s, strconv.Itoa(start+i))
		}
		g.add("numbers", "leo", fmt.Sprintf(pick(g, []string{"Zähle von %d bis %d.", "Zähl von %d bis %d.", "Kannst du von %d bis %d zählen?"}), start, start+c-1), strings.Join(s, ", ")+".")
	}
}
