package train

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/tensor"
)

// Plan predicts what a run takes.
type Plan struct {
	Name          string  `json:"name"`
	Params        int64   `json:"parameters"`
	Trainable     int64   `json:"trainable_parameters"`
	Steps         int     `json:"steps"`
	Epochs        float64 `json:"epochs,omitempty"` // passes over the data; 0 if they are not known
	TokensPerStep int64   `json:"tokens_per_step"`  // at most: sequences × length
	// Context is the longest text of the model, 0 where it is not known; CacheToken the bytes of the keys and values of one of
	// its tokens, in float32, for what is generated and measured between steps.
	Context       int     `json:"context,omitempty"`
	CacheToken    int64   `json:"cache_bytes_per_token"`
	Tokens        int64   `json:"tokens"`
	FLOPsPerToken float64 `json:"flops_per_token"`
	FLOPs         float64 `json:"flops"`
	Memory        Memory  `json:"memory"`
	Disk          int64   `json:"disk_bytes"` // checkpoints and the finished model
	// Assumed says which facts were not found on this machine.
	Assumed []string `json:"assumed,omitempty"`
	// Notes say what becomes of the vocabulary, of samples that are too long, and of what the output folder holds.
	Notes []string `json:"notes,omitempty"`

	config  *Config
	shape   checkpoint.Config
	stored  int                // rows of the vocabulary before it grew
	teacher *checkpoint.Config // of the model that is distilled, or nil
}

// known are the shapes of published models, for plans of recipes whose base is not on this machine: a base is one
// whose name holds one of the families and the size.
var known = []struct {
	families []string
	size     string
	shape    checkpoint.Config
}{
	{[]string{"llama-2", "leo"}, "7b", checkpoint.Config{HiddenSize: 4096, IntermediateSize: 11008, Layers: 32, Heads: 32, KVHeads: 32, HeadDim: 128, VocabSize: 32000}},
	{[]string{"llama-2", "leo"}, "13b", checkpoint.Config{HiddenSize: 5120, IntermediateSize: 13824, Layers: 40, Heads: 40, KVHeads: 40, HeadDim: 128, VocabSize: 32000}},
	{[]string{"llama-2", "leo"}, "70b", checkpoint.Config{HiddenSize: 8192, IntermediateSize: 28672, Layers: 80, Heads: 64, KVHeads: 8, HeadDim: 128, VocabSize: 32000}},
	{[]string{"smollm2"}, "135m", checkpoint.Config{HiddenSize: 576, IntermediateSize: 1536, Layers: 30, Heads: 9, KVHeads: 3, HeadDim: 64, VocabSize: 49152, TieEmbeddings: true}},
}

// MakePlan predicts a run from its recipe. Neither base nor data have to be
// there: LeoLM's and Llama-2's shapes are known, and data.examples stands for
// shards that are not.
func MakePlan(c *Config) (*Plan, error) {
	var assumed []string
	data, dataErr := openData(c)
	if dataErr == nil {
		defer data.Close()
	}
	m, vocab, err := planModel(c, data, &assumed)
	if err != nil {
		return nil, err
	}
	if err := c.checkPatterns(&m); err != nil {
		return nil, err
	}
	stored := m.VocabSize
	m.VocabSize = max(stored, c.Model.VocabSize)
	if vocab != nil {
		m.VocabSize = vocab.rows
	}
	length, err := planLength(c, data, dataErr, &assumed)
	if err != nil {
		return nil, err
	}
	teacher, err := planTeacher(c, vocab, &assumed)
	if err != nil {
		return nil, err
	}
	p := makePlan(c, m, stored, length, teacher)
	if p.Assumed = assumed; vocab != nil {
		p.Notes = append(p.Notes, vocab.notes...)
	}
	if data != nil {
		p.Notes = append(p.Notes, c.cutNotes(data)...)
	}
	if len(assumed) > 0 {
		data = nil // the number of steps is not sure, either
	}
	p.Notes = append(p.Notes, c.outputNotes(data, length.steps)...)
	return &p, nil
}

// planModel finds the shape of the model before it grows and, where model and data are here, the vocabulary of the run: a
// plan refuses what the run would.
func planModel(c *Config, data *feed, assumed *[]string) (checkpoint.Config, *vocabulary, error) {
	if c.Model.Shape != nil {
		m := c.Model.Shape.config()
		if _, err := os.Stat(c.Model.Tokenizer); err != nil || data == nil {
			*assumed = append(*assumed, "tokenizer and data are not both here; whether they fit the model was not checked")
			return m, nil, nil
		}
		v, err := findVocabulary(c, nil, m.VocabSize, data)
		return m, v, err
	}
	base, err := catalog.Open(c.Model.Base, catalog.Options{})
	if err == nil {
		defer base.Close()
		m := base.Checkpoint.Config
		if data == nil {
			return m, nil, nil
		}
		v, err := findVocabulary(c, base, m.VocabSize, data)
		return m, v, err
	}
	m, err := knownShape("model.base", c.Model.Base, err, assumed)
	return m, nil, err
}

// planTeacher finds the shape of the model that is distilled, nil if none is. vocab is nil where it is not known.
func planTeacher(c *Config, vocab *vocabulary, assumed *[]string) (*checkpoint.Config, error) {
	name := c.demand().teacher
	if name == "" {
		return nil, nil
	}
	files, err := catalog.Open(name, catalog.Options{})
	if err != nil {
		m, err := knownShape("distill.teacher", name, err, assumed)
		return &m, err
	}
	defer files.Close()
	if vocab != nil {
		if err := checkTeacher(files, vocab.tok); err != nil {
			return nil, err
		}
	}
	m := files.Checkpoint.Config
	return &m, nil
}

