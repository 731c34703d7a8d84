package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"leolm/tensor"
	"leolm/tensor/quant"
)

// Imatrix is an importance matrix: for every matrix of the model, how large its
// input columns are on a calibration text. Quantizers weigh a column's error by
// the mean square of its input, which makes the sum of squared output errors
// small. The files are llama.cpp's, both its GGUF form and the older .dat.
type Imatrix struct {
	Datasets  []string // names of the calibration texts
	Chunks    int      // of ChunkSize tokens that were read
	ChunkSize int
	Entries   map[string]ImatrixEntry // by GGUF tensor name, such as "blk.0.attn_q.weight"
}

// ImatrixEntry sums the squares of a matrix's input, per column.
type ImatrixEntry struct {
	SumSquares []float32
	Count      float32 // inputs (tokens) summed
}

// Add counts one input row of the matrix called by its canonical (Hugging Face)
// name.
func (m *Imatrix) Add(canonical string, x []float32) error {
	name, ok := ggufName(canonical)
	if !ok {
		return fmt.Errorf("tensor %q has no name in GGUF", canonical)
	}
	if m.Entries == nil {
		m.Entries = map[string]ImatrixEntry{}
	}
	e, ok := m.Entries[name]
	if !ok {
		e.SumSquares = make([]float32, len(x))
	}
	if len(e.SumSquares) != len(x) {
		return fmt.Errorf("tensor %q: an input of %d columns after one of %d", canonical, len(x), len(e.SumSquares))
	}
	for i, v := range x {
		e.SumSquares[i] += v * v
	}
	e.Count++
	m.Entries[name] = e
	return nil
}

// Missing names the model's matrices that have no entry and are therefore
// quantized without weights; the embedding, which is looked up and not
// multiplied, is not expected to have one.
func (m *Imatrix) Missing(cfg *Config) []string {
	var out []string
	for _, s := range cfg.TensorShapes() {
		name, _ := ggufName(s.Name)
		if e := m.Entries[name]; len(s.Shape) == 2 && s.Name != "model.embed_tokens.weight" && e.Count == 0 {
			out = append(out, name)
		}
	}
	return out
}

// importance returns the mean squares for a tensor, nil if the matrix has none
// (the embedding is looked up, not multiplied).
func (m *Imatrix) importance(name string, cols int) ([]float32, error) {
	e, ok := m.Entries[name]
	if !ok || e.Count == 0 {
		return nil, nil
	}
	if len(e.SumSquares) != cols {
		return nil, fmt.Errorf("the importance matrix has %d columns, the tensor %d", len(e.SumSquares), cols)
	}
	out := make([]float32, cols)
	for i, s := range e.SumSquares {
		out[i] = s / e.Count
	}
	return out, nil
}

// OpenImatrix reads an importance matrix.
func OpenImatrix(path string) (*Imatrix, error) {
	m, err := openMapping(path)
	if err != nil {
		return nil, err
	}
	defer m.close()
	return ParseImatrix(path, m.data)
}

// ParseImatrix reads an importance matrix that is in memory.
func ParseImatrix(name string, data []byte) (*Imatrix, error) {
	var m *Imatrix
	var err error
	if strings.HasPrefix(string(data[:min(4, len(data))]), "GGUF") {
		m, err = imatrixGGUF(name, data)
	} else {
		m, err = imatrixDat(name, data)
	}
	if err != nil {
		return nil, err
	}
	for tensor, e := range m.Entries {
		for i, v := range e.SumSquares {
			if !(v >= 0 && v <= math.MaxFloat32) {
				return nil, &FormatError{File: name, Tensor: tensor, Offset: -1, Msg: fmt.Sprintf("column %d has the sum of squares %v", i, v)}
			}
		}
	}
	return m, nil
}

