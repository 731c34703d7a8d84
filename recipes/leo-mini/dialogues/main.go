// Command dialogues generates leo-mini's fine-tuning set.
//
//	go run ./recipes/leo-mini/dialogues --data data --split out/leo-mini --out out/leo-mini
//
// It writes dialogues.train.jsonl and dialogues.valid.jsonl ({"messages","source","kind"}) and dialogues.json
// with the counts. The same seed and input give the same bytes. Three things are always excluded: a dialogue about a
// held-out or kept-out title, one that repeats a fixed question (models/leo-mini/questions.jsonl) in the same
// or nearly the same words, and one that shares 13 words in a row with a held-out text.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"leolm/internal/durable"
	"leolm/recipes/leo-mini/minidata"
)

type dialogue struct {
	Messages []minidata.Message `json:"messages"`
	Source   string             `json:"source"`
	Kind     string             `json:"kind"`
}

// Limits of a dialogue in characters: about 512 tokens of a German vocabulary of 12k pieces.
const maxChars = 1700

type generator struct {
	r       *rand.Rand
	data    string
	fixed   *fixed
	held    map[uint64]bool // 13-grams of held-out texts
	out     []dialogue
	seen    map[string]bool
	refused map[string]int // reason → dialogues left out
}

func main() {
	data := flag.String("data", "data", "folder with corpus_de/ and instruct_de/")
	split := flag.String("split", "out/leo-mini", "folder written by ./recipes/leo-mini/split")
	questions := flag.String("questions", "models/leo-mini/questions.jsonl", "the fixed questions")
	out := flag.String("out", "out/leo-mini", "folder to write to")
	seed := flag.Uint64("seed", 6, "seed of all random choices")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dialogues: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(*data, *split, *questions, *out, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "dialogues:", err)
		os.Exit(1)
	}
}

func run(data, split, questions, out string, seed uint64) error {
	qs, err := minidata.ReadQuestions(questions)
	if err != nil {
		return err
	}
	g := &generator{data: data, fixed: newFixed(qs), held: map[uint64]bool{}, seen: map[string]bool{}, refused: map[string]int{}}
	for _, name := range []string{"klexikon", "wikipedia"} {
		path := filepath.Join(split, name+".valid.jsonl.gz")
		err := minidata.ReadDocs(path, func(d minidata.Doc) error {
			for _, x := range minidata.Grams(nil, d.Text, 13) {
				g.held[x] = true
			}
			return nil
		})
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is missing; run go run ./recipes/leo-mini/split first", path)
		}
		if err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name string
		make func(*generator) error
	}{
		{"encyclopedic", encyclopedic}, {"reading", reading}, {"smalltalk", smalltalk}, {"arithmetic", arithmetic},
		{"words", words}, {"unknowable", unknowable}, {"citizenship", citizenship}, {"multi-turn", multiTurn},
	} {
		// Every generator has its own random stream: changing one kind does not change the others.
		h := fnv.New64a()
		h.Write([]byte(part.name))
		g.r = rand.New(rand.NewPCG(seed, h.Sum64()))
		before := len(g.out)
		if err := part.make(g); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%-13s %6d dialogues\n", part.name, len(g.out)-before)
	}
	return g.write(out, seed)
}

// add takes a dialogue of alternating turns, the user's first, unless a rule refuses it.
func (g *generator) add(kind, source string, turns ...string) bool {
	refuse := func(reason string) bool { g.refused[reason]++; return false }
	if len(turns) == 0 || len(turns)%2 != 0 {
		return refuse("no answer")
	}
	var d dialogue
	chars := 0
	var user []string
	for i, t := range turns {
		t = strings.TrimSpace(t)
		if t == "" {
			return refuse("empty turn")
		}
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		} else {
			user = append(user, t)
		}
		chars += utf8.RuneCountInString(t)
		d.Messages = append(d.Messages, minidata.Message{Role: role, Content: t})
	}
	if chars > maxChars {
		return refuse("too long")
	}
	if g.fixed.matches(user) {
		return refuse("fixed question")
	}
	all := strings.Join(turns, "\x00")
	if g.seen[all] {
		return refuse("repeated")
	}
	for _, t := range turns {
		for _, x := range minidata.Grams(nil, t, 13) {
			if g.held[x] {
				return refuse("13 words of a held-out text")
			}
		}
	}
	g.seen[all] = true
	d.Kind, d.Source = kind, source
	g.out = append(g.out, d)
	return true
}

