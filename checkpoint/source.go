package checkpoint

import (
	"fmt"
	"io"
	"runtime"
	"sync"

	"leolm/internal/mapped"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// Rows gives the rows of a weight as float32. ReadRow must be safe for
// concurrent calls; a vector is row 0. *Tensor is one.
type Rows interface {
	ReadRow(dst []float32, row int) error
}

// Source is a weight to be written: its canonical (Hugging Face) name and
// shape, and where its rows come from. Importance, if not nil, holds one weight
// per column for block quantizers (see Imatrix).
type Source struct {
	Name       string
	Shape      tensor.Shape
	From       Rows
	Importance []float32
}

// F32Rows are weights in memory, Cols elements per row.
type F32Rows struct {
	Data []float32
	Cols int
}

// ReadRow copies a row.
func (r F32Rows) ReadRow(dst []float32, row int) error {
	if row < 0 || len(dst) != r.Cols || (row+1)*r.Cols > len(r.Data) {
		return fmt.Errorf("row %d of %d elements is not in %d elements", row, len(dst), len(r.Data))
	}
	copy(dst, r.Data[row*r.Cols:])
	return nil
}

// Sources lists a checkpoint's weights in the order of Config.TensorShapes.
func (c *Checkpoint) Sources() []Source {
	var s []Source
	for _, n := range c.Config.TensorShapes() {
		if t, ok := c.Tensor(n.Name); ok {
			s = append(s, Source{Name: t.Name, Shape: t.Shape, From: t})
		}
	}
	return s
}

// chunkElements is how many elements one worker converts at a time.
const chunkElements = 1 << 18

// writeAs writes the weight's rows as d. heads > 0 interleaves them as GGUF
// does for Q and K. Rows are converted by all cores and written in order;
// memory is a few chunks.
func (s *Source) writeAs(w io.Writer, d tensor.DType, heads int) error {
	rows, cols := s.Shape.Rows(), s.Shape.Cols()
	if _, err := d.RowSize(cols); err != nil {
		return err
	}
	if s.Importance != nil && len(s.Importance) != cols {
		return fmt.Errorf("%d importance weights for %d columns", len(s.Importance), cols)
	}
	if len(s.Shape) == 1 && heads > 0 {
		return s.writeInterleavedVector(w, d, heads)
	}
	if t, ok := s.From.(*Tensor); ok && t.DType == d {
		if data, ok := t.Bytes(); ok && heads == 0 {
			_, err := w.Write(data)
			return err
		}
		if heads > 0 && t.heads == heads {
			_, err := w.Write(t.data)
			return err
		}
	}
	return inOrder(w, rows, max(1, chunkElements/max(cols, 1)), func(first, last int) (data []byte, err error) {
		err = mapped.Guard(func() error {
			data, err = s.convert(d, heads, first, last)
			return err
		})
		return data, err
	})
}

// convert gives rows [first, last) of the output.
func (s *Source) convert(d tensor.DType, heads, first, last int) ([]byte, error) {
	cols := s.Shape.Cols()
	rowSize, err := d.RowSize(cols)
	if err != nil {
		return nil, err
	}
	t, _ := s.From.(*Tensor)
	out := make([]byte, (last-first)*rowSize)
	buf := make([]float32, cols)
	for i := first; i < last; i++ {
		from := i // the canonical row
		if heads > 0 {
			from = interleavedRow(i, s.Shape.Rows()/heads)
		}
		row := out[(i-first)*rowSize : (i-first+1)*rowSize]
		if t != nil && t.DType == d {
			copy(row, t.Row(from))
			continue
		}
		if err := s.From.ReadRow(buf, from); err != nil {
			return nil, err
		}
		if err := quant.Quantize(row, d, buf, s.Importance); err != nil {
			return nil, fmt.Errorf("row %d: %w", from, err)
		}
	}
	return out, nil
}

// interleavedRow is the canonical place of row i of Q or K in GGUF's order: in each head of dim rows, the two halves take turns.
func interleavedRow(i, dim int) int {
	head, r := i/dim, i%dim
	return head*dim + r%2*(dim/2) + r/2
}

// inOrder lets all cores convert n rows, chunk at a time, and writes the results in their order.
func inOrder(w io.Writer, n, chunk int, convert func(first, last int) ([]byte, error)) error {
	type result struct {
		data []byte
		err  error
	}
	workers := runtime.GOMAXPROCS(0)
	pending := make(chan chan result, workers)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(pending)
		for first := 0; first < n; first += chunk {
			last := min(first+chunk, n)
			r := make(chan result, 1)
			select {
			case pending <- r:
			case <-stop:
				return
			}
			wg.Go(func() {
				data, err := convert(first, last)
				r <- result{data, err}
			})
		}
	})
	defer wg.Wait()
	defer close(stop)
	for r := range pending {
		res := <-r
		if res.err != nil {
			return res.err
		}
		if _, err := w.Write(res.data); err != nil {
			return err
		}
	}
	return nil
}

// writeInterleavedVector writes the bias of Q or K in GGUF's order.
func (s *Source) writeInterleavedVector(w io.Writer, d tensor.DType, heads int) error {
	n := s.Shape[0]
	in, out := make([]float32, n), make([]float32, n)
	if err := s.From.ReadRow(in, 0); err != nil {
		return err
	}
	dim := n / heads
	for i := range out {
		out[i] = in[interleavedRow(i, dim)]
	}
	size, err := d.RowSize(n)
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if err := quant.Quantize(b, d, out, nil); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
