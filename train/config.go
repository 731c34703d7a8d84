package train

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"leolm/internal/recipe"
	"leolm/tensor"
)

// Config is a training recipe as written in YAML.
type Config struct {
	Name   string `yaml:"name"`   // in the log, the report and the exported files
	Output string `yaml:"output"` // folder for checkpoints, metrics, report and the exported model
	Seed   uint64 `yaml:"seed"`   // of initial weights, order of the data, dropout and noise

	Model      ModelConfig      `yaml:"model"`
	LoRA       *LoRAConfig      `yaml:"lora"`
	Data       DataConfig       `yaml:"data"`
	Batch      BatchConfig      `yaml:"batch"`
	Optimizer  OptimizerConfig  `yaml:"optimizer"`
	Schedule   ScheduleConfig   `yaml:"schedule"`
	Compute    ComputeConfig    `yaml:"compute"`
	Parallel   ParallelConfig   `yaml:"parallel" json:"-"` // how several processes share a run; no part of identity
	Eval       EvalConfig       `yaml:"eval"`
	Evaluate   *EvaluateConfig  `yaml:"evaluate" json:",omitempty"`
	Checkpoint CheckpointConfig `yaml:"checkpoint"`
	Faults     FaultsConfig     `yaml:"faults"`
	Export     ExportConfig     `yaml:"export" json:"-"`           // how the finished model is written; no part of identity
	DPO        *DPOConfig       `yaml:"dpo"`                       // preference optimization instead of next-token loss; at most one of these four
	ORPO       *ORPOConfig      `yaml:"orpo" json:",omitempty"`    // preference optimization without a reference, instead of next-token loss
	KTO        *KTOConfig       `yaml:"kto" json:",omitempty"`     // learning from good and bad answers, instead of next-token loss
	Distill    *DistillConfig   `yaml:"distill" json:",omitempty"` // learning from another model, beside the next-token loss
}

// ExportConfig says how the finished model is written.
type ExportConfig struct {
	// DType is the type of the weights in the exported files: f32, f16 or bf16; empty: as compute.dtype.
	DType string `yaml:"dtype"`
}

// ModelConfig says where the weights come from: Base, or Shape with random initialization.
type ModelConfig struct {
	Base  string `yaml:"base"`  // checkpoint of any format
	Shape *Shape `yaml:"shape"` // a new model instead of a base
	// Tokenizer is a file or folder; with Base it defaults to the base's own.
	Tokenizer string `yaml:"tokenizer"`
	// VocabSize grows the embeddings to this many rows, the new ones from the mean of the old. Where the data need
	// tokens that the base lacks and nothing is said, it grows to a multiple of 128.
	VocabSize int `yaml:"vocab_size"`
	// Train lists patterns of canonical tensor names to train; empty means all (or only adapters with lora).
	// "new_rows" stands for the rows of embedding and LM head that were added.
	Train []string `yaml:"train"`
	// RopeLinear sets linear RoPE scaling by this factor, MaxPositions the context length.
	RopeLinear   float64 `yaml:"rope_linear"`
	MaxPositions int     `yaml:"max_positions"`
	// ChatTemplate, a name of package chat or a Jinja file, is written with the exported model. Empty: the base's, else
	// the one that wrote the dialogues.
	ChatTemplate string `yaml:"chat_template"`
	// Generation is what the exported model recommends for drawing tokens.
	Generation *GenerationConfig `yaml:"generation" json:",omitempty"`
}

// GenerationConfig is written as generation_config.json, with the names that has there; what is left out is not stated.
type GenerationConfig struct {
	Temperature       *float64 `yaml:"temperature"`        // 0 draws the likeliest token
	TopK              *int     `yaml:"top_k"`              // draw among so many of the likeliest tokens, 0 for all
	TopP              *float64 `yaml:"top_p"`              // among the likeliest that together have this probability
	MinP              *float64 `yaml:"min_p"`              // among those with this share of the likeliest one's probability
	RepetitionPenalty *float64 `yaml:"repetition_penalty"` // divides the logits of tokens that occurred, 1 for none
}

