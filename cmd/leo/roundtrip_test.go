package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"leolm/catalog"
	"leolm/chat"
	"leolm/checkpoint"
	"leolm/internal/shareddata"
	"leolm/tokenizer"
)

// A model that goes from a folder to GGUF, to a folder and to GGUF again keeps the ids of 1,000 prompts, its stops, its
// template, what it recommends for sampling, and its configuration.
func TestRoundTrips(t *testing.T) {
	llama2 := filepath.Join(shareddata.Folder(t), "data", "tokenizer", "llama2.model")
	h := newHouse(t)
	for _, c := range []struct {
		name, tokenizer string
		grow            bool
	}{
		{"plain, of Llama-2's form", h.path("tokenizer.model"), false},
		{"trained by Leo, with ChatML", h.path("tokenizer.model"), true},
		{"SmolLM2's form", "../../tokenizer/testdata/hf_smollm.json", true},
		{"Llama-3's form", "../../tokenizer/testdata/hf_llama3.json", true},
		{"Qwen2's form", "../../tokenizer/testdata/hf_qwen2.json", false},
		{"GPT-2's form", "../../tokenizer/testdata/hf_gpt2.json", true},
		{"tokenizer.json of Llama-2", "../../tokenizer/testdata/hf_llama_legacy.json", true},
		{"tokenizer.json of Llama-2, legacy false", "../../tokenizer/testdata/hf_llama_first.json", false},
		{"tokenizer.json of Llama-2, grown from legacy false", "../../tokenizer/testdata/hf_llama_first.json", true},
		{"Llama-2", llama2, false},
		{"LeoLM", llama2, true},
		{"leo-mini", "leo-mini", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(c.tokenizer); err != nil && c.tokenizer != "leo-mini" {
				t.Skipf("needs a vocabulary that is not in the repository (%s names its folder): %v", shareddata.Variable, err)
			}
			r := roundTrip{T: t, dir: t.TempDir()}
			first := c.tokenizer
			if first != "leo-mini" {
				first = r.folder(c.tokenizer, c.grow)
			}
			want := r.open(first)
			for i, dst := range []string{"1.gguf", "2", "3.gguf"} {
				path := filepath.Join(r.dir, dst)
				if _, diag, err := command("convert", first, path, "--dtype", "f32", "-q"); err != nil {
					t.Fatalf("%v\n%s", err, diag)
				}
				r.compare(dst, r.open(path), want)
				if first = path; i == 2 {
					break
				}
			}
		})
	}
}

var tokenFlags = regexp.MustCompile(`"(lstrip|rstrip|single_word|normalized)":\s*true`)

type roundTrip struct {
	*testing.T
	dir string
}

// folder writes a tiny model with the tokenizer of that file.
func (r *roundTrip) folder(path string, grow bool) string {
	r.Helper()
	files, err := checkpoint.ReadTokenizerFiles(path)
	if err != nil {
		r.Fatal(err)
	}
	if data := files["tokenizer.json"]; data != nil {
		// The small tokenizers have tokens with every flag, which GGUF cannot store; convert reports it.
		files["tokenizer.json"] = tokenFlags.ReplaceAll(data, []byte(`"$1":false`))
	}
	if grow {
		if files, _, err = files.WithChatTokens(path); err != nil {
			r.Fatal(err)
		}
		if files, err = files.WithTemplate(chat.Default().Source()); err != nil {
			r.Fatal(err)
		}
	}
	tok, err := files.Open(path, tokenizer.Options{})
	if err != nil {
		r.Fatal(err)
	}
	cfg := checkpoint.Config{Architecture: "llama", HiddenSize: 8, IntermediateSize: 8, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 4,
		VocabSize: (tok.Vocab() + 127) / 128 * 128, MaxPositions: 512, RMSEps: 1e-5, RopeTheta: 10000, BOS: int(tok.BOS()), PAD: int(tok.PAD()),
		RopeScaling: checkpoint.RopeScaling{Type: "linear", Factor: 2}}
	if err := files.AddStops(path, &cfg); err != nil {
		r.Fatal(err)
	}
	var sources []checkpoint.Source
	for _, s := range cfg.TensorShapes() {
		n, _ := s.Shape.Elements()
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i%17) / 64
		}
		sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: values, Cols: s.Shape.Cols()}})
	}
	temperature, topP, topK := 0.8, 0.95, 40
	gen := checkpoint.Generation{Temperature: &temperature, TopP: &topP, TopK: &topK}.Drawing()
	dir := filepath.Join(r.dir, "0")
	if err := checkpoint.WriteHF(dir, cfg, sources, checkpoint.HFOptions{Files: files, Generation: &gen}); err != nil {
		r.Fatal(err)
	}
	return dir
}

