package train

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/device"
	"leolm/infer"
	"leolm/llama"
	"leolm/tokenizer"
)

// EvaluateConfig measures the model on benchmarks while it is trained. It changes nothing in the training.
type EvaluateConfig struct {
	Every int            `yaml:"every"` // steps, 0 for only at the end
	Tasks []EvaluateTask `yaml:"tasks"` // what is measured
}

// EvaluateTask names one task, or several of one kind. One of GermanBench, File and Suite is given.
type EvaluateTask struct {
	GermanBench  string `yaml:"germanbench"`    // arc_de, hellaswag_de, mmlu_de or truthfulqa_de
	File         string `yaml:"file"`           // a YAML file in lm-evaluation-harness' vocabulary
	Suite        string `yaml:"suite"`          // prompts with what is expected of the answers
	Data         string `yaml:"data"`           // germanbench: folder with its data; empty: from the Hugging Face hub
	Variant      string `yaml:"variant"`        // germanbench: leolm or fixed; empty: leolm
	NumFewshot   *int   `yaml:"num_fewshot"`    // germanbench and file: examples before each document; empty: the task's own number
	Limit        int    `yaml:"limit"`          // only the first so many documents, 0 for all
	MaxNewTokens int    `yaml:"max_new_tokens"` // suite: length of answers where a prompt does not say; 0 for 512
}

func (e *EvaluateConfig) validate(no refusal) {
	no(e.Every < 0, "evaluate.every", "%d must not be negative", e.Every)
	no(len(e.Tasks) == 0, "evaluate.tasks", "name at least one task")
	for i, t := range e.Tasks {
		key := fmt.Sprintf("evaluate.tasks[%d]", i)
		given := 0
		for _, s := range []string{t.GermanBench, t.File, t.Suite} {
			if s != "" {
				given++
			}
		}
		no(given != 1, key, "give exactly one of germanbench, file and suite")
		no(t.GermanBench == "" && (t.Data != "" || t.Variant != ""), key, "data and variant are germanbench's")
		no(t.Suite != "" && t.NumFewshot != nil, key+".num_fewshot", "a suite has no examples")
		no(t.Suite == "" && t.MaxNewTokens != 0, key+".max_new_tokens", "only a suite has answers without a length of their own")
		no(t.Limit < 0 || t.MaxNewTokens < 0 || t.NumFewshot != nil && *t.NumFewshot < 0, key, "limit, max_new_tokens and num_fewshot must not be negative")
		if t.GermanBench != "" {
			no.unless(key+".variant", t.Variant, "", "leolm", "fixed")
		}
	}
}

// Snapshot is the model of a run between two of its steps, for who measures it. Its weights are those that are trained, not
// a copy: it is valid until the function returns that it was given to, which must not change them.
type Snapshot struct {
	Run    string // the recipe's name
	Step   int
	Total  int
	Device device.Device
	// Model has the adapters of the run on it; ids that only pad the vocabulary take no probability.
	Model     *llama.Model
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template
	StopIDs   []int32
	// Weights is a fingerprint: the same for the same weights only.
	Weights string

	engine func(m *llama.Model, opt infer.Options) (*infer.Engine, error)
}

// NewEngine makes an engine that runs the model, together with the other ranks that have parts of it.
func (m *Snapshot) NewEngine(opt infer.Options) (*infer.Engine, error) { return m.engine(m.Model, opt) }

// EvaluationError says that the model of a step could not be measured.
type EvaluationError struct {
	Step int
	Err  error
}

func (e *EvaluationError) Error() string {
	return fmt.Sprintf("the evaluation at step %d failed: %v", e.Step, e.Err)
}

// Unwrap returns what went wrong.
func (e *EvaluationError) Unwrap() error { return e.Err }

// snapshot is the model as it stands.
func (t *Trainer) snapshot() *Snapshot {
	m := *t.sub.model
	m.Vocab = min(m.Vocab, t.sub.vocab.tok.Used())
	return &Snapshot{
		Run: t.cfg.Name, Step: t.opt.Step, Total: t.length.steps, Device: t.dev, Model: &m,
		Tokenizer: t.sub.vocab.tok, Template: t.sub.vocab.template, StopIDs: t.answerEnds(), Weights: t.fingerprint(), engine: t.newEngine,
	}
}

// answerEnds are the ids that end an answer of the exported model: whoever opens it finds some by their names.
func (t *Trainer) answerEnds() []int32 {
	ids := slices.Clone(t.sub.stops)
	for _, name := range checkpoint.EndTokens() {
		if id, ok := t.sub.vocab.tok.ID(name); ok && t.sub.vocab.tok.Kind(id) == tokenizer.Control && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// fingerprint is the hash of what is trained, and of the frozen base below it.
func (t *Trainer) fingerprint() string {
	h := xxh3.New128()
	b := make([]byte, 0, 1<<16)
	for _, p := range t.sub.params {
		values := make([]float32, p.Weight.Rows()*p.Weight.Cols())
		t.dev.ReadWeight(p.Weight, values)
		_, _ = h.WriteString(p.Name) // a hash takes everything
		for part := range slices.Chunk(values, cap(b)/4) {
			b = b[:0]
			for _, v := range part {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
			_, _ = h.Write(b)
		}
	}
	if t.sub.base != nil && t.cfg.frozenBase() {
		_, _ = h.WriteString(t.sub.base.Checkpoint.Identity())
	}
	sum := h.Sum128()
	return fmt.Sprintf("%016x%016x", sum.Hi, sum.Lo)
}

// measureNow reports whether the schedule asks for an evaluation of the present step. The last step has its own, after the
// export.
func (t *Trainer) measureNow() bool {
	e := t.cfg.Evaluate
	if e == nil || e.Every == 0 || t.opt.Step >= t.length.steps || t.opt.Step%e.Every != 0 {
		return false
	}
	return t.opt.Step > 0 || t.cfg.Model.Base != "" // where the base stands, to compare with
}

// measure has the model of this step measured. What goes wrong is said and kept for the end: it is no reason to lose a
// training.
func (t *Trainer) measure(ctx context.Context) {
	if t.cfg.Evaluate == nil || ctx.Err() != nil {
		return
	}
	err := t.obs.Evaluate(ctx, t.snapshot())
	if err == nil || ctx.Err() != nil {
		return
	}
	failed := &EvaluationError{t.opt.Step, err}
	if t.unmeasured == nil {
		t.unmeasured = failed
	}
	t.obs.note("%v; the training goes on", failed)
}
