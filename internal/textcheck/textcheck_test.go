package textcheck

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

func TestRepairMojibake(t *testing.T) {
	for _, c := range []struct {
		in, want string
		layers   int
	}{
		{"Bj√∂rn Pl√ºster", "Björn Plüster", 1},
		{"BjÃ¶rn", "Björn", 1},
		{"BjÃƒÂ¶rn", "Björn", 2},
		{"StraÃŸe", "Straße", 1},
		{"Stra√üe", "Straße", 1},
		{"Stra\u00c3\u009fe", "Straße", 1}, // read as ISO 8859-1, not Windows-1252
		{"√Ñpfel und √ñl", "Äpfel und Öl", 1},
		{"â€žHalloâ€œ â€“ gutâ€¦", "„Hallo“ – gut…", 1},
		{"‚ÄûHallo‚Äú ‚Äì gut‚Ä¶", "„Hallo“ – gut…", 1},
		{"20Â°C kosten 5â‚¬", "20°C kosten 5€", 1},
		{"ðŸ˜€", "😀", 1},
		// Damaged twice: the second layer has weak sequences beside strong ones.
		{"Die StraÃƒÅ¸e ist groÃƒÅ¸.", "Die Straße ist groß.", 2},
		{"ÃƒÅ¸", "ß", 2},
		{"StraÃƒÆ’Ã…Â¸e", "Straße", 3},
		{"ma‚àö√º", "maß", 2},
		{"fÃƒÂ¼r „Ä“", "für „Ä“", 2},
		// Central European and DOS.
		{"schĂ¶n, heiĂź, fĂĽr ein MĂ¤dchen", "schön, heiß, für ein Mädchen", 1},
		{"schĂśn, heiĂ\u009f, fĂźr ein MĂ¤dchen", "schön, heiß, für ein Mädchen", 1},
		{"KĂśrper", "Körper", 1},
		{"Ăśber", "Über", 1},
		{"Ă–ffne „Ăśbung“", "Öffne „Übung“", 1},
		{"Sie sagt: â€žNeinâ€ś", "Sie sagt: „Nein“", 1},
		{"sch├╢n, hei├ƒ, f├╝r ein M├ñdchen, 5 Γé¼", "schön, heiß, für ein Mädchen, 5 €", 1},
		{"sch├Ân, hei├ƒ, f├╝r ein M├ñdchen, 5 Ôé¼", "schön, heiß, für ein Mädchen, 5 €", 1},
		{"ΓÇ₧JaΓÇ£", "„Ja“", 1},
		{"FĂRĂ „NIMIC” – VINĂ…", "FĂRĂ „NIMIC” – VINĂ…", 0},
		{"├── a\n│   ├─┬─┐\n│   ╞═╪═╡\n└─┴─┘ ┬░┬", "├── a\n│   ├─┬─┐\n│   ╞═╪═╡\n└─┴─┘ ┬░┬", 0},
		{"Γ, Δ und Ô; Á Â Ã Ä Å", "Γ, Δ und Ô; Á Â Ã Ä Å", 0},
		// Healthy text stays: each of these has looked damaged to some rule.
		{"Der Buchstabe „Ä“ und »Å«", "Der Buchstabe „Ä“ und »Å«", 0},
		{"”Ähnlich“ – Öl", "”Ähnlich“ – Öl", 0},
		{"√2 ≈ 1,41; √π; x ≈ √∞", "√2 ≈ 1,41; √π; x ≈ √∞", 0},
		{"Â la carte, Ã", "Â la carte, Ã", 0},
		{"São João, NÃO, âge, où, forêt", "São João, NÃO, âge, où, forêt", 0},
		{"", "", 0},
		{"\xff\xc3", "\xff\xc3", 0},
	} {
		got, d := RepairMojibake(c.in)
		if got != c.want || d.Layers != c.layers {
			t.Errorf("%q: got %q in %d layers, want %q in %d", c.in, got, d.Layers, c.want, c.layers)
		}
		if m := Mojibake(c.in); m.Found() != d.Found() {
			t.Errorf("%q: Mojibake says %v, RepairMojibake %v", c.in, m.Found(), d.Found())
		}
	}
	if _, d := RepairMojibake("Ja, Bj√∂rn. Und Bj√∂rn."); d.MacRoman != 2 || d.Latin != 0 || d.First != 6 || d.Sample != "√∂" {
		t.Errorf("evidence: %+v", d)
	}
}

