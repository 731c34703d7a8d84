package train

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/dataset/shard"
	"leolm/tensor"
	"leolm/tokenizer"
)

// dialogues writes shards of one dialogue with the tokenizer of files, and a record of it.
func dialogues(t *testing.T, files checkpoint.TokenizerFiles, template string) string {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "chat")
	if err := files.Write(prefix + "-tokenizer"); err != nil {
		t.Fatal(err)
	}
	tok, err := files.Open("t", tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := chat.FindTemplate(template)
	if err != nil {
		t.Fatal(err)
	}
	w, err := shard.NewWriter(prefix, shard.Record{Tokenizer: tok.Fingerprint(), TokenizerDir: "chat-tokenizer", Vocab: tok.Vocab(), Template: tmpl.Source(), TemplateName: template})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	ids, roles, err := tmpl.Encode(tok, []chat.Message{{Role: chat.User, Content: lines[0]}, {Role: chat.Assistant, Content: lines[1]}}, chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := shard.Sample{IDs: ids}
	for _, r := range roles {
		s.Roles = append(s.Roles, uint8(r))
	}
	for range 16 {
		if err := w.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return prefix
}

// plainFiles is the workshop's tokenizer without ChatML's tokens.
func plainFiles(t *testing.T) (checkpoint.TokenizerFiles, string) {
	t.Helper()
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 358})
	if err != nil {
		t.Fatal(err)
	}
	c := tr.Counter()
	for _, l := range lines {
		c.Add(l)
	}
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(path, res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	files, err := checkpoint.ReadTokenizerFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	return files, path
}

func mismatch(t *testing.T, cfg *Config, key string, parts ...string) {
	t.Helper()
	_, err := New(cfg, newCPU(t, tensor.F32), Observer{})
	var m *MismatchError
	if !errors.As(err, &m) || m.Key != key {
		t.Fatalf("%v is no mismatch of %s", err, key)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q doesn't say %q", err, p)
		}
	}
	if _, planErr := MakePlan(cfg); planErr == nil || planErr.Error() != err.Error() {
		t.Errorf("the plan says %v, the run %v", planErr, err)
	}
}

// What recipe, model and data may disagree about is found before the first step, by the run and by its plan.
func TestMismatchesAreFoundAtTheStart(t *testing.T) {
	plain, model := plainFiles(t)
	grown, added, err := plain.WithChatTokens("t")
	if err != nil || len(added) != 7 || added[6] != "<|im_end|>" {
		t.Fatal(added, err)
	}
	cfg := workshop(t)
	cfg.Data.Valid, cfg.Model.Tokenizer = nil, model
	chatShards := dialogues(t, grown, "training")
	cfg.Data.Train = []DataSet{{Shards: chatShards}}

	t.Run("rows", func(t *testing.T) {
		mismatch(t, cfg, "model.shape.vocab_size", "360 rows", "365 ids", "384 or more")
	})
	t.Run("another tokenizer", func(t *testing.T) {
		c := *cfg
		c.Data.Train = workshop(t).Data.Train
		mismatch(t, &c, "data.train[0]", "another tokenizer", "t1-", "prepare the data again")
	})
	t.Run("template", func(t *testing.T) {
		c := *cfg
		c.Model.ChatTemplate = "zephyr"
		shape := *c.Model.Shape
		shape.VocabSize = 384
		c.Model.Shape = &shape
		mismatch(t, &c, "data.train[0]", "training", "zephyr", "<|im_start|>user")
	})
	t.Run("no such template", func(t *testing.T) {
		c := *cfg
		c.Model.ChatTemplate = "leolm"
		if _, err := New(&c, newCPU(t, tensor.F32), Observer{}); err == nil || !strings.Contains(err.Error(), `model.chat_template: template "leolm" is neither a file nor one of`) {
			t.Error(err)
		}
	})
	t.Run("ids of unknown shards", func(t *testing.T) {
		c := *cfg
		if err := os.Remove(chatShards + ".leo.json"); err != nil {
			t.Fatal(err)
		}
		shape := *c.Model.Shape
		shape.VocabSize = 362
		c.Model.Shape = &shape
		mismatch(t, &c, "model.shape.vocab_size", "362 rows")
	})
}

