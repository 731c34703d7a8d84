// Command split divides leo-mini's sources into training and held-out texts.
//
//	go run ./recipes/leo-mini/split --data data --out out/leo-mini
//
// For each source it writes SOURCE.train.jsonl.gz and SOURCE.valid.jsonl.gz ({"title","text"}), and
// split.json with counts, bytes, checksums and the n-gram overlap of the held-out texts with all training
// texts. The same input gives the same bytes. The rule of the split is minidata.Bucket.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"leolm/internal/durable"
	"leolm/recipes/leo-mini/minidata"
)

// source is one row of sources.
type source struct {
	name  string
	files []string
	read  func(s *split, d minidata.Doc, add func(key string, d minidata.Doc))
}

var sources = []source{
	{"klexikon", []string{"klexikon"}, encyclopedic},
	{"wikipedia", []string{"wikipedia_subset"}, encyclopedic},
	{"novels", []string{"novels_eltec"}, func(s *split, d minidata.Doc, add func(string, minidata.Doc)) {
		d.Title = minidata.Work(d.Title)
		d.Text = minidata.Clean(d.Text)
		add(d.Title, d)
	}},
	// The collections share many tales: near-duplicates are removed across all of them, in this order.
	{"tales", []string{"maerchen_textgrid", "maerchen_grimm", "maerchen_andersen"}, tales},
	{"poems", []string{"gedichte_dlk_1790ff"}, func(s *split, d minidata.Doc, add func(string, minidata.Doc)) {
		d.Text = minidata.Clean(d.Text)
		d.Title = "" // the source's titles have small capitals torn apart
		if d.Text != "" {
			add(d.Text, d)
		}
	}},
	{"sentences", []string{"saetze_cc0"}, func(s *split, d minidata.Doc, add func(string, minidata.Doc)) {
		d.Text = minidata.Clean(d.Text)
		if d.Text != "" {
			add(d.Text, d)
		}
	}},
}

// encyclopedic texts begin with their title, so that the model ties the text to it.
func encyclopedic(s *split, d minidata.Doc, add func(string, minidata.Doc)) {
	d.Title = minidata.Clean(d.Title)
	d.Text = d.Title + "\n\n" + minidata.Flow(d.Text)
	add(d.Title, d)
}

var (
	numbered = regexp.MustCompile(`(?m)^\d+\. .{1,90}$`)
	number   = regexp.MustCompile(`^\d+\.\s*`)
)

func tales(s *split, d minidata.Doc, add func(string, minidata.Doc)) {
	text := minidata.Clean(d.Text)
	heads := numbered.FindAllStringIndex(text, -1)
	one := func(title, body string) {
		title = strings.Trim(number.ReplaceAllString(minidata.Clean(title), ""), "[]. ")
		body = strings.TrimSpace(body)
		if len(body) < 200 {
			return
		}
		add(title, minidata.Doc{Title: title, Text: title + "\n\n" + body})
	}
	if len(heads) < 5 { // a single tale, perhaps with its own heading
		body := text
		if first, rest, ok := strings.Cut(text, "\n"); ok && len(first) < 100 {
			body = rest
		}
		one(d.Title, body)
		return
	}
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		one(text[h[0]:h[1]], text[h[1]:end])
	}
}

type part struct {
	Documents int    `json:"documents"`
	Bytes     int    `json:"bytes"` // of text
	File      string `json:"file"`
	SHA256    string `json:"sha256"`
}

type report struct {
	Name          string            `json:"name"`
	Inputs        map[string]string `json:"inputs"` // file → SHA-256
	Duplicates    int               `json:"duplicates_removed"`
	Train         part              `json:"train"`
	Valid         part              `json:"valid"`
	Overlap       float64           `json:"overlap_13gram"`         // share of the held-out 13-grams that training texts contain
	OverlapRemove int               `json:"valid_removed_overlap"`  // held-out documents dropped for sharing more than maxOverlap
	WorstOverlap  float64           `json:"worst_document_overlap"` // of the held-out documents that stay
	ValidTitles   []string          `json:"valid_titles,omitempty"` // of the works held out
	NoDialogue    []string          `json:"no_dialogue,omitempty"`  // titles trained on but kept out of dialogues
}

const (
	gram       = 13  // words, as GPT-3 and PaLM checked
	dupGram    = 8   // words
	dupShare   = 0.3 // a text is a near-duplicate when an earlier one contains this share of its 8-grams
	maxOverlap = 0.3 // a held-out document that shares more of its 13-grams with training isn't held out
)

type split struct {
	data, out string
	seen      map[uint64]int32 // sampled 8-gram of literary texts → document
	docs      int32
}

// duplicate reports whether an earlier text contains a large part of this one, and remembers this one if not. One
// n-gram in four is kept (by hash): enough to detect 30 % of a text of 100 words.
func (s *split) duplicate(text string) bool {
	grams := minidata.Grams(nil, text, dupGram)
	if len(grams) == 0 { // shorter than 8 words: whole text
		grams = minidata.Grams(nil, text, 1)
		var x uint64 = 14695981039346656037
		for _, g := range grams {
			x = (x ^ g) * 1099511628211
		}
		grams = []uint64{x &^ 3}
	}
	hits := map[int32]int{}
	n := 0
	for _, g := range grams {
		if g&3 != 0 && len(grams) > 8 {
			continue
		}
		n++
		if d, ok := s.seen[g]; ok {
			hits[d]++
		}
	}
	for _, c := range hits {
		if float64(c) > dupShare*float64(n) {
			return true
		}
	}
	s.docs++
	for _, g := range grams {
		if g&3 != 0 && len(grams) > 8 {
			continue
		}
		if _, ok := s.seen[g]; !ok {
			s.seen[g] = s.docs
		}
	}
	return false
}

