package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/llama"
	"leolm/tensor"
	"leolm/tokenizer"
)

// trlRun is a trainer of the model of testdata/objective-policy and what TRL made of it, see make_objective_goldens.py.
type trlRun struct {
	*golden
	t *Trainer
}

func newTRLRun(t *testing.T, change func(*Config)) trlRun {
	t.Helper()
	g := loadGolden(t, "testdata/objective-policy.safetensors")
	cfg := DefaultConfig()
	cfg.Data.SequenceLength, cfg.Batch.Global, cfg.Batch.Micro = 64, 4, 4
	cfg.Optimizer = OptimizerConfig{Type: "adamw", LR: 3e-3, Betas: []float64{0.9, 0.95}, Eps: 1e-8, Clip: 1, Bits: 32}
	change(&cfg)
	cfg.derive()
	dev := newCPU(t, tensor.F32)
	m := g.model(t, dev)
	opt, err := NewOptimizer(dev, cfg.Optimizer, m.Params())
	if err != nil {
		t.Fatal(err)
	}
	return trlRun{g, &Trainer{cfg: &cfg, dev: dev, sub: &subject{model: m}, opt: opt, ranks: opt.ranks}}
}

// other is the model of another file on the same device.
func (r trlRun) other(t *testing.T, name string) *llama.Model {
	return loadGolden(t, "testdata/objective-"+name+".safetensors").model(t, r.t.dev)
}

// window is a prompt with its answer, of which alone the tokens count.
func (r trlRun) window(prompt, answer string) loader.Window {
	var ids []int32
	for _, name := range []string{prompt, answer} {
		for _, v := range r.values[name] {
			ids = append(ids, int32(v))
		}
	}
	w := loader.Window{IDs: ids[:len(ids)-1], Targets: ids[1:], Weights: make([]float32, len(ids)-1)}
	for i := len(r.values[prompt]) - 1; i < w.Len(); i++ {
		w.Weights[i] = 1
	}
	return w
}

func (r trlRun) pairs() (out []*pair) {
	for i := range 4 {
		prompt := fmt.Sprintf("prompt.%d", i)
		out = append(out, &pair{r.window(prompt, fmt.Sprintf("chosen.%d", i)), r.window(prompt, fmt.Sprintf("rejected.%d", i))})
	}
	return out
}

func (r trlRun) judged() (out []*judged) {
	for i := range 4 {
		out = append(out, &judged{r.window(fmt.Sprintf("prompt.%d", i), fmt.Sprintf("completion.%d", i)), r.values["label"][i] == 1})
	}
	return out
}