// Damage German text in every way and repair it; charmap is the reference for
// the character sets.
func TestRepairMojibakeRoundTrip(t *testing.T) {
	text := "Größe, Äpfel, Öl, Übung, heiß; „so“ – ja… ‚nein‘ 5 € §3 10 °C café naïve Ærø ñ"
	for name, cm := range map[string]*charmap.Charmap{"mac": charmap.Macintosh, "1252": charmap.Windows1252, "latin1": charmap.ISO8859_1,
		"1250": charmap.Windows1250, "latin2": charmap.ISO8859_2, "437": charmap.CodePage437, "850": charmap.CodePage850} {
		bad := text
		last := 3
		if name != "mac" && name != "1252" && name != "latin1" {
			last = 1
		}
		for layers := 1; layers <= last; layers++ {
			var b strings.Builder
			for i := range len(bad) {
				r := cm.DecodeByte(bad[i])
				if r == utf8.RuneError { // a hole of the character set, which decoders leave as it is
					r = rune(bad[i])
				}
				b.WriteRune(r)
			}
			bad = b.String()
			got, d := RepairMojibake(bad)
			if got != text || d.Layers != layers {
				t.Errorf("%s, %d layers: %q → %q (%+v)", name, layers, bad, got, d)
			}
		}
	}
}

func FuzzRepairMojibake(f *testing.F) {
	for _, s := range []string{"Bj√∂rn", "Ã¶Ã¶", "ÃƒÂ¶", "â€", "Ä“ √ ¬", "Ă–Ăś├╢Γé¼", "ÃƒÅ¸", "\xc3\x28", "ðŸ˜€"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, d := RepairMojibake(s)
		if !d.Found() && out != s {
			t.Errorf("%q changed to %q without damage", s, out)
		}
		if utf8.ValidString(s) && !utf8.ValidString(out) {
			t.Errorf("%q became invalid UTF-8 %q", s, out)
		}
	})
}

func TestNormalizer(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"Schon sauber.\n\nZweiter Absatz.", "Schon sauber.\n\nZweiter Absatz."},
		{"  viele \t  Leer\u00a0zeichen \n am Ende  \n\n\n\n neu\r\nZeile\rletzte\n\n", "viele Leer zeichen\nam Ende\n\nneu\nZeile\nletzte"},
		{"u\u0308ber A\u030angstrom", "über Ångstrom"},
		{"\ufeffweich\u00adtrennen\u200b\u0000\u0007.", "weichtrennen."},
		{"a\u2028b\u2029c\u0085d", "a\nb\nc\nd"},
		{" ", ""},
		{"\n\n", ""},
		{"a \u200b b", "a b"},
	} {
		got := Normal.Apply(c.in)
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
		if again := Normal.Apply(got); again != got {
			t.Errorf("%q is not stable: %q, then %q", c.in, got, again)
		}
	}
	if got := (Normalizer{Entities: true}).Apply("d&#228;mpft &amp; &szlig;"); got != "dämpft & ß" {
		t.Errorf("entities: %q", got)
	}
	if got := (Normalizer{}).Apply("a\t \u00ad\r\n"); got != "a\t \u00ad\r\n" {
		t.Errorf("zero value changed text: %q", got)
	}
}

