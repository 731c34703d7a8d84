package tokenizer

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"
	"unicode/utf8"
)

// exercise calls everything on a tokenizer that came from hostile bytes.
func exercise(t *testing.T, tok *Tokenizer) {
	t.Helper()
	for _, text := range []string{"", "Hallo <s> Welt", "  a\xffb\u0301 \u2581\u2581x 12", "<|im_end|>"} {
		ids, offs := tok.EncodeTrusted(nil, nil, text, []Span{{0, len(text)}})
		if len(ids) != len(offs) {
			t.Fatalf("%d ids, %d offsets", len(ids), len(offs))
		}
		for _, id := range ids {
			if id < 0 || int(id) >= tok.Vocab() {
				t.Fatalf("id %d of %d", id, tok.Vocab())
			}
		}
		for _, id := range tok.AppendTokens(nil, text) {
			if tok.Kind(id) == Control {
				t.Fatalf("%q gave the control token %q", text, tok.Piece(id))
			}
		}
		if s := tok.Decode(ids, false); !utf8.ValidString(s) && tok.dec.surface != nil && allValid(tok.pieces) {
			t.Fatalf("decoded %q", s)
		}
	}
}

func allValid(pieces []string) bool {
	return !slices.ContainsFunc(pieces, func(s string) bool { return !utf8.ValidString(s) })
}

func FuzzSentencePiece(f *testing.F) {
	for _, name := range []string{"bpe.model", "bpe_nosplit.model", "bpe_suffix.model", "unigram_bytes.model"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	small := TrainOptions{Control: []string{"<x>"}}
	model := small.encode(append(small.metaPieces(), spPiece{"ab", 0, Normal}, spPiece{"a", -1, Normal}, spPiece{"b", -2, Unused}, spPiece{"▁", -3, UserDefined}))
	f.Add(model)
	f.Add(model[:len(model)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := FromSentencePiece(data, Options{}); err == nil {
			exercise(t, tok)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, name := range []string{"hf_gpt2.json", "hf_llama_legacy.json", "hf_llama3.json"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"<unk>":3},"merges":["a b"],"unk_token":"<unk>"},"added_tokens":[{"id":4,"content":"<s>","special":true,"lstrip":true}],"normalizer":{"type":"NFC"}}`))
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+|."},"behavior":"Removed","invert":true},{"type":"ByteLevel","use_regex":false}]}}`))
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"▁":0,"a":1,"▁a":2},"merges":["▁ a"]},"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}}`))
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"<unk>":1},"merges":[],"unk_token":"<unk>"},"added_tokens":[{"id":1,"content":"<unk>","special":true}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := FromJSON(data, Options{}); err == nil {
			exercise(t, tok)
		}
	})
}

// Encoding and decoding gives the text back wherever the vocabulary can spell
// everything and changes nothing on the way.
func FuzzRoundTrip(f *testing.F) {
	var toks []*Tokenizer
	for _, name := range []string{"bpe", "bpe_nosplit", "unigram_bytes", "hf_smollm", "hf_llama3"} {
		toks = append(toks, openGolden(f, name, Options{}))
	}
	for _, s := range []string{"", " ", "Grüße, Leo!", "a\u0301 \u2581 <s> 123\n\n x", "<|im_start|>user", "\x00\xff\xe2\x96", "  zwei  "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range toks {
			ids, offs := tok.EncodeTrusted(nil, nil, text, nil)
			if !slices.Equal(ids, tok.AppendTokens(nil, text)) {
				t.Fatalf("%q: other ids with offsets", text)
			}
			for k, o := range offs {
				if o < 0 || int(o) > len(text) || k > 0 && o < offs[k-1] {
					t.Fatalf("tokenizer %d: %q: offsets %v", i, text, offs)
				}
			}
			if !utf8.ValidString(text) {
				continue
			}
			want := text
			if i < 3 { // "▁" and a space are one symbol there
				want = string(appendUnmeta(nil, text))
			}
			if got := tok.Decode(ids, true); got != want && !(i == 1 && want != "" && want[0] == ' ') {
				t.Fatalf("tokenizer %d: %q came back as %q", i, text, got)
			}
		}
	})
}

// Long runs of one character take time in proportion, nearly.
func TestLongRuns(t *testing.T) {
	for _, name := range []string{"bpe", "bpe_nosplit", "bpe_nfkc", "unigram", "unigram_bytes", "hf_gpt2", "hf_llama_legacy", "hf_llama_first", "hf_llama3", "hf_qwen2"} {
		tok := openGolden(t, name, Options{})
		for _, unit := range []string{" ", "a", "ä", "\n", " a", "▁", "1", "ab"} {
			text := make([]byte, 0, 1<<19)
			for len(text) < 1<<18 {
				text = append(text, unit...)
			}
			start := time.Now()
			tok.AppendTokens(nil, string(text))
			// Quadratic time would be many minutes.
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%s: %d bytes of %q took %v", name, len(text), unit, d)
			}
		}
	}
}

// One tokenizer serves many goroutines.
func TestConcurrent(t *testing.T) {
	rows := goldens(t)
	tok := openGolden(t, "bpe", Options{Specials: SpecialsAnywhere})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan string)
	for w := range 8 {
		go func() {
			for i := range rows {
				r := rows[(i*7+w*31)%len(rows)]
				if !slices.Equal(tok.AppendTokens(nil, r.Text), r.IDs["bpe"]) {
					done <- r.Text
					return
				}
			}
			done <- ""
		}()
	}
	for range 8 {
		select {
		case bad := <-done:
			if bad != "" {
				t.Errorf("%.100q: other ids", bad)
			}
		case <-ctx.Done():
			t.Fatal("too slow")
		}
	}
}
