package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/catalog"
	"leolm/chat"
	"leolm/checkpoint"
	"leolm/open"
	"leolm/tensor"
	"leolm/tokenizer"
	"leolm/train"
)

// The test across the house: a plain base, whose tokenizer has Llama-2's form and none of ChatML's tokens, becomes a chat
// model in every way that recipes offer, and the model is the same in every form that Leo writes: the ids of the prompt,
// the greedy answer, the log-probabilities.

// house is a folder with a base model and dialogues.
type house struct {
	t        *testing.T
	dir      string
	sentence *tokenizer.Tokenizer // of the base
}

func (h *house) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

func (h *house) write(name, format string, args ...any) string {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), fmt.Appendf(nil, format, args...), 0o666); err != nil {
		h.t.Fatal(err)
	}
	return h.path(name)
}

// leo runs a command and returns what it printed.
func (h *house) leo(args ...string) string {
	h.t.Helper()
	out, diag, err := command(args...)
	if err != nil {
		h.t.Fatalf("leo %s: %v\n%s", strings.Join(args, " "), err, diag)
	}
	return out
}

// command runs a command in this process.
func command(args ...string) (stdout, stderr string, err error) {
	var out, diag bytes.Buffer
	cmd := newRootCmd()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&diag)
	cmd.SetIn(strings.NewReader(""))
	err = cmd.ExecuteContext(context.Background())
	return out.String(), diag.String(), err
}

var houseLines = []string{
	"Der Mond scheint hell über dem stillen Wald.", "Ein alter Mann sitzt am Fluss und wartet auf den Regen.",
	"Die Katze schläft auf der warmen Mauer vor dem Haus.", "Im Herbst fallen die Blätter, und der Wind trägt sie fort.",
	"Wer früh aufsteht, sieht die Sonne über den Hügeln.", "Kinder laufen über die Wiese und lachen laut.",
}

// newHouse builds the tokenizer, the dialogues, and a base of 512 rows for 512 pieces.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t}
	h.dir = h.room("base")
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 368})
	if err != nil {
		t.Fatal(err)
	}
	c := tr.Counter()
	for _, l := range houseLines {
		c.Add(l)
	}
	res, err := tr.Train(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.write("tokenizer.model", "%s", res.Model)
	if h.sentence, err = tokenizer.FromSentencePiece(res.Model, tokenizer.Options{}); err != nil {
		t.Fatal(err)
	}
	var text, talk strings.Builder
	for i := range 24 {
		a, b := houseLines[i%len(houseLines)], houseLines[(i+1)%len(houseLines)]
		fmt.Fprintf(&text, "{\"text\": %q}\n", a+" "+b)
		fmt.Fprintf(&talk, "{\"messages\": [{\"role\": \"user\", \"content\": %q}, {\"role\": \"assistant\", \"content\": %q}]}\n", a, b)
	}
	h.write("text.jsonl", "%s", text.String())
	h.write("talk.jsonl", "%s", talk.String())
	corpus := h.write("corpus.yaml", "name: c\ntokenizer: %s\ninputs:\n  - {name: t, path: %s}\npack: {window: 32, bos: true, eos: true}\n", h.path("tokenizer.model"), h.path("text.jsonl"))
	h.leo("data", "corpus", "plan", corpus, "-o", h.path("corpus"))
	h.leo("data", "corpus", "run", h.path("corpus"))
	return h
}

// base trains a plain model from scratch.
func (h *house) base(name string, tied bool) string {
	h.t.Helper()
	train := h.write(name+".yaml", `
name: %s
output: %s
seed: 1
model: {tokenizer: %s, shape: {hidden_size: 64, intermediate_size: 128, layers: 2, heads: 4, kv_heads: 2, vocab_size: 368, max_positions: 128, tie_embeddings: %v}}
data: {train: [{shards: %s}], sequence_length: 32}
batch: {micro: 2, global: 2}
optimizer: {lr: 5e-3}
schedule: {type: constant, steps: 4}
`, name, h.path(name), h.path("tokenizer.model"), tied, h.path("corpus", "out", "train-00000-of-00001"))
	h.leo("train", train)
	return h.path(name, "model")
}

// form is one form of the finished model on disk.
type form struct {
	name, model string
	loras       []string
	exact       bool // in f32: the same log-probabilities
}

const (
	houseQuestion  = "Wo schläft die Katze? 🐈 <|im_end|>"
	houseNewTokens = 12
)

// reading is what a form answers to a question, with ids and log-probabilities.
type reading struct {
	vocab int
	ids   []int32
	stops []int32
	logps []float32
	reply string
}