func main() {
	data := flag.String("data", "data", "folder with corpus_de/")
	out := flag.String("out", "out/leo-mini", "folder to write to")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "split: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(*data, *out); err != nil {
		fmt.Fprintln(os.Stderr, "split:", err)
		os.Exit(1)
	}
}

func run(data, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	s := &split{data: data, out: out}
	train, valid := make([][]minidata.Doc, len(sources)), make([][]minidata.Doc, len(sources))
	reports := make([]*report, len(sources))
	for i, src := range sources {
		r := &report{Name: src.name, Inputs: map[string]string{}}
		reports[i] = r
		s.seen = map[uint64]int32{}
		kept := map[string]bool{}
		for _, f := range src.files {
			path := filepath.Join(data, "corpus_de", f+".jsonl.gz")
			sum, err := fileSum(path)
			if err != nil {
				return err
			}
			r.Inputs[f+".jsonl.gz"] = sum
			err = minidata.ReadDocs(path, func(d minidata.Doc) error {
				src.read(s, d, func(key string, d minidata.Doc) {
					if s.duplicate(d.Text) {
						r.Duplicates++
						return
					}
					fold := minidata.FoldOf(key)
					if fold == minidata.HeldOut {
						valid[i] = append(valid[i], d)
						if d.Title != "" && !kept[d.Title] {
							kept[d.Title] = true
							r.ValidTitles = append(r.ValidTitles, d.Title)
						}
						return
					}
					if fold == minidata.NoDialogue && src.name == "klexikon" {
						r.NoDialogue = append(r.NoDialogue, d.Title)
					}
					train[i] = append(train[i], d)
				})
				return nil
			})
			if err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "%-10s %6d training, %5d held-out texts, %5d duplicates removed\n", src.name, len(train[i]), len(valid[i]), r.Duplicates)
	}
	dropOverlap(train, valid, reports)
	for i, src := range sources {
		var err error
		if reports[i].Train, err = write(out, src.name+".train", train[i]); err != nil {
			return err
		}
		if reports[i].Valid, err = write(out, src.name+".valid", valid[i]); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(out, "split.json"), append(b, '\n')); err != nil {
		return err
	}
	fmt.Printf("%-10s %9s %12s %8s %11s %9s\n", "source", "train", "bytes", "valid", "bytes", "overlap")
	for _, r := range reports {
		fmt.Printf("%-10s %9d %12d %8d %11d %8.2f%%\n", r.Name, r.Train.Documents, r.Train.Bytes, r.Valid.Documents, r.Valid.Bytes, 100*r.Overlap)
	}
	return nil
}

// dropOverlap measures how many 13-grams of the held-out texts any training text contains, and drops held-out
// documents that share more than maxOverlap.
func dropOverlap(train, valid [][]minidata.Doc, reports []*report) {
	held := map[uint64]bool{} // 13-gram of a held-out text → found in training
	var buf []uint64
	for _, docs := range valid {
		for _, d := range docs {
			buf = minidata.Grams(buf[:0], d.Text, gram)
			for _, g := range buf {
				held[g] = false
			}
		}
	}
	for _, docs := range train {
		for _, d := range docs {
			buf = minidata.Grams(buf[:0], d.Text, gram)
			for _, g := range buf {
				if hit, ok := held[g]; ok && !hit {
					held[g] = true
				}
			}
		}
	}
	for i, docs := range valid {
		r := reports[i]
		var stay []minidata.Doc
		grams, hits := 0, 0
		for _, d := range docs {
			buf = minidata.Grams(buf[:0], d.Text, gram)
			n := 0
			for _, g := range buf {
				if held[g] {
					n++
				}
			}
			share := 0.0
			if len(buf) > 0 {
				share = float64(n) / float64(len(buf))
			}
			if share > maxOverlap {
				r.OverlapRemove++
				continue
			}
			r.WorstOverlap = max(r.WorstOverlap, share)
			grams, hits = grams+len(buf), hits+n
			stay = append(stay, d)
		}
		valid[i] = stay
		if grams > 0 {
			r.Overlap = float64(hits) / float64(grams)
		}
	}
}

func write(out, name string, docs []minidata.Doc) (part, error) {
	p := part{Documents: len(docs), File: name + ".jsonl.gz"}
	for _, d := range docs {
		p.Bytes += len(d.Text)
	}
	var b bytes.Buffer
	if err := minidata.WriteDocs(&b, docs); err != nil {
		return p, err
	}
	sum := sha256.Sum256(b.Bytes())
	p.SHA256 = hex.EncodeToString(sum[:])
	return p, durable.WriteFile(filepath.Join(out, p.File), b.Bytes())
}

func fileSum(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
