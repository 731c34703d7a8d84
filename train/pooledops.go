package train

import "leolm/device"

// NewWeight implements device.Device.
func (p *pooled) NewWeight(s device.WeightSpec) (device.Weight, error) {
	w, err := p.Device.NewWeight(s)
	if err != nil {
		return nil, err
	}
	p.add(s.Name, w, p.sharer.StoredBytes(w))
	return w, nil
}

// NewParam implements device.Device.
func (p *pooled) NewParam(name string, rows, cols int) device.Weight {
	w := p.Device.NewParam(name, rows, cols)
	p.add(name, w, 16*rows*cols)
	return w
}

// ReadWeight implements device.Device.
func (p *pooled) ReadWeight(w device.Weight, dst []float32) {
	p.one.Lock()
	defer p.one.Unlock()
	// While models are opened, all ranks read the same; later the owner writes checkpoints by itself.
	if l := p.of[w]; l == nil || !p.mine(l) || !p.opened {
		p.need(w)
	}
	p.Device.ReadWeight(w, dst)
}

// WriteWeight implements device.Device. All ranks write the same values, or the owner alone; others' are dropped.
func (p *pooled) WriteWeight(w device.Weight, src []float32) error {
	if l := p.of[w]; l != nil && !p.mine(l) {
		if l.group.room {
			p.drop(l.group)
		}
		return nil
	}
	return p.Device.WriteWeight(w, src)
}

// Embed implements device.Ops.
func (p *pooled) Embed(table device.Weight, ids []int32) *device.Tensor {
	p.need(table)
	return p.Device.Embed(table, ids)
}

// RMSNorm implements device.Ops.
func (p *pooled) RMSNorm(x *device.Tensor, gain device.Weight, eps float32) *device.Tensor {
	p.need(gain)
	return p.Device.RMSNorm(x, gain, eps)
}

// Linear implements device.Ops.
func (p *pooled) Linear(x *device.Tensor, w device.Weight) *device.Tensor {
	p.need(w)
	return p.Device.Linear(x, w)
}

// LinearGroup implements device.Ops.
func (p *pooled) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	p.need(ws...)
	p.Device.LinearGroup(ys, x, ws...)
}

// AddBias implements device.Ops.
func (p *pooled) AddBias(x *device.Tensor, b device.Weight) *device.Tensor {
	p.need(b)
	return p.Device.AddBias(x, b)
}

// DoRA implements device.Ops.
func (p *pooled) DoRA(base, low *device.Tensor, d *device.DoRA) *device.Tensor {
	p.need(d.W, d.A, d.B, d.Magnitude)
	return p.Device.DoRA(base, low, d)
}

// LinearCrossEntropy implements device.Ops.
func (p *pooled) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	p.need(w)
	return p.Device.LinearCrossEntropy(hidden, w, targets, weights, vocab)
}

// Segment implements device.Ops.
func (p *pooled) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(p, x)
}

// RMSNormGrad implements device.Derivatives.
func (p *pooled) RMSNormGrad(x *device.Tensor, gain device.Weight, eps float32, dy *device.Tensor, needX bool) *device.Tensor {
	p.need(gain)
	return p.Device.RMSNormGrad(x, gain, eps, dy, needX)
}

// LinearGradInput implements device.Derivatives.
func (p *pooled) LinearGradInput(dy *device.Tensor, w device.Weight, acc *device.Tensor) *device.Tensor {
	p.need(w)
	return p.Device.LinearGradInput(dy, w, acc)
}

// DoRATrain implements device.Derivatives.
func (p *pooled) DoRATrain(base, low *device.Tensor, d *device.DoRA) (y, lengths *device.Tensor) {
	p.need(d.W, d.A, d.B, d.Magnitude)
	return p.Device.DoRATrain(base, low, d)
}

// DoRAGrad implements device.Derivatives.
func (p *pooled) DoRAGrad(base, low, lengths *device.Tensor, d *device.DoRA, dy *device.Tensor) (dbase, dlow *device.Tensor) {
	p.need(d.W, d.A, d.B, d.Magnitude)
	return p.Device.DoRAGrad(base, low, lengths, d, dy)
}

// LinearCrossEntropyGrad implements device.Derivatives.
func (p *pooled) LinearCrossEntropyGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, needHidden bool) (func() device.CrossEntropy, *device.Tensor) {
	p.need(w)
	return p.Device.LinearCrossEntropyGrad(hidden, w, targets, weights, vocab, needHidden)
}

// LinearDistillGrad implements device.Derivatives.
func (p *pooled) LinearDistillGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (func() device.Distillation, *device.Tensor) {
	p.need(w, teacher.Head)
	return p.Device.LinearDistillGrad(hidden, w, targets, weights, vocab, teacher, needHidden)
}
