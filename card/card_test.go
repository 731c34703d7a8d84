package card

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"leolm/dataset"
	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/internal/recipe"
	"leolm/tokenizer"
	"leolm/train"
)

// The 13B chat model of LeoLM, from the facts of its published card (docs/leolm.md) put into the files that Leo's own
// commands would have left.

const leoName = "LeoLM/leo-hessianai-13b-chat"

func write(t *testing.T, path string, v any) {
	t.Helper()
	data, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		data = string(b)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
}

// leoFolder writes the configuration of the 13B model, with a small tokenizer beside it and no weights.
func leoFolder(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "config.json"), map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40,
		"num_attention_heads": 40, "num_key_value_heads": 40, "vocab_size": 32128, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
		"rope_scaling": map[string]any{"type": "linear", "factor": 2.0}, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "torch_dtype": "float16",
	})
	write(t, filepath.Join(dir, "generation_config.json"), map[string]any{"do_sample": true, "top_p": 0.95, "bos_token_id": 1, "eos_token_id": 2})
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 300, Control: []string{"<|im_start|>", "<|im_end|>"}})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("Der Mond scheint hell über dem stillen Wald, und ein alter Mann sitzt am Fluss.")
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tokenizer.model"), string(res.Model))
}

// leoStats are the rows of the card's block: samples, tokens, shortest and longest.
var leoStats = []dataset.Stats{
	{Name: "Subset of OpenAssistant/OASST-DE", Samples: 3534, Tokens: 2259302, Min: 29, Max: 2484},
	{Name: "Subset of FreedomIntelligence/evol-instruct-deutsch", Samples: 57841, Tokens: 42958192, Min: 33, Max: 5507},
	{Name: "Subset of FreedomIntelligence/alpaca-gpt4-deutsch", Samples: 48969, Tokens: 13372005, Min: 19, Max: 1359},
	{Name: "Subset of LeoLM/OpenSchnabeltier", Samples: 21314, Tokens: 8134690, Min: 25, Max: 1202},
	{Name: "Subset of LeoLM/German_Poems", Samples: 490, Tokens: 618642, Min: 747, Max: 1678},
	{Name: "Subset of LeoLM/German_Songs", Samples: 392, Tokens: 187897, Min: 231, Max: 826},
}

// leoScores are the sums of ten ratings of the first and of the second turn, by category: they give the card's means.
var leoScores = map[string][2]float64{
	"writing": {78.5, 60}, "roleplay": {75, 59}, "reasoning": {51, 40}, "math": {36, 29}, "coding": {39, 30}, "extraction": {60, 48}, "stem": {84, 67},
	"humanities": {98.5, 79},
}

// leoBlock is the block of the published card.
const leoBlock = `{
    "first_turn": 6.525,
    "second_turn": 5.15,
    "categories": {
        "writing": 6.925,
        "roleplay": 6.7,
        "reasoning": 4.55,
        "math": 3.25,
        "coding": 3.45,
        "extraction": 5.4,
        "stem": 7.55,
        "humanities": 8.875
    },
    "average": 5.8375
}`

