package corpus

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"leolm/dataset/rows"
	"leolm/internal/textcheck"
)

// Count is a number of documents and the bytes of their text.
type Count struct {
	Docs  int64 `json:"docs"`
	Bytes int64 `json:"bytes"`
}

func (c *Count) add(bytes int) { c.Docs++; c.Bytes += int64(bytes) }

func (c *Count) plus(d Count) { c.Docs += d.Docs; c.Bytes += d.Bytes }

// A Dropped document, as an example in the report.
type Dropped struct {
	Filter string `json:"filter"`
	File   string `json:"file"`
	Row    int64  `json:"row"`
	Key    string `json:"key,omitempty"`
	Why    string `json:"why"`
}

// PrepStats is what the stage prep did to a file.
type PrepStats struct {
	Read     Count            `json:"read"`               // documents as they came (after split)
	Kept     Count            `json:"kept"`               // after all filters
	Dropped  map[string]Count `json:"dropped,omitempty"`  // by filter and reason
	Repaired map[string]Count `json:"repaired,omitempty"` // by kind of damage; these stay
	Lines    map[string]int64 `json:"lines,omitempty"`    // lines removed, by filter
	Errors   int64            `json:"errors,omitempty"`   // rows that could not be read, with on_error: skip
	Examples []Dropped        `json:"examples,omitempty"` // the first few of each reason
}

const maxExamples = 3

func (s *PrepStats) drop(d *doc, file, why, detail string) {
	if s.Dropped == nil {
		s.Dropped = map[string]Count{}
	}
	c := s.Dropped[why]
	c.add(len(d.text))
	s.Dropped[why] = c
	if c.Docs <= maxExamples {
		s.Examples = append(s.Examples, Dropped{why, file, d.row, d.key, detail})
	}
}

func (s *PrepStats) repair(why string, n int) {
	if s.Repaired == nil {
		s.Repaired = map[string]Count{}
	}
	c := s.Repaired[why]
	c.add(n)
	s.Repaired[why] = c
}

func (s *PrepStats) lines(why string, n int) {
	if n == 0 {
		return
	}
	if s.Lines == nil {
		s.Lines = map[string]int64{}
	}
	s.Lines[why] += int64(n)
}

// plus adds t; examples stay within their number per reason.
func (s *PrepStats) plus(t *PrepStats) {
	s.Read.plus(t.Read)
	s.Kept.plus(t.Kept)
	s.Errors += t.Errors
	for _, m := range []struct{ to, from *map[string]Count }{{&s.Dropped, &t.Dropped}, {&s.Repaired, &t.Repaired}} {
		for k, v := range *m.from {
			if *m.to == nil {
				*m.to = map[string]Count{}
			}
			c := (*m.to)[k]
			c.plus(v)
			(*m.to)[k] = c
		}
	}
	for k, v := range t.Lines {
		s.lines(k, int(v))
	}
	for _, e := range t.Examples {
		n := 0
		for _, have := range s.Examples {
			if have.Filter == e.Filter {
				n++
			}
		}
		if n < maxExamples {
			s.Examples = append(s.Examples, e)
		}
	}
}

// cleaner is what all workers of a run share: the recipe, compiled.
type cleaner struct {
	recipe     *Recipe
	c4         *textcheck.C4Lines
	quality    *textcheck.Gopher
	repetition *textcheck.Gopher
	overlap    *textcheck.Overlap
	minhash    textcheck.MinHashOptions // of the keys; Bands 0: exact only
	scratch    sync.Pool
}

type scratch struct {
	scanner textcheck.Scanner
	hasher  *textcheck.Hasher
}

func newCleaner(r *Recipe) (*cleaner, error) {
	c := &cleaner{recipe: r}
	f := &r.Filters
	if p := f.C4Lines; p != nil {
		c.c4 = &textcheck.C4Lines{Terminal: p.Terminal, MinWords: p.MinWords, Javascript: p.Javascript, Policy: p.Policy, Braces: p.Braces, LoremIpsum: p.LoremIpsum, MinLines: p.MinLines}
	}
	if p := f.Quality; p != nil {
		c.quality = &textcheck.Gopher{MinWords: p.MinWords, MaxWords: p.MaxWords, MinMeanWord: p.MinMeanWord, MaxMeanWord: p.MaxMeanWord,
			MaxSymbols: p.MaxSymbols, MaxBullets: p.MaxBullets, MaxEllipsisLines: p.MaxEllipsisLines, MinAlphaWords: p.MinAlphaWords,
			MinStopWords: p.MinStopWords, StopWords: p.StopWords}
		if len(p.StopWords) == 0 {
			c.quality.StopWords = textcheck.GermanStopWords
		}
	}
	if p := f.Repetition; p != nil {
		c.repetition = &textcheck.Gopher{MaxDupLines: p.DupLines, MaxDupParagraphs: p.DupParagraphs, MaxDupLineChars: p.DupLineChars, MaxDupParagraphChars: p.DupParagraphChars,
			MaxTopGram: [3]float64(p.TopGrams), MaxDupGram: [6]float64(p.DupGrams)}
	}
	if p := f.Overlap; p != nil {
		o, err := loadOverlap(p)
		if err != nil {
			return nil, err
		}
		c.overlap = o
	}
	hash := textcheck.MinHashOptions{Bands: 1, Rows: 1, Ngram: 1}
	if m := r.Dedup.MinHash; m != nil {
		hash = m.options()
		c.minhash = hash
	}
	if _, err := textcheck.NewHasher(hash); err != nil {
		return nil, err
	}
	c.scratch.New = func() any {
		h, _ := textcheck.NewHasher(hash) // checked above
		return &scratch{hasher: h}
	}
	return c, nil
}

