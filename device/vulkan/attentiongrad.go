package vulkan

import (
	"encoding/binary"

	"leolm/device"
)

// AttentionTrain implements device.Derivatives.
func (d *Device) AttentionTrain(q, k, v *device.Tensor, spec *device.AttentionSpec) (out, lse *device.Tensor) {
	lse = d.New(q.Rows, spec.Heads)
	return d.attention(q, k, v, lse, spec), lse
}

// The parts of attentiongrad.comp.
const (
	attentionDelta = iota
	attentionQueries
	attentionKeys
)

// attentionTile is how many queries, and keys, attentiongrad.comp holds against each other at a time.
const attentionTile = 16

// AttentionGrad implements device.Derivatives.
func (d *Device) AttentionGrad(q, k, v, out, lse, dout *device.Tensor, spec *device.AttentionSpec) (dq, dk, dv *device.Tensor) {
	checkAttention(q, k, v, spec)
	sameShape("the derivative of attention", q, dout)
	if spec.Cache != nil {
		panic("device: attention through a cache has no derivative")
	}
	dq, dk, dv = d.New(q.Rows, q.Cols), d.New(k.Rows, k.Cols), d.New(v.Rows, v.Cols)
	covered, count := 0, 0
	for _, s := range spec.Seqs {
		covered += s.Len
		count += (s.Len + attentionTile - 1) / attentionTile
	}
	if covered < q.Rows {
		for _, t := range []*device.Tensor{dq, dk, dv} {
			d.zero(d.at(t), t.Rows*t.Cols)
		}
	}
	delta := d.New(q.Rows, spec.Heads)
	run := func(part uint32, tiles, y, z uint64, x, heads int, independent bool) {
		var p push
		p.addrs(d.at(q), d.at(k), d.at(v), d.at(dout), d.at(lse), d.at(delta), tiles, y, z)
		p.words(spec.Heads, spec.KVHeads, spec.Window, q.Rows*spec.Heads)
		p.float(spec.Scale)
		d.run(kernelKey{"attentiongrad", [2]uint32{part, uint32(spec.HeadDim)}}, &p, x, heads, independent)
	}
	run(attentionDelta, 0, d.at(out), d.at(delta), groups(q.Rows*spec.Heads, 128), 1, false)
	for lo := 0; lo < count; lo += mostGroups {
		n := min(count-lo, mostGroups)
		run(attentionQueries, d.tiles(spec, lo, n), d.at(dq), 0, n, spec.Heads, false)
		run(attentionKeys, d.tiles(spec, lo, n), d.at(dk), d.at(dv), n, spec.KVHeads, true)
	}
	d.Release(delta)
	return dq, dk, dv
}

// tiles writes down n tiles from lo on: first row, number of rows, first row of the sequence and its length. Late ones
// see the most keys and come first.
func (d *Device) tiles(spec *device.AttentionSpec, lo, n int) uint64 {
	b, addr := d.gpu.Args(16 * n)
	at := 0
	for _, s := range spec.Seqs {
		for t := (s.Len - 1) / attentionTile; t >= 0 && s.Len > 0; t-- {
			if at >= lo && at < lo+n {
				for i, x := range []int{s.Row + t*attentionTile, min(attentionTile, s.Len-t*attentionTile), s.Row, s.Len} {
					binary.LittleEndian.PutUint32(b[16*(at-lo)+4*i:], uint32(x))
				}
			}
			at++
		}
	}
	return addr
}
