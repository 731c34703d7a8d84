package corpus

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"leolm/internal/recipe"
	"leolm/internal/textcheck"
)

// A Recipe says how to make a corpus. See docs/corpus.md for the YAML.
type Recipe struct {
	Name string `yaml:"name" default:"corpus" json:"name"` // in reports and cluster jobs
	Seed uint64 `yaml:"seed" default:"42" json:"seed"`     // of the order of documents
	// OnError is what happens to rows that cannot be read: "skip" counts and lists them in work/docs/*-skipped.jsonl.
	OnError string `yaml:"on_error" default:"stop" check:"oneof=stop|skip" json:"on_error"`
	// ListDropped writes every document that a filter drops to
	// work/docs/*-dropped.jsonl.
	ListDropped bool       `yaml:"list_dropped" json:"list_dropped,omitempty"`
	Inputs      []Input    `yaml:"inputs" check:"required" json:"inputs"`
	Normalize   Normalize  `yaml:"normalize" formerly:"normalise" json:"normalise"` // in JSON, and with it the ID of a plan, by its first name
	Filters     Filters    `yaml:"filters" json:"filters"`
	Dedup       Dedup      `yaml:"dedup" json:"dedup"`
	Tokenizer   string     `yaml:"tokenizer" check:"required" json:"tokenizer"` // file or folder
	Pack        Pack       `yaml:"pack" json:"pack"`
	Validation  Validation `yaml:"validation" json:"validation"`

	// Notes say which keys are written with names of the past.
	Notes []string `yaml:"-" json:"-"`
}

// An Input is one source of documents: one file or all files of a pattern.
type Input struct {
	Name   string `yaml:"name" json:"name"`                   // in reports; default: the file's name
	Path   string `yaml:"path" check:"required" json:"path"`  // file or pattern
	Format string `yaml:"format" json:"format"`               // jsonl, json, parquet, csv, tsv, text, wet; default: by the name
	Text   string `yaml:"text" default:"text" json:"text"`    // column or field of the text
	Key    string `yaml:"key" default:"title" json:"key"`     // column or field that names a document; may be missing
	Split  string `yaml:"split" json:"split"`                 // regular expression: a document begins at each match; group 1 becomes its key
	HTML   bool   `yaml:"html_entities" json:"html_entities"` // resolve "&#228;" and the like
}

// Normalize are the changes that every document gets.
type Normalize struct {
	NFC        bool `yaml:"nfc" default:"true" json:"nfc"`               // Unicode composition
	Whitespace bool `yaml:"whitespace" default:"true" json:"whitespace"` // runs of space, empty lines
	Control    bool `yaml:"control" default:"true" json:"control"`       // drop invisible characters
}

// Filters run in this order.
type Filters struct {
	// Mojibake is UTF-8 that was read as Mac Roman, Latin-1 or Windows-1252, once or twice ("Bj√∂rn").
	Mojibake    string    `yaml:"mojibake" default:"repair" check:"oneof=off|repair|drop" json:"mojibake"`
	Boilerplate bool      `yaml:"boilerplate" json:"boilerplate"` // drop lines of page furniture: cookie banners, menus, "read more"
	C4Lines     *C4Lines  `yaml:"c4_lines" json:"c4_lines,omitempty"`
	Length      Length    `yaml:"length" json:"length"`
	Language    *Language `yaml:"language" json:"language,omitempty"`
	Quality     *Quality  `yaml:"gopher_quality" json:"gopher_quality,omitempty"`
	Repetition  *Repeats  `yaml:"gopher_repetition" json:"gopher_repetition,omitempty"`
	Overlap     *Overlap  `yaml:"overlap" json:"overlap,omitempty"`
}

// C4Lines are the line rules of Raffel et al. 2020, §2.2, which keep sentences and drop the furniture of web pages.
type C4Lines struct {
	Terminal   bool `yaml:"terminal" default:"true" json:"terminal"`              // keep only lines that end with . ! ? or a closing quote
	MinWords   int  `yaml:"min_words" default:"3" check:"min=0" json:"min_words"` // drop shorter lines
	Javascript bool `yaml:"javascript" default:"true" json:"javascript"`          // drop lines that mention JavaScript
	Policy     bool `yaml:"policy" default:"true" json:"policy"`                  // drop lines on cookies, privacy and terms of use
	Braces     bool `yaml:"braces" default:"true" json:"braces"`                  // refuse a text with "{": code
	LoremIpsum bool `yaml:"lorem_ipsum" default:"true" json:"lorem_ipsum"`        // refuse placeholder text
	MinLines   int  `yaml:"min_lines" default:"3" check:"min=0" json:"min_lines"` // refuse a text of which fewer lines are left
}

