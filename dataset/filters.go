package dataset

import (
	"fmt"
	"slices"
	"strings"

	"leolm/chat"
	"leolm/dataset/rows"
	"leolm/internal/textcheck"
)

// Reason says why a sample was skipped: the name of the filter.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	ReasonUnreadable Reason = "unreadable row" // on_error: skip
	ReasonUnbalanced Reason = "unbalanced turns"
	ReasonEmpty      Reason = "empty"
	ReasonMojibake   Reason = "mojibake"
	ReasonResidue    Reason = "template residue"
	ReasonRefusal    Reason = "refusal"
	ReasonLanguage   Reason = "wrong language"
	ReasonOverlap    Reason = "overlap with a benchmark"
	ReasonDuplicate  Reason = "duplicate"
	ReasonNear       Reason = "near duplicate"
	ReasonShort      Reason = "too short"
	ReasonLong       Reason = "too long"
	ReasonAnswer     Reason = "too few assistant tokens"
)

// Reasons lists all of them in order.
func Reasons() []Reason {
	return []Reason{ReasonUnreadable, ReasonUnbalanced, ReasonEmpty, ReasonMojibake, ReasonResidue, ReasonRefusal, ReasonLanguage,
		ReasonOverlap, ReasonDuplicate, ReasonNear, ReasonShort, ReasonLong, ReasonAnswer}
}

// Filters choose what is left out of a mix. All are off unless asked for,
// except that the default preset drops empty and unbalanced dialogues.
type Filters struct {
	// Mojibake looks for UTF-8 that was read as Mac Roman, Latin-1 or
	// Windows-1252: "drop" the sample or "repair" it.
	Mojibake string `yaml:"mojibake" check:"oneof=|drop|repair"`
	// Languages keeps dialogues whose assistant speaks one of these (ISO
	// 639-1 or -3). Texts too short to tell are kept.
	Languages []string `yaml:"languages"`
	// Duplicates drops dialogues with the same words as an earlier one of any
	// source; NearDuplicates also those with a similar set of word 5-grams
	// (MinHash, 14 bands of 8 rows: 92 % of pairs of Jaccard similarity 0.8).
	Duplicates     bool `yaml:"duplicates"`
	NearDuplicates bool `yaml:"near_duplicates"`
	// Overlap drops dialogues that share a word n-gram with these files.
	Overlap []EvalFile `yaml:"overlap"`
	// OverlapWords is the length of the n-grams (default 13).
	OverlapWords int `yaml:"overlap_words" check:"min=0,max=64"`
	// Refusals drops dialogues in which the assistant declines or speaks as a
	// language model; Residue those with marks of prompt templates.
	Refusals bool `yaml:"refusals"`
	Residue  bool `yaml:"residue"`
	// MinTokens and MaxTokens bound the whole sample; 0 is no bound.
	MinTokens int `yaml:"min_tokens" check:"min=0"`
	MaxTokens int `yaml:"max_tokens" check:"min=0"`
}

// Validate checks the languages and writes them as the filter's answers are.
func (f *Filters) Validate(fail func(key, format string, args ...any)) {
	for i, tag := range f.Languages {
		code, err := textcheck.LanguageCode(tag)
		if err != nil {
			fail(fmt.Sprintf("languages.%d", i), "%v", err)
			continue
		}
		f.Languages[i] = code
	}
}

// EvalFile is a file whose texts must not be trained on: every text in it,
// or those of the named columns.
type EvalFile struct {
	File    string   `yaml:"file" check:"required"` // any format of dataset/rows
	Columns []string `yaml:"columns"`               // of the texts; empty: all
}

// checker applies the filters that look at one dialogue at a time. Safe for
// concurrent use.
type checker struct {
	f          *Filters
	unbalanced bool
	empty      bool
	overlap    *textcheck.Overlap
}

func newChecker(m *Mix) (*checker, error) {
	c := &checker{f: &m.Filters, unbalanced: m.Preset != presetLeoLM, empty: m.Preset != presetLeoLM}
	if len(m.Filters.Overlap) == 0 {
		return c, nil
	}
	n := m.Filters.OverlapWords
	if n == 0 {
		n = 13
	}
	var err error
	if c.overlap, err = textcheck.NewOverlap(n); err != nil {
		return nil, err
	}
	for _, e := range m.Filters.Overlap {
		if err := c.addEvalFile(m.path(e.File), e.Columns); err != nil {
			return nil, fmt.Errorf("filters.overlap: %w", err)
		}
	}
	return c, nil
}