func FuzzNormalizer(f *testing.F) {
	f.Add("a \u0308 b\r\n\n\n")
	f.Add("\u1100\u1161\u11a8 \u0344")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		once := Normal.Apply(s)
		if twice := Normal.Apply(once); twice != once {
			t.Errorf("%q: %q, then %q", s, once, twice)
		}
	})
}

// randomText draws words from a small vocabulary.
func randomText(rng *rand.Rand, n int) []string {
	w := make([]string, n)
	for i := range w {
		w[i] = fmt.Sprintf("wort%d", rng.IntN(5000))
	}
	return w
}

// The share of pairs that meet in a band must follow 1 − (1 − s^rows)^bands.
func TestMinHashFollowsTheory(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	o := DefaultMinHash
	for _, change := range []float64{0.01, 0.02, 0.04, 0.08} {
		met, want, pairs := 0, 0.0, 400
		for p := range pairs {
			o.Seed = uint64(p)
			h, err := NewHasher(o)
			if err != nil {
				t.Fatal(err)
			}
			a := randomText(rng, 300)
			b := append([]string(nil), a...)
			for i := range b {
				if rng.Float64() < change {
					b[i] = "anders"
				}
			}
			x, y := strings.Join(a, " "), strings.Join(b, ", ")
			want += o.Probability(Jaccard(x, y, o.Ngram))
			_, kx, _ := h.Keys(nil, x)
			_, ky, _ := h.Keys(nil, y)
			for i := range kx {
				if kx[i] == ky[i] {
					met++
					break
				}
			}
		}
		if diff := math.Abs(float64(met)-want) / float64(pairs); diff > 0.07 {
			t.Errorf("%.0f%% of words changed: %d of %d pairs met, theory says %.1f", change*100, met, pairs, want)
		}
	}
}

