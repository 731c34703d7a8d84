package lineedit

import (
	"errors"
	"io"
	"strings"
	"testing"

	"leolm/internal/screen/screentest"
)

type lines []string

func (l lines) Len() int          { return len(l) }
func (l lines) Line(i int) string { return l[i] }

// typing is an editor on a screen, whose input comes in the given pieces.
type typing struct {
	*Editor
	screen *screentest.Screen
}

func newTyping(columns, rows int) *typing {
	s := screentest.New(columns, rows)
	e := &Editor{out: s, size: func() (int, int) { return columns, rows }}
	return &typing{e, s}
}

func (t *typing) read(pieces ...string) (string, error) {
	return t.edit("> ", func() error {
		if len(pieces) == 0 {
			return io.EOF
		}
		t.input = append(t.input, pieces[0]...)
		pieces = pieces[1:]
		return nil
	})
}

func TestKeys(t *testing.T) {
	more := func(text string) bool { return strings.HasPrefix(text, `"""`) && !strings.HasSuffix(text, `."""`) }
	for name, c := range map[string]struct {
		in, want string
		err      error
	}{
		"plain":                  {in: "hallo\r", want: "hallo"},
		"line feed":              {in: "hallo\n", want: "hallo"},
		"umlauts and CJK":        {in: "Größe 日本語 😀\r", want: "Größe 日本語 😀"},
		"backspace":              {in: "Größ\x7f\x7fße\r", want: "Grße"},
		"backspace is a C-h":     {in: "ab\bc\r", want: "ac"},
		"cluster as a whole":     {in: "a👩‍🚀\x7fb🇩🇪\x1b[Dc\r", want: "abc🇩🇪"},
		"decomposed":             {in: "u\u0308x\x1b[D\x7f\r", want: "x"},
		"wide in the middle":     {in: "ab\x1b[D日c\r", want: "a日cb"},
		"home, end":              {in: "b\x1b[Ha\x1b[Fc\r", want: "abc"},
		"home, end of tmux":      {in: "b\x1b[1~a\x1b[4~c\r", want: "abc"},
		"home, end of rxvt":      {in: "b\x1b[7~a\x1b[8~c\r", want: "abc"},
		"home, end, keypad":      {in: "b\x1bOHa\x1bOFc\r", want: "abc"},
		"C-a, C-e":               {in: "b\x01a\x05c\r", want: "abc"},
		"C-b, C-f":               {in: "bc\x02\x02a\x06d\r", want: "abdc"},
		"delete":                 {in: "abc\x01\x1b[3~\x04\r", want: "c"},
		"words":                  {in: "eins zwei drei\x1bb\x1b[1;5DX\x1b[1;5CY\r", want: "eins XzweiY drei"},
		"kill word, yank":        {in: "eins zwei\x17\x01\x19 \r", want: "zwei eins "},
		"kill words":             {in: "a-b c-d\x1b\x7f\x01\x1bd\r", want: "-b c-"},
		"kill to the ends":       {in: "eins zwei\x02\x02\x0b\x15\x19!\r", want: "eins zw!"},
		"swap":                   {in: "acb\x14\r", want: "abc"},
		"swap in the middle":     {in: "bac\x02\x02\x14\r", want: "abc"},
		"swap alone":             {in: "a\x14\r", want: "a"},
		"unknown sequences":      {in: "a\x1b[15~\x1b[1;2P\x1b[[A\x1bOP\x1bz\x1b[?1;2cb\x00\x1d\r", want: "ab"},
		"two escapes":            {in: "a\x1b\x1b[Db\r", want: "ba"},
		"interrupt":              {in: "halb\x03", want: "halb", err: ErrInterrupted},
		"end of file":            {in: "\x04", err: io.EOF},
		"end in the middle":      {in: "ab\x04", err: io.EOF},
		"not UTF-8":              {in: "a\xff\xc3b\r", want: "a\ufffd\ufffdb"},
		"C1 controls":            {in: "a\u009b31mb\r", want: "a31mb"},
		"marked paste":           {in: "a \x1b[200~eins\r\nzwei\rdrei\n\x1b[201~ b\r", want: "a eins\nzwei\ndrei b"},
		"paste with tab, escape": {in: "\x1b[200~a\tb\x1b[31mc\x1b[201~\r", want: "a b[31mc"},
		"paste in the middle":    {in: "ac\x1b[D\x1b[200~b\x1b[201~\r", want: "abc"},
		"block":                  {in: "\"\"\"eins\rzwei\r.\"\"\"\r", want: "\"\"\"eins\nzwei\n.\"\"\""},
		"meta-enter":             {in: "eins\x1b\rzwei\r", want: "eins\nzwei"},
		"home in a later line":   {in: "\x1b[200~eins\nzwei\x1b[201~\x01X\x1b[A\x05Y\r", want: "einsY\nXzwei"},
		"backspace joins lines":  {in: "\x1b[200~eins\nzwei\x1b[201~\x01\x7f\r", want: "einszwei"},
		"kill joins lines":       {in: "\x1b[200~eins\nzwei\x1b[201~\x1b[A\x05\x0b\r", want: "einszwei"},
	} {
		// At once, and byte by byte.
		for _, pieces := range [][]string{{c.in}, strings.SplitAfter(c.in, "")} {
			e := newTyping(40, 10)
			e.More = more
			got, err := e.read(pieces...)
			if !errors.Is(err, c.err) || err == nil && got != c.want || errors.Is(err, ErrInterrupted) && got != c.want {
				t.Errorf("%s in %d pieces: %q, %v; want %q, %v", name, len(pieces), got, err, c.want, c.err)
			}
			if len(e.screen.Others) > 0 {
				t.Errorf("%s: the screen got %v", name, e.screen.Others)
			}
		}
		var bytes []string
		for i := range len(c.in) {
			bytes = append(bytes, c.in[i:i+1])
		}
		e := newTyping(40, 10)
		e.More = more
		if got, err := e.read(bytes...); !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%s byte by byte: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestTypedAheadWaits(t *testing.T) {
	e := newTyping(40, 10)
	first, err1 := e.read("eins\rzwei\rdr")
	second, err2 := e.read()
	third, err3 := e.read("ei\r")
	if first != "eins" || second != "zwei" || third != "drei" || errors.Join(err1, err2, err3) != nil {
		t.Errorf("%q %q %q: %v %v %v", first, second, third, err1, err2, err3)
	}
	if got, want := e.screen.Text(), "> eins\n> zwei\n> drei"; got != want {
		t.Errorf("the screen shows\n%s\nwant\n%s", got, want)
	}
}

func TestHistory(t *testing.T) {
	h := lines{"erste Frage", "zweite\nFrage", "dritte \x1b[31m Frage"}
	const up, down = "\x1b[A", "\x1b[B"
	for in, want := range map[string]string{
		up + "\r":                               "dritte [31m Frage",
		up + up + up + "\r":                     "zweite\nFrage", // from its second row to its first
		"neu" + up + down + "\r":                "neu",
		"neu" + up + up + down + down + "!\r":   "neu!",
		up + up + up + up + up + up + up + "\r": "erste Frage",
		down + "x\r":                            "x",
		"\x10\x10\x10\x0e\r":                    "zweite\nFrage",
		"\x12erst\r":                            "erste Frage",
		"\x12Frage\x12\x12\x05!\r":              "erste Frage!",
		"\x12Frage\x1b[H>\r":                    ">dritte [31m Frage",
		"neu\x12erst\x07!\r":                    "neu!",
		"\x12zweiX\x7f\r":                       "zweite\nFrage",
	} {
		e := newTyping(60, 10)
		e.History = h
		got, err := e.read(in)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

// What the screen shows, and where the cursor is, also at its bottom and with texts higher than it.
func TestScreen(t *testing.T) {
	long := "Ein langer Satz, der über den Rand der Zeile hinaus geht: 日本語日本語."
	for name, c := range map[string]struct {
		in, want      string
		columns, rows int
		x, y          int
	}{
		"one row":              {in: "hallo\x1b[D", want: "> hallo", columns: 20, rows: 5, x: 6},
		"rows":                 {in: long, want: "> Ein langer Satz,\n  der über den Rand\n   der Zeile hinaus\n   geht: 日本語日本\n  語.", columns: 20, rows: 9, x: 5, y: 4},
		"at the beginning":     {in: long + "\x01", want: "> Ein langer Satz,\n  der über den Rand\n   der Zeile hinaus\n   geht: 日本語日本\n  語.", columns: 20, rows: 9, x: 2},
		"higher, end":          {in: long, want: "   der Zeile hinaus\n   geht: 日本語日本\n  語.", columns: 20, rows: 4, x: 5, y: 2},
		"higher, beginning":    {in: long + "\x01", want: "> Ein langer Satz,\n  der über den Rand\n   der Zeile hinaus", columns: 20, rows: 4, x: 2},
		"lines":                {in: "\x1b[200~a\n\nb\x1b[201~\x1b[A\x1b[A\x05c", want: "> ac\n\n  b", columns: 20, rows: 9, x: 4},
		"shorter again":        {in: long + "\x15kurz", want: "> kurz", columns: 20, rows: 9, x: 6},
		"cleared":              {in: "ab\x0c", want: "> ab", columns: 20, rows: 9, x: 4},
		"goal column":          {in: "\x1b[200~abcdef\nx\nabcdef\x1b[201~\x1b[A\x1b[A", want: "> abcdef\n  x\n  abcdef", columns: 20, rows: 9, x: 8},
		"a word wraps nowhere": {in: "0123456789012345678901", want: "> 01234567890123456\n  78901", columns: 20, rows: 9, x: 7, y: 1},
	} {
		for _, pieces := range [][]string{{c.in}, strings.SplitAfter(c.in, "")} {
			e := newTyping(c.columns, c.rows)
			var got string // before the end of the input leaves the text
			var x, y int
			_, _ = e.edit("> ", func() error {
				if len(pieces) == 0 {
					got = e.screen.Text()
					x, y = e.screen.Cursor()
					return io.EOF
				}
				e.input = append(e.input, pieces[0]...)
				pieces = pieces[1:]
				return nil
			})
			if got != c.want || x != c.x || y != c.y {
				t.Errorf("%s: cursor %d,%d, want %d,%d; the screen shows\n%s\nwant\n%s", name, x, y, c.x, c.y, got, c.want)
			}
		}
	}
}

// A text that was typed at the bottom of the screen scrolls, and nothing above it is lost.
func TestBottomOfScreen(t *testing.T) {
	e := newTyping(20, 5)
	for i := range 6 {
		if _, err := io.WriteString(e.screen, "Zeile "+string(rune('0'+i))+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := e.read("eins ", "zwei ", "drei ", "vier ", "fünf ", "sechs ", "sieben ", "acht", "\x01", "\x05", "\r")
	if err != nil || got != "eins zwei drei vier fünf sechs sieben acht" {
		t.Fatalf("%q, %v", got, err)
	}
	all := strings.Join(append(e.screen.Scrolled, e.screen.Text()), "\n")
	want := "Zeile 0\nZeile 1\nZeile 2\nZeile 3\nZeile 4\nZeile 5\n> eins zwei drei vi\n  er fünf sechs sie\n  ben acht"
	if all != want {
		t.Errorf("the screen shows\n%s\nwant\n%s", all, want)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("hallo \x1b[D\x7f\x1b[200~a\nb\x1b[201~\r", 20, 5)
	f.Add("\x12x\x1b[A\x1b[B\x17\x19\x14👩‍🚀\x02\x02\x7f日本\x03", 3, 2)
	f.Fuzz(func(t *testing.T, in string, columns, rows int) {
		columns, rows = 4+(columns&63), 2+(rows&15)
		e := newTyping(columns, rows)
		e.History = lines{"alt", "älter\nund länger 日本"}
		got, _ := e.read(in)
		if clean(got) != got {
			t.Errorf("%q became %q", in, got)
		}
		if len(e.screen.Others) > 0 {
			t.Errorf("%q: the screen got %v", in, e.screen.Others)
		}
	})
}
