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
	rowSize, err := d.RowSize(cols)
	if err != nil {
		return err
	}
	if s.Importance != nil && len(s.Importance) != cols {
		return fmt.Errorf("%d importance weights for %d columns", len(s.Importance), cols)
	}
	if len(s.Shape) == 1 && heads > 0 {
		return s.writeInterleavedVector(w, d, heads)
	}
	t, _ := s.From.(*Tensor)
	if t != nil && t.DType == d {
		if data, ok := t.Bytes(); ok && heads == 0 {
			_, err := w.Write(data)
			return err
		}
		if heads > 0 && t.heads == heads {
			_, err := w.Write(t.data)
			return err
		}
	}
	// rowAt maps a row of the output to the canonical row.
	rowAt := func(i int) int {
		if heads == 0 {
			return i
		}
		dim := rows / heads
		head, r := i/dim, i%dim
		return head*dim + r%2*(dim/2) + r/2
	}
	perChunk := max(1, chunkElements/max(cols, 1))
	convert := func(first, last int) ([]byte, error) {
		out := make([]byte, (last-first)*rowSize)
		buf := make([]float32, cols)
		for i := first; i < last; i++ {
			row := out[(i-first)*rowSize : (i-first+1)*rowSize]
			if t != nil && t.DType == d {
				copy(row, t.Row(rowAt(i)))
				continue
			}
			if err := s.From.ReadRow(buf, rowAt(i)); err != nil {
				return nil, err
			}
			if err := quant.Quantize(row, d, buf, s.Importance); err != nil {
				return nil, fmt.Errorf("row %d: %w", rowAt(i), err)
			}
		}
		return out, nil
	}
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
		for first := 0; first < rows; first += perChunk {
			last := min(first+perChunk, rows)
			r := make(chan result, 1)
			select {
			case pending <- r:
			case <-stop:
				return
			}
			wg.Go(func() {
				var data []byte
				err := mapped.Guard(func() (err error) {
					data, err = convert(first, last)
					return err
				})
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
		head, r := i/dim, i%dim
		out[i] = in[head*dim+r%2*(dim/2)+r/2]
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