func (c *checker) addEvalFile(file string, columns []string) error {
	r, err := rows.Open(file, rows.Options{})
	if err != nil {
		return err
	}
	defer r.Close()
	texts := 0
	err = rows.Each(r, func(row *rows.Row) error {
		v, err := row.Value()
		if err != nil {
			return err
		}
		walkTexts(&v, "", func(column, text string) {
			if columns == nil || slices.Contains(columns, column) {
				texts++
				c.overlap.Add(fmt.Sprintf("%s: row %d", file, row.Number), text)
			}
		})
		return nil
	})
	if err == nil && texts == 0 {
		err = fmt.Errorf("%s: no texts in it, or none in the columns %s", file, strings.Join(columns, ", "))
	}
	return err
}

// walkTexts calls f with every text below v and the name of its field.
func walkTexts(v *rows.Value, name string, f func(name, text string)) {
	if v.Kind == rows.String {
		f(name, v.Text)
	}
	for i := range v.Items {
		inner := name
		if v.Kind == rows.Object {
			inner = v.Names[i]
		}
		walkTexts(&v.Items[i], inner, f)
	}
}

// check returns why a dialogue is skipped, with a detail for the list of
// skips, or "". It repairs mojibake in place when asked to and then returns
// repaired.
func (c *checker) check(d *Dialogue) (why Reason, detail string, repaired bool) {
	if c.unbalanced {
		if what := d.unbalanced(); what != "" {
			return ReasonUnbalanced, what, false
		}
	}
	if c.empty {
		if what := d.empty(); what != "" {
			return ReasonEmpty, what, false
		}
	}
	if c.f.Mojibake != "" {
		sample := ""
		d.each(func(_ chat.Role, text *string) {
			if damage := textcheck.Mojibake(*text); damage.Found() {
				if sample == "" {
					sample = damage.Sample
				}
				if c.f.Mojibake == "repair" {
					*text, _ = textcheck.RepairMojibake(*text)
				}
			}
		})
		if sample != "" && c.f.Mojibake == "drop" {
			return ReasonMojibake, fmt.Sprintf("found %q", sample), false
		}
		repaired = sample != ""
	}
	if c.f.Residue {
		d.each(func(role chat.Role, text *string) {
			if mark, at, found := textcheck.Residue(*text); found && why == "" {
				why, detail = ReasonResidue, fmt.Sprintf("found %q at byte %d of a turn of the %s", mark, at, role)
			}
		})
	}
	if c.f.Refusals && why == "" {
		for _, t := range d.Turns {
			if phrase, found := textcheck.Refusal(t.Text); found && t.Role == chat.Assistant {
				why, detail = ReasonRefusal, fmt.Sprintf("the answer says %q", phrase)
				break
			}
		}
	}
	if len(c.f.Languages) > 0 && why == "" {
		var b strings.Builder
		for _, t := range d.Turns {
			if t.Role == chat.Assistant {
				b.WriteString(t.Text)
				b.WriteByte('\n')
			}
		}
		guess := textcheck.Detect(b.String())
		// Under some sixty bytes a language cannot be told from its words.
		if sure := guess.Prob > 0.8 && b.Len() >= 60; guess.Lang != "" && sure && !slices.Contains(c.f.Languages, guess.Lang) {
			why, detail = ReasonLanguage, fmt.Sprintf("%s (%.2f)", guess.Lang, guess.Prob)
		}
	}
	if c.overlap != nil && why == "" {
		if hit, found := c.overlap.Check(d.Text()); found {
			why, detail = ReasonOverlap, fmt.Sprintf("%d words as in %s", hit.N, hit.Name)
		}
	}
	return why, detail, repaired
}

// fingerprint is what duplicates are found by.
type fingerprint struct {
	exact textcheck.Hash128
	bands []uint64
	ok    bool
}

// duplicates finds repeated dialogues in the order in which they come: the
// first stays.
type duplicates struct {
	exact map[textcheck.Hash128]sampleRef
	bands []map[uint64]sampleRef
}

// sampleRef says where a sample came from: index of the source and row.
type sampleRef struct {
	source int32
	row    int64
}

func newDuplicates(near bool) *duplicates {
	d := &duplicates{exact: map[textcheck.Hash128]sampleRef{}}
	if near {
		d.bands = make([]map[uint64]sampleRef, textcheck.DefaultMinHash.Bands)
		for i := range d.bands {
			d.bands[i] = map[uint64]sampleRef{}
		}
	}
	return d
}

// add reports whether a dialogue repeats an earlier one, and remembers it if not.
func (d *duplicates) add(f fingerprint, at sampleRef) (of sampleRef, why Reason) {
	if !f.ok {
		return of, ""
	}
	if of, dup := d.exact[f.exact]; dup {
		return of, ReasonDuplicate
	}
	for b, key := range f.bands {
		if of, dup := d.bands[b][key]; dup {
			return of, ReasonNear
		}
	}
	d.exact[f.exact] = at
	for b, key := range f.bands {
		d.bands[b][key] = at
	}
	return of, ""
}
