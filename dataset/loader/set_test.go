package loader

import "leolm/dataset/shard"

// memSet is a set in memory.
type memSet []shard.Sample

func (m memSet) Len() int                  { return len(m) }
func (m memSet) Length(i int) int          { return len(m[i].IDs) }
func (m memSet) Sample(i int) shard.Sample { return m[i] }

// testSet has samples of the given lengths; ids tell sample and position.
func testSet(lengths ...int) memSet {
	var m memSet
	for i, n := range lengths {
		s := shard.Sample{IDs: make([]int32, n), Roles: make([]uint8, n)}
		for k := range n {
			s.IDs[k] = int32(1000*i + k)
			s.Roles[k] = uint8(1 + k*2/n)
		}
		m = append(m, s)
	}
	return m
}
