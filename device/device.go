// Package device is the only door to arithmetic: the contract between those
// who compute with tensors and weights and what runs the operations. It owns
// the operations of a Llama forward pass, their derivatives and the values that
// describe them; it does not know models (package llama), derivative bookkeeping
// (package grad) or files (package checkpoint), and it imports no device: package
// device/cpu is the first. Package device/devicetest says, as a test, what every device must do.
//
// Ops is what a forward pass is written against. A Runner runs the operations, and a Device is a Runner that has their
// derivatives and the optimizers, too; grad.Tape implements Ops by wrapping a Device and recording.
// Where numbers live and in which layout is the device's secret: what it keeps for a
// value of this package is in the value's Impl, which nobody else reads.
//
// Lifetimes. A device reads slices and specs that are arguments of an operation
// before the call returns; one that computes later copies them. The caller may
// use them again at once, unless it records with a grad.Tape, which reads them
// a second time in the backward pass: there they stay as they are until then.
// Results never share memory with arguments.
//
// Misuse by the program itself (mismatched shapes, a released tensor) panics;
// everything that depends on input from outside is an error of the
// constructors.
package device

import (
	"fmt"
	"math"

	"leolm/tensor"
)

// Tensor is a dense row-major matrix of activations: Rows tokens by Cols
// features. It comes from a device's arena and lives until its last Release.
type Tensor struct {
	Rows, Cols int
	// ID is unique among all tensors that a device ever made: a device may reuse a released Tensor, but gives it
	// another ID.
	ID   uint64
	Impl any // the device's own part
}

func (t *Tensor) String() string { return fmt.Sprintf("[%d, %d]", t.Rows, t.Cols) }

// Weight is a parameter matrix [Rows, Cols] (output features × input
// features; a vector is one row) in a layout that its device chose.
type Weight interface {
	Rows() int
	Cols() int
	// DType is the type that the values were stored as before any repacking.
	DType() tensor.DType
	// Bytes is the memory that the weight occupies, gradient included.
	Bytes() int
	// Trainable reports whether derivatives with respect to the weight are collected.
	Trainable() bool
	// FrozenRows is how many leading rows of a trainable weight stay as they are (see
	// Device.FreezeRows): its gradient and optimizer state begin with the row after them.
	FrozenRows() int
}

// WeightUse says what a weight is for, so that a device can choose its layout.
type WeightUse uint8

// The uses of a weight. Tied embeddings are both WeightUseMatmul and WeightUseEmbedding.
const (
	WeightUseMatmul    WeightUse = 1 << iota // right-hand side of Linear
	WeightUseEmbedding                       // rows read by Embed
	WeightUseVector                          // norm gain or bias: one row
)

// WeightSpec describes stored values from which a device makes a Weight.
type WeightSpec struct {
	Name       string
	DType      tensor.DType
	Rows, Cols int
	// Row returns the stored bytes of row i, Cols elements of DType.
	Row func(i int) []byte
	Use WeightUse
}

// RowBytes is the size of a stored row. An empty shape, and rows that do not have this size (the first and the last are
// looked at), are errors that name the weight.
func (s *WeightSpec) RowBytes() (int, error) {
	size, err := s.DType.RowSize(s.Cols)
	if err != nil {
		return 0, fmt.Errorf("weight %s: %w", s.Name, err)
	}
	if s.Rows < 1 || s.Cols < 1 {
		return 0, fmt.Errorf("weight %s: empty shape [%d, %d]", s.Name, s.Rows, s.Cols)
	}
	for _, i := range []int{0, s.Rows - 1} {
		if n := len(s.Row(i)); n != size {
			return 0, fmt.Errorf("weight %s: row %d has %d bytes, want %d for %d elements of %v", s.Name, i, n, size, s.Cols, s.DType)
		}
	}
	return size, nil
}

// Sequence is a run of consecutive rows of a batch that belong together:
// row Row+i is token Past+i of the sequence and sees the tokens up to itself.
// With a cache, keys and values of the Past earlier tokens are in Pages, and those of
// these rows are written there; without one (training), Past is 0.
type Sequence struct {
	Row, Len int
	Past     int
	// Pages are the cache's pages of tokens 0, PageLen, 2·PageLen, …; they must
	// cover Past+Len tokens.
	Pages []int32
}

