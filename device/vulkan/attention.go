package vulkan

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// kinds are the types of caches, with their numbers in cache.glsl; 0 stands for rows of the call.
var kinds = map[tensor.DType]uint32{tensor.F32: 1, tensor.F16: 2, tensor.BF16: 3, tensor.Q8_0: 4}

// pages is the device.KVCache of the GPU. A page is allocated when it is first used and then kept. Within a page, per
// layer: keys of all heads, values of all heads; per head pageLen rows.
type pages struct {
	d        *Device
	spec     device.CacheSpec
	rowBytes int // of one head of one position
	refs     []int32
	data     []vulkan.Buffer
	free     []int32
	used     int
}

// pageStep is what the length of pages is a multiple of.
const pageStep = 32

// mostDim is the most elements of a head: those that a work group of attention.comp sums.
const mostDim = 512

// NewCache implements device.Runner.
func (d *Device) NewCache(s device.CacheSpec) (device.KVCache, error) {
	if kinds[s.DType] == 0 {
		return nil, fmt.Errorf("cache type %v: choose f32, f16, bf16 or q8_0", s.DType)
	}
	row, err := s.DType.RowSize(s.HeadDim)
	if err != nil {
		return nil, fmt.Errorf("cache type %v with heads of %d elements: %w", s.DType, s.HeadDim, err)
	}
	if s.HeadDim > mostDim {
		return nil, fmt.Errorf("heads of %d elements: at most %d", s.HeadDim, mostDim)
	}
	s.PageLen = cmp.Or(s.PageLen, device.DefaultPageLen)
	if s.PageLen < 0 || s.PageLen%pageStep != 0 {
		return nil, fmt.Errorf("cache pages of %d positions: must be a multiple of %d", s.PageLen, pageStep)
	}
	return &pages{d: d, spec: s, rowBytes: row, refs: make([]int32, s.Pages), data: make([]vulkan.Buffer, s.Pages)}, nil
}

func (c *pages) DType() tensor.DType { return c.spec.DType }
func (c *pages) PageLen() int        { return c.spec.PageLen }
func (c *pages) Pages() int          { return len(c.data) }
func (c *pages) PagesInUse() int     { return c.used - len(c.free) }
func (c *pages) Bytes() int          { return c.used * c.PageBytes() }
func (c *pages) PageBytes() int {
	return c.spec.Layers * 2 * c.spec.KVHeads * c.spec.PageLen * c.rowBytes
}

func (c *pages) Alloc() (int32, error) {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		c.refs[p] = 1
		return p, nil
	}
	if c.used == len(c.data) {
		return 0, &device.CacheFullError{Pages: c.used, PageLen: c.spec.PageLen}
	}
	b, err := c.d.take(fmt.Sprintf("keys and values of %d tokens", c.spec.PageLen), c.PageBytes())
	if err != nil {
		return 0, err
	}
	p := int32(c.used)
	c.used++
	c.data[p], c.refs[p] = b, 1
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

// CopyPage copies the whole page: the rest is never read.
func (c *pages) CopyPage(dst, src int32, _ int) {
	c.d.gpu.Copy(c.data[dst], 0, c.data[src], 0, int64(c.PageBytes()))
}

func (c *pages) ReadPage(p int32, dst []byte) {
	if err := c.d.gpu.Download(dst[:c.PageBytes()], c.data[p], 0); err != nil {
		c.d.gpu.Fail(err)
	}
}

func (c *pages) WritePage(p int32, src []byte) {
	for at := 0; at < c.PageBytes(); at += 4 * uploadPart {
		part := src[at:min(at+4*uploadPart, c.PageBytes())]
		c.d.gpu.Upload(c.data[p], int64(at), len(part), func(dst []byte) { copy(dst, part) })
	}
}

// Attention implements device.Ops.
func (d *Device) Attention(q, k, v *device.Tensor, spec *device.AttentionSpec) *device.Tensor {
	return d.attention(q, k, v, nil, spec)
}

