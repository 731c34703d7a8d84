package train

import (
	"slices"

	"leolm/checkpoint"
	"leolm/device/cpu"
	"leolm/device/vulkan"
	"leolm/tensor"
)

// Memory is the peak by part, in bytes.
type Memory struct {
	Weights     int64 `json:"weights"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"`
	Activations int64 `json:"activations"`
	Workspace   int64 `json:"workspace"` // packed operands, logits of a chunk, a tensor on its way
	Process     int64 `json:"process"`   // the program and its tables, MPI's, garbage
}

// What a process takes beside a run's tensors, in bytes, measured on Linux (docs/cluster.md).
const (
	programBytes = 40 << 20 // the program's code, the runtime, a tokenizer of 32,000 pieces
	libraryBytes = 12 << 20 // code and tables of an MPI library
	stageBytes   = 14 << 20 // data on their way between ranks (package cluster)

	// GarbageBytes is how much memory that is no longer used a run has at most, before the collector finds it; a run of
	// less than four times as much has a quarter. It is for the program to keep that.
	GarbageBytes = 16 << 20
)

// Total is the sum of the parts.
func (m *Memory) Total() int64 {
	return m.tensors() + m.Process
}

// tensors is what the device and its neighbors hold.
func (m *Memory) tensors() int64 {
	return m.Weights + m.Gradients + m.Optimizer + m.Activations + m.Workspace
}

// inProcess adds what a process takes, with other ranks or alone.
func (m *Memory) inProcess(ranks int) {
	m.Process = programBytes + min(GarbageBytes, m.tensors()/4)
	if ranks > 1 {
		m.Process += libraryBytes + stageBytes
	}
}

// planMemory adds up what the CPU device holds at the peak of a step: for the shape m, whose vocabulary had stored rows
// before it grew, and the parameters that p counts. teacher is the shape of the model that is distilled, or nil.
func planMemory(c *Config, m *checkpoint.Config, stored int, p *Plan, teacher *checkpoint.Config) Memory {
	e := newMemoryEstimate(c, m, stored, p, teacher)
	n := e.sum()
	n.Workspace += p.room()
	n.inProcess(1)
	return n
}

// sum adds up what is on the device.
func (e *memoryEstimate) sum() Memory {
	return Memory{
		Weights:     e.weights(),
		Gradients:   4 * e.trainable,
		Optimizer:   e.optimizer(),
		Activations: e.activations(),
		Workspace:   e.loss() + e.backward() + e.packed() + e.unpacked(),
	}
}

// memoryEstimate holds what all parts of the prediction look at.
type memoryEstimate struct {
	c       *Config
	m       *checkpoint.Config
	teacher *checkpoint.Config

	stored            int // rows of the vocabulary before it grew
	trainable, frozen int64
	demand            demand
	bf16              bool
	gpu, units        bool // products in bf16 on a GPU's matrix units

	newRows   bool    // vocabulary matrices whose stored rows are frozen
	wholeHead bool    // all rows of the head are trained
	perFrozen float64 // bytes of a frozen parameter

	// A pass has t rows; the others are columns: of the hidden states, the queries, the keys or values, the MLP, the logits.
	t, h, q, kv, f, v int
}

func newMemoryEstimate(c *Config, m *checkpoint.Config, stored int, p *Plan, teacher *checkpoint.Config) *memoryEstimate {
	d := c.demand()
	e := &memoryEstimate{
		c: c, m: m, teacher: teacher, stored: stored, demand: d, bf16: c.Compute.DType == "bf16",
		trainable: p.Trainable,
		frozen:    p.Params - p.Trainable,
		newRows:   slices.Contains(c.Model.Train, newRows) && m.VocabSize > stored,
		wholeHead: trains(c.Model.Train, "lm_head.weight") || m.TieEmbeddings && trains(c.Model.Train, "model.embed_tokens.weight"),
		perFrozen: c.perFrozen(),
		t:         c.Batch.Micro * d.sequences * c.Data.SequenceLength,
		h:         m.HiddenSize, q: m.Heads * m.HeadDim, kv: m.KVHeads * m.HeadDim, f: m.IntermediateSize, v: m.VocabSize,
	}
	if c.LoRA != nil && len(c.Model.Train) == 0 {
		e.wholeHead = false
	}
	return e
}

// perFrozen is the size of a frozen parameter in bytes.
func (c *Config) perFrozen() float64 {
	if c.LoRA != nil && c.LoRA.BaseType != "" {
		if d, err := tensor.ParseDType(c.LoRA.BaseType); err == nil {
			return float64(d.BlockSize()) / float64(d.BlockLen())
		}
	}
	return 2 // as published: 16 bits
}

// vocabulary is the number of parameters of all vocabulary matrices of so many rows.
func (e *memoryEstimate) vocabulary(rows int) int64 {
	n := int64(rows) * int64(e.h)
	if !e.m.TieEmbeddings {
		n *= 2
	}
	return n
}

// weights are those of the model and of those that it is compared with.
func (e *memoryEstimate) weights() int64 {
	n := 4*e.trainable + int64(e.perFrozen*float64(e.frozen))
	if e.newRows && !e.wholeHead { // kept in f32 as a whole
		old := e.vocabulary(e.stored)
		n += 4*old - int64(e.perFrozen*float64(old))
	}
	if e.demand.reference && e.c.LoRA == nil {
		n += 2 * e.m.Parameters()
	}
	if e.teacher != nil {
		n += 2 * e.teacher.Parameters()
	}
	return n
}

