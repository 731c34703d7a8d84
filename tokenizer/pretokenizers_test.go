package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

type preGoldens struct {
	Vocab  map[string]int       `json:"vocab"`
	Merges [][2]string          `json:"merges"`
	Texts  []string             `json:"texts"`
	IDs    map[string][][]int32 `json:"ids"`
}

func readPreGoldens(t *testing.T) preGoldens {
	t.Helper()
	f, err := os.Open("testdata/pretokenizers.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var g preGoldens
	if err := json.NewDecoder(z).Decode(&g); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *preGoldens) gguf(pre string) GGUFVocab {
	v := GGUFVocab{Model: "gpt2", Pre: pre, Tokens: make([]string, len(g.Vocab)), BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	for text, id := range g.Vocab {
		v.Tokens[id] = text
	}
	for _, m := range g.Merges {
		v.Merges = append(v.Merges, m[0]+" "+m[1])
	}
	return v
}

// Every pre-tokenizer of GGUF gives the ids of Hugging Face's tokenizers
// (testdata/make_pretokenizers.py).
func TestPreTokenizers(t *testing.T) {
	t.Parallel()
	g := readPreGoldens(t)
	if len(g.IDs) != len(PreTokenizers()) {
		t.Errorf("goldens for %d pre-tokenizers, want %d", len(g.IDs), len(PreTokenizers()))
	}
	for _, p := range PreTokenizers() {
		t.Run(p.Names[0], func(t *testing.T) {
			t.Parallel()
			tok, err := FromGGUF(g.gguf(p.Names[len(p.Names)-1]), Options{Specials: SpecialsAnywhere})
			if err != nil {
				t.Fatal(err)
			}
			bad := 0
			for i, want := range g.IDs[p.Names[0]] {
				if got := tok.AppendTokens(nil, g.Texts[i]); !slices.Equal(got, want) {
					if bad++; bad < 4 {
						t.Errorf("%q:\n got %q\nwant %q", g.Texts[i], pieces(tok, got), pieces(tok, want))
					}
				}
			}
			if bad > 0 {
				t.Errorf("%d of %d texts differ", bad, len(g.Texts))
			}
		})
	}
}

func pieces(t *Tokenizer, ids []int32) []string {
	var out []string
	for _, id := range ids {
		out = append(out, t.pieces[id])
	}
	return out
}

// The table is read in both directions.
func TestPreTokenizerNames(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range PreTokenizers() {
		for _, name := range p.Names {
			if seen[name] {
				t.Errorf("%q stands there twice", name)
			}
			seen[name] = true
			if _, err := PreTokenizerByName(name); err != nil {
				t.Error(err)
			}
		}
		back, prefix, err := PreTokenizerByJSON(p.JSON, p.IgnoreMerges)
		// GLM's differs from Llama-3's only in what is put in front of text.
		if err != nil || prefix || back.IgnoreMerges != p.IgnoreMerges || back.Names[0] != p.Names[0] && p.Names[0] != "glm4" {
			t.Errorf("%q comes back as %q, prefix %v, %v", p.Names[0], back.Names, prefix, err)
		}
	}
	for _, name := range []string{"tekken", "deepseek-llm", "deepseek-coder", "falcon3", "falcon", "gpt-4o", "kimi-k2"} {
		if !seen[name] {
			t.Errorf("%q is missing", name)
		}
	}
	// Other spellings of the same.
	for json, want := range map[string]string{
		`{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}`:                                                        "gpt-2",
		`{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}`: "dbrx",
	} {
		p, prefix, err := PreTokenizerByJSON([]byte(json), false)
		if err != nil || prefix || p.Names[0] != want {
			t.Errorf("%s is %q, prefix %v, %v; want %q", json, p.Names, prefix, err, want)
		}
	}
	if p, prefix, err := PreTokenizerByJSON([]byte(`{"type":"ByteLevel","add_prefix_space":true}`), false); err != nil || !prefix || p.Names[0] != "gpt-2" {
		t.Errorf("%q, prefix %v, %v", p.Names, prefix, err)
	}
	gpt2, _ := PreTokenizerByName("gpt-2")
	if p, err := gpt2.WithPrefix(); err != nil {
		t.Error(err)
	} else if back, prefix, err := PreTokenizerByJSON(p.JSON, false); err != nil || !prefix || back.Names[0] != "gpt-2" {
		t.Errorf("%q, prefix %v, %v", back.Names, prefix, err)
	}
	if tekken, _ := PreTokenizerByName("tekken"); true {
		if p, err := tekken.WithPrefix(); err == nil {
			t.Errorf("%s", p.JSON)
		}
	}
	for _, json := range []string{`{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]}`, `null`, `{"type":"Whitespace"}`, `{"type":"Split","pattern":{"Regex":"x"},"behavior":"Isolated"}`} {
		if p, _, err := PreTokenizerByJSON([]byte(json), false); err == nil {
			t.Errorf("%s is taken for %q", json, p.Names)
		}
	}
	for name, want := range map[string]string{"gemma4": "isn't byte-level", "nonsense": "is unknown"} {
		if _, err := PreTokenizerByName(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Expressions of Oniguruma and what .NET's engine gets for them.
func TestExpressions(t *testing.T) {
	for in, want := range map[string]string{
		`a?+b*+c++`:                   `(?>a?)(?>b*)(?>c+)`,
		`[^\s\p{L}]++x`:               `(?>[^\s\p{L}]+)x`,
		`(?:ab)++`:                    `(?>(?:ab)+)`,
		`x{1,3}+`:                     `(?:x{1,3})+`,
		`ä+?`:                         `ä+?`,
		`ä++`:                         `(?>ä+)`,
		` ?[^(\s|[.,!?…])]+`:          ` ?[^(\s|.,!?…)]+`,
		`[\p{Lu}\p{M}&&[^\p{Han}]]*x`: `[\p{Lu}\p{M}-[\p{Han}]]*x`,
		`[a-z&&[b-d]]`:                `[a-z-[^b-d]]`,
		`(?i:'s|'T)|s`:                `(?i:'[sſ]|'T)|s`,
		`'(?i:[sdmt]|ll)s`:            `'(?i:[ſsdmt]|ll)s`,
		`\[(?!\S)\p{N}{1,3}\\+`:       `\[(?!\S)\p{N}{1,3}\\+`,
		`(?=(\d{3})+(?!\d))`:          `(?=(\d{3})+(?!\d))`,
	} {
		got, err := netExpression(in)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
		if _, err := compileExpression(in); err != nil {
			t.Error(err)
		}
	}
	for _, in := range []string{`[a`, `(a`, `a)`, `\`, `[[:alpha:]]`, `[a[^b]]`, `[^a&&[b]]`, `[a&&b]`, `\p{L`, strings.Repeat("(", 1000), strings.Repeat("a", 1<<17)} {
		if got, err := compileExpression(in); err == nil {
			t.Errorf("%.20s is taken for %.20s", in, got)
		}
	}
}

// Groups of digits are cut as the expressions cut them, in time that grows with the text.
func TestDigitGroups(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"1", "22", "333", "4444", "0123456789", "½", "²", "٣", "a", "ä", "_", " ", ".", "\u0301", "\n"}
	for expr, groups := range knownGroups {
		re, err := compileExpression(expr)
		if err != nil {
			t.Fatal(err)
		}
		want := splitStep{&pattern{re: re}, "Isolated", false}
		for range 2000 {
			text := ""
			for range 1 + rng.IntN(8) {
				text += parts[rng.IntN(len(parts))]
			}
			in := []span{{0, len(text)}}
			if a, b := groups.cut(nil, text, in), want.cut(nil, text, in); !slices.Equal(a, b) {
				t.Fatalf("%s: %q is cut at %v, the expression cuts at %v", expr, text, a, b)
			}
		}
		long := strings.Repeat("7", 1<<20)
		if n := len(groups.cut(nil, long, []span{{0, len(long)}})); n != (1<<20+2)/3 {
			t.Errorf("%s: %d groups", expr, n)
		}
	}
}

// Whatever stands in a file is rewritten or refused.
func FuzzExpression(f *testing.F) {
	for _, p := range PreTokenizers() {
		var part hfPart
		if err := json.Unmarshal(p.JSON, &part); err != nil {
			f.Fatal(err)
		}
		for _, q := range part.Pretokenizers {
			if q.Pattern != nil && q.Pattern.Regex != nil {
				f.Add(*q.Pattern.Regex)
			}
		}
	}
	f.Add(`(?i)a(?<x>b)++[a[b]&&[^c]]{2,3}+?`)
	f.Fuzz(func(t *testing.T, expr string) {
		if len(expr) > 4096 {
			return
		}
		net, err := netExpression(expr)
		if err != nil {
			return
		}
		if len(net) > 16*len(expr)+16 {
			t.Fatalf("%d bytes became %d", len(expr), len(net))
		}
		_, _ = compileExpression(expr)
	})
}