// TestObjectivesEqualTRL: the loss and every gradient of the first step, and the losses of ten steps, are those of TRL's
// trainers, with the examples in one micro-batch and in several; distillation is held against PyTorch.
func TestObjectivesEqualTRL(t *testing.T) {
	beta := func(x float64) *float64 { return &x }
	for name, c := range map[string]struct {
		change func(*Config)
		open   func(t *testing.T, r trlRun) func(st *Step) error
	}{
		"dpo": {func(c *Config) { c.DPO = &DPOConfig{Beta: 0.3} }, func(t *testing.T, r trlRun) func(*Step) error {
			o := &dpo{reference: reference{r.other(t, "reference")}}
			return func(st *Step) error { return o.learn(t.Context(), r.t, st, r.pairs()) }
		}},
		"orpo": {func(c *Config) { c.ORPO = &ORPOConfig{Beta: 0.4} }, func(t *testing.T, r trlRun) func(*Step) error {
			return func(st *Step) error { return new(orpo).learn(t.Context(), r.t, st, r.pairs()) }
		}},
		"kto": {func(c *Config) { c.KTO = &KTOConfig{Beta: 0.3, Undesirable: beta(1.5)} }, func(t *testing.T, r trlRun) func(*Step) error {
			o := &kto{reference: reference{r.other(t, "reference")}}
			return func(st *Step) error { return o.learn(t.Context(), r.t, st, r.judged()) }
		}},
		"distill": {func(c *Config) { c.Distill = &DistillConfig{Alpha: beta(0.3), Temperature: 2} }, func(t *testing.T, r trlRun) func(*Step) error {
			o := &distill{nextToken: &nextToken{}, teacher: r.other(t, "teacher"), vocab: r.t.sub.model.Vocab}
			o.head = o.both
			return func(st *Step) error {
				var ws []loader.Window
				for _, p := range r.pairs() {
					ws = append(ws, p[0])
				}
				return o.learn(t.Context(), r.t, st, ws)
			}
		}},
	} {
		for _, micro := range []int{4, 2, 1} {
			for _, recompute := range []bool{false, true} {
				r := newTRLRun(t, c.change)
				r.t.cfg.Batch.Micro, r.t.cfg.Compute.Recompute = micro, recompute
				learn := c.open(t, r)
				for step, want := range r.values[name+".losses"] {
					st := &Step{Step: step + 1}
					if err := learn(st); err != nil {
						t.Fatal(err)
					}
					// TRL narrows log-probabilities to float32, and steps grow apart.
					if math.Abs(st.Loss-want) > 2e-5*math.Abs(want)+2e-5*float64(step) {
						t.Errorf("%s, micro %d, step %d: loss %.8f, TRL %.8f", name, micro, step+1, st.Loss, want)
					}
					if n := r.t.dev.Memory().Tensors; n != 0 {
						t.Fatalf("%s: %d bytes of tensors are alive after a step", name, n)
					}
					for _, p := range r.t.sub.model.Params() {
						got := make([]float32, p.Weight.Rows()*p.Weight.Cols())
						r.t.dev.ReadGrad(p.Weight, got)
						if rel, _ := distance(got, r.values[name+".g."+p.Name]); step == 0 && rel > 2e-5 {
							t.Errorf("%s, micro %d: gradient of %s differs by %.2g", name, micro, p.Name, rel)
						}
					}
					norm, _ := r.t.opt.GradNorm()
					r.t.opt.Update(3e-3, norm)
				}
			}
		}
	}
}

// oddsRatio stays finite where an answer is certain or impossible, and its derivatives are the slopes of its value.
func TestOddsRatio(t *testing.T) {
	for _, c := range [][2]float64{{-0.3, -2}, {-2, -0.3}, {-1e-6, -5}, {-8, -1e-3}, {-40, -40}, {-1, -300}} {
		loss, dc, dr := oddsRatio(c[0], c[1])
		h := 1e-6 * math.Min(-c[0], -c[1])
		up, _, _ := oddsRatio(c[0]+h, c[1])
		down, _, _ := oddsRatio(c[0]-h, c[1])
		if got := (up - down) / (2 * h); math.Abs(got-dc) > 1e-3*math.Abs(dc)+1e-4 {
			t.Errorf("%v: by the chosen answer %v, the slope is %v (loss %v)", c, dc, got, loss)
		}
		up, _, _ = oddsRatio(c[0], c[1]+h)
		down, _, _ = oddsRatio(c[0], c[1]-h)
		if got := (up - down) / (2 * h); math.Abs(got-dr) > 1e-3*math.Abs(dr)+1e-4 {
			t.Errorf("%v: by the rejected answer %v, the slope is %v (loss %v)", c, dr, got, loss)
		}
	}
	if loss, dc, dr := oddsRatio(0, -3); loss != 0 || math.IsNaN(dc) || dr != 0 {
		t.Errorf("a certain answer: loss %v, derivatives %v and %v", loss, dc, dr)
	}
}

