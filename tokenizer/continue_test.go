package tokenizer

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestContinuation: the text of a prompt and that of its continuation, one put
// behind the other, are the text of both decoded together, wherever the border
// lies; a blank or a character cut by it is neither lost nor doubled.
func TestContinuation(t *testing.T) {
	var names []string
	for _, pattern := range []string{"testdata/*.model", "testdata/hf_*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)))
		}
	}
	if len(names) < 15 {
		t.Fatalf("only %d vocabularies", len(names))
	}
	for _, name := range names {
		tok := openGolden(t, name, Options{})
		for _, text := range []string{"Der Mond scheint hell.", " Der  Mond", "Größe 😀 日本", "a"} {
			ids := tok.AppendTokens(nil, text)
			if tok.BOS() >= 0 {
				ids = append([]int32{tok.BOS()}, ids...)
			}
			whole := tok.Decode(ids, true)
			for cut := range ids {
				before := tok.NewDecoder(true)
				var got []byte
				for _, id := range ids[:cut] {
					got = before.Append(got, id)
				}
				after := tok.ContinueDecoder(ids[:cut], true)
				for _, id := range ids[cut:] {
					got = after.Append(got, id)
				}
				if got = after.Flush(got); string(got) != whole {
					t.Errorf("%s: %q cut at %d: got %q, want %q", name, text, cut, got, whole)
				}
			}
		}
		// The case people meet: a word behind a word begins with its blank.
		ids := tok.AppendTokens(nil, "Der Mond")
		first := tok.AppendTokens(nil, "Der")
		if len(ids) <= len(first) || tok.Decode(ids[:len(first)], true) != tok.Decode(first, true) {
			continue // this vocabulary cuts elsewhere
		}
		d := tok.ContinueDecoder(first, true)
		var text []byte
		for _, id := range ids[len(first):] {
			text = d.Append(text, id)
		}
		if text = d.Flush(text); tok.Decode(ids, true) == "Der Mond" && string(text) != " Mond" {
			t.Errorf("%s: %q follows Der, want %q", name, text, " Mond")
		}
	}
}
