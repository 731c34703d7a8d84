package cpu

import (
	"cmp"
	"fmt"
	"math"
	"unsafe"

	"leolm/device"
	"leolm/internal/kernel/attn"
	"leolm/internal/kernel/vec"
	"leolm/internal/largepage"
	"leolm/tensor"
)

// pages is the device.KVCache of the CPU. A page is allocated when it is first used
// and then kept. Within a page, per layer: keys of all heads, values of all heads; per
// head pageLen rows.
type pages struct {
	layers, kvHeads, headDim int
	pageLen                  int
	dt                       tensor.DType
	rowBytes                 int // one head of one position
	refs                     []int32
	data                     [][]byte
	free                     []int32
	used                     int
}

// NewCache implements device.Device.
func (d *Device) NewCache(s device.CacheSpec) (device.KVCache, error) {
	switch s.DType {
	case tensor.F32, tensor.F16, tensor.BF16, tensor.Q8_0:
	default:
		return nil, fmt.Errorf("cache type %v: choose f32, f16, bf16 or q8_0", s.DType)
	}
	row, err := s.DType.RowSize(s.HeadDim)
	if err != nil {
		return nil, fmt.Errorf("cache type %v with heads of %d elements: %w", s.DType, s.HeadDim, err)
	}
	pageLen := cmp.Or(s.PageLen, device.DefaultPageLen)
	if err := attn.CheckRun(pageLen); err != nil {
		return nil, fmt.Errorf("cache pages of %w", err)
	}
	return &pages{
		pageLen: pageLen, layers: s.Layers, kvHeads: s.KVHeads, headDim: s.HeadDim, dt: s.DType, rowBytes: row,
		refs: make([]int32, s.Pages), data: make([][]byte, s.Pages),
	}, nil
}

func (c *pages) DType() tensor.DType { return c.dt }

func (c *pages) PageLen() int { return c.pageLen }

func (c *pages) PageBytes() int { return c.layers * 2 * c.kvHeads * c.pageLen * c.rowBytes }

func (c *pages) Pages() int { return len(c.data) }

func (c *pages) PagesInUse() int { return c.used - len(c.free) }

func (c *pages) Bytes() int { return c.used * c.PageBytes() }

func (c *pages) Alloc() (int32, error) {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		c.refs[p] = 1
		return p, nil
	}
	if c.used == len(c.data) {
		return 0, &device.CacheFullError{Pages: c.used, PageLen: c.pageLen}
	}
	p := int32(c.used)
	c.used++
	// float32 memory, so that every element type is aligned.
	words := largepage.Make[float32]((c.PageBytes() + 3) / 4)
	c.data[p] = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), c.PageBytes())
	c.refs[p] = 1
	return p, nil
}

func (c *pages) Retain(p int32) { c.refs[p]++ }

func (c *pages) Free(p int32) {
	if c.refs[p]--; c.refs[p] < 0 {
		panic("device: cache page freed twice")
	}
	if c.refs[p] == 0 {
		c.free = append(c.free, p)
	}
}

func (c *pages) CopyPage(dst, src int32, n int) {
	head := c.pageLen * c.rowBytes
	for at := 0; at < c.PageBytes(); at += head {
		copy(c.data[dst][at:at+n*c.rowBytes], c.data[src][at:])
	}
}

func (c *pages) ReadPage(p int32, dst []byte) { copy(dst[:len(c.data[p])], c.data[p]) }

func (c *pages) WritePage(p int32, src []byte) { copy(c.data[p], src[:len(c.data[p])]) }

// head returns the pageLen rows of one head's keys (kv 0) or values (kv 1).
func (c *pages) head(page int32, layer, kv, h int) []byte {
	n := c.pageLen * c.rowBytes
	at := ((layer*2+kv)*c.kvHeads + h) * n
	return c.data[page][at : at+n]
}