// leoRatings writes a run of MT-Bench with 160 ratings into a folder.
func leoRatings(t *testing.T, dir string) {
	t.Helper()
	own, err := mtbench.OwnQuestions()
	if err != nil {
		t.Fatal(err)
	}
	set, err := mtbench.NewSet("questions_de.json", own.Questions)
	if err != nil {
		t.Fatal(err)
	}
	var replies []mtbench.Reply
	var answers []mtbench.Answers
	asked := map[string]int{}
	for _, q := range set.Questions {
		i := asked[q.Category]
		asked[q.Category]++
		answers = append(answers, mtbench.Answers{Question: q.ID, Choices: [][]string{{"Ja.", "Nein."}}})
		for turn, sum := range leoScores[q.Category] {
			whole := int(sum) / 10
			rating, rest := float64(whole), sum-float64(10*whole)
			switch {
			case float64(i+1) <= rest:
				rating++
			case float64(i) < rest:
				rating += rest - float64(i)
			}
			replies = append(replies, mtbench.Reply{Question: q.ID, Turn: turn + 1, Text: fmt.Sprintf("Gut. [[%s]]", strconv.FormatFloat(rating, 'f', -1, 64))})
		}
	}
	r, err := mtbench.OpenRun(t.Context(), dir, set)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Import("answers.json", answers, eval.Identity{Name: leoName, Kind: "replay"}, eval.Software{Version: "test"}); err != nil {
		t.Fatal(err)
	}
	prompts, err := mtbench.OwnPrompts()
	if err != nil {
		t.Fatal(err)
	}
	j, err := r.Judge(t.Context(), mtbench.NewReplay("replies.json", replies), mtbench.JudgeOptions{Name: "gpt-4", Prompts: prompts}, eval.Software{Version: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Scores.Rated) != 160 {
		t.Fatalf("%d ratings", len(j.Scores.Rated))
	}
}

// leoRun writes the record of the training that recipes/leo-13b-chat.yaml describes.
func leoRun(t *testing.T, dir string) {
	t.Helper()
	c, err := train.Load("../recipes/leo-13b-chat.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	values, err := recipe.Values(c)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, train.RecordFile), train.Record{
		Schema: "leo-training-run", Version: 1, Name: c.Name, Recipe: values, Steps: 1537, Warmup: c.Schedule.WarmupSteps, Epochs: c.Schedule.Epochs, Sequences: 131214,
	})
	write(t, filepath.Join(dir, "metrics.jsonl"), `{"step":1,"loss":1.5,"tokens_seen":1000000}`+"\n"+`{"step":2,"loss":1.25,"tokens_seen":2000000,"valid_loss":1.375}`+"\n")
}

