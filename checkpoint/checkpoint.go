// Package checkpoint owns the files that hold models: Hugging Face folders
// (safetensors, PyTorch .bin), GGUF, and LoRA adapters (PEFT, GGUF). It maps
// them into memory, checks every number in their headers, and hands out one
// view of them all: a Config, tensors under their Hugging Face names in Hugging
// Face row order, the vocabulary or the tokenizer files, the chat template, and
// Notes on what was repaired. It writes the same formats.
//
// It does not compute with weights (packages device and llama), tokenize
// (package tokenizer) or fetch (package hub).
package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"leolm/tensor"
	"leolm/tensor/quant"
	"leolm/tokenizer"
)

// Formats of Checkpoint.Format.
const (
	FormatGGUF        = "gguf"
	FormatSafetensors = "safetensors"
	FormatPyTorch     = "pytorch"
	FormatTokenizer   = "tokenizer only"
)

// Checkpoint is an open model. It is immutable and safe for concurrent use
// until Close, after which no bytes of its tensors may be used.
type Checkpoint struct {
	Path       string
	Format     string
	Config     Config
	Generation Generation

	// Vocab is the vocabulary inside a GGUF file; nil for folders, whose
	// tokenizer files are in TokenizerDir.
	Vocab        *tokenizer.GGUFVocab
	TokenizerDir string
	// TokenizerFingerprint is that of the tokenizer which the weights were trained with (tokenizer.Fingerprint), as the
	// program that trained them wrote it; "" if the files say nothing.
	TokenizerFingerprint string

	// ChatTemplate is the Jinja template, "" if there is none; ChatTemplates
	// holds the named ones of a file that has several.
	ChatTemplate  string
	ChatTemplates map[string]string

	// Notes say in full sentences what was found damaged or contradictory and
	// what was made of it.
	Notes []string

	// GGUF is the file's own view, nil for folders.
	GGUF *GGUF

	Files   []string // of weights
	tensors []*Tensor
	byName  map[string]*Tensor
	close   func() error
}

// Tensor is one stored weight under its canonical name.
type Tensor struct {
	Name   string // Hugging Face's, such as "model.layers.0.self_attn.q_proj.weight"
	Stored string // the name in the file
	DType  tensor.DType
	Shape  tensor.Shape // outermost first
	File   string
	Offset int64 // byte in File

	data    []byte
	rowSize int
	// heads > 0: rows are stored pairwise interleaved within each head, as
	// GGUF's llama architecture does for Q and K (see storedRow).
	heads int
}

// Open reads a Hugging Face folder or a GGUF file (any part of a split one).
// Weights are mapped, not read: a 7B model opens in milliseconds.
func Open(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openFolder(path)
	}
	base := filepath.Base(path)
	if base == "config.json" || strings.HasSuffix(base, ".safetensors") || strings.HasSuffix(base, ".safetensors.index.json") || strings.HasSuffix(base, ".bin") {
		return nil, fmt.Errorf("%s: name the folder of a Hugging Face model, not a file in it", path)
	}
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	c, err := fromGGUF(path, g)
	if err != nil {
		_ = g.Close()
		return nil, err
	}
	return c, nil
}

// OpenBytes reads a GGUF model that is in memory, such as one embedded in the
// program; name stands for the file in errors and reports. data must not
// change while the Checkpoint is in use.
func OpenBytes(name string, data []byte) (*Checkpoint, error) {
	g, err := ParseGGUF(name, data)
	if err != nil {
		return nil, err
	}
	return fromGGUF(name, g)
}

// Forget says that t was copied elsewhere and will hardly be read again, so
// that loading a model doesn't hold its weights twice. Its data stays readable.
func (c *Checkpoint) Forget(t *Tensor) {
	if own, ok := c.Tensor(t.Name); !ok || own != t {
		return // of an adapter
	}
	// A model in plain memory must not lose its pages: they would come back as zeros.
	if c.GGUF != nil && (len(c.GGUF.maps) == 0 || c.GGUF.maps[0].unmap == nil) {
		return
	}
	forget(t.data)
}

// Close unmaps the files.
func (c *Checkpoint) Close() error {
	if c.close == nil {
		return nil
	}
	f := c.close
	c.close = nil
	return f()
}

// Tensors lists the weights in file order.
func (c *Checkpoint) Tensors() []*Tensor { return c.tensors }

// Tensor finds a weight by its canonical name.
func (c *Checkpoint) Tensor(name string) (*Tensor, bool) {
	t, ok := c.byName[name]
	return t, ok
}

// HasWeights is false for files that hold a configuration and a vocabulary only.
func (c *Checkpoint) HasWeights() bool { return len(c.tensors) > 0 }

// Size is the number of bytes of all weights as stored.
func (c *Checkpoint) Size() int64 {
	var n int64
	for _, t := range c.tensors {
		n += int64(len(t.data))
	}
	return n
}