// attention is Attention that also writes the log-sum-exp of the scores, unless lse is nil.
func (d *Device) attention(q, k, v, lse *device.Tensor, spec *device.AttentionSpec) *device.Tensor {
	checkAttention(q, k, v, spec)
	rows, table, c := d.sequences(q.Rows, spec)
	out := d.New(q.Rows, q.Cols)
	kind, pageLen, words := uint32(0), 0, 0
	if c != nil {
		kind, pageLen, words = kinds[c.spec.DType], c.spec.PageLen, c.rowBytes/2
		parts := spec.HeadDim
		if c.spec.DType == tensor.Q8_0 {
			parts /= 32
		}
		var p push
		p.addrs(d.at(k), d.at(v), table, rows)
		p.words(k.Rows, spec.KVHeads, spec.HeadDim, pageLen, words, spec.Layer)
		d.run(kernelKey{"store", [2]uint32{kind}}, &p, groups(k.Rows*spec.KVHeads*parts, 64), 1, false)
	}
	at := attended{d: d, spec: spec, kind: kind, q: d.at(q), k: d.at(k), v: d.at(v), table: table, rows: rows, y: d.at(out), pageLen: pageLen, words: words}
	if lse != nil {
		at.lse = d.at(lse)
	}
	at.run(q.Rows)
	return out
}

func (d *Device) cacheOf(kv device.KVCache) *pages {
	c, ok := kv.(*pages)
	if !ok || c.d != d {
		panic(fmt.Sprintf("device: a cache of another device (%T)", kv))
	}
	return c
}

// sequences writes down, for each row, where its sequence's pages begin in the table, its position, the sequence's first
// row, and 1; zeros for rows in no sequence.
func (d *Device) sequences(n int, spec *device.AttentionSpec) (rows, table uint64, c *pages) {
	count := 0
	if spec.Cache != nil {
		c = d.cacheOf(spec.Cache)
		for _, s := range spec.Seqs {
			count += len(s.Pages)
		}
	}
	b, rows := d.gpu.Args(16 * n)
	clear(b)
	t, table := d.gpu.Args(8 * count)
	first := 0
	for _, s := range spec.Seqs {
		for i := range s.Len {
			at := b[16*(s.Row+i):]
			binary.LittleEndian.PutUint32(at, uint32(first))
			binary.LittleEndian.PutUint32(at[4:], uint32(s.Past+i))
			binary.LittleEndian.PutUint32(at[8:], uint32(s.Row))
			binary.LittleEndian.PutUint32(at[12:], 1)
		}
		if c == nil {
			continue
		}
		for _, p := range s.Pages {
			binary.LittleEndian.PutUint64(t[8*first:], c.data[p].Addr)
			first++
		}
	}
	return rows, table, c
}

// checkAttention panics if shapes and sequences do not fit.
func checkAttention(q, k, v *device.Tensor, spec *device.AttentionSpec) {
	heads, kv, dim := spec.Heads, spec.KVHeads, spec.HeadDim
	if kv < 1 || dim > mostDim || heads%kv != 0 || q.Cols != heads*dim || k.Cols != kv*dim || v.Cols != k.Cols || k.Rows != q.Rows || v.Rows != q.Rows {
		panic(fmt.Sprintf("device: attention of %v, %v, %v with %d heads, %d key/value heads of %d", q, k, v, heads, kv, dim))
	}
	c, cached := spec.Cache.(*pages)
	for _, s := range spec.Seqs {
		if s.Row < 0 || s.Len < 0 || s.Row+s.Len > q.Rows || !cached && s.Past != 0 {
			panic(fmt.Sprintf("device: a sequence of rows %d to %d after %d tokens, in a batch of %d", s.Row, s.Row+s.Len, s.Past, q.Rows))
		}
		if cached && s.Past+s.Len > len(s.Pages)*c.spec.PageLen {
			panic(fmt.Sprintf("device: %d tokens in %d pages of %d", s.Past+s.Len, len(s.Pages), c.spec.PageLen))
		}
	}
}