// Shape is a Llama to be initialized at random.
type Shape struct {
	HiddenSize       int     `yaml:"hidden_size"`       // width of the residual stream
	IntermediateSize int     `yaml:"intermediate_size"` // width inside the feed-forward blocks
	Layers           int     `yaml:"layers"`            // decoder blocks
	Heads            int     `yaml:"heads"`             // attention heads for queries
	KVHeads          int     `yaml:"kv_heads"`          // heads for keys and values (grouped-query attention); default Heads
	HeadDim          int     `yaml:"head_dim"`          // width of a head; default HiddenSize/Heads
	VocabSize        int     `yaml:"vocab_size"`        // rows of embedding and LM head: at least the ids of the tokenizer
	MaxPositions     int     `yaml:"max_positions"`     // context length; default data.sequence_length
	RopeTheta        float64 `yaml:"rope_theta"`        // base of the rotary frequencies
	RMSEps           float64 `yaml:"rms_eps"`           // added to the mean square in RMSNorm
	TieEmbeddings    bool    `yaml:"tie_embeddings"`    // the LM head is the embedding
	// InitStd is the standard deviation of embeddings and projections;
	// projections into the residual stream get InitStd/√(2·Layers).
	InitStd float64 `yaml:"init_std"`
}

// LoRAConfig trains low-rank adapters instead of the weights (Hu et al. 2021).
type LoRAConfig struct {
	Rank    int      `yaml:"rank"`    // of the two factors
	Alpha   float64  `yaml:"alpha"`   // the adapter's output is scaled by Alpha/Rank; default 2·Rank
	Dropout float64  `yaml:"dropout"` // of the adapter's input, from 0 to below 1
	Targets []string `yaml:"targets"` // projections that get an adapter; empty: all
	RSLoRA  bool     `yaml:"rslora"`  // scale by Alpha/√Rank instead (Kalajdzievski 2023)
	// DoRA trains the length of every row of the weight apart from its direction (Liu et al. 2024).
	DoRA bool `yaml:"dora" json:",omitempty"`
	// RankPattern and AlphaPattern are other ranks and alphas for modules whose name ends in the key, an
	// expression such as "layers.0.mlp.(gate|up)_proj". If several match, the alphabetically first wins, as in PEFT.
	RankPattern  map[string]int     `yaml:"rank_pattern" json:",omitempty"`
	AlphaPattern map[string]float64 `yaml:"alpha_pattern" json:",omitempty"`
	// BaseType stores the frozen weights: empty (as loaded), bf16, q8_0, q4_0 or nf4 (QLoRA).
	BaseType string `yaml:"base_type"`
	// Merge adds the adapters to the weights at export.
	Merge bool `yaml:"merge"`
}

// DataConfig says which tokens, in which order and with which loss.
type DataConfig struct {
	Train []DataSet `yaml:"train"` // shards to train on
	Valid []DataSet `yaml:"valid"` // shards to measure on
	// SequenceLength is the number of predicted tokens per sequence or window.
	SequenceLength int `yaml:"sequence_length"`
	// Packing fills windows with several documents, each attending to itself only.
	Packing bool `yaml:"packing"`
	// CrossDocument lets tokens of a packed window attend across document borders.
	CrossDocument bool `yaml:"cross_document"`
	// Loss is "all", "assistant" (header and end marker included) or "roles".
	Loss string `yaml:"loss"`
	// RoleWeights are the weights of loss "roles", by system, user, assistant, context and tool; others have 0.
	RoleWeights map[string]float64 `yaml:"role_weights"`
	// GroupByLength makes unpacked micro-batches of similar lengths.
	GroupByLength bool `yaml:"group_by_length"`
	// HoldOut keeps this share (0 to 1) of the training samples for validation: ceil(n × share).
	HoldOut float64 `yaml:"hold_out"`
	// Examples is the number of training samples before the hold-out, for plans made where the shards are not.
	Examples int `yaml:"examples"`
}

// DataSet is one pair of token shards, as `leo data` writes them.
type DataSet struct {
	Shards string  `yaml:"shards"` // path prefix of …-text.bin/.idx and …-role.bin/.idx
	Weight float64 `yaml:"weight"` // relative to the others when mixed; 0 means by size
	Name   string  `yaml:"name"`   // in the log and the report
}

// BatchConfig counts sequences.
type BatchConfig struct {
	Global int `yaml:"global"` // sequences per optimizer step
	Micro  int `yaml:"micro"`  // sequences per forward pass
	// Average is "tokens" (every loss token of the global batch counts the same) or "microbatch" (the mean of the
	// micro-batches' means, as Megatron-LLM and LeoLM have it).
	Average string `yaml:"average"`
	// LastPartial is "drop" or "keep": what happens to samples that do not fill the last batch of the run.
	LastPartial string `yaml:"last_partial"`
}