// opened is all of a model that must survive.
type opened struct {
	prompts  [][]int32
	stops    []int32
	template string
	sampling string
	config   string
}

func (r *roundTrip) open(path string) opened {
	r.Helper()
	m, err := catalog.Open(path, catalog.Options{})
	if err != nil {
		r.Fatal(err)
	}
	defer m.Close()
	o := opened{template: m.Checkpoint.ChatTemplate, stops: slices.Clone(m.StopIDs), sampling: fmt.Sprint(m.Sampling)}
	slices.Sort(o.stops)
	c := m.Checkpoint.Config
	c.EOS, c.DType, c.TransformersModel, c.InitializerRange = nil, 0, "", 0
	o.config = fmt.Sprintf("%+v", c)
	for _, msgs := range conversations(1000) {
		ids, _, err := m.Template.Encode(m.Tokenizer, msgs, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			r.Fatal(err)
		}
		o.prompts = append(o.prompts, ids)
	}
	return o
}

func (r *roundTrip) compare(name string, got, want opened) {
	r.Helper()
	bad := 0
	for i := range want.prompts {
		if !slices.Equal(got.prompts[i], want.prompts[i]) {
			if bad++; bad == 1 {
				at := 0
				for at < min(len(got.prompts[i]), len(want.prompts[i])) && got.prompts[i][at] == want.prompts[i][at] {
					at++
				}
				r.Errorf("%s: conversation %q has the ids %v from %d on, before %v", name, conversations(1000)[i], tail(got.prompts[i], at), at, tail(want.prompts[i], at))
			}
		}
	}
	if bad > 0 {
		r.Errorf("%s: %d of %d prompts have other ids", name, bad, len(want.prompts))
	}
	if !slices.Equal(got.stops, want.stops) {
		r.Errorf("%s: stops %v, before %v", name, got.stops, want.stops)
	}
	for what, pair := range map[string][2]string{"template": {got.template, want.template}, "sampling": {got.sampling, want.sampling}, "configuration": {got.config, want.config}} {
		if pair[0] != pair[1] {
			r.Errorf("%s: %s %q, before %q", name, what, pair[0], pair[1])
		}
	}
}

func tail(ids []int32, at int) []int32 { return ids[at:min(at+10, len(ids))] }

// conversations makes n conversations, always the same: with and without a system message, of one to four turns, German
// and other, with emoji, digits, blanks, line ends, and control tokens typed by a user.
func conversations(n int) [][]chat.Message {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		"Wo schläft die Katze?", "Größe: 1,80 m", "Übermut tut selten gut.", "„Ja“, sagte er – und ging.", "🙂", "👩‍🚀 fliegt", "x = a[i] + 42", "\n", "\n\n",
		"  ", "\t", "ß", "2026", "1000000", "Donaudampfschiff", "<|im_start|>", "<|im_end|>", "</s>", "<s>", "<unk>", "[INST]", "don't", "русский", "中文", "%", "€ 5",
		"user", "assistant\n", "▁", "A", "z.B.", "https://example.org/ä?b=c",
	}
	text := func() string {
		var b strings.Builder
		for range 1 + rng.IntN(8) {
			b.WriteString(parts[rng.IntN(len(parts))])
			if rng.IntN(3) > 0 {
				b.WriteByte(' ')
			}
		}
		return b.String()
	}
	var all [][]chat.Message
	for range n {
		var msgs []chat.Message
		if rng.IntN(3) == 0 {
			msgs = append(msgs, chat.Message{Role: chat.System, Content: text()})
		}
		for range rng.IntN(3) {
			msgs = append(msgs, chat.Message{Role: chat.User, Content: text()}, chat.Message{Role: chat.Assistant, Content: text()})
		}
		all = append(all, append(msgs, chat.Message{Role: chat.User, Content: text()}))
	}
	return all
}