// AttentionSpec describes one attention operation. Padded and packed training,
// chunked prefill, decoding, mixed batches and scoring are values of it.
type AttentionSpec struct {
	Heads, KVHeads, HeadDim int
	Scale                   float32 // multiplies the scores, usually 1/√HeadDim
	Window                  int     // sliding window in tokens, 0 for none
	Seqs                    []Sequence
	Cache                   KVCache // nil: keys and values are the rows of this call only
	Layer                   int     // layer of the cache
}

// CacheSpec describes a pool of keys and values.
type CacheSpec struct {
	Layers, KVHeads, HeadDim int
	DType                    tensor.DType
	Pages                    int // at most
	PageLen                  int // positions in a page; 0 means DefaultPageLen
}

// DefaultPageLen is the usual number of positions in a cache page. A device says which others it takes.
const DefaultPageLen = 256

// KVCache is a pool of pages; a page holds PageLen positions of keys and
// values of all layers, rounded to the cache's data type. Pages are counted,
// so that sequences can share a prefix. Results depend neither on which pages hold a sequence
// nor on the length of pages.
type KVCache interface {
	DType() tensor.DType
	PageLen() int
	// Alloc returns a free page with one reference, or a *CacheFullError.
	Alloc() (int32, error)
	// Retain adds a reference to a page, Free takes one back.
	Retain(page int32)
	Free(page int32)
	// CopyPage copies the first n positions of src to dst.
	CopyPage(dst, src int32, n int)
	// PageBytes is the size of a page. ReadPage copies its contents to dst and WritePage sets them, both
	// PageBytes long: for saving and restoring sessions. The layout is the device's own.
	PageBytes() int
	ReadPage(page int32, dst []byte)
	WritePage(page int32, src []byte)
	// Pages is the number of pages that there can be, PagesInUse of those that have a reference.
	Pages() int
	PagesInUse() int
	// Bytes is the memory in use.
	Bytes() int
}

// CacheFullError says that every page of a cache is in use.
type CacheFullError struct{ Pages, PageLen int }

func (e *CacheFullError) Error() string {
	return fmt.Sprintf("the key/value cache is full: %d pages of %d tokens are in use; close sessions or raise the cache size", e.Pages, e.PageLen)
}

// MemoryError says that something does not fit into memory. It is returned before anything is allocated.
type MemoryError struct {
	What      string  // "the keys and values of 8192 tokens"
	Needed    float64 // bytes; a float because absurd sizes exceed every integer
	Available int64   // bytes
	On        string  // whose memory it is, "the GPU", if not the processor's
}

// Need returns a *MemoryError if n bytes for what are more than dev has available. Where nobody says what is available,
// the limit is a petabyte.
func Need(dev Runner, what string, n float64) error {
	available, ok := dev.Available()
	if !ok {
		available = math.MaxInt64 >> 13 // a petabyte
	}
	if n <= float64(available) {
		return nil
	}
	e := &MemoryError{What: what, Needed: n, Available: available}
	if dev, ok := dev.(interface{ MemoryOf() string }); ok {
		e.On = dev.MemoryOf()
	}
	return e
}

func (e *MemoryError) Error() string {
	where := ""
	if e.On != "" {
		where = " on " + e.On
	}
	return fmt.Sprintf("%s need %s of memory%s, %s are available", e.What, memorySize(e.Needed), where, memorySize(float64(e.Available)))
}

func memorySize(n float64) string {
	switch {
	case n >= 1<<50:
		return fmt.Sprintf("%.3g bytes", n)
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", n/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", n/(1<<20))
}

// Rope is rotary position embedding: HeadDim/2 angles per position (Su et al. 2021), in the rotate-half
// layout of Hugging Face. It is made by Device.NewRope and may be used by several goroutines.
type Rope struct {
	HeadDim int
	InvFreq []float32 // HeadDim/2, scaling included: angle(pos, i) = pos·InvFreq[i]
	Impl    any       // the device's own part

	// Scale multiplies cosines and sines (YaRN's attention factor); 0 means 1. It is set before the first use.
	Scale float32
	// Rows are the frequencies of each row of one call, where they depend on more than the position; nil: InvFreq. A Rope
	// with them is a copy of one that the device made.
	Rows [][]float32
}

