// Package minidata knows the sources of leo-mini: how they are read and cleaned, and which titles are held out.
//
// It owns the rule of the split, the cleaning of the sources' texts, word n-grams for duplicates and overlap,
// and the fixed questions. The programs of recipes/leo-mini and bench/leo-mini use it. It does not own general
// corpus work (package dataset) or training.
package minidata

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html"
	"io"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"leolm/internal/bounded"
)

// Fold is what a title may be used for.
type Fold int

const (
	Trained    Fold = iota // pretraining and dialogues
	NoDialogue             // pretraining only: asks whether facts are learned from text alone
	HeldOut                // neither: measures bits per byte
)

// Buckets of 100 that go to each fold.
const (
	heldOutBuckets    = 4
	noDialogueBuckets = 4
)

// Bucket maps a title to 0…99 by the first 8 bytes (big endian) of the SHA-256 of its NFC form in lower case
// with outer spaces removed. The title alone decides, so that the articles of Klexikon and Wikipedia with the same
// title are on the same side, in every run and on every machine.
func Bucket(title string) int {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(norm.NFC.String(title)))))
	return int(binary.BigEndian.Uint64(sum[:8]) % 100)
}

// FoldOf is the fold of an encyclopedic title: buckets 0–3 held out, 4–7 without dialogues.
func FoldOf(title string) Fold {
	switch b := Bucket(title); {
	case b < heldOutBuckets:
		return HeldOut
	case b < heldOutBuckets+noDialogueBuckets:
		return NoDialogue
	}
	return Trained
}

var volume = regexp.MustCompile(`(?i)\s*(: ELTeC ausgabe|\[[^\]]*\]|\b(erste|zweite|dritte)r? (band|ab(th|t)eilung)\.?|\b[IVX]+|\d+|\.)\s*$`)

// Work is the title of a literary work without edition and volume, so that all volumes share a fold.
func Work(title string) string {
	for {
		short := strings.TrimSpace(volume.ReplaceAllString(title, ""))
		if short == title || short == "" {
			return title
		}
		title = short
	}
}

// Doc is one text of a source.
type Doc struct {
	Title  string `json:"title,omitempty"`
	Author string `json:"author,omitempty"`
	Text   string `json:"text"`
}

const maxLine = 64 << 20

// ReadDocs calls each for every line of a gzip-compressed JSONL file.
func ReadDocs(path string, each func(Doc) error) error {
	f, err := bounded.OpenRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(make([]byte, 1<<20), maxLine)
	for line := 1; s.Scan(); line++ {
		var d Doc
		if err := json.Unmarshal(s.Bytes(), &d); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, line, err)
		}
		if err := each(d); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, line, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// WriteDocs writes docs as gzip-compressed JSONL; the same docs give the same bytes.
func WriteDocs(w io.Writer, docs []Doc) error {
	z := gzip.NewWriter(w)
	e := json.NewEncoder(z)
	e.SetEscapeHTML(false)
	for _, d := range docs {
		if err := e.Encode(d); err != nil {
			return err
		}
	}
	return z.Close()
}

var (
	spaces     = regexp.MustCompile(`[ \t]+`)
	blankLines = regexp.MustCompile(`\n{3,}`)
	spaced     = regexp.MustCompile(` *\n *`)
	invisible  = strings.NewReplacer("\u00ad", "", "\ufeff", "", "\u200b", "", "\u00a0", " ", "\u202f", " ", "\u2009", " ", "\r\n", "\n", "\r", "\n")
)

// Clean puts text into NFC, resolves HTML entities, drops soft hyphens and other invisible characters, and
// leaves single spaces and at most one blank line.
func Clean(text string) string {
	text = invisible.Replace(html.UnescapeString(norm.NFC.String(text)))
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
	text = spaces.ReplaceAllString(text, " ")
	text = spaced.ReplaceAllString(text, "\n")
	return strings.TrimSpace(blankLines.ReplaceAllString(text, "\n\n"))
}

// Paragraphs returns the paragraphs of an encyclopedic text as lists of lines. The sources have one sentence per
// line and a blank line between paragraphs; headings ("== Geschichte") become paragraphs of their own, without
// the equals signs.
func Paragraphs(text string) [][]string {
	var out [][]string
	for _, block := range strings.Split(Clean(text), "\n\n") {
		var para []string
		flush := func() {
			if len(para) > 0 {
				out = append(out, para)
				para = nil
			}
		}
		for _, line := range strings.Split(block, "\n") {
			if strings.HasPrefix(line, "=") {
				flush()
				if h := strings.Trim(line, "= "); h != "" {
					out = append(out, []string{h})
				}
				continue
			}
			if len([]rune(line)) > 1 { // single signs are leftovers of removed markup
				para = append(para, line)
			}
		}
		flush()
	}
	return out
}

// Flow joins the lines of every paragraph: the text as a reader would see it.
func Flow(text string) string {
	var b strings.Builder
	for i, p := range Paragraphs(text) {
		if i > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(strings.Join(p, " "))
	}
	return b.String()
}

// Grams appends the hashes of all n-word shingles of text, case and punctuation ignored.
func Grams(dst []uint64, text string, n int) []uint64 {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	hashes := make([]uint64, len(words))
	for i, w := range words {
		h := fnv.New64a()
		_, _ = io.WriteString(h, w)
		hashes[i] = h.Sum64()
	}
	for i := 0; i+n <= len(hashes); i++ {
		var x uint64
		for _, h := range hashes[i : i+n] {
			x = (x ^ h) * 0x9e3779b97f4a7c15
			x ^= x >> 29
		}
		dst = append(dst, x)
	}
	return dst
}

// Message is one turn of a dialogue.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Judge has the rules by which an answer to a fixed question is judged. Words are compared without regard to case
// unless ExactCase is set.
type Judge struct {
	Topic     []string   `json:"topic"`                // an answer on the topic contains one of these
	Facts     [][]string `json:"facts"`                // groups of words; a group counts when one of its words occurs
	Need      int        `json:"need"`                 // groups that make the answer right
	ExactCase bool       `json:"exact_case,omitempty"` // compare with case
	Abstain   bool       `json:"abstain,omitempty"`    // the right answer is not to know
}

// Question is one of the fixed questions. Messages holds user turns only; an answer is generated after each,
// and the last one is judged.
type Question struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Title    string    `json:"title,omitempty"`
	Split    string    `json:"split,omitempty"` // "trained" or "kept-out" for titles
	Messages []Message `json:"messages"`
	Judge    Judge     `json:"judge"`
}

// ReadQuestions reads models/leo-mini/questions.jsonl.
func ReadQuestions(path string) ([]Question, error) {
	f, err := bounded.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Question
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for line := 1; s.Scan(); line++ {
		var q Question
		d := json.NewDecoder(strings.NewReader(s.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, line, err)
		}
		out = append(out, q)
	}
	return out, s.Err()
}

// Key normalizes a question for comparison: letters and digits in lower case, single spaces.
func Key(question string) string {
	words := strings.FieldsFunc(strings.ToLower(norm.NFC.String(question)), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, " ")
}