// loadOverlap indexes every text of the evaluation files.
func loadOverlap(p *Overlap) (*textcheck.Overlap, error) {
	o, err := textcheck.NewOverlap(p.Ngrams...)
	if err != nil {
		return nil, err
	}
	for _, path := range p.Files {
		r, err := rows.Open(path, rows.Options{})
		if err != nil {
			return nil, fmt.Errorf("overlap: %w", err)
		}
		err = func() error {
			defer r.Close()
			var row rows.Row
			for {
				if err := r.Next(&row); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				v, err := row.Value()
				if err != nil {
					return err
				}
				addTexts(o, fmt.Sprintf("%s row %d", path, row.Number), &v)
			}
		}()
		if err != nil {
			return nil, fmt.Errorf("overlap: %w", err)
		}
	}
	if o.Texts() == 0 {
		return nil, fmt.Errorf("overlap: %s hold no text of %d words or more", strings.Join(p.Files, ", "), slices.Min(p.Ngrams))
	}
	return o, nil
}

func addTexts(o *textcheck.Overlap, name string, v *rows.Value) {
	if v.Kind == rows.String {
		o.Add(name, v.Text)
	}
	for i := range v.Items {
		addTexts(o, name, &v.Items[i])
	}
}

// apply cleans one document and judges it: "" or the filter that drops it,
// with details.
func (c *cleaner) apply(w *scratch, in *Input, d *doc, stats *PrepStats) (why, detail string) {
	f := &c.recipe.Filters
	if !d.valid && !utf8.ValidString(d.text) {
		d.text = strings.ToValidUTF8(d.text, "\ufffd")
		stats.repair("invalid UTF-8", len(d.text))
	}
	if f.Mojibake != "off" {
		text, damage := textcheck.RepairMojibake(d.text)
		if damage.Found() {
			kind := "mojibake (" + damage.Kind() + ")"
			if f.Mojibake == "drop" {
				return kind, fmt.Sprintf("%d sequences, the first is %q", damage.Count(), damage.Sample)
			}
			d.text = text
			stats.repair(kind, len(text))
		}
		d.key, _ = textcheck.RepairMojibake(d.key)
	}
	z := textcheck.Normalizer{NFC: c.recipe.Normalize.NFC, Whitespace: c.recipe.Normalize.Whitespace, Control: c.recipe.Normalize.Control, Entities: in.HTML}
	d.text = z.Apply(d.text)
	d.key = z.Apply(d.key)
	if f.Boilerplate {
		text, n := textcheck.Boilerplate(d.text)
		stats.lines("boilerplate", n)
		d.text = text
	}
	if c.c4 != nil {
		text, n, reason := c.c4.Apply(d.text)
		if reason != "" {
			return "c4_lines: " + string(reason), ""
		}
		stats.lines("c4_lines", n)
		d.text = text
	}
	if f.Length.MaxChars > 0 || len(d.text) < utf8.UTFMax*f.Length.MinChars { // else it is long enough without counting
		if n := utf8.RuneCountInString(d.text); n < f.Length.MinChars {
			return "length: too short", strconv.Itoa(n) + " characters"
		} else if f.Length.MaxChars > 0 && n > f.Length.MaxChars {
			return "length: too long", strconv.Itoa(n) + " characters"
		}
	}
	if l := f.Language; l != nil {
		g := textcheck.Detect(d.text)
		if !slices.Contains(l.Keep, g.Lang) || g.Prob < l.MinProb {
			name := g.Lang
			if name == "" {
				name = "unknown"
			}
			return "language: " + name, fmt.Sprintf("probability %.2f", g.Prob)
		}
	}
	if c.quality != nil {
		if r, v := w.scanner.Check(c.quality, d.text); r != "" {
			return "gopher_quality: " + string(r), strconv.FormatFloat(v, 'g', 4, 64)
		}
	}
	if c.repetition != nil {
		if r, v := w.scanner.Check(c.repetition, d.text); r != "" {
			return "gopher_repetition: " + string(r), strconv.FormatFloat(v, 'g', 4, 64)
		}
	}
	if c.overlap != nil {
		if hit, ok := c.overlap.Check(d.text); ok {
			return "overlap", fmt.Sprintf("%d-gram at word %d, also in %s", hit.N, hit.Word, hit.Name)
		}
	}
	return "", ""
}

// splitDoc cuts a document at the matches of re. Text before the first match is
// a document of its own.
func splitDoc(re *regexp.Regexp, d doc, each func(doc)) {
	cuts := re.FindAllStringSubmatchIndex(d.text, -1)
	from, key, part := 0, d.key, int64(0)
	emit := func(to int) {
		if strings.TrimSpace(d.text[from:to]) == "" {
			return
		}
		each(doc{row: d.row, part: part, key: key, text: d.text[from:to]})
		part++
	}
	for _, m := range cuts {
		if m[0] > from {
			emit(m[0])
			from = m[0]
		}
		key = d.key
		if len(m) >= 4 && m[2] >= 0 {
			key = d.text[m[2]:m[3]]
		}
	}
	emit(len(d.text))
}

// badRow reports whether err concerns one row only, so that a run with
// on_error: skip may go on.
func badRow(err error) (*rows.Error, bool) {
	var e *rows.Error
	if errors.As(err, &e) && !e.Fatal {
		return e, true
	}
	return nil, false
}
