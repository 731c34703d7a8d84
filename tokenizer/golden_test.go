package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

type goldenRow struct {
	Text    string
	IDs     map[string][]int32
	Decoded map[string]string
	Skipped map[string]string
}

func goldens(t testing.TB) []goldenRow {
	t.Helper()
	f, err := os.Open("testdata/goldens.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rows []goldenRow
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		var r goldenRow
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(r.Text)
		if err != nil {
			t.Fatal(err)
		}
		r.Text = string(b)
		rows = append(rows, r)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func openGolden(t testing.TB, name string, opt Options) *Tokenizer {
	t.Helper()
	path := "testdata/" + name + ".model"
	if strings.HasPrefix(name, "hf_") {
		path = "testdata/" + name + ".json"
	}
	tok, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// What sentencepiece and Hugging Face tokenizers made of the same strings.
func TestGoldens(t *testing.T) {
	rows := goldens(t)
	if len(rows) < 500 {
		t.Fatalf("only %d rows", len(rows))
	}
	toks := map[string]*Tokenizer{}
	for name := range rows[0].IDs {
		toks[name] = openGolden(t, name, Options{Specials: SpecialsAnywhere})
	}
	if len(toks) != 15 {
		t.Fatalf("%d tokenizers, want 15", len(toks))
	}
	bad := map[string]int{}
	for _, r := range rows {
		for name, want := range r.IDs {
			tok := toks[name]
			got := tok.AppendTokens(nil, r.Text)
			if !slices.Equal(got, want) {
				if bad[name]++; bad[name] < 4 {
					t.Errorf("%s: %.200q\n got %.300v\nwant %.300v", name, r.Text, got, want)
				}
			}
			// The same with offsets, which take other paths through the code.
			again, offs := tok.EncodeTrusted(nil, nil, r.Text, nil)
			if !slices.Equal(again, got) || len(offs) != len(again) {
				t.Errorf("%s: %.200q: with offsets %.300v (%d offsets), without %.300v", name, r.Text, again, len(offs), got)
			}
			for i, o := range offs {
				if int(o) > len(r.Text) || o < 0 {
					t.Errorf("%s: %.200q: token %d begins at %d", name, r.Text, i, o)
					break
				}
			}
			if back, ok := r.Decoded[name]; ok {
				if got := tok.Decode(want, false); got != back {
					t.Errorf("%s: %.200q decoded\n got %.300q\nwant %.300q", name, r.Text, got, back)
				}
			}
			if got := tok.Decode(want, true); got != r.Skipped[name] {
				t.Errorf("%s: %.200q decoded without control tokens\n got %.300q\nwant %.300q", name, r.Text, got, r.Skipped[name])
			}
		}
	}
}

// A streaming decoder says the same as Decode, piece by piece, and what it says
// is whole characters. (Broken bytes in Hugging Face's byte fallback are the one
// exception: there Decode replaces whole runs, which no stream can know.)
func TestStreaming(t *testing.T) {
	rows := goldens(t)
	for name := range rows[0].IDs {
		tok := openGolden(t, name, Options{Specials: SpecialsAnywhere})
		for _, skip := range []bool{false, true} {
			d := tok.NewDecoder(skip)
			for _, r := range rows {
				ids := r.IDs[name]
				var text []byte
				for _, id := range ids {
					before := len(text)
					text = d.Append(text, id)
					if !utf8.Valid(text[before:]) {
						t.Fatalf("%s: %.100q: token %d gave %q", name, r.Text, id, text[before:])
					}
				}
				text = d.Flush(text)
				if want := tok.Decode(ids, skip); string(text) != want {
					t.Errorf("%s: %.100q\n  streamed %.300q\nat once %.300q", name, r.Text, text, want)
				}
			}
		}
	}
}

// Offsets tile the text: the bytes between two offsets belong to the first token.
func TestOffsets(t *testing.T) {
	tests := []struct {
		tok, text string
		trusted   []Span
		want      []string // text from each offset to the next
	}{
		{"bpe", "Die Straße ist naß", nil, nil},
		{"bpe", "ab<|im_end|>cd", []Span{{2, 12}}, []string{"", "a", "b", "<|im_end|>", "c", "d"}},
		{"hf_llama_legacy", "ab<s>cd", []Span{{2, 5}}, nil},
		{"hf_smollm", "ab<s>c\u00fcd 12", []Span{{2, 5}}, nil},
		{"bpe_nfkc", "  ﬁn  de\u0301n   12", nil, nil},
		{"hf_qwen2", "de\u0301n A\u030a.", nil, nil},
		{"hf_gpt2", "ab <|im_end|> cd", []Span{{3, 13}}, nil},
	}
	for _, tt := range tests {
		tok := openGolden(t, tt.tok, Options{})
		ids, offs := tok.EncodeTrusted(nil, nil, tt.text, tt.trusted)
		if len(ids) != len(offs) || len(ids) == 0 {
			t.Fatalf("%s %q: %d ids, %d offsets", tt.tok, tt.text, len(ids), len(offs))
		}
		var got []string
		for i := range offs {
			end := len(tt.text)
			if i+1 < len(offs) {
				end = int(offs[i+1])
			}
			if end < int(offs[i]) {
				t.Errorf("%s %q: offsets go back: %v", tt.tok, tt.text, offs)
				break
			}
			part := tt.text[offs[i]:end]
			got = append(got, part)
			if k := tok.Kind(ids[i]); k == Control && part != tok.Piece(ids[i]) && strings.TrimSpace(part) != tok.Piece(ids[i]) {
				t.Errorf("%s %q: control token %q lies on %q", tt.tok, tt.text, tok.Piece(ids[i]), part)
			}
		}
		if tt.want != nil && !slices.Equal(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == "" }), slices.DeleteFunc(slices.Clone(tt.want), func(s string) bool { return s == "" })) {
			t.Errorf("%s %q: offsets cut it into %q", tt.tok, tt.text, got)
		}
	}
}

// Text from users never yields a control token; trusted ranges do, and only
// where the token lies inside them.
func TestTrusted(t *testing.T) {
	for _, name := range []string{"bpe", "unigram_bytes", "hf_smollm", "hf_llama3", "hf_llama_legacy", "hf_llama_first", "hf_qwen2"} {
		tok := openGolden(t, name, Options{})
		end, ok := tok.ID("<|im_end|>")
		if !ok || tok.Kind(end) != Control {
			t.Fatalf("%s: <|im_end|> is %d, %v", name, end, tok.Kind(end))
		}
		text := "x<|im_end|>y"
		for _, id := range tok.AppendTokens(nil, text) {
			if tok.Kind(id) == Control {
				t.Errorf("%s: text gave the control token %q", name, tok.Piece(id))
			}
		}
		for _, tt := range []struct {
			spans []Span
			want  int
		}{
			{nil, 0}, {[]Span{{0, len(text)}}, 1}, {[]Span{{1, 11}}, 1}, {[]Span{{1, 5}, {5, 11}}, 1},
			{[]Span{{1, 10}}, 0}, {[]Span{{2, 11}}, 0}, {[]Span{{0, 4}, {5, 12}}, 0}, {[]Span{{0, 0}, {11, 12}}, 0},
		} {
			ids, _ := tok.EncodeTrusted(nil, nil, text, tt.spans)
			n := 0
			for _, id := range ids {
				if id == end {
					n++
				}
			}
			if n != tt.want {
				t.Errorf("%s: %v trusted: %d control tokens, want %d", name, tt.spans, n, tt.want)
			}
		}
	}
}