func (h *house) read(f form) reading {
	h.t.Helper()
	specs, err := adapterSpecs(f.loras)
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := open.Open(h.t.Context(), f.model, open.Options{Adapters: specs, Context: 128, CacheType: tensor.F32})
	if err != nil {
		h.t.Fatalf("%s: %v", f.name, err)
	}
	defer m.Close()
	ids, _, err := m.Template.Encode(m.Tokenizer, []chat.Message{{Role: chat.User, Content: houseQuestion}}, chat.Options{AddGenerationPrompt: true})
	if err != nil {
		h.t.Fatalf("%s: %v", f.name, err)
	}
	s := m.Engine.NewSession()
	defer s.Close()
	logps, err := m.Engine.Score(context.Background(), s, ids)
	if err != nil {
		h.t.Fatalf("%s: %v", f.name, err)
	}
	args := []string{"chat", "--model", f.model, "--preset", "greedy", "--max-new-tokens", fmt.Sprint(houseNewTokens), "-q", "--cache-type", "f32"}
	for _, l := range f.loras {
		args = append(args, "--lora", l)
	}
	stops := slices.Clone(m.StopIDs)
	slices.Sort(stops)
	return reading{m.Engine.Model().Vocab, ids, stops, logps, h.leo(append(args, houseQuestion)...)}
}

func TestPlainBaseBecomesAChatModelEverywhere(t *testing.T) {
	h := newHouse(t)
	bases := map[bool]string{false: h.base("untied", false), true: h.base("tied", true)}
	h.leo("convert", bases[true], h.path("tied.gguf"), "--dtype", "f32", "-q")
	for _, c := range []struct {
		name   string
		base   string
		train  string // model.train
		recipe string
		exact  bool // the trained weights are those of the export, not a rounding of them
	}{
		{"full", bases[false], "[]", "", true},
		{"full tied", bases[true], "[]", "", true},
		{"full of a GGUF file", h.path("tied.gguf"), "[]", "", true},
		{"lora alone", bases[false], "[]", "lora: {rank: 4, merge: true}\n", true},
		{"lora with new rows", bases[false], "[new_rows]", "lora: {rank: 4, merge: true}\n", true},
		{"lora with new rows tied", bases[true], "[new_rows]", "lora: {rank: 4, merge: true}\n", true},
		{"lora with the embedding tied", bases[true], "[model.embed_tokens.weight]", "lora: {rank: 4, merge: true}\n", true},
		{"lora with the head", bases[false], "[lm_head.weight, new_rows]", "lora: {rank: 4, merge: true}\n", true},
		{"qlora", bases[false], "[new_rows]", "lora: {rank: 4, merge: true, base_type: q8_0}\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			h.dir = h.room(c.name)
			mix := h.write("mix.yaml", "prefix: chat\ntokenizer: %s\nsources:\n  - {name: T, reader: messages, files: [%s]}\n", c.base, filepath.Join(filepath.Dir(filepath.Dir(bases[false])), "talk.jsonl"))
			h.leo("data", "prepare", mix, "-o", h.path("shards"), "-q")
			recipe := h.write("chat.yaml", `
name: chat
output: %s
seed: 2
model: {base: %s, train: %s, generation: {temperature: 0.7, top_k: 20}}
data: {train: [{shards: %s}], sequence_length: 64, loss: assistant}
batch: {micro: 2, global: 4}
optimizer: {lr: 1e-2}
schedule: {type: constant, steps: 4}
checkpoint: {every: 2}
%s`, h.path("run"), c.base, c.train, h.path("shards", "chat-train"), c.recipe)
			if plan := h.leo("train", recipe, "--plan"); !strings.Contains(plan, "grows to 384") {
				t.Errorf("the plan says nothing of the rows that are added:\n%s", plan)
			}
			h.leo("train", recipe)
			h.resume(recipe)

			forms := []form{{"folder", h.path("run", "model"), nil, true}}
			to := func(name string, exact bool, args ...string) {
				h.leo(append(args, "-q")...)
				forms = append(forms, form{name, args[2], nil, exact})
			}
			to("GGUF", true, "convert", h.path("run", "model"), h.path("model.gguf"), "--dtype", "f32")
			to("folder of the GGUF", true, "convert", h.path("model.gguf"), h.path("back"), "--dtype", "f32")
			to("GGUF of that folder", true, "convert", h.path("back"), h.path("again.gguf"), "--dtype", "f32")
			to("quantized", false, "quantize", h.path("run", "model"), h.path("q8.gguf"), "--type", "q8_0")
			if strings.HasSuffix(c.base, ".gguf") {
				forms = append(forms, form{"GGUF of the run", h.path("run", "model.gguf"), nil, true})
			}
			if c.recipe != "" {
				forms = append(forms, form{"adapter", c.base, []string{h.path("run", "adapter")}, c.exact})
				to("merged by convert", c.exact, "convert", c.base, h.path("merged"), "--adapter", h.path("run", "adapter"), "--dtype", "f32")
				to("merged GGUF", c.exact, "convert", c.base, h.path("merged.gguf"), "--adapter", h.path("run", "adapter"), "--dtype", "f32")
			}
			h.allSame(forms)
		})
	}
}