// OptimizerConfig is AdamW with decoupled weight decay, or Muon for the matrices of the layers and AdamW for the rest.
type OptimizerConfig struct {
	Type        string    `yaml:"type" json:",omitempty"`     // adamw or muon
	LR          float64   `yaml:"lr"`                         // peak learning rate
	Momentum    float64   `yaml:"momentum" json:",omitempty"` // of Muon
	Betas       []float64 `yaml:"betas"`                      // decay of Adam's two moments
	Eps         float64   `yaml:"eps"`                        // added to Adam's denominator
	WeightDecay float64   `yaml:"weight_decay"`               // decoupled: a step takes LR × WeightDecay of the weight away
	// DecayAll applies weight decay to norms, biases and embeddings too.
	DecayAll bool    `yaml:"decay_all"`
	Clip     float64 `yaml:"clip"` // global gradient norm, 0 for none
	Bits     int     `yaml:"bits"` // of an optimizer state's numbers: 32 or 8
}

// ScheduleConfig is the learning rate over time. One of Steps, Epochs and Tokens sets the length.
type ScheduleConfig struct {
	Type        string  `yaml:"type"`         // cosine, linear, constant, wsd
	WarmupSteps int     `yaml:"warmup_steps"` // steps in which the rate rises to LR
	WarmupRatio float64 `yaml:"warmup_ratio"` // the same as a share of all steps
	MinLR       float64 `yaml:"min_lr"`       // the rate of the last step
	DecayRatio  float64 `yaml:"decay_ratio"`  // wsd: share of the steps that decays, at the end
	Steps       int     `yaml:"steps"`        // length of the run in optimizer steps
	Epochs      float64 `yaml:"epochs"`       // in passes over the training samples
	Tokens      float64 `yaml:"tokens"`       // in predicted tokens
}

// ComputeConfig trades precision, memory and time.
type ComputeConfig struct {
	DType     string  `yaml:"dtype"`     // of products: f32, or bf16 with f32 sums
	Recompute bool    `yaml:"recompute"` // activations of a layer are computed again in the backward pass
	NEFTune   float64 `yaml:"neftune"`   // noise amplitude alpha, 0 for none (Jain et al. 2023)
}

// ParallelConfig says how the ranks of a run, processes that a launcher starts together, share it.
type ParallelConfig struct {
	// Sharding is what each rank keeps for a part of the weights only: none (every rank is a replica), optimizer (moments
	// and updates, ZeRO stage 1), gradients (these and the sums of gradients, stage 2: they are added up after every
	// micro-batch, layer by layer), or parameters (these and the values of weights, stage 3: those of a layer are gathered
	// where it computes, and dropped after).
	Sharding string `yaml:"sharding"`
	// Parts is how many partial sums the gradient of a step consists of: a multiple of the ranks; 0 for one each, or one for
	// each micro-batch with sharded gradients. Runs with the same number have the same bits, whatever the number of ranks.
	Parts int `yaml:"parts"`
	// Overlap is when gradients are added up beside the backward pass, a layer's as soon as they are complete, and with
	// sharded parameters the next layer's weights are gathered while one computes: auto (if there are more processors than
	// worker threads), always, or never. It takes memory for a layer's gradients, and weights, and changes no bit.
	Overlap string `yaml:"overlap"`
}

// shardsGradients reports whether a rank has the gradients of its share only.
func (p *ParallelConfig) shardsGradients() bool {
	return p.Sharding == "gradients" || p.shardsParameters()
}

// shardsParameters reports whether a rank has the weights of its share only.
func (p *ParallelConfig) shardsParameters() bool { return p.Sharding == "parameters" }

// EvalConfig measures on held-out data and looks at samples.
type EvalConfig struct {
	Every       int      `yaml:"every"`        // steps, 0 for only at the end
	Batches     int      `yaml:"batches"`      // micro-batches per set, 0 for all
	Prompts     []string `yaml:"prompts"`      // continued greedily at every evaluation
	ChatPrompts []string `yaml:"chat_prompts"` // answered greedily at every evaluation, through the chat template
	MaxTokens   int      `yaml:"max_tokens"`   // length of those answers
	Patience    int      `yaml:"patience"`     // early stopping after so many evaluations without improvement, 0 for never
}

// CheckpointConfig says when state is written.
type CheckpointConfig struct {
	Every   int     `yaml:"every"`   // so many steps
	Minutes float64 `yaml:"minutes"` // or minutes, whichever comes first
	Keep    int     `yaml:"keep"`    // the last so many stay; the best by validation loss is kept beside them
	Average int     `yaml:"average"` // export the mean of the last so many checkpoints
}