func imatrixGGUF(name string, data []byte) (*Imatrix, error) {
	g, err := ParseGGUF(name, data)
	if err != nil {
		return nil, err
	}
	if t, _ := g.Get("general.type").(string); t != "imatrix" {
		return nil, &FormatError{File: name, Offset: -1, Msg: fmt.Sprintf("general.type is %q, not imatrix", t)}
	}
	m := &Imatrix{Entries: map[string]ImatrixEntry{}}
	m.Datasets, _ = g.Get("imatrix.datasets").([]string)
	m.Chunks, _ = asInt(g.Get("imatrix.chunk_count"))
	m.ChunkSize, _ = asInt(g.Get("imatrix.chunk_size"))
	for i := range g.Tensors {
		t := &g.Tensors[i]
		fail := func(format string, args ...any) error {
			return &FormatError{File: name, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf(format, args...)}
		}
		n, err := t.Shape.Elements()
		if err != nil || t.DType != tensor.F32 {
			return nil, fail("shape %v of %v; float32 numbers expected", t.Shape, t.DType)
		}
		base, sums := strings.CutSuffix(t.Name, ".in_sum2")
		if !sums {
			var counts bool
			if base, counts = strings.CutSuffix(t.Name, ".counts"); !counts {
				return nil, fail("is neither sums nor counts")
			}
			if n != 1 {
				return nil, fail("%d counts; importance of several experts is not supported", n)
			}
		}
		f := make([]float32, n)
		if err := quant.Dequantize(f, t.DType, t.Data); err != nil {
			return nil, fail("%v", err)
		}
		e := m.Entries[base]
		if sums {
			e.SumSquares = f
		} else {
			e.Count = f[0]
		}
		m.Entries[base] = e
	}
	return m, nil
}

// imatrixDat reads the older form: a count, then per tensor its name, calls,
// and mean squares times calls; then the last chunk and the text's name.
func imatrixDat(name string, data []byte) (*Imatrix, error) {
	p := &ggufParser{name: name, data: data}
	count, err := p.u32("the number of entries")
	if err != nil {
		return nil, err
	}
	if count < 1 || uint64(count) > uint64(len(data))/12 {
		return nil, p.fail(0, "%d entries in %d bytes: not an importance matrix, or damaged", count, len(data))
	}
	m := &Imatrix{Entries: map[string]ImatrixEntry{}}
	for range count {
		at := p.at
		n, err := p.u32("the length of a name")
		if err != nil {
			return nil, err
		}
		b, err := p.take(uint64(n), "a name")
		if err != nil {
			return nil, err
		}
		calls, err := p.u32("the number of calls")
		if err != nil {
			return nil, err
		}
		cols, err := p.u32("the number of columns")
		if err != nil {
			return nil, err
		}
		raw, err := p.take(4*uint64(cols), "the columns of "+string(b))
		if err != nil {
			return nil, err
		}
		if _, dup := m.Entries[string(b)]; dup || calls == 0 || calls > math.MaxInt32 {
			return nil, p.fail(at, "entry %q appears twice or has no calls", abbreviate(b))
		}
		m.Entries[string(b)] = ImatrixEntry{SumSquares: decodeArray[float32](raw), Count: float32(calls)}
	}
	if len(data)-p.at >= 8 {
		chunks, _ := p.u32("the number of chunks")
		n, _ := p.u32("the length of the text's name")
		b, err := p.take(uint64(n), "the text's name")
		if err != nil {
			return nil, err
		}
		m.Chunks, m.Datasets = int(chunks), []string{string(b)}
	}
	return m, nil
}

// Write stores the matrix as a GGUF file that llama.cpp's quantizer reads.
func (m *Imatrix) Write(path string) error {
	kv := []KV{{"general.type", "imatrix"}, {"imatrix.datasets", append([]string{}, m.Datasets...)},
		{"imatrix.chunk_count", uint32(m.Chunks)}, {"imatrix.chunk_size", uint32(m.ChunkSize)}}
	var tensors []Output
	for _, name := range sortedKeys(m.Entries) {
		e := m.Entries[name]
		floats := func(suffix string, shape tensor.Shape, f []float32) {
			tensors = append(tensors, Output{Name: name + suffix, DType: tensor.F32, Shape: shape,
				Write: func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, f) }})
		}
		floats(".in_sum2", tensor.Shape{1, len(e.SumSquares)}, e.SumSquares)
		floats(".counts", tensor.Shape{1, 1}, []float32{e.Count})
	}
	return writeGGUF(path, kv, tensors)
}