func (g *generator) write(out string, seed uint64) error {
	g.r = rand.New(rand.NewPCG(seed, 0))
	g.r.Shuffle(len(g.out), func(i, j int) { g.out[i], g.out[j] = g.out[j], g.out[i] })
	var train, valid bytes.Buffer
	type count struct{ Train, Valid, Characters int }
	counts := map[string]*count{}
	for _, d := range g.out {
		b, err := encode(d)
		if err != nil {
			return err
		}
		c := counts[d.Kind]
		if c == nil {
			c = &count{}
			counts[d.Kind] = c
		}
		h := fnv.New64a()
		for _, m := range d.Messages {
			c.Characters += utf8.RuneCountInString(m.Content)
			if m.Role == "user" {
				h.Write([]byte(minidata.Key(m.Content)))
			}
		}
		if h.Sum64()%50 == 0 { // the question decides, so that one question stays on one side
			valid.Write(b)
			c.Valid++
		} else {
			train.Write(b)
			c.Train++
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(out, "dialogues.train.jsonl"), train.Bytes()); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(out, "dialogues.valid.jsonl"), valid.Bytes()); err != nil {
		return err
	}
	report, err := json.MarshalIndent(map[string]any{"seed": seed, "kinds": counts, "refused": g.refused, "total": len(g.out)}, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(out, "dialogues.json"), append(report, '\n')); err != nil {
		return err
	}
	var kinds []string
	for k := range counts {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	fmt.Printf("%-22s %7s %6s %10s\n", "kind", "train", "valid", "characters")
	for _, k := range kinds {
		fmt.Printf("%-22s %7d %6d %10d\n", k, counts[k].Train, counts[k].Valid, counts[k].Characters)
	}
	fmt.Printf("%-22s %7d\n", "total", len(g.out))
	return nil
}

func encode(d dialogue) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(d)
	return b.Bytes(), err
}

// fixed knows the questions that must never be trained on.
type fixed struct {
	turns     map[string]bool // single turns
	dialogues map[string]bool // whole sequences of user turns
	words     [][]string      // sorted words of the single turns, for near matches
	index     map[string][]int
}

func newFixed(qs []minidata.Question) *fixed {
	f := &fixed{turns: map[string]bool{}, dialogues: map[string]bool{}, index: map[string][]int{}}
	for _, q := range qs {
		var keys []string
		for _, m := range q.Messages {
			key := minidata.Key(m.Content)
			keys = append(keys, key)
			w := strings.Fields(key)
			// Anyone may open with "Hallo Leo!"; of longer questions only the whole dialogue counts.
			if len(q.Messages) > 1 && len(w) < 3 {
				continue
			}
			f.turns[key] = true
			slices.Sort(w)
			w = slices.Compact(w)
			for _, x := range w {
				f.index[x] = append(f.index[x], len(f.words))
			}
			f.words = append(f.words, w)
		}
		f.dialogues[strings.Join(keys, "\n")] = true
	}
	return f
}

// nearShare is the Jaccard similarity of word sets above which two questions count as nearly the same.
const nearShare = 0.8

func (f *fixed) matches(user []string) bool {
	keys := make([]string, len(user))
	for i, u := range user {
		keys[i] = minidata.Key(u)
		if f.turns[keys[i]] || f.near(keys[i]) {
			return true
		}
	}
	return f.dialogues[strings.Join(keys, "\n")]
}

