package cluster

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// The kinds of calls.
const (
	opBarrier = iota + 1
	opGather
	opShare
	opSplit
	opClose
	opAllReduce
	opReduceScatter
	opAllGather
	opBroadcast
)

var opNames = [...]string{"none", "Barrier", "Gather", "Share", "Split", "Close", "AllReduce", "ReduceScatter", "AllGather", "Broadcast"}

// call is what a rank asks for.
type call struct {
	number uint64 // of the group's calls, from 1
	op     uint8
	elem   uint8 // bytes of an element, 0 where there are none
	reduce uint8
	root   uint32
	count  uint64 // elements; of Gather and Share each rank's own
	parts  uint64 // digest of how they are cut
}

const callBytes = 40

func (c *call) put(b []byte) {
	binary.LittleEndian.PutUint64(b, c.number)
	b[8], b[9], b[10], b[11] = c.op, c.elem, c.reduce, 0
	binary.LittleEndian.PutUint32(b[12:], c.root)
	binary.LittleEndian.PutUint64(b[16:], c.count)
	binary.LittleEndian.PutUint64(b[24:], c.parts)
	binary.LittleEndian.PutUint64(b[32:], 0)
}

func (c *call) get(b []byte) {
	c.number = binary.LittleEndian.Uint64(b)
	c.op, c.elem, c.reduce = b[8], b[9], b[10]
	c.root = binary.LittleEndian.Uint32(b[12:])
	c.count = binary.LittleEndian.Uint64(b[16:])
	c.parts = binary.LittleEndian.Uint64(b[24:])
}

// same reports whether two ranks may go on together.
func (c call) same(d call) bool {
	if c.op == d.op && (c.op == opGather || c.op == opShare) {
		c.count = d.count
	}
	return c == d
}

func (c call) String() string {
	name := fmt.Sprintf("operation %d", c.op)
	if int(c.op) < len(opNames) {
		name = opNames[c.op]
	}
	s := fmt.Sprintf("%s (call %d", name, c.number)
	if c.elem > 0 {
		s += fmt.Sprintf(", %d elements of %d bytes", c.count, c.elem)
	}
	switch c.op {
	case opAllReduce, opReduceScatter:
		s += ", " + Op(c.reduce).String()
	case opBroadcast, opShare:
		s += fmt.Sprintf(", root %d", c.root)
	}
	if c.parts != 0 {
		s += fmt.Sprintf(", parts %08x", uint32(c.parts))
	}
	return s + ")"
}

// MismatchError says that ranks of a group made different calls.
type MismatchError struct {
	Ranks [2]int    // two that differ
	Calls [2]string // what they called
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("cluster: ranks made different calls: rank %d %s, rank %d %s", e.Ranks[0], e.Calls[0], e.Ranks[1], e.Calls[1])
}

// meet waits until all ranks of the group have come to this call, and makes sure that it is the same. It returns
// everybody's.
func (c *Comm) meet(mine call) ([]call, error) {
	e := c.engine
	c.calls++
	mine.number = c.calls
	if e.faults.Delay != nil {
		if d := e.faults.Delay(c.rank, c.calls); d > 0 {
			time.Sleep(d)
		}
	}
	if e.faults.Kill != nil && e.faults.Kill(c.rank, c.calls) {
		e.life.abort(ErrKilled)
		return nil, ErrKilled
	}
	all := make([]call, c.size)
	if c.size == 1 {
		all[0] = mine
		return all, nil
	}
	src, dst := make([]byte, callBytes), make([]byte, callBytes*c.size)
	mine.put(src)
	e.life.waits(&mine)
	err := c.t.gather(dst, src)
	e.life.waits(nil)
	if err != nil {
		return nil, err
	}
	for r := range all {
		all[r].get(dst[r*callBytes:])
	}
	for r := range all {
		if !all[0].same(all[r]) {
			return nil, &MismatchError{[2]int{0, r}, [2]string{all[0].String(), all[r].String()}}
		}
	}
	return all, nil
}

// putInts writes integers of 8 bytes.
func putInts(b []byte, v ...int) {
	for i, x := range v {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(x))
	}
}

func getInt(b []byte) int { return int(binary.LittleEndian.Uint64(b)) }

// membersOf lists the ranks that gave a color, ordered by key and rank, from the pairs of all.
func membersOf(pairs []byte, size, color int) []int {
	var members []int
	for r := range size {
		if getInt(pairs[16*r:]) == color {
			members = append(members, r)
		}
	}
	slices.SortStableFunc(members, func(a, b int) int { return cmp.Compare(getInt(pairs[16*a+8:]), getInt(pairs[16*b+8:])) })
	return members
}