// Length bounds the characters of a document.
type Length struct {
	MinChars int `yaml:"min_chars" default:"1" check:"min=0" json:"min_chars"` // drop shorter documents
	MaxChars int `yaml:"max_chars" check:"min=0" json:"max_chars"`             // drop longer ones; 0: no limit
}

// Language keeps documents in the wanted languages.
type Language struct {
	Keep    []string `yaml:"keep" default:"[de]" json:"keep"`                            // codes of ISO 639-1 or -3
	MinProb float64  `yaml:"min_prob" default:"0.5" check:"min=0,max=1" json:"min_prob"` // drop a document that is less certain to be in one of them
}

// Validate checks the languages and writes them as the filter's answers are.
func (l *Language) Validate(fail func(key, format string, args ...any)) {
	for i, tag := range l.Keep {
		code, err := textcheck.LanguageCode(tag)
		if err != nil {
			fail(fmt.Sprintf("keep.%d", i), "%v", err)
			continue
		}
		l.Keep[i] = code
	}
}

// Quality are the quality rules of Rae et al. 2021, table A1.
type Quality struct {
	MinWords         int      `yaml:"min_words" default:"50" json:"min_words"`                    // drop documents of fewer words
	MaxWords         int      `yaml:"max_words" default:"100000" json:"max_words"`                // drop longer ones
	MinMeanWord      float64  `yaml:"min_mean_word" default:"3" json:"min_mean_word"`             // drop those of shorter words on average, in characters
	MaxMeanWord      float64  `yaml:"max_mean_word" default:"10" json:"max_mean_word"`            // drop those of longer words on average
	MaxSymbols       float64  `yaml:"max_symbols" default:"0.1" json:"max_symbols"`               // drop those with more "#" and "…" per word
	MaxBullets       float64  `yaml:"max_bullets" default:"0.9" json:"max_bullets"`               // drop those with a larger share of lines that begin with a bullet
	MaxEllipsisLines float64  `yaml:"max_ellipsis_lines" default:"0.3" json:"max_ellipsis_lines"` // drop those with a larger share of lines that end in "…"
	MinAlphaWords    float64  `yaml:"min_alpha_words" default:"0.8" json:"min_alpha_words"`       // drop those with a smaller share of words that hold a letter
	MinStopWords     int      `yaml:"min_stop_words" default:"2" json:"min_stop_words"`           // drop those with fewer different stop words
	StopWords        []string `yaml:"stop_words" json:"stop_words,omitempty"`                     // empty: German ones
}

// Repeats are the repetition rules of Rae et al. 2021, table A1. A document is dropped when a share is larger.
type Repeats struct {
	DupLines          float64   `yaml:"dup_lines" default:"0.30" json:"dup_lines"`                                                     // lines that occurred before
	DupParagraphs     float64   `yaml:"dup_paragraphs" default:"0.30" json:"dup_paragraphs"`                                           // paragraphs that occurred before
	DupLineChars      float64   `yaml:"dup_line_chars" default:"0.20" json:"dup_line_chars"`                                           // characters in such lines
	DupParagraphChars float64   `yaml:"dup_paragraph_chars" default:"0.20" json:"dup_paragraph_chars"`                                 // characters in such paragraphs
	TopGrams          []float64 `yaml:"top_grams" default:"[0.20, 0.18, 0.16]" check:"min=3,max=3" json:"top_grams"`                   // characters in the most frequent 2-, 3- and 4-gram of words
	DupGrams          []float64 `yaml:"dup_grams" default:"[0.15, 0.14, 0.13, 0.12, 0.11, 0.10]" check:"min=6,max=6" json:"dup_grams"` // characters in 5- to 10-grams that occur more than once
}

// Overlap drops documents that share an n-gram with evaluation files.
type Overlap struct {
	Files  []string `yaml:"files" check:"required" json:"files"` // any format of dataset/rows; every text in a row counts
	Ngrams []int    `yaml:"ngrams" default:"[13]" json:"ngrams"` // lengths in words
}