// Ops are the operations that a forward pass is made of. Shapes: T tokens.
// Every operation returns tensors with one reference, which the caller
// releases.
type Ops interface {
	// Embed returns the rows ids of table: [T, Cols].
	Embed(table Weight, ids []int32) *Tensor
	// RMSNorm returns gain ∘ x / √(mean(x²)+eps) by rows.
	RMSNorm(x *Tensor, gain Weight, eps float32) *Tensor
	// Linear returns x·wᵀ: [T, w.Rows].
	Linear(x *Tensor, w Weight) *Tensor
	// LinearGroup is Linear with several weights on one input: ys[i] becomes x·ws[i]ᵀ.
	LinearGroup(ys []*Tensor, x *Tensor, ws ...Weight)
	// AddBias adds the vector b to every row of x, in place, and returns x.
	AddBias(x *Tensor, b Weight) *Tensor
	// Rope rotates every head of x in place by its position and returns x.
	Rope(x *Tensor, r *Rope, positions []int32) *Tensor
	// Attention returns softmax(scale·q·kᵀ + causal mask)·v by heads: q is [T, Heads·HeadDim],
	// k and v are [T, KVHeads·HeadDim]. Rows in no sequence give zeros.
	Attention(q, k, v *Tensor, spec *AttentionSpec) *Tensor
	// SwiGLU returns silu(gate) ∘ up.
	SwiGLU(gate, up *Tensor) *Tensor
	// Add returns x + s·y.
	Add(x, y *Tensor, s float32) *Tensor
	// DoRA returns the output of a projection whose weight was decomposed into magnitude and direction:
	// (base + d.Scale·low) with column j multiplied by Magnitude[j] / ‖(W + Scale·B·A) row j‖, where base = x·Wᵀ
	// and low = x·Aᵀ·Bᵀ, both [T, W.Rows].
	DoRA(base, low *Tensor, d *DoRA) *Tensor
	// Dropout zeroes elements with probability p and scales the others by
	// 1/(1-p); which ones depends on seed only.
	Dropout(x *Tensor, p float32, seed uint64) *Tensor
	// Noise returns x plus uniform noise in ±scales[row], which depends on seed only.
	Noise(x *Tensor, scales []float32, seed uint64) *Tensor
	// Gather returns the given rows of x.
	Gather(x *Tensor, rows []int32) *Tensor
	// LinearCrossEntropy computes, for every row i with a weight other than 0
	// (or every row, if weights is nil), the log-probability of targets[i] under softmax(hidden·wᵀ) in
	// chunks of rows, and the weighted sum of the negative log-probabilities.
	// Columns from vocab on (padding rows of w) count as impossible; vocab 0 means all.
	LinearCrossEntropy(hidden *Tensor, w Weight, targets []int32, weights []float32, vocab int) CrossEntropy
	// Segment runs f on x; a tape may forget what happens inside and compute it again
	// for the derivative (activation recomputation).
	Segment(x *Tensor, f func(ops Ops, x *Tensor) *Tensor) *Tensor
	// Release gives tensors back. Nil is allowed.
	Release(ts ...*Tensor)
}

// CrossEntropy is the result of LinearCrossEntropy.
type CrossEntropy struct {
	Loss     float64   // Σ weightᵢ·(-log pᵢ)
	LogProbs []float32 // log pᵢ per row; 0 where the weight is 0
}

// Teacher is what LinearDistillGrad learns from.
type Teacher struct {
	Hidden *Tensor // [rows, the teacher's hidden size]
	Head   Weight  // [the teacher's rows, its hidden size]
	// Vocab is how many leading columns of the logits are the student's ids too; the others are left out of the teacher's
	// distribution, and where it has fewer than the student, it gives the rest probability 0.
	Vocab       int
	Alpha       float32 // share of the cross-entropy, 0 to 1
	Temperature float32
}

// Distillation is the result of LinearDistillGrad.
type Distillation struct {
	CrossEntropy         // of the targets alone
	Divergence   float64 // Σ weightᵢ·KL(teacher ‖ student) at the temperature, without its square
}

