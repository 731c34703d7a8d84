package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"leolm/internal/shareddata"
)

func sharedLlama2(t testing.TB, opt Options) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(shareddata.Path(t, "data", "tokenizer", "llama2.model"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromSentencePiece(data, opt)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// The German lines with Llama-2's ids that two other implementations confirmed,
// through the model file and through the same vocabulary in GGUF.
func TestSharedReferenceVectors(t *testing.T) {
	f, err := os.Open(shareddata.Path(t, "data", "tokenizer", "reference_vectors_de.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gguf, err := FromGGUF(readGGUFVocab(t, shareddata.Path(t, "data", "tokenizer", "llama-spm-vocab.gguf")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	toks := map[string]*Tokenizer{"model": sharedLlama2(t, Options{}), "gguf": gguf}
	lines := 0
	for sc := bufio.NewScanner(f); sc.Scan(); lines++ {
		var v struct {
			Text string  `json:"text"`
			IDs  []int32 `json:"llama2_ids"`
		}
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		for name, tok := range toks {
			got := tok.AppendTokens(nil, v.Text)
			if !slices.Equal(got, v.IDs) {
				t.Errorf("%s: %q\n got %v\nwant %v", name, v.Text, got, v.IDs)
			}
			if back := tok.Decode(got, true); back != v.Text {
				t.Errorf("%s: decoded %q, want %q", name, back, v.Text)
			}
		}
	}
	if lines != 615 {
		t.Errorf("%d lines, want 615", lines)
	}
}

type sharedRow struct {
	Text string
	IDs  map[string][]int32
}

func sharedGoldens(t *testing.T) []sharedRow {
	t.Helper()
	f, err := os.Open("testdata/shared_goldens.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rows []sharedRow
	for sc := bufio.NewScanner(z); sc.Scan(); {
		var r sharedRow
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if len(rows) < 300 {
		t.Fatalf("only %d rows", len(rows))
	}
	return rows
}

func checkShared(t *testing.T, tok *Tokenizer, name string) {
	t.Helper()
	bad := 0
	for _, r := range sharedGoldens(t) {
		if got := tok.AppendTokens(nil, r.Text); !slices.Equal(got, r.IDs[name]) {
			if bad++; bad < 4 {
				t.Errorf("%.200q\n got %.300v\nwant %.300v", r.Text, got, r.IDs[name])
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d strings differ", bad)
	}
}

func TestSharedLlama2(t *testing.T) {
	checkShared(t, sharedLlama2(t, Options{Specials: SpecialsAnywhere}), "llama2")
}

func TestSharedGPT2GGUF(t *testing.T) {
	tok, err := FromGGUF(readGGUFVocab(t, shareddata.Path(t, "data", "tokenizer", "gpt2-vocab.gguf")), Options{Specials: SpecialsAnywhere})
	if err != nil {
		t.Fatal(err)
	}
	checkShared(t, tok, "gpt2")
}

// SmolLM2's vocabulary, from its GGUF file.
func TestSharedSmolLM2GGUF(t *testing.T) {
	tok, err := FromGGUF(readGGUFVocab(t, shareddata.SmolLM2(t)), Options{Specials: SpecialsAnywhere})
	if err != nil {
		t.Fatal(err)
	}
	checkShared(t, tok, "smollm2")
}

// The choice that changes every chat sequence (docs/leolm.md#what-breaks-in-other-programs): behind
// <|im_start|>, "user" has a "▁" of its own where LeoLM was trained, and none
// with legacy=false.
func TestSharedLeoLMSegments(t *testing.T) {
	const text = "<|im_start|>user\nHallo</s><|im_end|>\n"
	m, err := Megatron(sharedLlama2(t, Options{}), "<|im_start|>", "<|im_end|>")
	if err != nil {
		t.Fatal(err)
	}
	if m.Vocab() != 32007 {
		t.Errorf("%d ids, want 32007", m.Vocab())
	}
	if got, want := m.AppendTokens(nil, text), []int32{32005, 1404, 13, 29950, 26177, 2, 32006, 29871, 13}; !slices.Equal(got, want) {
		t.Errorf("Megatron: %v, want %v", got, want)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{
		"added_tokens.json":       `{"<CLS>":32000,"<SEP>":32001,"<EOD>":32002,"<MASK>":32003,"<PAD>":32004,"<|im_start|>":32005,"<|im_end|>":32006}`,
		"special_tokens_map.json": `{"bos_token":"<|im_start|>","eos_token":{"content":"<|im_end|>"},"pad_token":"<PAD>","unk_token":"<unk>"}`,
		"tokenizer_config.json":   `{"tokenizer_class":"LlamaTokenizer","bos_token":"<|im_start|>","eos_token":"<|im_end|>"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	model, err := os.ReadFile(shareddata.Path(t, "data", "tokenizer", "llama2.model"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), model, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		legacy Legacy
		want   int32
	}{{LegacyAuto, 1404}, {LegacyOn, 1404}, {LegacyOff, 1792}} {
		tok, err := Open(dir, Options{Legacy: tt.legacy})
		if err != nil {
			t.Fatal(err)
		}
		if tok.BOS() != 32005 || tok.EOS() != 32006 || tok.PAD() != 32004 || tok.AddBOS() {
			t.Errorf("BOS %d, EOS %d, PAD %d, AddBOS %v", tok.BOS(), tok.EOS(), tok.PAD(), tok.AddBOS())
		}
		ids, offs := tok.EncodeTrusted(nil, nil, text, []Span{{0, 16}, {26, 37}})
		if len(ids) < 2 || ids[0] != 32005 || ids[1] != tt.want {
			t.Errorf("legacy %v: %v, want 32005 %d …", tt.legacy, ids, tt.want)
		}
		if k := slices.Index(ids, 32006); k < 0 || offs[k] != 26 {
			t.Errorf("legacy %v: %v at %v: <|im_end|> belongs at byte 26", tt.legacy, ids, offs)
		}
		if slices.Contains(ids, 2) {
			t.Errorf("legacy %v: the user's </s> became a control token: %v", tt.legacy, ids)
		}
	}
}