// What the checkpoints were trained on may not change under them; how the model is talked to and written may.
func TestResumeComparesTheData(t *testing.T) {
	plain, model := plainFiles(t)
	grown, _, err := plain.WithChatTokens("t")
	if err != nil {
		t.Fatal(err)
	}
	cfg := workshop(t)
	shards := dialogues(t, grown, "training")
	cfg.Data.Valid, cfg.Data.Train, cfg.Model.Tokenizer, cfg.Model.Shape.VocabSize = nil, []DataSet{{Shards: shards}}, model, 384
	cfg.Schedule.Steps = 4
	runAll(t, cfg, 3)

	other := *cfg
	other.Model.ChatTemplate, other.Export.DType = "card-sample", "bf16"
	other.Model.Generation = &GenerationConfig{Temperature: new(float64)}
	tr, err := New(&other, newCPU(t, tensor.F32), Observer{})
	if err != nil {
		t.Fatalf("another template, sampling and type at export: %v", err)
	}
	tr.Close()

	text, err := os.ReadFile(shards + "-text.bin")
	if err != nil {
		t.Fatal(err)
	}
	text[4] ^= 1
	if err := os.WriteFile(shards+"-text.bin", text, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = New(cfg, newCPU(t, tensor.F32), Observer{})
	var m *MismatchError
	if !errors.As(err, &m) || m.Key != "data.train[0]" || !strings.Contains(m.What, "the first 3 steps") {
		t.Errorf("changed shards: %v", err)
	}
}

// The exported folder and everything made of it know the tokens of the shards, stop at them, and are in the type that was
// trained in; a tokenizer inside a GGUF file will do for the recipe.
func TestExportKnowsTheShardsTokens(t *testing.T) {
	plain, _ := plainFiles(t)
	grown, _, err := plain.WithChatTokens("t")
	if err != nil {
		t.Fatal(err)
	}
	cfg := workshop(t)
	runAll(t, cfg, 0)
	gguf := filepath.Join(t.TempDir(), "vocab.gguf")
	c, err := checkpoint.Open(filepath.Join(cfg.Output, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Config.DType != tensor.F32 {
		t.Errorf("trained in f32, exported in %v", c.Config.DType)
	}
	small := c.Config
	small.VocabSize = 358
	kv, _, err := plain.Metadata(&small)
	if err != nil {
		t.Fatal(err)
	}
	f32, _ := checkpoint.ParseFileType("f32")
	if err := checkpoint.WriteGGUF(gguf, c.Config, c.Sources(), checkpoint.GGUFOptions{Type: f32, Metadata: kv}); err != nil {
		t.Fatal(err)
	}
	cfg = workshop(t)
	cfg.Data.Valid, cfg.Data.Train = nil, []DataSet{{Shards: dialogues(t, grown, "training")}}
	cfg.Model.Tokenizer, cfg.Model.Shape.VocabSize = gguf, 384
	cfg.Schedule.Steps = 1
	runAll(t, cfg, 0)
	out, err := checkpoint.Open(filepath.Join(cfg.Output, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	files, err := out.TokenizerFiles()
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(files)); !slices.Contains(names, "tokenizer.model") || !slices.Contains(names, "added_tokens.json") {
		t.Errorf("files %v", names)
	}
	tok, err := files.Open("out", tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := tok.ID("<|im_end|>"); id != 364 || !slices.Contains(out.StopIDs(), 364) || !slices.Contains(out.Generation.EOS, 364) || !strings.Contains(out.ChatTemplate, "<|im_start|>") {
		t.Errorf("<|im_end|> is %d, stops %v, generation %v, template %q", id, out.StopIDs(), out.Generation.EOS, out.ChatTemplate)
	}
	if out.TokenizerFingerprint != tok.Fingerprint() {
		t.Errorf("fingerprints %s and %s", out.TokenizerFingerprint, tok.Fingerprint())
	}
}