// Derivatives are the backward passes of Ops, called by grad.Tape. Those with
// respect to weights are added to the weight's gradient.
type Derivatives interface {
	EmbedGrad(table Weight, ids []int32, dy *Tensor)
	// RMSNormGrad returns dx and, if gain is trainable, adds to its gradient.
	RMSNormGrad(x *Tensor, gain Weight, eps float32, dy *Tensor, needX bool) *Tensor
	// LinearGradInput returns dy·w, added to acc if that is not nil; it takes ownership of acc.
	LinearGradInput(dy *Tensor, w Weight, acc *Tensor) *Tensor
	// LinearGradWeight adds dyᵀ·x to the gradient of w.
	LinearGradWeight(x, dy *Tensor, w Weight)
	AddBiasGrad(b Weight, dy *Tensor)
	// RopeGrad rotates dy back. It takes ownership of dy and returns the result.
	RopeGrad(dy *Tensor, r *Rope, positions []int32) *Tensor
	// AttentionTrain is Attention without a cache that also returns the
	// log-sum-exp of the scores [T, Heads], which AttentionGrad needs.
	AttentionTrain(q, k, v *Tensor, spec *AttentionSpec) (out, lse *Tensor)
	AttentionGrad(q, k, v, out, lse, dout *Tensor, spec *AttentionSpec) (dq, dk, dv *Tensor)
	SwiGLUGrad(gate, up, dy *Tensor) (dgate, dup *Tensor)
	GatherGrad(dy *Tensor, rows []int32, total int) *Tensor
	// DoRATrain is DoRA that also returns the row lengths ‖(W + Scale·B·A) row j‖, [1, W.Rows], which DoRAGrad needs.
	DoRATrain(base, low *Tensor, d *DoRA) (y, lengths *Tensor)
	// DoRAGrad returns the derivatives with respect to base and low, and adds the gradient of trainable magnitudes. The
	// row lengths count as constants, as the paper proposes and PEFT has it.
	DoRAGrad(base, low, lengths *Tensor, d *DoRA, dy *Tensor) (dbase, dlow *Tensor)
	// LinearCrossEntropyGrad computes the cross-entropy and, in the same
	// sweep over chunks, dhidden of the weighted loss; the gradient of w is added to if w is trainable. The device may
	// compute later than it returns: loss waits for the values, and need not be called.
	LinearCrossEntropyGrad(hidden *Tensor, w Weight, targets []int32, weights []float32, vocab int, needHidden bool) (loss func() CrossEntropy, dhidden *Tensor)
	// LinearDistillGrad is LinearCrossEntropyGrad of a loss that also holds the rows' distributions against a teacher's:
	// Σ weightᵢ·(Alpha·(-log pᵢ) + (1-Alpha)·Temperature²·KL(teacher ‖ student)), both distributions over the logits
	// divided by Temperature (Hinton et al. 2015). It works in chunks of rows: neither model's logits exist as a whole.
	LinearDistillGrad(hidden *Tensor, w Weight, targets []int32, weights []float32, vocab int, teacher *Teacher, needHidden bool) (loss func() Distillation, dhidden *Tensor)
	// Accumulate returns x + y, in x's place if nobody else holds x. It takes ownership of x.
	Accumulate(x, y *Tensor) *Tensor
	// DowncastSaved lets a device keep x in its compute type only, until it is used
	// again: for values saved for the backward pass.
	DowncastSaved(x *Tensor)
}

// DoRA is a weight-decomposed low-rank change of a weight W (Liu et al. 2024). It is made by Device.NewDoRA.
type DoRA struct {
	W, A, B   Weight // [out, in], [rank, in], [out, rank]
	Magnitude Weight // [1, out]
	Scale     float32
	Impl      any // the device's own part
}

// NewDoRA is for devices: a decomposed change with their own part. Shapes that do not fit each other panic.
func NewDoRA(w, a, b, magnitude Weight, scale float32, impl any) *DoRA {
	out, in, rank := w.Rows(), w.Cols(), a.Rows()
	if a.Cols() != in || b.Rows() != out || b.Cols() != rank || magnitude.Rows() != 1 || magnitude.Cols() != out {
		panic(fmt.Sprintf("device: DoRA of a weight [%d, %d] with A [%d, %d], B [%d, %d] and magnitudes [%d, %d]",
			out, in, rank, a.Cols(), b.Rows(), b.Cols(), magnitude.Rows(), magnitude.Cols()))
	}
	return &DoRA{W: w, A: a, B: b, Magnitude: magnitude, Scale: scale, Impl: impl}
}

// AdamW are the hyper-parameters of one decoupled Adam step (Loshchilov and
// Hutter 2019) as PyTorch's torch.optim.AdamW computes it.
type AdamW struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	Step                               int     // counted from 1, for bias correction
	GradScale                          float64 // multiplies the gradient first (clipping)
}

// Muon are the hyper-parameters of one step of Muon (Jordan et al. 2024), momentum orthogonalized, as PyTorch's
// torch.optim.Muon computes it with Nesterov momentum and adjust_lr_fn="match_rms_adamw": 0.2·√max(rows, cols)
// times the learning rate makes a step as large as AdamW's usually is, so that both share one.
type Muon struct {
	LR, Momentum, WeightDecay float64
	GradScale                 float64 // multiplies the gradient first (clipping)
}