// score writes an artifact with one number.
func score(t *testing.T, path string, id eval.Identity, task, metric string, v float64, change ...func(a *eval.Artifact)) {
	t.Helper()
	a := eval.NewArtifact(task, id, eval.Software{Version: "test", Commit: "0123456789abcdef"})
	a.TaskVersion, a.Complete = "leolm-1", true
	a.Add(eval.Metric{Name: metric, Value: &v, N: 1172})
	for _, f := range change {
		f(a)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteFile(path); err != nil {
		t.Fatal(err)
	}
}

// leo makes all facts of the 13B model in a folder and returns the configuration of its card.
func leo(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	leoFolder(t, filepath.Join(dir, "model"))
	leoRatings(t, filepath.Join(dir, "mtbench"))
	leoRun(t, filepath.Join(dir, "run"))
	for i := range leoStats {
		s := &leoStats[i]
		s.Accepted, s.Fraction = s.Samples, 1
	}
	write(t, filepath.Join(dir, "chat-train_stats.json"), map[string]any{"preset": "leolm", "datasets": leoStats})
	own := eval.Identity{Name: leoName, Kind: "endpoint"}
	base := eval.Identity{Name: "LeoLM/leo-hessianai-13b", Kind: "endpoint"}
	score(t, filepath.Join(dir, "base", "arc_de.json"), base, "arc_de", "acc_norm", 0.509)
	score(t, filepath.Join(dir, "own", "arc_de.json"), own, "arc_de", "acc_norm", 0.5, func(a *eval.Artifact) {
		a.Details = json.RawMessage(`{"num_fewshot": 25}`)
		a.Inputs = []eval.Input{{Role: "data", Name: "hf://datasets/LeoLM/ArcChallenge_de@0123456789abcdef test", Hash: strings.Repeat("0", 64), Rows: 1172}}
	})
	score(t, filepath.Join(dir, "base", "hellaswag_de.json"), base, "hellaswag_de", "acc_norm", 0.658)
	write(t, filepath.Join(dir, "card.yaml"), `
name: LeoLM Chat 13b
id: LeoLM/leo-hessianai-13b-chat
model: model
base_model: [LeoLM/leo-hessianai-13b]
base_model_relation: finetune
languages: [de, en]
license: llama2
description: |
  A German chat model built on our foundation model.
limitations: |
  LeoLM has been tested in German only.
links: [{name: Contact, text: "Björn", url: "mailto:someone@example.org"}]
system: Dies ist eine Unterhaltung.
question: Erkläre mir, was ein schwarzes Loch ist.
data: [chat-train]
runs: [run]
loss_curve: loss.svg
results: [{path: mtbench}, {path: own}, {path: base, of: before fine-tuning}]
datasets:
  - {name: OpenAssistant/OASST-DE, id: OpenAssistant/OASST-DE, license: Apache 2.0}
  - {name: FreedomIntelligence/evol-instruct-deutsch, id: FreedomIntelligence/evol-instruct-deutsch, license: Apache 2.0}
  - {name: FreedomIntelligence/alpaca-gpt4-deutsch, id: FreedomIntelligence/alpaca-gpt4-deutsch, license: Apache 2.0}
  - {name: LeoLM/OpenSchnabeltier, id: LeoLM/OpenSchnabeltier, license: Apache 2.0}
  - {name: LeoLM/German_Poems, id: LeoLM/German_Poems, license: unknown}
  - {name: LeoLM/German_Songs, id: LeoLM/German_Songs, license: unknown}
`)
	c, err := LoadConfig(filepath.Join(dir, "card.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render makes the card of a configuration.
func render(t *testing.T, c *Config) string {
	t.Helper()
	f, err := Gather(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := f.Render()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inOrder checks that the parts stand one after the other.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		_, after, ok := strings.Cut(rest, p)
		if !ok {
			t.Fatalf("%q is not there, or not in its place, in\n%s", p, text)
		}
		rest = after
	}
}

func TestCardOfLeo13bChat(t *testing.T) {
	c := leo(t)
	text := render(t, c)
	stats := ""
	for _, s := range append(leoStats[:len(leoStats):len(leoStats)], dataset.Stats{Name: "total", Samples: 132540, Tokens: 67530728, Min: 19, Max: 5507}) {
		avg := map[string]string{
			"Subset of OpenAssistant/OASST-DE": "639.3044708545557", "Subset of FreedomIntelligence/evol-instruct-deutsch": "742.6944900675991",
			"Subset of FreedomIntelligence/alpaca-gpt4-deutsch": "273.07082031489307", "Subset of LeoLM/OpenSchnabeltier": "381.65947264708643",
			"Subset of LeoLM/German_Poems": "1262.534693877551", "Subset of LeoLM/German_Songs": "479.3290816326531", "total": "509.51205673758864",
		}[s.Name]
		stats += fmt.Sprintf("## Stats for '%s' (%d samples (100.0%%))\n-----------------\n  Accepted: %d/%d (100.0%%)\n  Accepted tokens: %d\n  Skipped: 0 (0.0%%)\n"+
			"  Min tokens per sample: %d\n  Max tokens per sample: %d\n  Avg tokens per sample: %s\n-----------------\n\n", s.Name, s.Samples, s.Samples, s.Samples, s.Tokens, s.Min, s.Max, avg)
	}
	inOrder(t, text,
		"---\nlanguage:\n- de\n- en\nlicense: llama2\nlibrary_name: transformers\npipeline_tag: text-generation\nbase_model:\n- LeoLM/leo-hessianai-13b\n",
		"datasets:\n- OpenAssistant/OASST-DE\n- FreedomIntelligence/evol-instruct-deutsch\n",
		"model-index:\n- name: \"LeoLM Chat 13b\"\n", "type: LeoLM/ArcChallenge_de", "revision: \"0123456789abcdef\"", "value: 0.5\n", "\n---\n",
		"# LeoLM Chat 13b\n\nA German chat model",
		"## Model Details\n", "[LeoLM/leo-hessianai-13b](https://huggingface.co/LeoLM/leo-hessianai-13b)", "13.02 billion parameters: 40 layers of 5120", "German, English", "[Björn](mailto:someone@example.org)",
		"## Prompt Template\n\n```\n<|im_start|>system\n{system_message}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n```\n", "`<|im_end|>`",
		"## Use\n", "leo chat --model LeoLM/leo-hessianai-13b-chat", "AutoTokenizer", `{"role": "system", "content": "Dies ist eine Unterhaltung."}`, "top_p=0.95, eos_token_id=[2, ",
		"## Finetuning Details\n\n| Hyperparameter | Value |\n|---|---|\n| Num epochs | 3 |\n| Examples per epoch | 131214 |\n| Global batch size | 256 |\n| Learning rate | 3e-5 |\n"+
			"| Warmup steps | 100 |\n| LR scheduler | Cosine |\n| Adam betas | (0.9, 0.95) |\n", "(loss.svg)",
		"## Dataset Details\n\n```\n"+strings.TrimSpace(stats)+"\n```\n",
		"## MT-Bench-DE\n\n```\n"+leoBlock+"\n```\n",
		"## Results\n", "| MT-Bench-DE, judged by gpt-4 | average ↑ |", "| HellaSwag-DE, data from files | accuracy, normalized by length ↑ | 0.658 |",
		"## Ethical Considerations and Limitations\n\nLeoLM has been tested in German only.",
		"## Licenses\n", "The model: llama2.", "| [OpenAssistant/OASST-DE](https://huggingface.co/datasets/OpenAssistant/OASST-DE) |  | Apache 2.0 |",
		"## How These Numbers Were Made\n", "`mtbench/gpt-4/result.json`", "judge: gpt-4", "`run`", "`chat-train_stats.json`",
	)
	if strings.Contains(text, "llama-server") || strings.Contains(text, "ollama") {
		t.Error("there is no GGUF file, and the card says how to use one")
	}
	// No table has an empty place for a number: arc_de was measured on two models, HellaSwag on one.
	if !strings.Contains(text, "| task | metric | before fine-tuning |\n") || strings.Contains(text, "| – |") {
		t.Errorf("tables are\n%s", text[strings.Index(text, "## Results"):])
	}
	f, err := Gather(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if picture, err := f.LossCurve(); err != nil || !strings.Contains(string(picture), "leo-13b-chat, held out") {
		t.Errorf("the curve: %v", err)
	}
}

func TestMissingNumbers(t *testing.T) {
	c := leo(t)
	for body, want := range map[string]string{
		`{{metric "mmlu_de" "acc"}}`:                               "asks for mmlu_de, and there is no result of it",
		`{{metric "arc_de" "acc"}}`:                                "asks for acc of arc_de, and the result has no such number; it has acc_norm",
		`{{metric "mtbench" "rating" "poetry"}}`:                   "asks for rating of poetry of mtbench",
		`{{metricOf "before fine-tuning" "mtbench" "average"}}`:    `asks for mtbench on "before fine-tuning"`,
		`{{metricOf "nowhere" "arc_de" "acc_norm"}}`:               `on "nowhere"`,
		`{{.MTBench "gpt-5"}}`:                                     "asks for mtbench",
		`{{.Text "answers"}}`:                                      `asks for the file "answers"`,
		`{{.Facts}}`:                                               "can't evaluate field Facts",
		`{{index (.JSON "answers") 0}}`:                            `asks for the file "answers"`,
		`{{define "details"}}{{metric "mmlu_de" "acc"}}{{end}}`:    "asks for mmlu_de",
		`{{define "description"}}{{metric "arc_de" "acc"}}{{end}}`: "asks for acc",
		`{{if}}`:                           "missing value for if",
		"---\nlicense: MIT License\n---\n": "license: \"MIT License\" is no license that the hub knows",
		"---\nlanguage: German\nmodel-index: []\n---\n":              `language: "German" is no code`,
		`{{range $i, $x := every 0 (.JSON "answers")}}{{$x}}{{end}}`: "answers",
	} {
		write(t, c.path("own.tmpl"), body)
		c.Template = "own.tmpl"
		f, err := Gather(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Render()
		var tmpl *TemplateError
		var front *FrontMatterError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &tmpl) && !errors.As(err, &front) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	write(t, c.path("own.tmpl"), `{{with metric "arc_de" "acc_norm"}}{{.}} {{.Fixed 1}} {{.Count}}{{end}} {{metric "mtbench" "rating" "math"}} {{metricOf "before fine-tuning" "arc_de" "acc_norm"}}`)
	if got, want := render(t, c), "0.500 0.5 1172 3.25 0.509\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// A definition alone replaces a section and leaves the others.
	write(t, c.path("own.tmpl"), `{{define "description"}}Mein Modell.{{end}}`)
	inOrder(t, render(t, c), "# LeoLM Chat 13b\n\nMein Modell.\n\n## Model Details", "## Licenses")
}

func TestRefusedResults(t *testing.T) {
	own := eval.Identity{Name: leoName, Kind: "endpoint"}
	for name, c := range map[string]struct {
		id     eval.Identity
		of     string
		change func(dir string, a *eval.Artifact)
		err    any
		want   string
	}{
		"incomplete":    {own, "", func(_ string, a *eval.Artifact) { a.Complete = false }, new(*IncompleteError), "results/mmlu_de.json: the result of mmlu_de is incomplete"},
		"other name":    {eval.Identity{Name: "leo-7b"}, "", nil, new(*OtherModelError), `results/mmlu_de.json is the result of another model: it is of "leo-7b", and the card of LeoLM Chat 13b or ` + leoName},
		"other weights": {eval.Identity{Name: leoName, Kind: "local", Weights: "0123"}, "", nil, new(*OtherModelError), "its weights have the fingerprint 0123"},
		"not other":     {eval.Identity{Name: "x", Weights: "own"}, "before", nil, new(*OtherModelError), `the configuration says "before"`},
		"adapter":       {eval.Identity{Name: leoName, Weights: "own", Adapters: []string{"lora=1"}}, "", nil, new(*OtherModelError), "had the adapters lora=1"},
		"tokenizer":     {eval.Identity{Name: leoName, Weights: "own", Tokenizer: "t1-5"}, "", nil, new(*OtherModelError), "its tokenizer has the fingerprint t1-5"},
		"damaged": {own, "", func(dir string, a *eval.Artifact) {
			write(t, filepath.Join(dir, "single.jsonl"), "{}\n")
			if err := a.AddRaw(dir, "single.jsonl"); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "single.jsonl"), "{ }\n")
		}, new(*DamagedError), "single.jsonl has other contents than when the result was written"},
		"gone":    {own, "", func(dir string, a *eval.Artifact) { a.Raw = []eval.File{{Name: "gone.jsonl"}} }, new(*DamagedError), "gone.jsonl"},
		"outside": {own, "", func(dir string, a *eval.Artifact) { a.Raw = []eval.File{{Name: "../../card.yaml"}} }, new(*DamagedError), "leads out of"},
		"newer":   {own, "", func(_ string, a *eval.Artifact) { a.Version = 99 }, new(*eval.NotArtifactError), "version 99"},
		"twice":   {own, "", func(_ string, a *eval.Artifact) { a.Task = "arc_de" }, new(*DoubledError), "own/arc_de.json and results/mmlu_de.json are both results of arc_de"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := leo(t)
			f, err := Gather(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if c.id.Weights == "own" {
				c.id.Weights = f.model.Weights
			}
			dir := cfg.path("results")
			score(t, filepath.Join(dir, "mmlu_de.json"), c.id, "mmlu_de", "acc", 0.4, func(a *eval.Artifact) {
				if c.change != nil {
					c.change(dir, a)
				}
			})
			cfg.Results = append(cfg.Results, ResultSource{Path: "results", Of: c.of})
			_, err = Gather(t.Context(), cfg)
			if err == nil || !errors.As(err, c.err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			cfg.Results[len(cfg.Results)-1].Path = "nowhere"
			if _, err := Gather(t.Context(), cfg); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a path that is not there: %v", err)
			}
		})
	}
}

func TestRefusedFacts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"no license":       {func(c *Config) { c.License = "" }, "under which license the model is"},
		"no data license":  {func(c *Config) { c.Datasets = c.Datasets[1:] }, `trained on "OpenAssistant/OASST-DE", and nothing says`},
		"no run":           {func(c *Config) { c.Runs = []string{"own"} }, "run.json"},
		"a broken run":     {func(c *Config) { write(t, c.path("own/run.json"), "{}"); c.Runs = []string{"own"} }, "not the record of a training run"},
		"no statistics":    {func(c *Config) { c.Data = []string{"none"} }, "none_stats.json"},
		"empty statistics": {func(c *Config) { write(t, c.path("e_stats.json"), "{}"); c.Data = []string{"e"} }, "it lists no datasets"},
		"no model":         {func(c *Config) { c.Model = "nirgends" }, `"nirgends"`},
		"empty folder":     {func(c *Config) { c.Results[0].Path = "run" }, "no result of an evaluation is in this folder"},
		"no file":          {func(c *Config) { c.Files = map[string]string{"a": "a.json"} }, "a.json"},
	} {
		cfg := leo(t)
		c.change(cfg)
		if _, err := Gather(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Texts from outside stay texts: they end no cell, no block and no heading, and bring no HTML.
func TestHostileTexts(t *testing.T) {
	c := leo(t)
	nasty := "a|b`c``d\n# e\r\n---\n```\n</script><b>&amp;{{.Title}}[x](y)\u202e\x07 *z* {% raw %}"
	c.Name, c.Datasets[0].Authors, c.Datasets[0].License, c.Question, c.System = nasty, nasty, nasty, nasty, nasty
	c.Links = []Link{{Name: nasty, Text: nasty, URL: "https://example.org/a b)(<|>"}}
	c.Display = map[string]string{"arc_de": nasty, "acc_norm": nasty, "leo-13b-chat": nasty}
	c.Results[2].Of = nasty
	score(t, c.path("own/arc_de.json"), eval.Identity{Name: leoName}, "arc_de", "acc_norm", 0.5, func(a *eval.Artifact) {
		a.Inputs = []eval.Input{{Role: nasty, Name: nasty, Hash: nasty}}
		a.Config, a.TaskVersion, a.Leo.Version, a.Leo.Commit = map[string]any{nasty: nasty}, nasty, nasty, nasty
	})
	text := render(t, c)
	if err := CheckFrontMatter([]byte(text)); err != nil {
		t.Error(err)
	}
	_, body, _ := strings.Cut(text, "\n---\n")
	headings, fence := 0, ""
	columns := 0
	for line := range strings.SplitSeq(body, "\n") {
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
			continue
		case fence != "":
			if line == fence {
				fence = ""
			}
			continue
		}
		if strings.HasPrefix(line, "#") {
			headings++
		}
		if strings.HasPrefix(line, "---") || strings.ContainsAny(line, "\r\x07\u202e") || strings.Contains(line, "<b>") || strings.Contains(line, "</script>") {
			t.Errorf("a line of the text: %q", line)
		}
		n := 0
		if strings.HasPrefix(line, "|") {
			n = strings.Count(line, "|") - strings.Count(line, `\|`)
			if columns != 0 && n != columns {
				t.Errorf("a row of %d bars under %d: %s", n, columns, line)
			}
		}
		columns = n
	}
	if fence != "" || headings != 13 {
		t.Errorf("%d headings, open block %q in\n%s", headings, fence, body)
	}
	for _, bad := range []string{"description: |\n  a\n  ```\n  b\n", "limitations: \"<!-- x\"\n", "loss_curve: loss.svg\n", "loss_curve: ../x.svg\nruns: [a]\n", "license: MIT License\n",
		"languages: [German]\n", "base_model: [\"a b\"]\n", "license: other\n", "tags: [\" \"]\n", "base_model_relation: child\n", "datasets: [{name: a, license: b}, {name: a, license: c}]\n", "nam: x\n", "name: [", "datasets: [{name: a}]\n"} {
		path := filepath.Join(t.TempDir(), "card.yaml")
		write(t, path, bad)
		if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), "card.yaml:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The page of cards names every key.
func TestPageHasAllKeys(t *testing.T) {
	page, err := os.ReadFile("../docs/card.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Link](), reflect.TypeFor[Dataset](), reflect.TypeFor[ResultSource](), reflect.TypeFor[ResultDataset]()} {
		for i := range typ.NumField() {
			if key := typ.Field(i).Tag.Get("yaml"); key != "" && !strings.Contains(string(page), "`"+key+"`") {
				t.Errorf("docs/card.md does not have the key %s of %s", key, typ.Name())
			}
		}
	}
}