// optimizer is the size of the moments.
func (e *memoryEstimate) optimizer() int64 {
	n := 8 * e.trainable
	if e.c.Optimizer.Bits == 8 {
		n = 2 * e.trainable
	}
	if e.c.Optimizer.Type == "muon" && e.trainable > 0 {
		// Only the vocabulary's rows have a second moment, and the vectors, too few to count.
		var vocabulary int64
		if e.c.LoRA == nil {
			vocabulary = e.vocabulary(e.v)
		}
		n = n/2 + n/2*min(vocabulary, e.trainable)/e.trainable
	}
	return n
}

// computed is the size of a tensor as operations write it: in f32.
func (e *memoryEstimate) computed(rows, cols int) int64 {
	if e.gpu {
		return 4 * int64(rows) * int64(cols)
	}
	return int64(4 * cpu.BufferLen(rows*cols))
}

// saved is the size of a tensor as it is kept for the backward pass.
func (e *memoryEstimate) saved(rows, cols int) int64 {
	if e.bf16 {
		return int64(2 * cpu.BufferLen(rows*cols))
	}
	return e.computed(rows, cols)
}

// activations are what the forward pass leaves for the backward pass.
func (e *memoryEstimate) activations() int64 {
	layers := int64(e.m.Layers) * e.layer()
	if e.c.Compute.Recompute {
		layers = int64(e.m.Layers)*e.computed(e.t, e.h) + e.layer()
	}
	return layers + 2*e.computed(e.t, e.h)
}

// layer is the part of one decoder layer in the activations.
func (e *memoryEstimate) layer() int64 {
	t := e.t
	n := 2*e.computed(t, e.h) + 2*e.saved(t, e.q) + 2*e.saved(t, e.kv) + e.computed(t, e.m.Heads) + 2*e.saved(t, e.f)
	l := e.c.LoRA
	if l != nil && l.Dropout == 0 || l == nil && trains(e.c.Model.Train, "model.layers.0.mlp.up_proj.weight") {
		n += 2*e.saved(t, e.h) + e.saved(t, e.f) // inputs of products, kept for the derivatives of weights
	}
	if l == nil {
		return n
	}
	sides := map[string]struct{ in, out int }{
		"q_proj": {e.h, e.q}, "k_proj": {e.h, e.kv}, "v_proj": {e.h, e.kv}, "o_proj": {e.q, e.h},
		"gate_proj": {e.h, e.f}, "up_proj": {e.h, e.f}, "down_proj": {e.f, e.h},
	}
	for _, target := range l.Targets {
		if l.Dropout > 0 {
			n += e.saved(t, sides[target].in)
		}
		if l.DoRA {
			n += 2 * e.computed(t, sides[target].out)
		}
	}
	return n
}

// loss is what the head needs for a chunk of rows: its logits (and their bf16 copy), its inputs, and the gradient of all
// hidden states; with a teacher, the same of its logits and its head.
func (e *memoryEstimate) loss() int64 {
	chunk := min(e.t, cpu.LossRows(e.v))
	if e.gpu {
		chunk = min(e.t, vulkan.LossRows(e.v))
	}
	n := e.computed(chunk, e.v) + e.computed(e.t, e.h) + 2*e.computed(chunk, e.h)
	if e.bf16 {
		n += e.saved(chunk, e.v) + e.saved(chunk, e.h)
	}
	if t := e.teacher; t != nil {
		n += e.computed(e.t, t.HiddenSize) + e.computed(chunk, t.HiddenSize) + e.computed(chunk, t.VocabSize)
		if !e.gpu {
			n += 4 * int64(t.VocabSize) * int64(t.HiddenSize)
		}
	}
	return n
}

// backward is one layer's backward pass: what flows down the residual stream, attention's gradients, the MLP's; in bf16
// also values widened again and gradients rounded.
func (e *memoryEstimate) backward() int64 {
	t := e.t
	n := 3*e.computed(t, e.h) + 2*e.computed(t, e.q) + 2*e.computed(t, e.kv)
	if e.bf16 {
		return n + e.computed(t, e.f) + e.saved(t, e.h) + e.saved(t, e.q) + 2*e.saved(t, e.kv) + 2*e.saved(t, e.f)
	}
	return n + 3*e.computed(t, e.f)
}

// widest is the longer side of a layer's largest matrix.
func (e *memoryEstimate) widest() int64 { return int64(max(e.f, e.q, e.h)) }

// packed are operands in the order in which products read them: the head both ways, and the largest matrix or input.
func (e *memoryEstimate) packed() int64 {
	if e.gpu {
		return e.packedOnGPU()
	}
	per := int64(4)
	if e.bf16 {
		per = 2
	}
	return per * (2*int64(e.v)*int64(e.h) + max(e.widest()*int64(e.h), e.widest()*int64(e.t)))
}

// unpacked are the frozen matrices that exist in f32 for a moment, the largest at a time; beside them, the head of the model
// that a preference is measured against.
func (e *memoryEstimate) unpacked() int64 {
	if e.gpu {
		return 0
	}
	head := 4 * int64(e.v) * int64(e.h)
	var n int64
	switch {
	case e.frozen > 0 && !e.wholeHead && !e.newRows:
		n = head
	case e.frozen > 0:
		n = 4 * e.widest() * int64(e.h)
	}
	if e.demand.reference && e.c.LoRA == nil {
		n += head
	}
	return n
}