// The quintic of Jordan et al. (2024): MuonRounds rounds of X ← a·X + (b·A + c·A²)·X with A = X·Xᵀ push the singular
// values of a matrix of norm 1 into about [0.7, 1.2]. MuonEps is the smallest norm that is divided by.
const (
	MuonRounds = 5
	MuonA      = 3.4445
	MuonB      = -4.7750
	MuonC      = 2.0315
	MuonEps    = 1e-7
)

// Runner is a device that runs models: it runs operations and owns memory.
type Runner interface {
	Ops
	// Name says what runs, for reports.
	Name() string
	// NewWeight makes a frozen weight from stored values.
	NewWeight(spec WeightSpec) (Weight, error)
	// ReadWeight copies values as float32.
	ReadWeight(w Weight, dst []float32)
	// NewCache makes an empty pool of keys and values.
	NewCache(spec CacheSpec) (KVCache, error)
	// NewRope makes a rotary embedding from headDim/2 frequencies.
	NewRope(headDim int, invFreq []float32) *Rope
	// NewDoRA makes a decomposed change from its weights, which must fit each other.
	NewDoRA(w, a, b, magnitude Weight, scale float32) *DoRA
	// New makes an uninitialized tensor, FromSlice a copy of values.
	New(rows, cols int) *Tensor
	FromSlice(rows, cols int, values []float32) *Tensor
	// Read waits for t and copies it to dst, which has Rows·Cols elements.
	Read(t *Tensor, dst []float32)
	// Sync waits for all operations so far and returns the first error of any since the last Sync. Operations themselves
	// return none: a device may run them later. What was computed or read since an error is worthless.
	Sync() error
	// Retain adds a reference to t, to be given back by Release.
	Retain(t *Tensor) *Tensor
	// Memory reports the memory of tensors. ResetPeak gives back what no tensor uses.
	Memory() Memory
	ResetPeak()
	// Available is how many bytes weights, tensors and caches can still take; false if nobody says.
	Available() (int64, bool)
}

// Device is a Runner that trains as well.
type Device interface {
	Runner
	Derivatives
	// NewParam makes a trainable weight with float32 values, initially zero.
	NewParam(name string, rows, cols int) Weight
	// WriteWeight sets the values of a trainable weight.
	WriteWeight(w Weight, src []float32) error
	// FreezeRows keeps the first n rows of a trainable weight as they are. Its gradient is cleared; optimizer
	// state must be made afterwards.
	FreezeRows(w Weight, n int)
	// ReadGrad copies the gradient (of the rows that are not frozen), WriteGrad sets it, ZeroGrad clears it.
	ReadGrad(w Weight, dst []float32)
	WriteGrad(w Weight, src []float32)
	ZeroGrad(ws ...Weight)
	// DropGrad clears gradients and gives their memory back, until something is added to them again.
	DropGrad(ws ...Weight)
	// GradSquares returns Σg² over the gradient of each weight, summed in one order that depends on the weight alone;
	// it is NaN or infinite if an element is. The device is waited for once.
	GradSquares(ws ...Weight) []float64
	// AdamW updates w in place; m and v are the optimizer's moments.
	AdamW(w Weight, m, v OptimizerState, h AdamW)
	// Muon updates the matrix w in place; m is its momentum. Its products are in the compute type.
	Muon(w Weight, m OptimizerState, h Muon)
	// NewOptimizerState makes room for one moment of every element of w that is trained: 32 or 8 bits per element.
	NewOptimizerState(w Weight, bits int, signed bool) (OptimizerState, error)
	// SetCompute chooses the type that products of trainable weights are computed in: F32 or BF16
	// (bf16 operands, float32 sums).
	SetCompute(dt tensor.DType) error
}

// NoTrainingError says that a device runs models but does not train them.
type NoTrainingError struct{ Device string }

func (e *NoTrainingError) Error() string {
	return fmt.Sprintf("%s runs models, but does not train them", e.Device)
}

// Memory is what a device holds, in bytes, apart from weights, optimizer state and caches.
type Memory struct {
	Tensors int // of tensors that have not been released
	Arena   int // for tensors and for the insides of operations: the most that was needed since ResetPeak
}

// OptimizerState is one moment of one weight's gradients. It is saved and restored as raw bytes.
type OptimizerState interface {
	Bytes() int
	Save(dst []byte)
	Load(src []byte) error
}
