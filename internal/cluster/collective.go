package cluster

import (
	"unsafe"
)

// AllReduce combines the buffers of all ranks, element by element, into all of them. They have the same length.
func AllReduce[T Number](c *Comm, op Op, buf []T) *Work {
	if op > Max {
		return refuse("AllReduce: unknown %v", op)
	}
	return c.start(func() error {
		_, err := c.meet(call{op: opAllReduce, elem: elemBytes[T](), reduce: uint8(op), count: uint64(len(buf))})
		switch {
		case err != nil || c.size == 1 || len(buf) == 0:
			return err
		case len(bytesOf(buf))*c.size <= smallBytes:
			return allReduceSmall(c, op, buf)
		}
		return allReduce(c, op, buf)
	})
}

// ReduceScatter combines the src of all ranks, and gives each rank its part, in dst. dst may be that part of src, and
// must not overlap another; src stays as it is elsewhere. Without parts they are Even.
func ReduceScatter[T Number](c *Comm, op Op, dst, src []T, parts Parts) *Work {
	if parts == nil {
		parts = Even(len(src), c.size)
	}
	if op > Max {
		return refuse("ReduceScatter: unknown %v", op)
	}
	if err := parts.check(len(src), c.size); err != nil {
		return refuse("ReduceScatter: %w", err)
	}
	from, to := parts.Of(c.rank)
	if len(dst) != to-from {
		return refuse("ReduceScatter: %d elements for a part of %d", len(dst), to-from)
	}
	return c.start(func() error {
		mine := call{op: opReduceScatter, elem: elemBytes[T](), reduce: uint8(op), count: uint64(len(src)), parts: parts.digest()}
		if _, err := c.meet(mine); err != nil {
			return err
		}
		if c.size == 1 {
			copy(dst, src)
			return nil
		}
		p, err := newPasses(c, partPieces(src, parts))
		if err != nil {
			return err
		}
		return p.reduceScatter(op, dst, pieces(parts.longest(), p.n))
	})
}

// AllGather gives the parts of all ranks to all: src is this rank's, dst has room for all of them. src may be its part
// of dst, and must not overlap another. Without parts they are Even.
func AllGather[T Number](c *Comm, dst, src []T, parts Parts) *Work {
	if parts == nil {
		parts = Even(len(dst), c.size)
	}
	if err := parts.check(len(dst), c.size); err != nil {
		return refuse("AllGather: %w", err)
	}
	from, to := parts.Of(c.rank)
	if len(src) != to-from {
		return refuse("AllGather: %d elements for a part of %d", len(src), to-from)
	}
	return c.start(func() error {
		mine := call{op: opAllGather, elem: elemBytes[T](), count: uint64(len(dst)), parts: parts.digest()}
		if _, err := c.meet(mine); err != nil {
			return err
		}
		copy(dst[from:to], src)
		return collect(c, dst, parts)
	})
}

// collect fills all with the parts of all ranks; that of this rank is in its place.
func collect[T Number](c *Comm, all []T, parts Parts) error {
	if c.size == 1 {
		return nil
	}
	p, err := newPasses(c, partPieces(all, parts))
	if err != nil {
		return err
	}
	return p.allGather(pieces(parts.longest(), p.n))
}

// Broadcast fills the buffers of all ranks with the root's. They have the same length.
func Broadcast[T Number | byte](c *Comm, root int, buf []T) *Work {
	if root < 0 || root >= c.size {
		return refuse("Broadcast: root %d in a group of %d", root, c.size)
	}
	return c.start(func() error {
		var t T
		mine := call{op: opBroadcast, elem: uint8(unsafe.Sizeof(t)), root: uint32(root), count: uint64(len(buf))}
		if _, err := c.meet(mine); err != nil {
			return err
		}
		return c.broadcast(root, bytesOf(buf))
	})
}

// broadcast sends bytes of a length that all ranks know.
func (c *Comm) broadcast(root int, buf []byte) error {
	if c.size == 1 || len(buf) == 0 {
		return nil
	}
	s, err := c.staging()
	if err != nil {
		return err
	}
	for len(buf) > 0 {
		piece := s.whole[:min(len(buf), len(s.whole))]
		if c.rank == root {
			copy(piece, buf)
		}
		if err := c.t.broadcast(root, piece); err != nil {
			return err
		}
		buf = buf[copy(buf, piece):]
	}
	return nil
}

// smallBytes is up to which size everybody's elements are gathered, and combined by all.
const smallBytes = 4 << 10

func allReduceSmall[T Number](c *Comm, op Op, buf []T) error {
	all := make([]T, len(buf)*c.size)
	if err := c.t.gather(bytesOf(all), bytesOf(buf)); err != nil {
		return err
	}
	values := make([][]T, c.size)
	for p := range values {
		values[p] = all[p*len(buf) : (p+1)*len(buf)]
	}
	combine(op, buf, values)
	return nil
}

// allReduce cuts the buffer into windows of a piece for each rank. While one is combined and gathered, the next one is
// on its way to its owners.
func allReduce[T Number](c *Comm, op Op, buf []T) error {
	p, err := newPasses(c, func(k, n int) [][]T {
		from, to := cut(0, len(buf), k, n*c.size)
		parts := Even(to-from, c.size)
		list := make([][]T, c.size)
		for r := range list {
			list[r] = buf[from+parts[r] : from+parts[r+1]]
		}
		return list
	})
	if err != nil {
		return err
	}
	windows := pieces(len(buf), p.n*c.size)
	if err := p.scatter(0); err != nil {
		return err
	}
	for k := range windows {
		if k+1 < windows {
			if err := p.scatter(k + 1); err != nil {
				return err
			}
		}
		own := p.set(k).at[c.rank]
		if err := p.combine(k, op, own); err != nil {
			return err
		}
		if err := p.gather(k); err != nil {
			return err
		}
		if err := p.gathered(k); err != nil {
			return err
		}
	}
	return nil
}

// partPieces cuts every rank's part into pieces.
func partPieces[T Number](all []T, parts Parts) func(k, n int) [][]T {
	return func(k, n int) [][]T {
		list := make([][]T, len(parts)-1)
		for r := range list {
			from, to := cut(parts[r], parts[r+1], k, n)
			list[r] = all[from:to]
		}
		return list
	}
}

// elemBytes is the size of an element.
func elemBytes[T Number]() uint8 {
	var t T
	return uint8(unsafe.Sizeof(t))
}