// knownShape takes the shape of a published model for one that the recipe names at key and that is not here.
func knownShape(key, model string, err error, assumed *[]string) (checkpoint.Config, error) {
	name := strings.ToLower(filepath.Base(model))
	for _, k := range known {
		if strings.Contains(name, k.size) && slices.ContainsFunc(k.families, func(f string) bool { return strings.Contains(name, f) }) {
			*assumed = append(*assumed, fmt.Sprintf("%s %s is not here; the shape of %s %s is taken for it", key, model, k.families[0], k.size))
			return k.shape, nil
		}
	}
	return checkpoint.Config{}, fmt.Errorf("%s: %w", key, err)
}

// CacheToken is the size of the keys and values of one token in float32, in bytes.
func CacheToken(m *checkpoint.Config) int64 { return int64(4 * 2 * m.Layers * m.KVHeads * m.HeadDim) }

// flopsPerToken counts 6 × the parameters of all matrices that multiply (the
// LM head included, the embedding look-up not) plus causal attention:
// 6 × layers × heads × head size × length (half of the full square, forward and backward).
// Recomputation is not counted.
func flopsPerToken(c *checkpoint.Config, length int) float64 {
	return 6*float64(layerMatrices(c)*int64(c.Layers)+int64(c.HiddenSize)*int64(c.VocabSize)) +
		6*float64(c.Layers)*float64(c.Heads*c.HeadDim)*float64(length)
}

// layerMatrices counts the matrix parameters of one layer.
func layerMatrices(c *checkpoint.Config) int64 {
	q, kv, h := int64(c.Heads*c.HeadDim), int64(c.KVHeads*c.HeadDim), int64(c.HiddenSize)
	return 2*h*q + 2*h*kv + 3*h*int64(c.IntermediateSize)
}

// adapterParams counts the parameters of the adapters of a recipe.
func adapterParams(l *LoRAConfig, c *checkpoint.Config) int64 {
	var n int64
	for _, s := range c.TensorShapes() {
		module, ok := strings.CutSuffix(s.Name, ".weight")
		if !ok || len(s.Shape) != 2 || !targets(l.Targets, module) {
			continue
		}
		rank, _ := l.of(module)
		n += int64(s.Shape[0]+s.Shape[1]) * int64(rank)
		if l.DoRA {
			n += int64(s.Shape[0])
		}
	}
	return n
}

// makePlan plans for the shape m, whose vocabulary had stored rows before it grew. teacher is the shape of the model that
// is distilled, or nil.
func makePlan(c *Config, m checkpoint.Config, stored int, l runLength, teacher *checkpoint.Config) Plan {
	p := Plan{Name: c.Name, Params: m.Parameters(), Steps: l.steps, Epochs: l.epochs, config: c, shape: m, stored: stored, teacher: teacher}
	p.Context, p.CacheToken = cmp.Or(c.Model.MaxPositions, m.MaxPositions), CacheToken(&m)
	p.Trainable = p.Params
	if c.LoRA != nil || len(c.Model.Train) > 0 {
		p.Trainable = 0
		for _, s := range m.TensorShapes() {
			n, err := s.Shape.Elements()
			switch {
			case err != nil || len(c.Model.Train) == 0:
			case trains(c.Model.Train, s.Name):
				p.Trainable += int64(n)
			case slices.Contains(c.Model.Train, newRows) && len(s.Shape) == 2 && s.Shape[0] == m.VocabSize && m.VocabSize > stored:
				p.Trainable += int64((m.VocabSize - stored) * s.Shape[1])
			}
		}
	}
	if c.LoRA != nil {
		n := adapterParams(c.LoRA, &m)
		p.Trainable += n
		p.Params += n
	}
	d := c.demand()
	p.TokensPerStep = int64(c.Batch.Global) * int64(d.sequences) * int64(c.Data.SequenceLength)
	p.Tokens = p.TokensPerStep * int64(l.steps)
	p.FLOPsPerToken = flopsPerToken(&m, c.Data.SequenceLength)
	if c.LoRA != nil {
		// Frozen matrices have no derivative of their own: a third of their products is left out.
		p.FLOPsPerToken -= 2 * float64(layerMatrices(&m)*int64(m.Layers)+int64(m.HiddenSize)*int64(m.VocabSize))
		p.FLOPsPerToken += 6 * float64(adapterParams(c.LoRA, &m))
	}
	// A pass without derivatives is a third of a step.
	p.FLOPsPerToken += float64(d.forwards) * flopsPerToken(&m, c.Data.SequenceLength) / 3
	if teacher != nil {
		p.FLOPsPerToken += flopsPerToken(teacher, c.Data.SequenceLength) / 3
	}
	p.FLOPs = p.FLOPsPerToken * float64(p.Tokens)
	p.Memory = planMemory(c, &m, stored, &p, teacher)
	state := p.Trainable * 4
	p.Disk = (state+p.Memory.Optimizer)*int64(c.Checkpoint.Keep+1) + exportBytes(c)*p.Params
	return p
}

// exportBytes is the size of a parameter in the exported model.
func exportBytes(c *Config) int64 {
	if d, err := c.exportDType(); err == nil && d == tensor.F32 {
		return 4
	}
	return 2
}
