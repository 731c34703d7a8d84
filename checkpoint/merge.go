package checkpoint

import (
	"fmt"
	"math"
	"sync"

	"leolm/tensor"
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

// WithAdapter lists the checkpoint's weights with the adapter folded in, as Sources lists them without, and the
// configuration that they are of.
func (c *Checkpoint) WithAdapter(a *Adapter) (Config, []Source, error) {
	cfg := a.Config(c.Config)
	at := map[string]int{}
	sources := c.Sources()
	for i, s := range sources {
		at[s.Name] = i
	}
	if i, ok := at[embedName]; ok && c.Config.TieEmbeddings && !cfg.TieEmbeddings {
		head := sources[i]
		head.Name = headName
		at[headName] = len(sources)
		sources = append(sources, head)
	}
	for _, t := range a.Saved {
		if t.Name == headName && cfg.TieEmbeddings {
			continue
		}
		j, ok := at[t.Name]
		if !ok {
			return cfg, nil, fmt.Errorf("%s: the base model has no %s", a.Path, t.Name)
		}
		sources[j].From, sources[j].Shape = t, t.Shape
	}
	for _, name := range []string{embedName, headName} {
		if i, ok := at[name]; ok && sources[i].Shape[0] < cfg.VocabSize {
			s := &sources[i]
			s.From = &moreRows{from: s.From, rows: s.Shape[0]}
			s.Shape = tensor.Shape{cfg.VocabSize, s.Shape[1]}
		}
	}
	for i := range a.Targets {
		l := &a.Targets[i]
		j, ok := at[l.Name]
		if !ok {
			return cfg, nil, fmt.Errorf("%s: the base model has no %s", a.Path, l.Name)
		}
		rows, err := l.Merge(sources[j].From)
		if err != nil {
			return cfg, nil, err
		}
		sources[j].From = rows
	}
	return cfg, sources, nil
}

// moreRows are the rows of a matrix, extended without bound by their mean.
type moreRows struct {
	from Rows
	rows int
	once sync.Once
	mean []float32
	err  error
}

// ReadRow reads a stored row or the mean.
func (m *moreRows) ReadRow(dst []float32, row int) error {
	if row < m.rows {
		return m.from.ReadRow(dst, row)
	}
	m.once.Do(func() {
		sum, one := make([]float64, len(dst)), make([]float32, len(dst))
		for i := range m.rows {
			if m.err = m.from.ReadRow(one, i); m.err != nil {
				return
			}
			for j, v := range one {
				sum[j] += float64(v)
			}
		}
		m.mean = make([]float32, len(dst))
		for j, v := range sum {
			m.mean[j] = float32(v / float64(m.rows))
		}
	})
	copy(dst, m.mean)
	return m.err
}