// workshopOf is the workshop with its model trained, and a recipe that goes on from it with the examples of a file.
func workshopOf(t *testing.T, rows string) (cfg *Config, file string) {
	t.Helper()
	base := workshop(t)
	base.Checkpoint.Every, base.Schedule.Steps = 0, 5
	runAll(t, base, 0)
	file = filepath.Join(filepath.Dir(base.Output), "rows.jsonl")
	if err := os.WriteFile(file, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	c := *base
	c.Output += "-next"
	c.Model = ModelConfig{Base: filepath.Join(base.Output, "model")}
	c.Batch.Global, c.Batch.Micro = 4, 2
	c.Optimizer.LR, c.Optimizer.WeightDecay = 3e-3, 0
	c.Schedule = ScheduleConfig{Type: "constant", Steps: 12}
	c.Checkpoint.Every, c.Data.Valid = 0, nil
	return &c, file
}

const pairRows = `{"prompt": "Wie ist das Brot?", "chosen": "Das Brot liegt noch warm.", "rejected": "Kinder laufen laut."}
{"prompt": "Wo ist die Katze?", "chosen": "Die Katze schläft auf der Mauer.", "rejected": "Am Abend wird es ruhig."}
{"prompt": "Und der Mond?", "chosen": "Der Mond scheint hell.", "rejected": "Ein alter Mann."}
{"prompt": "Was trägt der Wind?", "chosen": "Die Blätter.", "rejected": "Den Tisch."}
{"prompt": "Und die Kinder?", "chosen": "Sie lachen laut.", "rejected": "Der Fluss."}
`

const judgedRows = `{"prompt": "Wie ist das Brot?", "completion": "Das Brot liegt noch warm.", "label": true}
{"prompt": "Wo ist die Katze?", "completion": "Am Abend wird es ruhig.", "label": false}
{"prompt": "Und der Mond?", "completion": "Der Mond scheint hell.", "label": true}
{"prompt": "Was trägt der Wind?", "completion": "Den Tisch.", "label": false}
{"prompt": "Und die Kinder?", "completion": "Sie lachen laut.", "label": true}
`

// Every objective lowers its loss, resumes to the same bits, and refuses to go on with other examples or another teacher.
func TestObjectivesResume(t *testing.T) {
	for name, c := range map[string]struct {
		rows, other string
		change      func(c *Config, file string)
		key         string // of what may not change
	}{
		"dpo":  {pairRows, "warm", func(c *Config, file string) { c.DPO = &DPOConfig{Pairs: file} }, "dpo.pairs"},
		"orpo": {pairRows, "warm", func(c *Config, file string) { c.ORPO = &ORPOConfig{Pairs: file} }, "orpo.pairs"},
		"orpo 2": {pairRows, "warm", func(c *Config, file string) {
			c.ORPO, c.Data.Loss, c.Batch.Average = &ORPOConfig{Pairs: file}, "assistant", "microbatch"
		}, "orpo.pairs"},
		"kto": {judgedRows, "warm", func(c *Config, file string) { c.KTO = &KTOConfig{Examples: file} }, "kto.examples"},
		"kto lora": {judgedRows, "true", func(c *Config, file string) {
			c.KTO, c.LoRA = &KTOConfig{Examples: file}, &LoRAConfig{Rank: 4, Dropout: 0.1}
		}, "kto.examples"},
		"distill": {"", "", func(c *Config, file string) { c.Distill = &DistillConfig{Teacher: c.Model.Base} }, "distill.teacher"},
		"distill lora": {"", "", func(c *Config, file string) {
			c.Distill, c.LoRA = &DistillConfig{Teacher: c.Model.Base, Temperature: 2}, &LoRAConfig{Rank: 4, Dropout: 0.1}
			c.Data.Packing, c.Compute.NEFTune = true, 5
		}, "distill.teacher"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, file := workshopOf(t, c.rows)
			if c.rows != "" {
				cfg.Data.Train = nil
			}
			c.change(cfg, file)
			teacher := filepath.Join(filepath.Dir(cfg.Output), "teacher")
			if cfg.Distill != nil {
				// The student begins from nothing, or with adapters on a worse base.
				if err := os.CopyFS(teacher, os.DirFS(cfg.Model.Base)); err != nil {
					t.Fatal(err)
				}
				cfg.Distill.Teacher = teacher
				if cfg.LoRA == nil {
					w := workshop(t)
					cfg.Model = w.Model
					cfg.Model.Tokenizer = filepath.Join(teacher, "tokenizer.model")
				}
			}
			cfg.derive()
			_, steps := runAll(t, cfg, 0)
			if first, last := steps[0].Loss, steps[len(steps)-1].Loss; !(last < first) {
				t.Errorf("the loss went from %v to %v", first, last)
			}
			want := weightsOf(t, cfg)
			cfg.Output += "-again"
			runAll(t, cfg, 4)
			before := cfg.Output
			_, rest := runAll(t, cfg, 8)
			for i, s := range rest {
				if s.Loss != steps[4+i].Loss || s.Epochs != steps[4+i].Epochs || s.LossTokens != steps[4+i].LossTokens {
					t.Errorf("step %d: %+v, uninterrupted %+v", s.Step, s, steps[4+i])
				}
			}
			runAll(t, cfg, 0)
			if !bytes.Equal(weightsOf(t, cfg), want) {
				t.Error("a resumed run ends with other weights")
			}
			if cfg.Output = before; c.rows != "" {
				if err := os.WriteFile(file, []byte(strings.Replace(c.rows, c.other, map[string]string{"warm": "hell", "true": "false"}[c.other], 1)), 0o666); err != nil {
					t.Fatal(err)
				}
			} else {
				path := filepath.Join(teacher, "model.safetensors")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				b[8+binary.LittleEndian.Uint64(b)] ^= 64 // of the first tensor
				if err := os.WriteFile(path, b, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			_, err := New(cfg, newCPU(t, tensor.F32), Observer{})
			var mismatch *MismatchError
			if !errors.As(err, &mismatch) || mismatch.Key != c.key {
				t.Errorf("resumed with something else: %v", err)
			}
		})
	}
}

// A teacher of other tokens is refused, by the run and by its plan.
func TestTeachersThatDontFit(t *testing.T) {
	cfg, _ := workshopOf(t, "")
	teacher := cfg.Model.Base
	other := workshop(t)
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 300, Control: []string{"<|im_start|>", "<|im_end|>"}})
	if err != nil {
		t.Fatal(err)
	}
	counter := tr.Counter()
	for _, l := range lines {
		counter.Add(strings.ToUpper(l))
	}
	res, err := tr.Train(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(path, res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromSentencePiece(res.Model, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Join(t.TempDir(), "data")
	w, err := shard.NewWriter(prefix, shard.Record{Vocab: tok.Vocab(), Tokenizer: tok.Fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := w.Add(shard.Sample{IDs: tok.AppendTokens(nil, lines[0]), Roles: make([]uint8, len(tok.AppendTokens(nil, lines[0])))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	other.Model.Tokenizer = path
	other.Data.Train, other.Data.Valid = []DataSet{{Shards: prefix}}, nil
	other.Distill = &DistillConfig{Teacher: teacher}
	other.derive()
	_, runErr := New(other, newCPU(t, tensor.F32), Observer{})
	_, planErr := MakePlan(other)
	for _, err := range []error{runErr, planErr} {
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || mismatch.Key != "distill.teacher" || !strings.Contains(err.Error(), tok.Fingerprint()) {
			t.Errorf("another tokenizer: %v", err)
		}
	}
	other.Distill.Teacher = filepath.Join(t.TempDir(), "nothing")
	if _, err := New(other, newCPU(t, tensor.F32), Observer{}); err == nil || !strings.HasPrefix(err.Error(), "distill.teacher: ") {
		t.Errorf("no teacher: %v", err)
	}
	other.Distill.Teacher = "somebody/Llama-2-7b"
	if p, err := MakePlan(other); err != nil || len(p.Assumed) != 1 || p.Memory.Weights < 2*6.7e9 {
		t.Errorf("a known teacher that is not here: %+v, %v", p, err)
	}
}

// TestJudgedForms: the forms in which TRL's and LLaMA-Factory's data sets come are the same examples.
func TestJudgedForms(t *testing.T) {
	cfg, file := workshopOf(t, "")
	cfg.Data.Train, cfg.Data.Valid = nil, nil
	cfg.KTO = &KTOConfig{Examples: file}
	cfg.Batch.Global, cfg.Batch.Micro, cfg.Schedule.Steps = 2, 1, 1
	cfg.derive()
	read := func(row string) ([]judged, error) {
		if err := os.WriteFile(file, []byte(row+"\n"+row), 0o666); err != nil {
			t.Fatal(err)
		}
		c := *cfg
		c.Output = t.TempDir()
		tr, err := New(&c, newCPU(t, tensor.F32), Observer{})
		if err != nil {
			return nil, err
		}
		defer tr.Close()
		return tr.objective.(*kto).rows, nil
	}
	const user, answer = `{"role":"user","content":"Wo?"}`, `{"role":"assistant","content":"Hier."}`
	for label, good := range map[string]bool{`"label":true`: true, `"label":false`: false, `"kto_tag":true`: true, `"label":0`: false, `"label":"True"`: true} {
		var want []judged
		for _, row := range []string{
			`{"prompt":"Wo?","completion":"Hier.",` + label + `}`,
			`{"prompt":[` + user + `],"completion":[` + answer + `],` + label + `}`,
			`{"messages":[` + user + `,` + answer + `],` + label + `}`,
			`{"instruction":"Wo?","input":"","output":"Hier.","history":[],"system":"",` + label + `}`,
			`{"instruction":"","input":"Wo?","output":"Hier.",` + label + `}`,
		} {
			got, err := read(row)
			if err != nil {
				t.Fatalf("%s: %v", row, err)
			}
			if want == nil {
				want = got
			}
			if got[0].good != good || !reflect.DeepEqual(got[0], want[0]) || got[0].window.Loss() == 0 || got[0].start() == 0 {
				t.Errorf("%s: got %+v, want %+v", row, got[0], want[0])
			}
		}
	}
	for row, want := range map[string]string{
		`{"prompt":"a","completion":"b"}`:                                                 `column "label": want true for a good answer`,
		`{"prompt":"a","completion":"b","label":"gut"}`:                                   `column "label": want true or false, found text`,
		`{"prompt":"a","completion":"b","label":null}`:                                    `column "label": want true or false, found nothing`,
		`{"completion":"b","label":true}`:                                                 `column "prompt": the prompt must end with a turn`,
		`{"prompt":"a","label":true}`:                                                     `want prompt and completion, messages, or instruction and output`,
		`{"prompt":"a","completion":[` + user + `],"label":true}`:                         `column "completion": must end with the assistant's answer`,
		`{"messages":[` + user + `],"label":true}`:                                        `column "messages": must end with the assistant's answer`,
		`{"instruction":"a","output":"b","history":[["c","d"]],"label":true}`:             `column "history": earlier turns are not read`,
		`{"prompt":"` + strings.Repeat("a b c ", 60) + `","completion":"b","label":true}`: `column "completion": no token of the answer fits`,
	} {
		if _, err := read(row); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("%s: got %v, want %q", row, err, want)
		}
	}
}

// Answers that are given to other prompts keep to the sequence length and to what counts.
func TestAnsweredBy(t *testing.T) {
	a := &judged{window: loader.Window{IDs: []int32{1, 2, 3, 10, 11}, Targets: []int32{2, 3, 10, 11, 12}, Weights: []float32{0, 0, 1, 1, 1}}}
	b := &judged{window: loader.Window{IDs: []int32{1, 20, 21}, Targets: []int32{20, 21, 22}, Weights: []float32{1, 1, 0.5}}}
	w := a.answeredBy(b, 64)
	if want := (loader.Window{IDs: []int32{1, 2, 3, 20, 21}, Targets: []int32{2, 3, 20, 21, 22}, Weights: []float32{0, 0, 1, 1, 0.5}}); !reflect.DeepEqual(w, want) {
		t.Errorf("got %+v, want %+v", w, want)
	}
	if w = b.answeredBy(a, 2); !reflect.DeepEqual(w, loader.Window{IDs: []int32{1, 10}, Targets: []int32{10, 11}, Weights: []float32{1, 1}}) {
		t.Errorf("cut: got %+v", w)
	}
	if w = a.answeredBy(a, 64); !reflect.DeepEqual(w, a.window) {
		t.Errorf("its own answer: got %+v", w)
	}
}

// What contradicts itself is refused with its key.
func TestObjectiveKeys(t *testing.T) {
	nan, minus := math.NaN(), -1.0
	for want, change := range map[string]func(*Config){
		": give at most one of dpo, orpo, kto and distill": func(c *Config) { c.DPO, c.ORPO = &DPOConfig{Pairs: "p"}, &ORPOConfig{Pairs: "p"} },
		"dpo.beta: ":              func(c *Config) { c.DPO = &DPOConfig{Pairs: "p", Beta: -1} },
		"orpo.pairs: ":            func(c *Config) { c.ORPO = &ORPOConfig{} },
		"orpo.beta: ":             func(c *Config) { c.ORPO = &ORPOConfig{Pairs: "p", Beta: math.Inf(1)} },
		"kto.examples: ":          func(c *Config) { c.KTO = &KTOConfig{} },
		"kto.undesirable_weight:": func(c *Config) { c.KTO = &KTOConfig{Examples: "e", Undesirable: &minus} },
		"batch.global: 1: kto": func(c *Config) {
			c.KTO, c.Batch = &KTOConfig{Examples: "e"}, BatchConfig{Global: 1, Micro: 1, Average: "tokens", LastPartial: "drop"}
		},
		"distill.teacher: ":     func(c *Config) { c.Distill = &DistillConfig{} },
		"distill.alpha: ":       func(c *Config) { c.Distill = &DistillConfig{Teacher: "t", Alpha: &nan} },
		"distill.temperature: ": func(c *Config) { c.Distill = &DistillConfig{Teacher: "t", Temperature: -2} },
		"data.train: ":          func(c *Config) { c.Distill, c.Data.Train = &DistillConfig{Teacher: "t"}, nil },
		"data.loss: orpo": func(c *Config) {
			c.ORPO, c.Data.Loss, c.Data.RoleWeights = &ORPOConfig{Pairs: "p"}, "roles", map[string]float64{"user": 1}
		},
	} {
		cfg := workshop(t)
		change(cfg)
		var said []string
		cfg.Validate(func(key, format string, args ...any) { said = append(said, key+": "+fmt.Sprintf(format, args...)) })
		if len(said) != 1 || !strings.HasPrefix(said[0], want) {
			t.Errorf("want %q, got %q", want, said)
		}
	}
}

// A teacher may know more tokens than the student, not fewer, and needs a row for each of the student's.
func TestTeacherKnowsMore(t *testing.T) {
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 330})
	if err != nil {
		t.Fatal(err)
	}
	counter := tr.Counter()
	for _, l := range lines {
		counter.Add(l)
	}
	res, err := tr.Train(context.Background(), nil)
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
	grown, added, err := files.WithChatTokens(path)
	if err != nil || len(added) == 0 {
		t.Fatal(added, err)
	}
	small, err := files.Open(path, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	large, err := grown.Open(path, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		teacher, student *tokenizer.Tokenizer
		rows             int
		want             bool
	}{
		"equal":        {small, small, small.Used(), true},
		"more tokens":  {large, small, large.Used(), true},
		"fewer tokens": {small, large, small.Used(), false},
		"too few rows": {small, small, small.Used() - 1, false},
	} {
		m := &catalog.Model{Tokenizer: c.teacher, Checkpoint: &checkpoint.Checkpoint{Config: checkpoint.Config{VocabSize: c.rows}}}
		var mismatch *MismatchError
		if err := checkTeacher(m, c.student); (err == nil) != c.want || err != nil && !errors.As(err, &mismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
