package vulkan

import (
	"leolm/device"
)

// attended is one attention on its way to kernels.
type attended struct {
	d              *Device
	spec           *device.AttentionSpec
	kind           uint32
	q, k, v        uint64
	table, rows, y uint64
	lse            uint64 // of training, or 0
	pageLen, words int
	ran            bool // a kernel of it: the next one need not wait
}

const (
	// keyRange is how many keys a work group attends to where they are split; attention.comp joins ranges of this length in
	// order, split or not.
	keyRange = 256
	// mostQueries is how many queries share the keys and values that a work group reads.
	mostQueries = 8
	// enoughGroups are so many that a GPU is busy without splitting keys, and mostParts the bytes that their results may take.
	enoughGroups = 2048
	mostParts    = 64 << 20
)

// job is some rows of one sequence.
type job struct{ row, count int }

// run attends with all rows: some of each sequence share keys, those of single tokens have their keys split.
func (a *attended) run(n int) {
	s := a.spec
	wide := 1 // heads of a work group: a divisor of those that share keys
	most := mostQueries
	if s.HeadDim > 256 {
		most /= 2 // shared memory
	}
	for w := 2; w <= most; w++ {
		if (s.Heads/s.KVHeads)%w == 0 {
			wide = w
		}
	}
	tall := max(most/wide, 1)
	var tiles, single []job
	longest := 0
	in := make([]bool, n)
	for _, q := range s.Seqs {
		for i := range q.Len {
			in[q.Row+i] = true
		}
		if q.Len == 1 {
			single = append(single, job{q.Row, 1})
			longest = max(longest, q.Past+1)
			continue
		}
		for i := 0; i < q.Len; i += tall {
			tiles = append(tiles, job{q.Row + i, min(tall, q.Len-i)})
		}
	}
	for row, some := range in {
		if !some {
			tiles = append(tiles, job{row, 1})
		}
	}
	a.dispatch(tiles, tall, wide)
	ranges := (longest + keyRange - 1) / keyRange
	bytes := len(single) * s.Heads * ranges * (s.HeadDim + 2) * 4
	if ranges < 2 || len(single)*s.Heads/wide >= enoughGroups || bytes > mostParts {
		a.dispatch(single, 1, wide)
		return
	}
	a.split(single, wide, ranges)
}

// push are the constants of attention.comp for the jobs at an address.
func (a *attended) push(jobs, parts uint64, ranges int) *push {
	s, p := a.spec, &push{}
	p.addrs(a.q, a.k, a.v, a.table, a.rows, a.y, jobs, parts)
	p.words(s.Heads, s.KVHeads, a.pageLen, a.words, s.Layer, s.Window)
	p.float(s.Scale)
	if p.words(ranges); a.lse != 0 {
		p.words(1, 0)
		p.addrs(a.lse)
	} else {
		p.words(0, 0, 0, 0)
	}
	return p
}

// key is the kernel for so many rows and heads of a work group.
func (a *attended) key(tall, wide int, split uint32) kernelKey {
	return kernelKey{"attention", [2]uint32{a.kind, uint32(a.spec.HeadDim) | uint32(tall)<<12 | uint32(wide)<<18 | split<<24}}
}

// jobs copies jobs to where kernels read them.
func (a *attended) jobs(jobs []job) uint64 {
	list := make([]int32, 0, 2*len(jobs))
	for _, j := range jobs {
		list = append(list, int32(j.row), int32(j.count))
	}
	return a.d.ints(list)
}

// dispatch attends with jobs of at most tall rows, a work group each for some heads.
func (a *attended) dispatch(jobs []job, tall, wide int) {
	for len(jobs) > 0 {
		n := min(len(jobs), mostGroups)
		a.d.run(a.key(tall, wide, 0), a.push(a.jobs(jobs[:n]), 0, 0), n, a.spec.Heads/wide, a.ran)
		jobs, a.ran = jobs[n:], true
	}
}

// split attends with jobs of one row whose keys are split into ranges, and joins them.
func (a *attended) split(jobs []job, wide, ranges int) {
	d, s := a.d, a.spec
	parts := d.New(len(jobs), s.Heads*ranges*(s.HeadDim+2))
	list := a.jobs(jobs)
	if k := d.kernel(a.key(1, wide, 1)); k != nil {
		p := a.push(list, d.at(parts), ranges)
		d.gpu.Dispatch(k, p.b[:p.n], len(jobs), s.Heads/wide, ranges, a.ran)
	}
	var p push
	p.addrs(d.at(parts), list, a.rows, a.y)
	p.words(s.Heads, ranges, s.Window)
	d.run(kernelKey{"attentionjoin", [2]uint32{uint32(s.HeadDim)}}, &p, len(jobs), s.Heads, false)
	d.Release(parts)
}