func (f *fixed) near(key string) bool {
	w := strings.Fields(key)
	slices.Sort(w)
	w = slices.Compact(w)
	shared := map[int]int{}
	for _, x := range w {
		for _, i := range f.index[x] {
			shared[i]++
		}
	}
	for i, n := range shared {
		// Numbers and names carry the whole difference between short questions ("Was ist 3 mal 4?"), so a pair
		// that differs in exactly one of them is another question.
		if float64(n) >= nearShare*float64(len(w)+len(f.words[i])-n) && !differInNumber(w, f.words[i]) {
			return true
		}
	}
	return false
}

func differInNumber(a, b []string) bool {
	digits := func(w []string) string {
		var s []string
		for _, x := range w {
			if strings.ContainsFunc(x, unicode.IsDigit) {
				s = append(s, x)
			}
		}
		return strings.Join(s, " ")
	}
	return digits(a) != digits(b)
}

// Helpers of the generators.

func pick[T any](g *generator, list []T) T { return list[g.r.IntN(len(list))] }

func (g *generator) chance(p float64) bool { return g.r.Float64() < p }

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// fill replaces {key} by values given as key, value pairs.
func fill(template string, pairs ...string) string {
	for i := range pairs {
		if i%2 == 0 {
			pairs[i] = "{" + strings.Trim(pairs[i], "{}") + "}"
		}
	}
	return strings.NewReplacer(pairs...).Replace(template)
}

var openers = []string{"Hallo, ", "Hi, ", "Hey Leo, ", "Leo, ", "Sag mal, ", "Du, ", "Guten Tag, ", "Kurze Frage: ", "Eine Frage: ", "Bitte sag mir: ", "Moin, "}

// casual makes a question look typed: sometimes an opener, lower case, no mark at the end, or a slip.
func (g *generator) casual(q string) string {
	if g.chance(0.07) {
		o := pick(g, openers)
		if strings.HasSuffix(o, ": ") {
			q = o + q
		} else {
			r, n := utf8.DecodeRuneInString(q)
			if first, _, _ := strings.Cut(q, " "); questionWord[first] {
				q = string(unicode.ToLower(r)) + q[n:]
			}
			q = o + q
		}
	}
	if g.chance(0.05) && strings.HasSuffix(q, "?") {
		q += pick(g, []string{" Danke!", " Danke.", " Bitte kurz.", " :)"})
	}
	if g.chance(0.12) {
		q = strings.ToLower(q)
	}
	if g.chance(0.12) {
		q = strings.TrimRight(q, "?!.")
	}
	if g.chance(0.04) {
		q = g.slip(q)
	}
	return q
}

var questionWord = map[string]bool{"Was": true, "Wer": true, "Wo": true, "Wie": true, "Wann": true, "Warum": true, "Woher": true, "Welche": true, "Welcher": true, "Welches": true, "Kannst": true, "Weißt": true, "Erkläre": true, "Erklär": true, "Erzähl": true, "Nenne": true, "Kennst": true, "Ich": true, "Wir": true, "Mein": true, "Für": true, "Hilf": true, "Bitte": true, "Sag": true, "Gib": true, "Hast": true, "Schreib": true, "Schreibe": true, "Beschreib": true, "Beschreibe": true, "Können": true, "Könnten": true, "Könntest": true, "Stell": true, "In": true, "Wofür": true, "Worum": true, "Rechne": true, "Das": true, "Fasse": true, "Informiere": true}

// slip swaps or drops one letter inside a longer word.
func (g *generator) slip(q string) string {
	w := strings.Fields(q)
	i := g.r.IntN(len(w))
	r := []rune(w[i])
	if len(r) < 5 {
		return q
	}
	j := 1 + g.r.IntN(len(r)-3)
	if g.chance(0.5) {
		r[j], r[j+1] = r[j+1], r[j]
	} else {
		r = append(r[:j], r[j+1:]...)
	}
	w[i] = string(r)
	return strings.Join(w, " ")
}
