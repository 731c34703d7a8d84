package vulkan

import (
	"errors"
	"fmt"
	"math"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// types are the stored types that shaders decode, with their numbers in blocks.glsl.
var types = map[tensor.DType]uint32{
	tensor.F32: 0, tensor.F16: 1, tensor.BF16: 2, tensor.Q4_0: 3, tensor.Q4_1: 4, tensor.Q5_0: 5, tensor.Q5_1: 6, tensor.Q8_0: 7,
	tensor.Q2_K: 8, tensor.Q3_K: 9, tensor.Q4_K: 10, tensor.Q5_K: 11, tensor.Q6_K: 12, tensor.IQ4_NL: 13, tensor.NF4: 14,
}

// Supported reports whether weights can be stored in dt; float64 becomes float32.
func Supported(dt tensor.DType) bool {
	_, ok := types[dt]
	return ok || dt == tensor.F64
}

// weight is a device.Weight of the GPU: rows as they are stored. Vectors, and what is stored in float64, are float32.
type weight struct {
	name       string
	rows, cols int
	dt         tensor.DType
	kind       uint32 // among types
	stride     int    // of rows, in 16-bit words
	buf        vulkan.Buffer
	largest    uint64 // where the bits of the largest magnitude are, for products on matrix units

	trains bool
	grad   vulkan.Buffer // from row frozen on; none where nothing was added since it was made or dropped
	frozen int           // leading rows that no gradient reaches
}

func (w *weight) Rows() int           { return w.rows }
func (w *weight) Cols() int           { return w.cols }
func (w *weight) DType() tensor.DType { return w.dt }
func (w *weight) Trainable() bool     { return w.trains }
func (w *weight) FrozenRows() int     { return w.frozen }

func (w *weight) Bytes() int {
	n := 2 * w.stride * w.rows
	if w.grad.Size > 0 {
		n += 4 * w.gradients()
	}
	return n
}

func of(w device.Weight) *weight {
	c, ok := w.(*weight)
	if !ok {
		panic(fmt.Sprintf("device: weight of type %T belongs to another device", w))
	}
	return c
}

// NewWeight implements device.Runner. Rows are copied as they are stored, while earlier ones are on their way.
func (d *Device) NewWeight(s device.WeightSpec) (device.Weight, error) {
	rowBytes, err := s.RowBytes()
	if err != nil {
		return nil, err
	}
	w := &weight{name: s.Name, rows: s.Rows, cols: s.Cols, dt: s.DType, stride: rowBytes / 2}
	if !Supported(s.DType) {
		return nil, fmt.Errorf("weight %s: products with %v are not supported", s.Name, s.DType)
	}
	w.kind = types[s.DType]
	wide := s.Use&device.WeightUseVector != 0 || s.DType == tensor.F64
	if wide {
		w.kind, w.stride = types[tensor.F32], 2*s.Cols
	}
	if s.Rows > math.MaxUint32/w.stride {
		return nil, fmt.Errorf("weight %s: [%d, %d] of %v are more than 8 GiB", s.Name, s.Rows, s.Cols, s.DType)
	}
	// float16 goes to matrix units as it is, float32 not at all.
	measured := s.Use&device.WeightUseMatmul != 0 && s.DType != tensor.F16 && d.onMatrixUnits(w, 1)
	size, end := w.Bytes(), w.Bytes()
	if measured {
		end = ceil(size, 4) * 4
		size = end + 4
	}
	if w.buf, err = d.take("weight "+s.Name, size); err != nil {
		return nil, err
	}
	w.largest = d.none.Addr
	if err := d.fill(w, s, wide); err != nil {
		d.drop(w.buf)
		return nil, fmt.Errorf("weight %s: %w", s.Name, err)
	}
	if measured {
		w.largest = w.buf.Addr + uint64(end)
		d.gpu.Upload(w.buf, int64(end), 4, func(dst []byte) { clear(dst) })
		d.measureWeight(w)
	}
	return w, nil
}

// fill copies the rows of s to the device, a few at a time.
func (d *Device) fill(w *weight, s device.WeightSpec, wide bool) error {
	row := 2 * w.stride
	many := max(1, 4*uploadPart/row)
	values := make([]float32, 0)
	if wide {
		values = make([]float32, s.Cols)
	}
	var errs []error
	for lo := 0; lo < s.Rows; lo += many {
		hi := min(lo+many, s.Rows)
		d.gpu.Upload(w.buf, int64(lo*row), (hi-lo)*row, func(dst []byte) {
			for i := lo; i < hi; i++ {
				at := dst[(i-lo)*row : (i-lo+1)*row]
				if !wide {
					if n := copy(at, s.Row(i)); n != row {
						errs = append(errs, fmt.Errorf("row %d has %d bytes, want %d", i, n, row))
					}
					continue
				}
				if err := quant.Dequantize(values, s.DType, s.Row(i)); err != nil {
					errs = append(errs, err)
				}
				putFloats(at, values)
			}
		})
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return nil
}

// ReadWeight implements device.Runner.
func (d *Device) ReadWeight(w device.Weight, dst []float32) {
	c := of(w)
	if c.kind == types[tensor.F32] {
		d.download(dst[:c.rows*c.cols], c.buf)
		return
	}
	many := max(1, uploadPart/c.cols)
	for lo := 0; lo < c.rows; lo += many {
		hi := min(lo+many, c.rows)
		ids := make([]int32, hi-lo)
		for i := range ids {
			ids[i] = int32(lo + i)
		}
		t := d.Embed(c, ids)
		d.Read(t, dst[lo*c.cols:hi*c.cols])
		d.Release(t)
	}
}

// Embed implements device.Ops.
func (d *Device) Embed(table device.Weight, ids []int32) *device.Tensor {
	w, y := of(table), d.New(len(ids), table.Cols())
	for _, id := range ids {
		if id < 0 || int(id) >= w.rows {
			panic(fmt.Sprintf("device: row %d of an embedding of %d", id, w.rows))
		}
	}
	var p push
	p.addrs(w.buf.Addr, d.ints(ids), d.at(y))
	p.words(len(ids), w.cols, w.stride)
	d.run(kernelKey{"embed", [2]uint32{w.kind}}, &p, groups(len(ids)*((w.cols+15)/16), 64), 1, false)
	return y
}