func view[T any](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

// rowsOf describes a head of a page to the attention kernel.
func (c *pages) rowsOf(b []byte) attn.Rows {
	r := attn.Rows{Type: c.dt, Stride: c.headDim}
	switch c.dt {
	case tensor.F32:
		r.F32 = view[float32](b)
	case tensor.F16, tensor.BF16:
		r.Half = view[uint16](b)
	default:
		r.Bytes, r.Stride = b, c.rowBytes
	}
	return r
}

// store rounds one head of one position to the cache type.
func (c *pages) store(b []byte, at int, x []float32) {
	b = b[at*c.rowBytes : (at+1)*c.rowBytes]
	switch c.dt {
	case tensor.F32:
		copy(view[float32](b), x)
	case tensor.F16:
		vec.F16FromF32(view[uint16](b), x)
	case tensor.BF16:
		vec.BF16FromF32(view[uint16](b), x)
	default:
		vec.QuantizeQ8(b, x)
	}
}

// attnWorker is what one worker needs for attention.
type attnWorker struct {
	scratch attn.Scratch
	runs    []attn.Run
}

// attnJob is a range of the queries of one key/value head of one sequence or, in a
// long context with few queries, a range of key splits.
type attnJob struct {
	seq, head      int
	lo, hi         int // queries
	partial        int // index into partials, -1 for a whole job
	splitLo, split int
	store          bool // the queries' keys and values first
}

// Queries per job: many enough to share widened keys, few enough to balance the causal triangle.
const (
	jobQueries = 128
	// In training there are jobs enough, and packed keys and values serve all queries of a job.
	wideJobQueries = 512
	minJobQueries  = 16
	jobSplits      = 4
)

// Attention implements device.Ops.
func (d *Device) Attention(q, k, v *device.Tensor, spec *device.AttentionSpec) *device.Tensor {
	out := d.attended(q, spec)
	d.attend(mat(q), mat(k), mat(v), out, nil, spec)
	return &out.Tensor
}

// inHalf reports whether attention multiplies in bf16: in bf16 training, where keys and values are rows of the call.
func (d *Device) inHalf(spec *device.AttentionSpec) bool {
	return d.compute == tensor.BF16 && spec.Cache == nil && spec.HeadDim%2 == 0
}

// attended makes the result of attention.
func (d *Device) attended(q *device.Tensor, spec *device.AttentionSpec) *matrix {
	if d.inHalf(spec) {
		return d.newHalf(q.Rows, q.Cols)
	}
	return d.alloc(q.Rows, q.Cols)
}

// AttentionTrain implements device.Derivatives.
func (d *Device) AttentionTrain(q, k, v *device.Tensor, spec *device.AttentionSpec) (out, lse *device.Tensor) {
	o, l := d.attended(q, spec), d.alloc(q.Rows, spec.Heads)
	d.attend(mat(q), mat(k), mat(v), o, l, spec)
	return &o.Tensor, &l.Tensor
}

func (d *Device) attend(q, k, v, out, lse *matrix, spec *device.AttentionSpec) {
	checkAttention(q, k, v, spec)
	in := d.inputs(q, k, v, spec)
	covered := 0
	for i := range spec.Seqs {
		covered += spec.Seqs[i].Len
	}
	if covered < q.Rows {
		clear(out.f32)
		clear(out.h)
		if lse != nil {
			clear(lse.f32)
		}
	}
	cache, _ := spec.Cache.(*pages)
	perJob := jobQueries
	if in.qh != nil && len(spec.Seqs)*spec.KVHeads >= 8*d.pool.Workers() {
		perJob = wideJobQueries
	}
	// Jobs and the space of partial results.
	d.attnJobs = d.attnJobs[:0]
	group := spec.Heads / spec.KVHeads
	space, work := 0, 0 // work of all sequences, in pairs of queries and keys
	for si := range spec.Seqs {
		work += pairsOf(&spec.Seqs[si])
	}
	for si := range spec.Seqs {
		s := &spec.Seqs[si]
		splits := attn.Splits(s.Past + s.Len)
		// A head of a long context would keep one worker busy while the others have finished.
		large := 4*d.pool.Workers()*pairsOf(s) > work*spec.KVHeads
		inSplits := large && s.Len <= 8 && splits > 2*jobSplits
		pieces := (s.Len + perJob - 1) / perJob
		if large {
			pieces = evenPieces(pieces, s.Len, spec.KVHeads, d.pool.Workers())
		}
		// A job that alone attends over a head of its sequence stores the new rows of that head, too.
		alone := cache != nil && !inSplits && pieces == 1
		if cache != nil && !alone {
			d.storeKV(cache, in.k, in.v, spec, si)
		}
		for h := range spec.KVHeads {
			if inSplits {
				part := s.Len * group * (2 + spec.HeadDim)
				for sp := 0; sp < splits; sp += jobSplits {
					d.attnJobs = append(d.attnJobs, attnJob{seq: si, head: h, hi: s.Len, partial: space + sp*part, splitLo: sp, split: min(sp+jobSplits, splits)})
				}
				space += splits * part
				continue
			}
			// Late queries see more keys: start with them, so that the last jobs are short.
			for n := pieces; n > 0; n-- {
				d.attnJobs = append(d.attnJobs, attnJob{seq: si, head: h, lo: s.Len * (n - 1) / pieces, hi: s.Len * n / pieces, partial: -1, store: alone})
			}
		}
	}
	d.partials = grow(d.partials, space)
	d.attn = attnTask{d: d, in: in, cache: cache, spec: spec, out: out, lse: lse}
	d.pool.Do(len(d.attnJobs), &d.attn)
	if space > 0 {
		d.attn.combine = true
		d.pool.Do(len(d.attnJobs), &d.attn)
	}
	d.attn = attnTask{}
}

// evenPieces is into how many pieces, n or a few more, the queries of each head are cut, so that workers finish together: three
// heads in one piece keep two workers busy for two thirds of the time. Every piece widens the keys and values anew.
func evenPieces(n, queries, heads, workers int) int {
	const widening = 0.05 // of a piece's time, roughly, where pieces have jobQueries
	best, least := n, math.Inf(1)
	for p := n; p < n+workers && queries >= p*minJobQueries; p++ {
		rounds := (p*heads + workers - 1) / workers
		if cost := float64(rounds) / float64(p) * (1 + widening*float64(p*jobQueries)/float64(queries)); cost < least {
			best, least = p, cost
		}
	}
	return best
}

// pairsOf is how many pairs of queries and keys a sequence has, at most.
func pairsOf(s *device.Sequence) int { return s.Len * (s.Past + s.Len) }

// attnTask is attention as a task of the pool: the jobs, or putting their parts together.
type attnTask struct {
	d        *Device
	in       attnInputs
	cache    *pages
	spec     *device.AttentionSpec
	out, lse *matrix
	combine  bool
}

// Do implements pool.Task.
func (t *attnTask) Do(worker, i int) {
	d := t.d
	j := &d.attnJobs[i]
	if t.combine && (j.partial < 0 || j.splitLo != 0) {
		return
	}
	if j.store {
		t.cache.storeRows(t.in.k, t.in.v, t.spec, j.seq, j.lo, j.hi, j.head, j.head+1)
	}
	w := &d.attnWorkers[worker]
	b := d.block(w, j, &t.in, t.cache, t.spec)
	o := outputOf(t.out, t.lse, j, t.spec)
	var err error
	switch s := &t.spec.Seqs[j.seq]; {
	case t.combine:
		err = b.Combine(&o, d.partials[j.partial:], attn.Splits(s.Past+s.Len))
	case j.partial >= 0:
		err = b.Partials(d.partials[j.partial:], j.splitLo, j.split, &w.scratch)
	default:
		err = b.Forward(&o, &w.scratch)
	}
	if err != nil {
		panic(err)
	}
}

// attnInputs are queries, keys and values, in f32 or in bf16.
type attnInputs struct {
	q, k, v    []float32
	qh, kh, vh []uint16
}

func (d *Device) inputs(q, k, v *matrix, spec *device.AttentionSpec) attnInputs {
	if d.inHalf(spec) {
		return attnInputs{qh: d.half(q), kh: d.half(k), vh: d.half(v)}
	}
	return attnInputs{q: d.values(q), k: d.values(k), v: d.values(v)}
}

func checkAttention(q, k, v *matrix, spec *device.AttentionSpec) {
	if q.Cols != spec.Heads*spec.HeadDim || k.Cols != spec.KVHeads*spec.HeadDim || v.Cols != k.Cols || k.Rows != q.Rows || v.Rows != q.Rows {
		panic(fmt.Sprintf("device: attention of q %v, k %v, v %v with %d/%d heads of %d", &q.Tensor, &k.Tensor, &v.Tensor, spec.Heads, spec.KVHeads, spec.HeadDim))
	}
}

// block describes job j to the kernel.
func (d *Device) block(w *attnWorker, j *attnJob, in *attnInputs, cache *pages, spec *device.AttentionSpec) attn.Block {
	s := &spec.Seqs[j.seq]
	dim, group := spec.HeadDim, spec.Heads/spec.KVHeads
	width := spec.Heads * dim
	w.runs = w.runs[:0]
	last := s.Past + j.hi // keys that the last query sees
	if cache == nil {
		kvWidth := spec.KVHeads * dim
		at := s.Row*kvWidth + j.head*dim
		if in.qh != nil {
			w.runs = append(w.runs, attn.Run{
				K: attn.Rows{Type: tensor.BF16, Half: in.kh[at:], Stride: kvWidth},
				V: attn.Rows{Type: tensor.BF16, Half: in.vh[at:], Stride: kvWidth}, N: last,
			})
		} else {
			w.runs = append(w.runs, attn.Run{
				K: attn.Rows{Type: tensor.F32, F32: in.k[at:], Stride: kvWidth},
				V: attn.Rows{Type: tensor.F32, F32: in.v[at:], Stride: kvWidth}, N: last,
			})
		}
	} else {
		for p := 0; p*cache.pageLen < last; p++ {
			page := s.Pages[p]
			w.runs = append(w.runs, attn.Run{
				K: cache.rowsOf(cache.head(page, spec.Layer, 0, j.head)),
				V: cache.rowsOf(cache.head(page, spec.Layer, 1, j.head)), N: min(cache.pageLen, last-p*cache.pageLen),
			})
		}
	}
	b := attn.Block{
		Dim: dim, Scale: spec.Scale, Window: spec.Window, QToken: width, QHead: dim,
		N: j.hi - j.lo, Heads: group, Pos: s.Past + j.lo, Runs: w.runs,
	}
	if at := (s.Row+j.lo)*width + j.head*group*dim; in.qh != nil {
		b.QH = in.qh[at:]
	} else {
		b.Q = in.q[at:]
	}
	return b
}

func outputOf(out, lse *matrix, j *attnJob, spec *device.AttentionSpec) attn.Output {
	row, group := spec.Seqs[j.seq].Row+j.lo, spec.Heads/spec.KVHeads
	o := attn.Output{Token: out.Cols, Head: spec.HeadDim}
	if at := row*out.Cols + j.head*group*spec.HeadDim; out.f32 != nil {
		o.O = out.f32[at:]
	} else {
		o.OH = out.h[at:]
	}
	if lse != nil {
		o.LSE, o.LSEToken = lse.f32[row*spec.Heads+j.head*group:], spec.Heads
	}
	return o
}

// storeKV writes the new keys and values of sequence i into the cache.
func (d *Device) storeKV(c *pages, k, v []float32, spec *device.AttentionSpec, i int) {
	n, width := spec.Seqs[i].Len, 2*spec.KVHeads*spec.HeadDim
	if d.chunks(n, width) <= 1 { // without memory for a closure
		c.storeRows(k, v, spec, i, 0, n, 0, spec.KVHeads)
		return
	}
	d.storeMany(c, k, v, spec, i)
}

func (d *Device) storeMany(c *pages, k, v []float32, spec *device.AttentionSpec, i int) {
	d.rows(spec.Seqs[i].Len, 2*spec.KVHeads*spec.HeadDim, func(lo, hi int) { c.storeRows(k, v, spec, i, lo, hi, 0, spec.KVHeads) })
}

// storeRows writes rows [lo, hi) of heads [h0, h1) of sequence n.
func (c *pages) storeRows(k, v []float32, spec *device.AttentionSpec, n, lo, hi, h0, h1 int) {
	s := &spec.Seqs[n]
	dim, width := spec.HeadDim, spec.KVHeads*spec.HeadDim
	for i := lo; i < hi; i++ {
		pos := s.Past + i
		page, at := s.Pages[pos/c.pageLen], pos%c.pageLen
		for h := h0; h < h1; h++ {
			x := (s.Row+i)*width + h*dim
			c.store(c.head(page, spec.Layer, 0, h), at, k[x:x+dim])
			c.store(c.head(page, spec.Layer, 1, h), at, v[x:x+dim])
		}
	}
}

// AttentionGrad implements device.Derivatives. Work divides by sequence and key/value head.
func (d *Device) AttentionGrad(q, k, v, out, lse, dout *device.Tensor, spec *device.AttentionSpec) (dq, dk, dv *device.Tensor) {
	a, b, c := d.attentionGrad(mat(q), mat(k), mat(v), mat(out), mat(lse), mat(dout), spec)
	return &a.Tensor, &b.Tensor, &c.Tensor
}

func (d *Device) attentionGrad(q, k, v, out, lse, dout *matrix, spec *device.AttentionSpec) (dq, dk, dv *matrix) {
	checkAttention(q, k, v, spec)
	if spec.Cache != nil {
		panic("device: attention through a cache has no derivative")
	}
	in := d.inputs(q, k, v, spec)
	var of []float32
	var oh, dh []uint16
	if in.qh != nil {
		oh, dh = d.half(out), d.half(dout)
	} else {
		of = d.values(out)
	}
	df := d.values(dout)
	dq, dk, dv = d.alloc(q.Rows, q.Cols), d.alloc(k.Rows, k.Cols), d.alloc(v.Rows, v.Cols)
	clear(dq.f32)
	clear(dk.f32)
	clear(dv.f32)
	dim, group := spec.HeadDim, spec.Heads/spec.KVHeads
	d.pool.Run(len(spec.Seqs)*spec.KVHeads, func(worker, i int) {
		w := &d.attnWorkers[worker]
		s := &spec.Seqs[i/spec.KVHeads]
		j := attnJob{seq: i / spec.KVHeads, head: i % spec.KVHeads, hi: s.Len, partial: -1}
		b := d.block(w, &j, &in, nil, spec)
		qAt := s.Row*q.Cols + j.head*group*dim
		kAt := s.Row*k.Cols + j.head*dim
		g := attn.Grad{
			Output: attn.Output{Token: q.Cols, Head: dim, LSE: lse.f32[s.Row*spec.Heads+j.head*group:], LSEToken: spec.Heads},
			DO:     df[qAt:], DQ: dq.f32[qAt:], DK: dk.f32[kAt:], DV: dv.f32[kAt:], DKStride: k.Cols,
		}
		if in.qh != nil {
			g.OH, g.DOH = oh[qAt:], dh[qAt:]
		} else {
			g.O = of[qAt:]
		}
		if err := b.Backward(&g, &w.scratch); err != nil {
			panic(err)
		}
	})
	return dq, dk, dv
}
