package checkpoint

import (
	"fmt"
	"math"
)

// merged are the rows of a weight with a low-rank change folded in.
type merged struct {
	base      Rows
	scale     float32
	rank      int
	a         []float32 // [rank, in]
	b         []float32 // [out, rank]
	magnitude []float32 // [out], nil without DoRA
}

// Merge returns the rows of base with the change folded in, computed in
// float32. A and B are read now; base row by row, as asked for.
func (l *LoRA) Merge(base Rows) (Rows, error) {
	m := &merged{base: base, scale: float32(l.Scale), rank: l.Rank}
	var err error
	if m.a, err = l.A.Float32(); err != nil {
		return nil, err
	}
	if m.b, err = l.B.Float32(); err != nil {
		return nil, err
	}
	if l.Magnitude != nil {
		if m.magnitude, err = l.Magnitude.Float32(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ReadRow computes row i of the merged weight.
func (m *merged) ReadRow(dst []float32, row int) error {
	if err := m.base.ReadRow(dst, row); err != nil {
		return err
	}
	if (row+1)*m.rank > len(m.b) || len(dst)*m.rank != len(m.a) {
		return fmt.Errorf("row %d of %d elements is not in the adapter's matrix", row, len(dst))
	}
	for k, b := range m.b[row*m.rank : (row+1)*m.rank] {
		b *= m.scale
		for i, a := range m.a[k*len(dst) : (k+1)*len(dst)] {
			dst[i] += b * a
		}
	}
	if m.magnitude == nil {
		return nil
	}
	var sum float64
	for _, v := range dst {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return nil
	}
	f := m.magnitude[row] / float32(math.Sqrt(sum))
	for i := range dst {
		dst[i] *= f
	}
	return nil
}

// SourcesWith lists the checkpoint's weights with the adapter folded in, as
// Sources lists them without.
func (c *Checkpoint) SourcesWith(a *Adapter) ([]Source, error) {
	sources := c.Sources()
	at := map[string]int{}
	for i, s := range sources {
		at[s.Name] = i
	}
	for i := range a.Targets {
		l := &a.Targets[i]
		j, ok := at[l.Name]
		if !ok {
			return nil, fmt.Errorf("%s: the base model has no %s", a.Path, l.Name)
		}
		rows, err := l.Merge(sources[j].From)
		if err != nil {
			return nil, err
		}
		sources[j].From = rows
	}
	for _, t := range a.Saved {
		j, ok := at[t.Name]
		if !ok {
			return nil, fmt.Errorf("%s: the base model has no %s", a.Path, t.Name)
		}
		sources[j].From = t
	}
	return sources, nil
}