func (c *Checkpoint) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func (c *Checkpoint) add(t *Tensor) error {
	row, err := t.DType.RowSize(t.Shape.Cols())
	if err != nil {
		return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Err: err}
	}
	t.rowSize = row
	if t.heads > 0 && len(t.Shape) == 1 {
		// A permuted bias is small: bring it into order now, so that it is
		// one row like every other vector.
		if err := t.unpermuteVector(); err != nil {
			return err
		}
	}
	if old := c.byName[t.Name]; old != nil {
		return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Msg: fmt.Sprintf("a second tensor of this name; the first is in %s at byte %d", old.File, old.Offset)}
	}
	if c.byName == nil {
		c.byName = map[string]*Tensor{}
	}
	c.tensors = append(c.tensors, t)
	c.byName[t.Name] = t
	return nil
}

// checkTensors compares the weights with what the configuration implies.
func (c *Checkpoint) checkTensors() error {
	var missing []string
	for _, want := range c.Config.TensorShapes() {
		t := c.byName[want.Name]
		if t == nil {
			missing = append(missing, want.Name)
			continue
		}
		if !t.Shape.Equal(want.Shape) {
			return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Msg: fmt.Sprintf("has shape %v, the configuration implies %v", t.Shape, want.Shape)}
		}
		if !quant.Supported(t.DType) {
			return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Msg: fmt.Sprintf("stored as %v, which is no type for weights", t.DType)}
		}
	}
	if len(missing) > 0 {
		return &FormatError{File: c.Path, Tensor: missing[0], Offset: -1, Msg: fmt.Sprintf("missing (%d of the model's tensors are)", len(missing))}
	}
	return nil
}

// Rows is the number of rows of Cols elements; a vector is one row.
func (t *Tensor) Rows() int { return t.Shape.Rows() }

// Cols is the number of elements of a row.
func (t *Tensor) Cols() int { return t.Shape.Cols() }

// RowSize is the number of bytes of one row.
func (t *Tensor) RowSize() int { return t.rowSize }

// Size is the number of bytes as stored.
func (t *Tensor) Size() int { return len(t.data) }

// storedRow maps canonical row i to the row in the file. Hugging Face keeps
// the two halves of a head's rotary pairs apart (element j turns with element
// j + HeadDim/2); GGUF's llama architecture keeps pairs together, so row
// 2j + half of a head is canonical row half·HeadDim/2 + j.
func (t *Tensor) storedRow(i, rows int) int {
	if t.heads == 0 {
		return i
	}
	dim := rows / t.heads
	head, r := i/dim, i%dim
	return head*dim + r%(dim/2)*2 + r/(dim/2)
}

// Row returns the stored bytes of canonical row i, zero-copy. Rows of a matrix
// in GGUF's Q/K order are found by their index.
func (t *Tensor) Row(i int) []byte {
	r := t.storedRow(i, t.Rows())
	return t.data[r*t.rowSize : (r+1)*t.rowSize : (r+1)*t.rowSize]
}

// Bytes returns all data when it is contiguous in canonical order, and false
// when rows must be asked for one by one.
func (t *Tensor) Bytes() ([]byte, bool) {
	if t.heads > 0 {
		return nil, false
	}
	return t.data, true
}

// ReadRow dequantizes canonical row i into dst, which has Cols elements.
func (t *Tensor) ReadRow(dst []float32, i int) error {
	if err := quant.Dequantize(dst, t.DType, t.Row(i)); err != nil {
		return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Err: err}
	}
	return nil
}

// Float32 dequantizes the whole tensor in canonical order. It allocates four
// bytes per element.
func (t *Tensor) Float32() ([]float32, error) {
	rows, cols := t.Rows(), t.Cols()
	out := make([]float32, rows*cols)
	for i := range rows {
		if err := t.ReadRow(out[i*cols:(i+1)*cols], i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unpermuteVector rewrites a permuted bias as a copy in canonical order.
func (t *Tensor) unpermuteVector() error {
	n := t.Shape[0]
	if t.DType.BlockLen() != 1 {
		return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Msg: fmt.Sprintf("a bias stored as %v", t.DType)}
	}
	w := t.DType.BlockSize()
	out := make([]byte, len(t.data))
	for i := range n {
		s := t.storedRow(i, n)
		copy(out[i*w:(i+1)*w], t.data[s*w:(s+1)*w])
	}
	t.data, t.heads = out, 0
	return nil
}

// StopIDs are all ids that end an answer: config.json's, generation_config.json's
// and the tokenizer's end of sequence, and the end-of-turn tokens. LeoLM's
// config says 2 while its turns end with <|im_end|>: both stop.
func (c *Checkpoint) StopIDs() []int {
	ids := addIDs(nil, c.Config.EOS...)
	return addIDs(ids, c.Generation.EOS...)
}
