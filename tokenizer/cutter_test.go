package tokenizer

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// byMerging returns a copy of the tokenizer that merges words.
func byMerging(t testing.TB, tok *Tokenizer) *Tokenizer {
	t.Helper()
	e := *tok.engine.(*spEngine)
	b := *e.model.(*spBPE)
	if b.cutter.get(cutterAfter) == nil { // from now on it is there
		t.Fatalf("this vocabulary has no cutter (%d ids)", tok.Vocab())
	}
	b.cutter = nil
	e.model, e.bpe = &b, &b
	m := *tok
	m.engine, m.pool = &e, new(scratches)
	return &m
}

// Cutting gives what merging gives, ids and offsets, on texts made of the
// vocabulary's own pieces, where borders are contested most.
func TestCutterMerges(t *testing.T) {
	toks := map[string]*Tokenizer{}
	for _, name := range []string{"bpe", "bpe_nosplit", "bpe_suffix", "user-defined"} {
		if name != "user-defined" {
			toks[name] = openGolden(t, name, Options{})
			continue
		}
		data, err := os.ReadFile("testdata/bpe_suffix.model")
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseSPModel(data)
		if err != nil {
			t.Fatal(err)
		}
		for i := 40; i < 600; i += 40 {
			m.pieces[i].kind = UserDefined
		}
		if toks[name], err = fromSPModel(m, Options{}, false); err != nil {
			t.Fatal(err)
		}
	}
	for name, tok := range toks {
		merging := byMerging(t, tok)
		rng := rand.New(rand.NewPCG(1, 2))
		var text []byte
		for range 20000 {
			text = text[:0]
			for range 1 + rng.IntN(12) {
				p := strings.ReplaceAll(tok.Piece(rng.Int32N(int32(tok.Vocab()))), meta, " ")
				switch rng.IntN(8) {
				case 0:
					p = "語\n"
				case 1:
					p = p[:1+rng.IntN(len(p))] // broken characters too
				case 2:
					p = strings.Repeat(p, 1+rng.IntN(30))
				}
				text = append(text, p...)
			}
			s := string(text)
			got, offs := tok.EncodeTrusted(nil, nil, s, nil)
			want, wantOffs := merging.EncodeTrusted(nil, nil, s, nil)
			if !slices.Equal(got, want) || !slices.Equal(offs, wantOffs) {
				t.Fatalf("%s: %q\n cut    %v at %v\n merged %v at %v", name, s, got, offs, want, wantOffs)
			}
			if again := tok.AppendTokens(nil, s); !slices.Equal(again, want) {
				t.Fatalf("%s: %q from the cache\n cut    %v\n merged %v", name, s, again, want)
			}
		}
	}
}

// The goldens hold for cutting, too, which short texts alone don't bring about.
func TestCutterGoldens(t *testing.T) {
	rows := goldens(t)
	for _, name := range []string{"bpe", "bpe_nosplit", "bpe_suffix"} {
		tok := openGolden(t, name, Options{Specials: SpecialsAnywhere})
		byMerging(t, tok)
		for _, r := range rows {
			if got := tok.AppendTokens(nil, r.Text); !slices.Equal(got, r.IDs[name]) {
				t.Fatalf("%s: %.200q\n got %.300v\nwant %.300v", name, r.Text, got, r.IDs[name])
			}
		}
	}
	llama2 := sharedLlama2(t, Options{Specials: SpecialsAnywhere})
	byMerging(t, llama2)
	checkShared(t, llama2, "llama2")
}

// Random vocabularies over two letters, with equal ranks and pieces that no
// merge reaches: whatever newCutter accepts must be exact.
func TestCutterVocabularies(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	accepted, refused := 0, 0
	for range 4000 {
		index := map[string]int32{"a": 0, "b": 1}
		text := []string{"a", "b"}
		for range 1 + rng.IntN(14) {
			l, r := text[rng.IntN(len(text))], text[rng.IntN(len(text))]
			if rng.IntN(10) == 0 {
				l += "ba" // perhaps out of reach
			}
			if _, ok := index[l+r]; !ok && len(l+r) < 12 {
				index[l+r] = int32(len(text))
				text = append(text, l+r)
			}
		}
		table := newMergeTable(4)
		var splits []split
		for i, p := range text {
			rank := uint32(i)
			if rng.IntN(3) > 0 {
				rank = uint32(i) / 2 // ties
			}
			if rng.IntN(20) == 0 {
				rank = uint32(rng.IntN(len(text))) // out of order
			}
			for k := 1; k < len(p); k++ {
				l, ok1 := index[p[:k]]
				r, ok2 := index[p[k:]]
				if ok1 && ok2 {
					table.add(l, r, rank, int32(i))
					splits = append(splits, split{l, r, int32(i)})
				}
			}
		}
		c := newCutter(table, text, splits)
		if c == nil {
			refused++
			continue
		}
		accepted++
		s := new(scratch)
		for range 60 {
			w := make([]byte, 1+rng.IntN(40))
			var syms []symbol
			for i := range w {
				w[i] = "ab"[rng.IntN(2)]
				syms = append(syms, symbol{id: index[string(w[i])], size: 1})
			}
			var want []int32
			for _, y := range s.merge(table, syms) {
				want = append(want, y.id)
			}
			var got []int32
			for i := 0; i < len(w); {
				end := c.end(string(w), i)
				got = c.cut(s, got, string(w[i:end]))
				i = end
			}
			if !slices.Equal(got, want) {
				t.Fatalf("pieces %q, splits %v, text %s:\n cut    %v\n merged %v", text, splits, w, got, want)
			}
		}
	}
	if accepted < 1000 || refused < 20 {
		t.Errorf("%d vocabularies accepted, %d refused: too few of one kind", accepted, refused)
	}
}

func TestLineCache(t *testing.T) {
	var c lineCache
	rng := rand.New(rand.NewPCG(5, 6))
	kept := map[string]int32{}
	for i := range int32(300000) {
		b := make([]byte, 1+rng.IntN(lineText))
		for k := range b {
			b[k] = byte(rng.IntN(3)) // zero bytes, as in the filling
		}
		text := "x" + string(b) + "yz"
		k := lineKey(text, 1, 1+len(b))
		if l := c.find(&k, len(b)); l != nil {
			if want, ok := kept[string(b)]; !ok || l.ids[0] != want || l.n != 2 || l.ids[1] != want+1 {
				t.Fatalf("%q: %v, want %d", b, l.ids, want)
			}
			continue
		}
		kept[string(b)] = i
		c.add(&k, len(b), []int32{i, i + 1})
		if l := c.find(&k, len(b)); l == nil || l.ids[0] != i {
			t.Fatalf("%q is not there after it was added", b)
		}
	}
	if len(c.lines) != 1<<maxLines {
		t.Errorf("%d lines, want %d", len(c.lines), 1<<maxLines)
	}
}
