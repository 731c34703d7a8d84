package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if from, ok := strings.CutPrefix(data, "@"); ok {
			b, err := os.ReadFile("testdata/" + from)
			if err != nil {
				t.Fatal(err)
			}
			data = string(b)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenFolder(t *testing.T) {
	// LeoLM's shape: markers as added tokens, BOS called <|im_start|>, and the
	// 70B's slip of calling two ids <EOD>.
	dir := folder(t, map[string]string{
		"tokenizer.model":         "@unigram_bytes.model",
		"added_tokens.json":       `{"<EOD>": 701, "<NEU>": 700, "<|x|>": 702}`,
		"special_tokens_map.json": `{"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>", "additional_special_tokens": ["<NEU>"]}`,
		"tokenizer_config.json":   `{"legacy": true, "add_bos_token": true, "pad_token": null, "added_tokens_decoder": {"701": {"content": "<EOD>", "special": true}, "703": {"content": "<EOD>", "special": true}}}`,
	})
	tok, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	start, _ := tok.ID("<|im_start|>")
	end, _ := tok.ID("<|im_end|>")
	if tok.BOS() != start || tok.EOS() != end || tok.AddBOS() {
		t.Errorf("BOS %d, EOS %d, AddBOS %v", tok.BOS(), tok.EOS(), tok.AddBOS())
	}
	notes := strings.Join(tok.Notes(), "\n")
	if !strings.Contains(notes, "both 701 and 703") || !strings.Contains(notes, "isn't put in front") {
		t.Errorf("notes: %q", notes)
	}
	for _, name := range []string{"<NEU>", "<EOD>", "<|x|>"} {
		id, ok := tok.ID(name)
		if !ok || tok.Kind(id) != Control {
			t.Errorf("%s: id %d, %v", name, id, tok.Kind(id))
		}
		if ids, _ := tok.EncodeTrusted(nil, nil, name, []Span{{0, len(name)}}); !slices.Equal(ids, []int32{id}) {
			t.Errorf("%s trusted: %v", name, ids)
		}
	}
	if got := tok.Decode([]int32{701, 702}, false); got != "<EOD><|x|>" {
		t.Errorf("decoded %q", got)
	}

	json := folder(t, map[string]string{
		"tokenizer.json":        "@hf_smollm.json",
		"tokenizer_config.json": `{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": false}`,
	})
	tok, err = Open(json, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := tok.ID("<|im_end|>"); tok.EOS() != end || tok.EOS() < 0 {
		t.Errorf("EOS %d, want %d", tok.EOS(), end)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"empty folder":  {nil, "neither tokenizer.json nor tokenizer.model"},
		"broken config": {map[string]string{"tokenizer.model": "@bpe.model", "tokenizer_config.json": `{"legacy": tru`}, "tokenizer_config.json: byte"},
		"bad id":        {map[string]string{"tokenizer.model": "@bpe.model", "added_tokens.json": `{"<x>": 2000000000}`}, "has id 2000000000"},
		"word model":    {map[string]string{"tokenizer.json": `{"model": {"type": "WordPiece", "vocab": {}}}`}, `type "WordPiece"`},
		"not JSON":      {map[string]string{"tokenizer.json": `{"model": `}, "byte"},
		"normalizer":    {map[string]string{"tokenizer.json": `{"model": {"type": "BPE", "vocab": {}, "merges": []}, "normalizer": {"type": "BertNormalizer"}}`}, `"BertNormalizer" isn't supported`},
		"merge":         {map[string]string{"tokenizer.json": `{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}`}, `"b" is not in the vocabulary`},
		"huge id":       {map[string]string{"tokenizer.json": `{"model": {"type": "BPE", "vocab": {"a": 4000000}, "merges": []}}`}, "ids go up to"},
		"cut model":     {map[string]string{"tokenizer.model": "\x0a\xff\xff\xff\xff\x0fabc"}, "longer than what is left"},
		"no model":      {map[string]string{"tokenizer.model": ""}, "not a SentencePiece model"},
	} {
		_, err := Open(folder(t, tt.files), Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q in it", name, err, tt.want)
		}
	}
}

// A control token must not take an ordinary piece's id: text would become control tokens.
func TestAddedTokensKeepToTheirIDs(t *testing.T) {
	const model = `{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"<x>":3},"merges":["a b"]},"added_tokens":[%s]}`
	for added, want := range map[string]string{
		`{"content":"<s>","special":true}`:              `added token "<s>" has id 0, which is the vocabulary's "a"`,
		`{"id":2,"content":"<s>","special":true}`:       `which is the vocabulary's "ab"`,
		`{"id":-1,"content":"<s>","special":true}`:      `has id -1`,
		`{"id":3,"content":"<x>","special":true}`:       "",
		`{"id":4,"content":"<s>","special":true}`:       "",
		`{"id":4000000,"content":"<s>","special":true}`: "ids go up to",
	} {
		_, err := FromJSON([]byte(fmt.Sprintf(model, added)), Options{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", added, err, want)
		}
	}
	for decoder, want := range map[string]string{
		`{"0":{"content":"<s>","special":true}}`:          `which is the vocabulary's "a"`,
		`{"2000000000":{"content":"<s>","special":true}}`: "the vocabulary ends at 3",
		`{"4":{"content":"<s>","special":true}}`:          "",
	} {
		_, err := Open(folder(t, map[string]string{"tokenizer.json": fmt.Sprintf(model, ""), "tokenizer_config.json": `{"added_tokens_decoder":` + decoder + `}`}), Options{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", decoder, err, want)
		}
	}
}

func TestRepairGGUF(t *testing.T) {
	v := GGUFVocab{
		Model: "llama", BOS: 1, EOS: 2, UNK: 0, PAD: -1, AddBOS: true, AddSpacePrefix: true,
		Tokens: []string{"<unk>", "<s>", "</s>"}, Types: []int32{2, 3, 3},
	}
	for b := range 256 {
		v.Tokens, v.Types = append(v.Tokens, bytePiece(byte(b))), append(v.Types, 6)
	}
	for _, p := range []string{"▁", "a", "▁a", "<dummy32005>", "<dummy32006>", "<dummy32007>", "<|x|>"} {
		v.Tokens, v.Types = append(v.Tokens, p), append(v.Types, 1)
	}
	v.Types[264] = 4
	v.Scores = make([]float32, len(v.Tokens))
	for i := range v.Scores {
		v.Scores[i] = -float32(i)
	}
	tok, err := FromGGUF(v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tok.Notes()) != 3 || v.Tokens[262] != "<dummy32005>" {
		t.Errorf("notes %q; the caller's token is %q", tok.Notes(), v.Tokens[262])
	}
	const text = "<|im_start|>a<|im_end|>"
	ids, offs := tok.EncodeTrusted(nil, nil, text, []Span{{0, 12}, {13, 23}})
	if !slices.Equal(ids, []int32{262, 261, 263}) || !slices.Equal(offs, []int32{0, 12, 13}) {
		t.Errorf("%v at %v", ids, offs)
	}
	if tok.Kind(264) != Unused || tok.Kind(265) != Control {
		t.Errorf("<dummy32007> is %v, <|x|> is %v", tok.Kind(264), tok.Kind(265))
	}
	if ids, _ := tok.EncodeTrusted(nil, nil, "<dummy32007>", []Span{{0, 12}}); slices.Contains(ids, 264) {
		t.Errorf("text became a padding token: %v", ids)
	}
	// legacy=false: no "▁" behind the marker.
	plain, err := FromGGUF(v, Options{Legacy: LegacyOff})
	if err != nil {
		t.Fatal(err)
	}
	if ids, _ := plain.EncodeTrusted(nil, nil, text, []Span{{0, 12}, {13, 23}}); !slices.Equal(ids, []int32{262, 260, 263}) {
		t.Errorf("legacy=false: %v", ids)
	}
	for name, change := range map[string]func(*GGUFVocab){
		"model":  func(v *GGUFVocab) { v.Model = "bert" },
		"scores": func(v *GGUFVocab) { v.Scores = v.Scores[:5] },
		"types":  func(v *GGUFVocab) { v.Types = v.Types[:5] },
		"pre":    func(v *GGUFVocab) { v.Model, v.Pre = "gpt2", "unheard-of" },
		"merges": func(v *GGUFVocab) { v.Model, v.Merges = "gpt2", []string{"ab"} },
		"empty":  func(v *GGUFVocab) { v.Tokens = nil },
	} {
		w := v
		change(&w)
		if _, err := FromGGUF(w, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