// Dedup removes copies; the first document in the order of the inputs stays.
type Dedup struct {
	Exact   bool     `yaml:"exact" default:"true" json:"exact"` // the same words in the same order; case, punctuation and spacing don't count
	MinHash *MinHash `yaml:"minhash" json:"minhash,omitempty"`
	// MemoryMB bounds a sort of keys in memory; more is merged from disk.
	MemoryMB int `yaml:"memory_mb" default:"1024" check:"min=1" json:"memory_mb"`
}

// MinHash finds near duplicates: documents that share a band of minima (FineWeb's 14 × 8 over 5-grams).
type MinHash struct {
	Bands int `yaml:"bands" default:"14" check:"min=1,max=256" json:"bands"` // buckets per text
	Rows  int `yaml:"rows" default:"8" check:"min=1,max=64" json:"rows"`     // minima per bucket; all must agree
	Ngram int `yaml:"ngram" default:"5" check:"min=1,max=64" json:"ngram"`   // words per shingle
}

// Pack says how tokens become samples.
type Pack struct {
	// Window is the number of tokens a model sees at once. A sample holds
	// Window+1 ids; its last id is the first of the next sample, so that every
	// token is predicted once. 0: one sample per document.
	Window int  `yaml:"window" default:"8192" check:"min=0,max=16777216" json:"window"`
	BOS    bool `yaml:"bos" default:"true" json:"bos"` // before each document
	EOS    bool `yaml:"eos" default:"true" json:"eos"` // after each document
	// ShardMB is the size of an output shard, and of what the pack stage holds
	// in memory.
	ShardMB int `yaml:"shard_mb" default:"256" check:"min=1,max=65536" json:"shard_mb"`
}

// Validation holds documents out by the hash of their key, so that documents of
// one title land on one side, whatever the input.
type Validation struct {
	Fraction float64 `yaml:"fraction" check:"min=0,max=0.5" json:"fraction"` // share of the documents
}

// LoadRecipe reads and checks a recipe file; sets are "key=value" changes.
func LoadRecipe(path string, sets []string) (*Recipe, error) {
	var r Recipe
	l := recipe.Loader{Renamed: func(old, now string) { r.Notes = append(r.Notes, old+" is called "+now+" now") }}
	if err := l.Load(path, sets, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

var inputFormats = []string{"jsonl", "json", "parquet", "csv", "tsv", "text", "wet"}

// Validate hands every contradiction to fail, with the path of its key.
func (r *Recipe) Validate(fail func(key, format string, args ...any)) {
	names := map[string]bool{}
	for i, in := range r.Inputs {
		if in.Format != "" && !slices.Contains(inputFormats, in.Format) {
			fail(fmt.Sprintf("inputs.%d.format", i), "is %q, want one of %s", in.Format, strings.Join(inputFormats, ", "))
		}
		if in.Split != "" {
			if _, err := regexp.Compile(in.Split); err != nil {
				fail(fmt.Sprintf("inputs.%d.split", i), "%v", err)
			}
		}
		if in.Name != "" {
			if names[in.Name] {
				fail(fmt.Sprintf("inputs.%d.name", i), "%q names two inputs", in.Name)
			}
			names[in.Name] = true
		}
	}
	if m := r.Dedup.MinHash; m != nil {
		if _, err := textcheck.NewHasher(m.options()); err != nil {
			fail("dedup.minhash", "%v", err)
		}
	}
	if o := r.Filters.Overlap; o != nil {
		if _, err := textcheck.NewOverlap(o.Ngrams...); err != nil {
			fail("filters.overlap.ngrams", "%v", err)
		}
	}
}

func (m *MinHash) options() textcheck.MinHashOptions {
	return textcheck.MinHashOptions{Bands: m.Bands, Rows: m.Rows, Ngram: m.Ngram, Seed: 1}
}

// formatOf is the format of one file of an input.
func (in *Input) formatOf(path string) (string, error) {
	if in.Format != "" {
		return in.Format, nil
	}
	name := strings.ToLower(filepath.Base(path))
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	switch filepath.Ext(name) {
	case ".jsonl", ".ndjson":
		return "jsonl", nil
	case ".json", ".parquet", ".csv", ".tsv":
		return filepath.Ext(name)[1:], nil
	case ".txt", ".text", ".md":
		return "text", nil
	case ".wet":
		return "wet", nil
	}
	return "", fmt.Errorf("%s: cannot tell the format from the name; say format: (one of %s)", path, strings.Join(inputFormats, ", "))
}