// FaultsConfig says what happens on a bad step.
type FaultsConfig struct {
	// Spike is the factor over the running mean loss that counts as a spike, 0 for never.
	Spike float64 `yaml:"spike"`
	// Action is "stop" or "skip": stop with the step and the tensor, or leave the step's update out.
	Action string `yaml:"action"`
}

// DPOConfig is direct preference optimization (Rafailov et al. 2023) over pairs of chosen and rejected answers.
type DPOConfig struct {
	Beta float64 `yaml:"beta"` // strength of the tie to the reference model
	// Pairs is a file of rows with prompt, chosen and rejected: texts, or lists of messages {role, content}; without
	// prompt, whole conversations.
	Pairs string `yaml:"pairs"`
}

// ORPOConfig is odds ratio preference optimization (Hong et al. 2024): chosen answers are learned and told from rejected
// ones at once, without a reference model.
type ORPOConfig struct {
	Beta  float64 `yaml:"beta"`  // weight of the odds ratio, the paper's λ
	Pairs string  `yaml:"pairs"` // a file as dpo.pairs names
}

// KTOConfig is Kahneman-Tversky optimization (Ethayarajh et al. 2024) over single answers that are good or bad.
type KTOConfig struct {
	Beta        float64  `yaml:"beta"`               // strength of the tie to the reference model
	Desirable   *float64 `yaml:"desirable_weight"`   // weight of the good answers' losses
	Undesirable *float64 `yaml:"undesirable_weight"` // weight of the bad answers' losses
	// Examples is a file of rows with prompt, completion (texts or lists of messages) and label, or in LLaMA-Factory's
	// form: messages, or instruction, input and output, with label or kto_tag.
	Examples string `yaml:"examples"`
}

// DistillConfig adds another model's distributions to the next-token loss (Hinton et al. 2015): α·CE + (1−α)·T²·KL.
type DistillConfig struct {
	// Teacher is any model argument whose tokenizer gives the trained model's ids: a folder, GGUF file, Hugging Face id or
	// the embedded model.
	Teacher     string   `yaml:"teacher"`
	Alpha       *float64 `yaml:"alpha"`       // share α of the cross-entropy, 0 to 1
	Temperature float64  `yaml:"temperature"` // softens both distributions
}

// DefaultConfig returns the values of what a recipe leaves out.
func DefaultConfig() Config {
	return Config{
		Data:       DataConfig{Loss: "all"},
		Batch:      BatchConfig{Micro: 1, Average: "tokens", LastPartial: "drop"},
		Optimizer:  OptimizerConfig{Type: "adamw", Momentum: 0.95, Betas: []float64{0.9, 0.95}, Eps: 1e-8, Bits: 32},
		Schedule:   ScheduleConfig{Type: "cosine", DecayRatio: 0.2},
		Compute:    ComputeConfig{DType: "f32"},
		Parallel:   ParallelConfig{Sharding: "none", Overlap: "auto"},
		Eval:       EvalConfig{MaxTokens: 64},
		Checkpoint: CheckpointConfig{Keep: 2},
		Faults:     FaultsConfig{Action: "stop"},
	}
}

// Load reads a recipe with its --set changes.
func Load(path string, sets []string) (*Config, error) {
	c := DefaultConfig()
	if err := recipe.Load(path, sets, &c); err != nil {
		return nil, err
	}
	c.derive()
	return &c, nil
}

// derive fills the defaults that depend on other values.
func (c *Config) derive() {
	if s := c.Model.Shape; s != nil {
		s.KVHeads = cmp.Or(s.KVHeads, s.Heads)
		s.HeadDim = cmp.Or(s.HeadDim, s.HiddenSize/max(s.Heads, 1))
		s.RopeTheta = cmp.Or(s.RopeTheta, 10000)
		s.RMSEps = cmp.Or(s.RMSEps, 1e-5)
		s.InitStd = cmp.Or(s.InitStd, 0.02)
		s.MaxPositions = cmp.Or(s.MaxPositions, c.Data.SequenceLength)
	}
	if l := c.LoRA; l != nil {
		l.Rank = cmp.Or(l.Rank, 16)
		l.Alpha = cmp.Or(l.Alpha, float64(2*l.Rank))
		if len(l.Targets) == 0 {
			l.Targets = slices.Clone(Projections)
		}
	}
	c.deriveObjective()
	c.Batch.Global = cmp.Or(c.Batch.Global, c.Batch.Micro)
}

