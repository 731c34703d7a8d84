package layered

import (
	"fmt"

	"leolm/device"
	"leolm/tensor"
)

// cache is a device.KVCache whose pages have a part on each device. A device without layers has none.
type cache struct {
	d     *Device
	spec  device.CacheSpec
	at    [2]device.KVCache
	pages [2][]int32 // the parts of each page that was given so far
	free  []int32    // of those, numbers without a page
	lists [2][]int32 // of one call
}

// NewCache implements device.Runner. Pages that a device has no memory for are a *device.MemoryError.
func (d *Device) NewCache(s device.CacheSpec) (device.KVCache, error) {
	c := &cache{d: d, spec: s}
	for side, dev := range d.sides {
		part := s
		if part.Layers = min(s.Layers, d.layout.First); side == second {
			part.Layers = s.Layers - part.Layers
		}
		if part.Layers == 0 {
			continue
		}
		own, err := dev.NewCache(part)
		if err != nil {
			return nil, err
		}
		what := fmt.Sprintf("the keys and values of %d tokens in %d layers", s.Pages*own.PageLen(), part.Layers)
		if err := device.Need(dev, what, float64(s.Pages)*float64(own.PageBytes())); err != nil {
			return nil, err
		}
		c.at[side] = own
	}
	return c, nil
}

// any is one of the parts.
func (c *cache) any() device.KVCache {
	if c.at[first] != nil {
		return c.at[first]
	}
	return c.at[second]
}

func (c *cache) DType() tensor.DType { return c.any().DType() }
func (c *cache) PageLen() int        { return c.any().PageLen() }
func (c *cache) Pages() int          { return c.any().Pages() }
func (c *cache) PagesInUse() int     { return c.any().PagesInUse() }

// each calls f with the parts that there are.
func (c *cache) each(f func(side int, own device.KVCache)) {
	for side, own := range c.at {
		if own != nil {
			f(side, own)
		}
	}
}

func (c *cache) PageBytes() (n int) {
	c.each(func(_ int, own device.KVCache) { n += own.PageBytes() })
	return n
}

func (c *cache) Bytes() (n int) {
	c.each(func(_ int, own device.KVCache) { n += own.Bytes() })
	return n
}

func (c *cache) Alloc() (int32, error) {
	var parts [2]int32
	var err error
	done := [2]bool{}
	c.each(func(side int, own device.KVCache) {
		if err == nil {
			parts[side], err = own.Alloc()
			done[side] = err == nil
		}
	})
	if err != nil {
		c.each(func(side int, own device.KVCache) {
			if done[side] {
				own.Free(parts[side])
			}
		})
		return 0, err
	}
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		c.pages[first][p], c.pages[second][p] = parts[first], parts[second]
		return p, nil
	}
	for side := range parts {
		c.pages[side] = append(c.pages[side], parts[side])
	}
	return int32(len(c.pages[first]) - 1), nil
}

func (c *cache) Retain(p int32) {
	c.each(func(side int, own device.KVCache) { own.Retain(c.pages[side][p]) })
}

func (c *cache) Free(p int32) {
	before := c.PagesInUse()
	c.each(func(side int, own device.KVCache) { own.Free(c.pages[side][p]) })
	if c.PagesInUse() < before {
		c.free = append(c.free, p)
	}
}

func (c *cache) CopyPage(dst, src int32, n int) {
	c.each(func(side int, own device.KVCache) { own.CopyPage(c.pages[side][dst], c.pages[side][src], n) })
}

func (c *cache) ReadPage(p int32, dst []byte) {
	c.each(func(side int, own device.KVCache) {
		own.ReadPage(c.pages[side][p], dst)
		dst = dst[own.PageBytes():]
	})
}

func (c *cache) WritePage(p int32, src []byte) {
	c.each(func(side int, own device.KVCache) {
		own.WritePage(c.pages[side][p], src)
		src = src[own.PageBytes():]
	})
}

// FreeCache implements device.Freer.
func (d *Device) FreeCache(kv device.KVCache) {
	d.cacheOf(kv).each(func(side int, own device.KVCache) {
		if f, ok := d.sides[side].(device.Freer); ok {
			f.FreeCache(own)
		}
	})
}

func (d *Device) cacheOf(kv device.KVCache) *cache {
	c, ok := kv.(*cache)
	if !ok || c.d != d {
		panic(fmt.Sprintf("layered: a cache of another device (%T)", kv))
	}
	return c
}

// Attention implements device.Ops.
func (d *Device) Attention(q, k, v *device.Tensor, spec *device.AttentionSpec) *device.Tensor {
	side, own := where(q), *spec
	if spec.Cache != nil {
		c := d.cacheOf(spec.Cache)
		side = d.side(spec.Layer)
		if side == second {
			own.Layer -= d.layout.First
		}
		own.Cache = c.at[side]
		own.Seqs = c.translate(side, spec.Seqs)
	}
	return d.wrap(side, d.sides[side].Attention(d.on(side, q), d.on(side, k), d.on(side, v), &own))
}

// translate returns sequences whose pages are those of a side.
func (c *cache) translate(side int, seqs []device.Sequence) []device.Sequence {
	out := make([]device.Sequence, len(seqs))
	list := c.lists[side][:0]
	for _, s := range seqs {
		for _, p := range s.Pages {
			list = append(list, c.pages[side][p])
		}
	}
	c.lists[side] = list
	for i, s := range seqs {
		out[i] = s
		out[i].Pages, list = list[:len(s.Pages):len(s.Pages)], list[len(s.Pages):]
	}
	return out
}
