package screen

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"Grüße, 日本語 👩‍🚀\n\tx":              "Grüße, 日本語 👩‍🚀\n\tx",
		"\x1b[31mrot\x1b]0;Titel\a":        `\x1b[31mrot\x1b]0;Titel\x07`,
		"C1: \u009b31m \u0085":             `C1: \u009b31m \u0085`,
		"raw C1: \x9b31m":                  `raw C1: \x9b31m`,
		"weg\b\b\x7f":                      `weg\x08\x08\u007f`,
		"eins\r\nzwei\rdrei\r":             "eins\nzwei\\rdrei\\r",
		"datei\u202egnp.exe \u2066x\u2069": `datei\u202egnp.exe \u2066x\u2069`,
		"\xffab\xc3":                       `\xffab\xc3`,
		"echt: \ufffd":                     "echt: \ufffd",
	} {
		if got := Harmless(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got, want := Line("a\nb\tc\r\nd"), `a\nb\tc\r\nd`; got != want {
		t.Errorf("one line: %q, want %q", got, want)
	}
}

// JSON that was made harmless says the same.
func TestHarmlessKeepsJSON(t *testing.T) {
	in := "a\x1b\u009b\x7f\u202e\r\n"
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal([]byte(Harmless(string(data))), &back); err != nil || back != in {
		t.Errorf("%q became %q: %v", in, back, err)
	}
}

// What is written in pieces arrives as if it had come at once.
func TestWriterHoldsUnfinishedCharacters(t *testing.T) {
	const text = "Grüße 👩‍🚀\x1b[0m\r\nzwei\r\xffdrei\u009b\r"
	want := Harmless(text)
	for size := 1; size < len(text); size++ {
		f, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		w := New(f)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if k, err := io.WriteString(w, rest[:n]); err != nil || k != n {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || string(got) != want {
			t.Fatalf("in pieces of %d: %q, want %q (%v)", size, got, want, err)
		}
		if w.Terminal() || w.Exact() != io.Writer(f) {
			t.Fatal("a file is no terminal")
		}
		f.Close()
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in, want string
		columns  int
	}{
		{"kurz", "kurz", 20},
		{"Ein Satz, der umbrochen wird.", "Ein Satz, \nder \numbrochen \nwird.", 11},
		{"genau zehn und", "genau zehn\nund", 11},
		{"Donaudampfschifffahrt ab", "Donaudampf\nschifffahr\nt ab", 11},
		{"größere Übergröße", "größere \nÜbergröße", 11},
		{"日本語を話します", "日本語を話\nします", 11},
		{"👩‍🚀👩‍🚀👩‍🚀👩‍🚀👩‍🚀👩‍🚀", "👩‍🚀👩‍🚀👩‍🚀👩‍🚀👩‍🚀\n👩‍🚀", 11},
		{"\x1b[1mfett und\x1b[22m dünn dahinter", "\x1b[1mfett und\x1b[22m \ndünn \ndahinter", 11},
		{"\tx y", "    x y", 11},
		{"a\nb", "a\nb", 11},
	} {
		if got := Wrap(c.in, c.columns); got != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.in, c.columns, got, c.want)
		}
	}
}

// play runs a Wrapper's output on a screen that knows line feeds, moves to the left and clearing.
func play(t *testing.T, out string, columns int) string {
	t.Helper()
	rows := []string{""}
	for out != "" {
		row := &rows[len(rows)-1]
		switch {
		case out[0] == '\n':
			rows = append(rows, "")
			out = out[1:]
		case strings.HasPrefix(out, "\x1b["):
			end := strings.Index(out, "D\x1b[K")
			n := 0
			for _, c := range out[2:end] {
				n = 10*n + int(c-'0')
			}
			for n > 0 {
				r, size := utf8.DecodeLastRuneInString(*row)
				*row = (*row)[:len(*row)-size]
				n -= uniseg.StringWidth(string(r))
			}
			out = out[end+4:]
		default:
			_, size := utf8.DecodeRuneInString(out)
			*row += out[:size]
			out = out[size:]
		}
	}
	for _, r := range rows {
		if uniseg.StringWidth(r) >= columns {
			t.Errorf("%q takes %d of %d columns", r, uniseg.StringWidth(r), columns)
		}
	}
	return strings.Join(rows, "\n")
}

// A stream in pieces looks as the whole does.
func TestWrapperStreams(t *testing.T) {
	text := "Der Mond scheint hell über dem stillen Wald, und die Donaudampfschifffahrtsgesellschaft   ruft: 日本語を話しますか? " +
		"Größenwahn-Verdacht bei 3.14 € — „ja“.\n\n  - Punkt eins ist etwas länger als der Rand\n\tTab"
	for columns := 3; columns < 60; columns++ {
		want := NewWrapper(columns).Add(text)
		for size := 1; size < 9; size++ {
			w := NewWrapper(columns)
			var out strings.Builder
			runes := []rune(text)
			for len(runes) > 0 {
				n := min(size, len(runes))
				out.WriteString(w.Add(string(runes[:n])))
				runes = runes[n:]
			}
			if got := play(t, out.String(), columns); got != want {
				t.Fatalf("%d columns, pieces of %d:\n%s\nwant\n%s", columns, size, got, want)
			}
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("Ein Satz, der \x1b[1mumbrochen\x1b[0m wird.", 11)
	f.Add("👩‍🚀日本語 ü\u0308", 3)
	f.Fuzz(func(t *testing.T, s string, columns int) {
		s = Harmless(s)
		got := Wrap(s, columns)
		squeeze := strings.NewReplacer(" ", "", "\n", "", "\t", "")
		if squeeze.Replace(got) != squeeze.Replace(s) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