// frozenBase reports whether a checkpoint holds only a part of the weights, so that the base must still be what it was.
func (c *Config) frozenBase() bool { return c.LoRA != nil || len(c.Model.Train) > 0 }

// newRows stands in model.train for the rows that model.vocab_size adds.
const newRows = "new_rows"

// pattern compiles a key of rank_pattern or alpha_pattern, which matches the end of a module's name.
func pattern(key string) (*regexp.Regexp, error) { return regexp.Compile(`^(.*\.)?(` + key + `)$`) }

// of returns rank and alpha of a module.
func (l *LoRAConfig) of(module string) (rank int, alpha float64) {
	return matching(l.RankPattern, module, l.Rank), matching(l.AlphaPattern, module, l.Alpha)
}

func matching[T any](patterns map[string]T, module string, otherwise T) T {
	for _, key := range slices.Sorted(maps.Keys(patterns)) {
		if re, err := pattern(key); err == nil && re.MatchString(module) {
			return patterns[key]
		}
	}
	return otherwise
}

// Projections are the linear layers of a decoder block by their Hugging Face names.
var Projections = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

// Validate hands every contradiction to fail, with the path of its key.
func (c *Config) Validate(fail func(key, format string, args ...any)) {
	c.derive()
	no := refusal(func(cond bool, key, format string, args ...any) {
		if cond {
			fail(key, format, args...)
		}
	})
	no(c.Output == "", "output", "name a folder for checkpoints and the finished model")
	c.Model.validate(no)
	if l := c.LoRA; l != nil {
		l.validate(no)
		no(c.Model.Base == "", "lora", "adapters need model.base")
	}
	c.validateObjective(no)
	c.Data.validate(no)
	c.validateSteps(no)
	if c.Evaluate != nil {
		c.Evaluate.validate(no)
	}
	no.unless("compute.dtype", c.Compute.DType, "f32", "bf16")
	no.unless("export.dtype", c.Export.DType, "", "f32", "f16", "bf16")
	no.unless("parallel.sharding", c.Parallel.Sharding, "none", "optimizer", "gradients", "parameters")
	no(c.Parallel.shardsGradients() && c.Parallel.Parts > 0 && c.Batch.Micro > 0 && c.Parallel.Parts != c.Batch.Global/c.Batch.Micro,
		"parallel.parts", "%d: with sharded gradients every micro-batch is a part, of which there are %d", c.Parallel.Parts, c.Batch.Global/max(c.Batch.Micro, 1))
	no(c.Parallel.Parts < 0, "parallel.parts", "%d must not be negative", c.Parallel.Parts)
	no.unless("parallel.overlap", c.Parallel.Overlap, "", "auto", "always", "never")
	no.unless("faults.action", c.Faults.Action, "stop", "skip")
}

// refusal reports what is wrong with a key where cond holds.
type refusal func(cond bool, key, format string, args ...any)

// unless refuses a value that is not one of those allowed.
func (no refusal) unless(key, v string, allowed ...string) {
	no(!slices.Contains(allowed, v), key, "%q is not one of %s", v, strings.Join(allowed, ", "))
}

func (m *ModelConfig) validate(no refusal) {
	no((m.Base == "") == (m.Shape == nil), "model", "give exactly one of base and shape")
	if s := m.Shape; s != nil {
		no(s.HiddenSize <= 0 || s.IntermediateSize <= 0 || s.Layers <= 0 || s.Heads <= 0 || s.VocabSize <= 0,
			"model.shape", "hidden_size, intermediate_size, layers, heads and vocab_size must be positive")
		no(s.Heads > 0 && s.KVHeads > 0 && s.Heads%s.KVHeads != 0, "model.shape.kv_heads", "heads %d is not a multiple of kv_heads %d", s.Heads, s.KVHeads)
		no(s.HeadDim%2 != 0, "model.shape.head_dim", "%d must be even", s.HeadDim)
		no(m.Tokenizer == "", "model.tokenizer", "a model from scratch needs a tokenizer")
	}
	if g := m.Generation; g != nil {
		for key, v := range map[string]*float64{"temperature": g.Temperature, "top_p": g.TopP, "min_p": g.MinP, "repetition_penalty": g.RepetitionPenalty} {
			no(v != nil && !(*v >= 0 && *v < math.Inf(1)), "model.generation."+key, "a number from 0 is wanted")
		}
		no(g.TopK != nil && *g.TopK < 0, "model.generation.top_k", "must not be negative")
	}
	for _, p := range m.Train {
		_, err := path.Match(p, "")
		no(err != nil, "model.train", "%q: %v", p, err)
	}
}