func TestExactKey(t *testing.T) {
	h, err := NewHasher(DefaultMinHash)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := h.Exact("Es war einmal ein König, der hatte ÄPFEL.")
	b, _ := h.Exact("es  war EINMAL – ein kö\u00adnig\nder hatte äpfel")
	c, _ := h.Exact("es war einmal ein könig der hatte birnen")
	if !ok || a != b || a == c {
		t.Errorf("keys %x %x %x", a, b, c)
	}
	if _, ok := h.Exact(" … – !"); ok {
		t.Error("a text without words has a key")
	}
	if x, _ := h.Exact("ab c"); x == func() Hash128 { y, _ := h.Exact("a bc"); return y }() {
		t.Error("word borders do not matter")
	}
	for _, bad := range []MinHashOptions{{}, {Bands: 1, Rows: 0, Ngram: 1}, {Bands: 5000, Rows: 1, Ngram: 1}} {
		if _, err := NewHasher(bad); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}

func TestNearDup(t *testing.T) {
	d, err := NewNearDup(DefaultMinHash)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	words := randomText(rng, 400)
	base := strings.Join(words, " ")
	near := strings.Join(append(words[:395:395], "neu", "am", "Ende", "dieses", "Textes"), " ")
	other := strings.Join(randomText(rng, 400), " ")
	for i, c := range []struct {
		text string
		of   int
		kind Kind
	}{{base, -1, Unique}, {other, -1, Unique}, {strings.ToUpper(base), 0, Exact}, {near, 0, Near}, {"…", -1, Unique}, {"!", -1, Unique}, {near, 0, Exact}, {"kurz", -1, Unique}, {"Kurz!", 7, Exact}} {
		if of, kind := d.Add(c.text); of != c.of || kind != c.kind {
			t.Errorf("text %d: got %d %d, want %d %d", i, of, kind, c.of, c.kind)
		}
	}
}

func TestClusters(t *testing.T) {
	c := NewClusters(6)
	c.Union(4, 5)
	c.Union(5, 2)
	if c.Union(2, 4) {
		t.Error("joined twice")
	}
	for i, want := range []int{0, 1, 2, 3, 2, 2} {
		if got := c.Find(i); got != want {
			t.Errorf("Find(%d) = %d, want %d", i, got, want)
		}
	}
}

func TestOverlap(t *testing.T) {
	o, err := NewOverlap(8, 4)
	if err != nil {
		t.Fatal(err)
	}
	o.Add("frage 1", "Erkläre die Quantenmechanik so, dass ein Kind sie versteht.")
	o.Add("kurz", "Zwei Wörter")
	if o.Texts() != 1 || o.TooShort() != 1 {
		t.Errorf("%d texts, %d too short", o.Texts(), o.TooShort())
	}
	for _, c := range []struct {
		text string
		want Hit
	}{
		{"Bitte: erkläre DIE Quantenmechanik, so dass ein Kind sie versteht!", Hit{N: 8, Grams: 2, Name: "frage 1", Word: 1}},
		{"So erkläre die Quantenmechanik so und so", Hit{N: 4, Grams: 1, Name: "frage 1", Word: 1}},
		{"dass ein Kind nicht sie versteht", Hit{}},
	} {
		if got, ok := o.Check(c.text); got != c.want || ok != (c.want.N > 0) {
			t.Errorf("%q: %+v", c.text, got)
		}
	}
	if _, err := NewOverlap(0); err == nil {
		t.Error("0-grams accepted")
	}
}

func TestGopher(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var good []string
	for i := range 120 {
		w := fmt.Sprintf("wörter%s", string(rune('a'+rng.IntN(26)))+string(rune('a'+rng.IntN(26)))+string(rune('a'+rng.IntN(26))))
		if i%5 == 0 {
			w = GermanStopWords[rng.IntN(5)]
		}
		good = append(good, w)
	}
	text := strings.Join(good, " ")
	line := strings.Join(good[:12], " ") + "."
	var s Scanner
	check := func(g Gopher, text string, want Reason) {
		t.Helper()
		if got, v := s.Check(&g, text); got != want {
			t.Errorf("%.60q: got %q (%v), want %q", text, got, v, want)
		}
	}
	check(GopherQuality, text, "")
	check(GopherRepetition, text, "")
	check(GopherQuality, strings.Join(good[:49], " "), "too few words")
	check(GopherQuality, strings.Repeat("der und a ", 30), "words too short")
	check(GopherQuality, "der und "+strings.Repeat("donaudampfschifffahrt ", 60), "words too long")
	check(GopherQuality, strings.Repeat("1234 5678 der und ", 20), "too few words with letters")
	check(GopherQuality, strings.ReplaceAll(text, "wörtera", "# wörtera")+strings.Repeat(" #tag", 13), "too many hash signs")
	check(GopherQuality, strings.Repeat("der wirklich...\n", 40), "too many ellipses")
	check(GopherQuality, strings.Repeat("- der Hund und Katze\n", 20), "too many bullet lines")
	check(GopherQuality, strings.Repeat("der Hund und die Katze sind hier zu Haus und schlafen ...\n", 6), "too many lines ending in ellipsis")
	check(GopherQuality, strings.Repeat("zebra löwe tiger ", 20), "too few stop words")
	check(GopherRepetition, strings.Repeat(line+"\n", 4)+text, "duplicate lines")
	check(GopherRepetition, text+"\na\nb\nc\nd\ne\nf\n"+text, "characters in duplicate lines")
	check(GopherRepetition, line+"\n\nx\n\n"+line+"\ny\n\n"+line, "characters in duplicate paragraphs")
	check(GopherRepetition, strings.Repeat("immer wieder ", 30)+text, "most frequent 2-gram")
	// A passage of 20 words twice, without being the most frequent 2-gram.
	check(GopherRepetition, text+" "+strings.Join(good[20:45], " "), "duplicate 5-grams")
	check(GopherQuality, "", "too few words")
	check(GopherRepetition, "", "")
	check(Gopher{}, "x", "")
}

// Shares by hand.
func TestGopherShares(t *testing.T) {
	var s Scanner
	s.split("aa b aa b  äa\u00a0b")
	if len(s.words) != 6 || s.chars != 15 || s.words[4].chars != 2 {
		t.Fatalf("%d words, %d characters, %+v", len(s.words), s.chars, s.words)
	}
	s.split("aa b aa b aa b")
	if v := s.topGram(2); v != 3*4.0/14 {
		t.Errorf("top 2-gram %v, want 12 of 14 characters", v)
	}
	// "aa b" at the third word is a duplicate, and the next two words again.
	if v := s.dupGram(2); math.Abs(v-6.0/14) > 1e-12 {
		t.Errorf("duplicate 2-grams %v, want 6 of 14 characters", v)
	}
	s.split("ein Satz ohne Wiederholung")
	if v := s.topGram(2); v != 0 {
		t.Errorf("top 2-gram that occurs once: %v, want 0", v)
	}
	text := "äb\ncdef\nab\n\näb"
	s.split(text)
	if n, chars := s.dup(text, 1); n != 0.25 || chars != 2.0/14 {
		t.Errorf("duplicate lines %v, characters %v, want 1/4 and 2/14", n, chars)
	}
	if n, _ := s.dup("x\ny\n\nx\ny\n\n\nz", 2); n != 1.0/3 {
		t.Errorf("duplicate paragraphs %v, want 1/3", n)
	}
}

func TestLines(t *testing.T) {
	in := "Startseite\nDies ist ein ganzer Satz.\nHier klicken\nWir verwenden Cookies auf dieser Seite.\nEr sagte: »Ja, gewiss!«\nUnd so weiter...\n\nAktivieren Sie JavaScript bitte.\nNoch ein letzter Satz?"
	c := DefaultC4
	got, n, reason := c.Apply(in)
	want := "Dies ist ein ganzer Satz.\nEr sagte: »Ja, gewiss!«\n\nNoch ein letzter Satz?"
	if got != want || n != 5 || reason != "" {
		t.Errorf("got %q, %d lines dropped, %q; want %q", got, n, reason, want)
	}
	for text, want := range map[string]Reason{"a { b }": "curly bracket", "LOREM Ipsum": "lorem ipsum", "Nur ein Satz.": "too few lines left", "": "too few lines left"} {
		if _, _, reason := c.Apply(text); reason != want {
			t.Errorf("%q: %q, want %q", text, reason, want)
		}
	}
	page := "Zum Inhalt springen\nDer Hund schläft.\nWeiterlesen »\nIn Österreich steht im Impressum viel.\nANZEIGE\nDie Anzeige hing schief\nDATENSCHUTZERKLÄRUNG"
	got, n = Boilerplate(page)
	if want := "Der Hund schläft.\nIn Österreich steht im Impressum viel.\nDie Anzeige hing schief"; got != want || n != 4 {
		t.Errorf("got %q (%d dropped), want %q", got, n, want)
	}
}

func TestDialogueChecks(t *testing.T) {
	for text, want := range map[string]string{
		"Als KI-Sprachmodell habe ich keine Gefühle.":                            "als ki-sprachmodell",
		"Es tut mir leid, aber ich kann dir dabei nicht helfen.":                 "es tut mir leid, aber ich kann",
		"I’m sorry, but I can’t do that.":                                        "i'm sorry, but i can",
		"Der Roboter sagte nichts.":                                              "",
		strings.Repeat("Ein langer Text. ", 30) + "Als KI-Sprachmodell sage ich": "",
	} {
		if got, _ := Refusal(text); got != want {
			t.Errorf("Refusal(%.40q) = %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"Hallo <|im_end|> du":      "<|im_end|>",
		"USER: Hallo":              "USER:",
		"### Response:\nJa":        "### Response:",
		"Ein {input} fehlt":        "{input}",
		"Der Benutzer: ein Mensch": "",
		"a < b </ s>":              "",
	} {
		if got, at, ok := Residue(text); got != want || ok != (want != "") || ok && !strings.HasPrefix(text[at:], want) {
			t.Errorf("Residue(%q) = %q at %d, want %q", text, got, at, want)
		}
	}
}

func TestDetect(t *testing.T) {
	for text, want := range map[string]string{
		"Der Hund schläft unter dem Tisch.":                "de",
		"Ich weiß nicht, was soll es bedeuten":             "de",
		"The dog is sleeping under the table.":             "en",
		"Le chien dort sous la table.":                     "fr",
		"El perro está durmiendo bajo la mesa.":            "es",
		"Il cane dorme sotto il tavolo.":                   "it",
		"De hond slaapt onder de tafel.":                   "nl",
		"Hunden sover under bordet, ikke også?":            "da",
		"Hunden sover under bordet och drömmer":            "sv",
		"Pies śpi pod stołem.":                             "pl",
		"Pes spí pod stolem, že ano?":                      "cs",
		"O cachorro está dormindo embaixo da mesa.":        "pt",
		"Köpek masanın altında uyuyor.":                    "tr",
		"A kutya az asztal alatt alszik.":                  "hu",
		"Câinele doarme sub masă.":                         "ro",
		"Собака спит под столом.":                          "ru",
		"Собака спить під столом.":                         "uk",
		"Ο σκύλος κοιμάται κάτω από το τραπέζι.":           "el",
		"犬はテーブルの下で寝ています。":                                  "ja",
		"狗在桌子下面睡觉。":                                        "zh",
		"1234 + 5 = !":                                     "",
		"":                                                 "",
		strings.Repeat("Das ist ein langer Text. ", 10000): "de",
		strings.Repeat("This is a long text. ", 10000):     "en",
	} {
		g := Detect(text)
		if g.Lang != want || g.Prob < 0 || g.Prob > 1 {
			t.Errorf("%.40q: %+v, want %q", text, g, want)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("Guten Tag", 1)
	f.Add("\xff\xfe ß", 3000)
	f.Fuzz(func(t *testing.T, s string, n int) {
		g := Detect(strings.Repeat(s, 1+max(n, 0)%5000))
		if g.Prob < 0 || g.Prob > 1.0000001 || math.IsNaN(g.Prob) {
			t.Errorf("%+v", g)
		}
	})
}

func benchText() string {
	rng := rand.New(rand.NewPCG(5, 5))
	words := strings.Fields("Der König hatte drei Söhne und eine schöne Tochter, die wollte niemand heiraten; da ging er in den tiefen Wald hinaus und suchte lange nach einem Rat für sie.")
	var b strings.Builder
	for b.Len() < 20_000 {
		b.WriteString(words[rng.IntN(len(words))])
		if rng.IntN(12) == 0 {
			b.WriteByte('\n')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func BenchmarkChecks(b *testing.B) {
	text := benchText()
	h, _ := NewHasher(DefaultMinHash)
	var s Scanner
	var keys []uint64
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"detect-20kB", func() { Detect(text) }},
		{"detect-100B", func() { Detect(text[:100]) }},
		{"mojibake", func() { RepairMojibake(text) }},
		{"normalize", func() { Normal.Apply(text) }},
		{"exact", func() { h.Exact(text) }},
		{"minhash", func() { _, keys, _ = h.Keys(keys[:0], text) }},
		{"gopher-quality", func() { s.split(text); s.quality(&GopherQuality, text) }},
		{"gopher-repetition", func() {
			g := Gopher{MaxDupLines: 9, MaxTopGram: [3]float64{9, 9, 9}, MaxDupGram: [6]float64{9, 9, 9, 9, 9, 9}}
			s.Check(&g, text)
		}},
		{"c4", func() { DefaultC4.Apply(text) }},
		{"boilerplate", func() { Boilerplate(text) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := len(text)
			if c.name == "detect-100B" {
				n = 100
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				c.f()
			}
		})
	}
}