// room is a folder for one way: temporary, or below LEO_CHAIN_OUT, where bench/chain/peers.py reads what is left there.
func (h *house) room(name string) string {
	root := os.Getenv("LEO_CHAIN_OUT")
	if root == "" {
		return h.t.TempDir()
	}
	dir := filepath.Join(root, strings.ReplaceAll(name, " ", "-"))
	if err := os.RemoveAll(dir); err != nil {
		h.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		h.t.Fatal(err)
	}
	return dir
}

// keep writes the results of the first form, for comparison with other programs.
func (h *house) keep(forms []form, r reading) {
	if os.Getenv("LEO_CHAIN_OUT") == "" {
		return
	}
	type kept struct {
		Name    string   `json:"name"`
		Model   string   `json:"model"`
		Loras   []string `json:"loras,omitempty"`
		Exact   bool     `json:"exact"`
		Context int      `json:"context"`
	}
	var all []kept
	for _, f := range forms {
		all = append(all, kept{f.name, f.model, f.loras, f.exact, 128})
	}
	// Prompts for programs that recognize control tokens in any text.
	type prompt struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"ids"`
	}
	var prompts []prompt
	m, err := catalog.Open(forms[0].model, catalog.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer m.Close()
	for _, msgs := range conversations(1000) {
		text := msgs[len(msgs)-1].Content
		if strings.Contains(text, "<") {
			continue
		}
		ids, _, err := m.Template.Encode(m.Tokenizer, []chat.Message{{Role: chat.User, Content: text}}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			h.t.Fatal(err)
		}
		prompts = append(prompts, prompt{text, ids})
	}
	b, err := json.MarshalIndent(map[string]any{
		"prompts": prompts, "vocab": r.vocab, "ids": r.ids, "logps": r.logps[1:], "reply": r.reply, "new_tokens": houseNewTokens, "forms": all,
	}, "", " ")
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("leo-readings.json", "%s", b)
}

// resume deletes the last checkpoint and the finished model and runs again: the bytes must be the same.
func (h *house) resume(recipe string) {
	h.t.Helper()
	weights := h.path("run", "model", "model.safetensors")
	want, err := os.ReadFile(weights)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, dir := range []string{h.path("run", "model"), h.path("run", "checkpoints", "step-00000004")} {
		if err := os.RemoveAll(dir); err != nil {
			h.t.Fatal(err)
		}
	}
	if _, diag, err := command("train", recipe); err != nil || !strings.Contains(diag, "resumed at step 2 of 4") {
		h.t.Fatalf("%v: %s", err, diag)
	}
	if got, err := os.ReadFile(weights); err != nil || !bytes.Equal(got, want) {
		h.t.Errorf("the resumed run ends with other weights (%v)", err)
	}
}

// allSame compares every form with the first.
func (h *house) allSame(forms []form) {
	h.t.Helper()
	want := h.read(forms[0])
	h.keep(forms, want)
	ends := 0
	for _, id := range want.ids {
		if id == 374 {
			ends++
		}
	}
	if want.ids[0] != 373 || ends != 1 {
		h.t.Errorf("the prompt has %d ends of a turn, one of them the template's: %v", ends, want.ids)
	}
	if !slices.Contains(want.stops, 374) || !slices.Contains(want.stops, 2) {
		h.t.Errorf("stops %v", want.stops)
	}
	for _, f := range forms[1:] {
		got := h.read(f)
		if !slices.Equal(got.ids, want.ids) {
			h.t.Errorf("%s: ids %v, want %v", f.name, got.ids, want.ids)
			continue
		}
		if !slices.Equal(got.stops, want.stops) {
			h.t.Errorf("%s: stops %v, want %v", f.name, got.stops, want.stops)
		}
		worst := 0.0
		for i := range want.logps {
			worst = max(worst, math.Abs(float64(got.logps[i]-want.logps[i])))
		}
		limit := 0.3 // quantized
		if f.exact {
			limit = 1e-5
		}
		if worst > limit {
			h.t.Errorf("%s: log-probabilities differ by up to %g", f.name, worst)
		}
		if f.exact && got.reply != want.reply {
			h.t.Errorf("%s answers %q, the folder %q", f.name, got.reply, want.reply)
		}
	}
	var sampling [2]checkpoint.Generation
	for i, path := range []string{forms[0].model, forms[1].model} {
		c, err := checkpoint.Open(path)
		if err != nil {
			h.t.Fatal(err)
		}
		sampling[i] = c.Generation
		c.Close()
	}
	a, _ := json.Marshal([]any{sampling[0].Temperature, sampling[0].TopK})
	b, _ := json.Marshal([]any{sampling[1].Temperature, sampling[1].TopK})
	if string(a) != "[0.7,20]" || !bytes.Equal(a, b) {
		h.t.Errorf("recommended sampling: folder %s, GGUF %s", a, b)
	}
}

// Every recipe that is shipped ends in an answer: the same way, with a small base, small data and two steps in place of its
// own, and everything else as it stands.
func TestEveryRecipeEndsInAnAnswer(t *testing.T) {
	h := newHouse(t)
	base := h.base("untied", false)
	mix := h.write("mix.yaml", "prefix: chat\ntokenizer: %s\nsources:\n  - {name: T, reader: messages, files: [talk.jsonl]}\n", base)
	h.leo("data", "prepare", mix, "-o", h.path("shards"), "-q")
	for path, plain := range map[string]bool{ // plain: pretraining, which writes no chat template
		"leo-7b-chat.yaml": false, "leo-13b-chat.yaml": false, "leo-7b-chat-lora.yaml": false, "leo-7b-chat-qlora.yaml": false, "leo-7b-pretrain.yaml": true,
		"smollm2-german-lora.yaml": false, "mini-5min.yaml": true, "leo-mini/pretrain.yaml": true, "leo-mini/chat.yaml": false, "leo-mini/again.yaml": false,
	} {
		t.Run(path, func(t *testing.T) {
			h := *h
			h.t = t
			run := h.path("runs", path)
			shards := h.path("shards", "chat-train")
			if plain {
				shards = h.path("corpus", "out", "train-00000-of-00001")
			}
			cfg, err := train.Load("../../recipes/"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			sets := []string{
				"output=" + run, "data.train=[{shards: " + shards + "}]", "data.valid=[]", "data.sequence_length=64", "batch.global=4", "batch.micro=2",
				"schedule.steps=2", "schedule.epochs=0", "schedule.tokens=0", "schedule.warmup_steps=1", "eval.every=1", "eval.max_tokens=4", "checkpoint.every=1",
			}
			if cfg.Model.Shape != nil {
				sets = append(sets, "model.tokenizer="+h.path("tokenizer.model"),
					"model.shape={hidden_size: 64, intermediate_size: 128, layers: 2, heads: 4, kv_heads: 2, vocab_size: 384, max_positions: 128}")
			} else {
				sets = append(sets, "model.base="+base)
			}
			if cfg.Model.VocabSize > 0 {
				sets = append(sets, "model.vocab_size=384")
			}
			if cfg.Model.MaxPositions > 0 {
				sets = append(sets, "model.max_positions=256")
			}
			args := []string{"train", "../../recipes/" + path}
			for _, s := range sets {
				args = append(args, "--set", s)
			}
			h.leo(args...)
			chat := []string{"chat", "--preset", "greedy", "--max-new-tokens", "8", "-q", "--json"}
			if cfg.LoRA != nil && !cfg.LoRA.Merge {
				chat = append(chat, "--model", base, "--lora", filepath.Join(run, "adapter"))
			} else {
				chat = append(chat, "--model", filepath.Join(run, "model"))
			}
			var answer struct {
				Tokens int `json:"completion_tokens"`
			}
			if out := h.leo(append(chat, houseQuestion)...); json.Unmarshal([]byte(out), &answer) != nil || !strings.Contains(out, "assistant") {
				t.Errorf("no answer: %s", out)
			}
			if plain {
				return
			}
			ids := h.leo("tokenizer", "encode", chat[len(chat)-1], "--special", "<|im_start|>")
			if n := len(strings.Fields(ids)); n != 1 {
				t.Errorf("<|im_start|> has %d ids: %s", n, ids)
			}
		})
	}
}