func (l *LoRAConfig) validate(no refusal) {
	no(l.Rank < 1, "lora.rank", "%d must be at least 1", l.Rank)
	no(l.Dropout < 0 || l.Dropout >= 1, "lora.dropout", "%v must be in [0, 1)", l.Dropout)
	for _, t := range l.Targets {
		no.unless("lora.targets", t, Projections...)
	}
	if l.BaseType != "" {
		_, err := tensor.ParseDType(l.BaseType)
		no(err != nil, "lora.base_type", "%v", err)
	}
	for key, rank := range l.RankPattern {
		_, err := pattern(key)
		no(err != nil, "lora.rank_pattern", "%q: %v", key, err)
		no(rank < 1, "lora.rank_pattern", "rank %d for %q must be at least 1", rank, key)
	}
	for key, alpha := range l.AlphaPattern {
		_, err := pattern(key)
		no(err != nil, "lora.alpha_pattern", "%q: %v", key, err)
		no(!(alpha > 0), "lora.alpha_pattern", "alpha %v for %q must be positive", alpha, key)
	}
}

func (d *DataConfig) validate(no refusal) {
	for i, s := range d.Train {
		no(s.Shards == "", fmt.Sprintf("data.train[%d].shards", i), "missing")
		no(s.Weight < 0, fmt.Sprintf("data.train[%d].weight", i), "%v must not be negative", s.Weight)
	}
	no(d.SequenceLength < 1, "data.sequence_length", "%d must be at least 1", d.SequenceLength)
	no(d.HoldOut < 0 || d.HoldOut >= 1, "data.hold_out", "%v must be in [0, 1)", d.HoldOut)
	no(d.CrossDocument && !d.Packing, "data.cross_document", "only packed windows hold several documents; set packing")
	no.unless("data.loss", d.Loss, "all", "assistant", "roles")
	no(d.Loss == "roles" && len(d.RoleWeights) == 0, "data.role_weights", "loss \"roles\" needs a weight per role")
}

// validateSteps looks at what a step takes, what it does with the gradient, and how many there are.
func (c *Config) validateSteps(no refusal) {
	b := &c.Batch
	no.unless("batch.average", b.Average, "tokens", "microbatch")
	no.unless("batch.last_partial", b.LastPartial, "drop", "keep")
	no(b.Micro < 1, "batch.micro", "%d must be at least 1", b.Micro)
	no(b.Micro >= 1 && (b.Global < b.Micro || b.Global%b.Micro != 0), "batch.global", "%d must be a positive multiple of micro %d", b.Global, b.Micro)
	o := &c.Optimizer
	no(!(o.LR > 0) || math.IsInf(o.LR, 0), "optimizer.lr", "%v must be positive", o.LR)
	no(o.Type != "adamw" && o.Type != "muon", "optimizer.type", "%q is neither adamw nor muon", o.Type)
	no(o.Momentum < 0 || o.Momentum >= 1, "optimizer.momentum", "%v must be in [0, 1)", o.Momentum)
	no(len(o.Betas) != 2 || o.Betas[0] < 0 || o.Betas[0] >= 1 || o.Betas[1] < 0 || o.Betas[1] >= 1, "optimizer.betas", "%v must be two numbers in [0, 1)", o.Betas)
	no(o.Eps <= 0, "optimizer.eps", "%v must be positive", o.Eps)
	no(o.Bits != 32 && o.Bits != 8, "optimizer.bits", "%d is not 32 or 8", o.Bits)
	s := &c.Schedule
	no.unless("schedule.type", s.Type, "cosine", "linear", "constant", "wsd")
	n := 0
	for _, set := range []bool{s.Steps > 0, s.Epochs > 0, s.Tokens > 0} {
		if set {
			n++
		}
	}
	no(n != 1, "schedule", "give exactly one of steps, epochs and tokens")
	no(s.WarmupSteps > 0 && s.WarmupRatio > 0, "schedule.warmup_ratio", "give warmup_steps or warmup_ratio, not both")
	no(s.WarmupRatio < 0 || s.WarmupRatio > 1, "schedule.warmup_ratio", "%v must be in [0, 1]", s.WarmupRatio)
	no(s.MinLR < 0 || s.MinLR > o.LR, "schedule.min_lr", "%v must be between 0 and optimizer.lr %v", s.MinLR, o.LR)
}
