package train

import (
	"cmp"
	"slices"
)

// RankPlan predicts what each of several ranks takes.
type RankPlan struct {
	Ranks    int    `json:"ranks"`
	Parts    int    `json:"parts"` // of a step's gradient
	Sharding string `json:"sharding"`
	// Memory is that of the rank which takes most.
	Memory Memory `json:"memory"`
	// Sent is what a rank sends in a step, and receives, in bytes: gradients to the ranks that sum them up, sums or updated
	// weights back.
	Sent int64 `json:"bytes_sent_per_step"`
	// Gathered is how much of Sent are values of weights on their way to ranks that compute with them: of sharded
	// parameters.
	Gathered int64 `json:"bytes_gathered_per_step,omitempty"`
}

// ForRanks plans the same run for n ranks. The steps of a run stay what they are: each rank computes its part of their
// sequences.
func (p *Plan) ForRanks(n int) (RankPlan, error) {
	c := p.config
	parts := c.parts(n, 0)
	if err := checkParts(n, parts, c.Batch.Global); err != nil {
		return RankPlan{}, err
	}
	r := RankPlan{Ranks: n, Parts: parts, Sharding: c.Parallel.Sharding, Memory: p.Memory}
	if n == 1 {
		return r, nil
	}
	if c.Parallel.shardsParameters() {
		p.pool(&r)
		return r, nil
	}
	sizes := p.trainedSizes()
	share := p.Trainable / int64(n)
	if c.Parallel.Sharding != "none" {
		share = int64(largestShare(sizes, n))
		p.shard(&r)
	}
	if c.Parallel.Overlap == "always" {
		r.Memory.Workspace += 4 * p.blockParams()
	}
	if parts > n {
		r.Memory.Workspace += 8 * share
	}
	r.Memory.inProcess(n)
	r.Sent = 4 * p.Trainable * int64(n-1) / int64(n) * int64(parts/n+1)
	return r, nil
}

// trainedSizes are the elements of the trained tensors, as far as a plan knows them.
func (p *Plan) trainedSizes() []int {
	c, m := p.config, &p.shape
	var sizes []int
	for _, s := range m.TensorShapes() {
		n, err := s.Shape.Elements()
		if err != nil {
			continue
		}
		if c.LoRA == nil && trains(c.Model.Train, s.Name) || len(c.Model.Train) > 0 && trains(c.Model.Train, s.Name) {
			sizes = append(sizes, n)
		}
		if c.LoRA != nil && len(s.Shape) == 2 {
			if module := s.Name[:max(0, len(s.Name)-len(".weight"))]; targets(c.LoRA.Targets, module) {
				rank, _ := c.LoRA.of(module)
				sizes = append(sizes, s.Shape[0]*rank, s.Shape[1]*rank)
			}
		}
	}
	return sizes
}

// room is the size of the run's room: that of the largest tensor that is sent to other ranks, or written. Adapters that are
// not merged are written without the weights below them.
func (p *Plan) room() int64 {
	sizes := append(p.trainedSizes(), 0)
	if l := p.config.LoRA; l == nil || l.Merge {
		for _, s := range p.shape.TensorShapes() {
			if n, err := s.Shape.Elements(); err == nil {
				sizes = append(sizes, n)
			}
		}
	}
	return 4 * int64(slices.Max(sizes))
}

// shard plans moments, and gradients where they are sharded, of the rank that has most of both.
func (p *Plan) shard(r *RankPlan) {
	c, n := p.config, r.Ranks
	var trained []burden
	for _, b := range slices.Concat(c.burdens(&p.shape, p.stored, false), c.adapters(&p.shape)) {
		if b.gradients > 0 {
			trained = append(trained, b)
		}
	}
	sizes := make([]int, len(trained))
	for i := range sizes {
		sizes[i] = trained[i].gradients
	}
	owner, most := shares(sizes, make([]int, n)), int64(0)
	for rank := range n {
		moments, gradients := int64(0), p.Memory.Gradients
		for i, b := range trained {
			if owner[i] == rank {
				moments += int64(b.moments)
			}
		}
		if c.Parallel.shardsGradients() {
			gradients = heldGradients(trained, owner, rank)
		}
		if moments+gradients > most {
			most, r.Memory.Optimizer, r.Memory.Gradients = moments+gradients, moments, gradients
		}
	}
}

// heldGradients are the bytes of gradients that a rank holds which keeps those of its share only. Others' are dropped
// block by block, and their memory serves gradients of the same size; those of no block stay until the end.
func heldGradients(list []burden, owner []int, rank int) int64 {
	var held int64
	blocks := map[int]map[int]int{} // gradients of each block by size
	kept := map[int]map[int]int{}   // of them, the rank's own
	last := -1
	for i, b := range list {
		block, ok := blockOf(b.name)
		if !ok || b.gradients == 0 {
			held += int64(b.gradients)
			continue
		}
		last = max(last, block)
		if blocks[block] == nil {
			blocks[block], kept[block] = map[int]int{}, map[int]int{}
		}
		blocks[block][b.gradients]++
		if owner[i] == rank {
			kept[block][b.gradients]++
		}
	}
	own, most := map[int]int{}, map[int]int{}
	for block := last; block >= 0; block-- {
		for size, count := range blocks[block] {
			most[size] = max(most[size], own[size]+count)
			own[size] += kept[block][size]
		}
	}
	for size, count := range most {
		held += int64(size) * int64(count)
	}
	return held
}

// blockParams are the trained parameters of a decoder block.
func (p *Plan) blockParams() int64 {
	return (p.Trainable - p.vocabularyParams()) / int64(max(p.shape.Layers, 1))
}

// vocabularyParams are those of embedding and head.
func (p *Plan) vocabularyParams() int64 {
	vocabulary := int64(p.shape.VocabSize) * int64(p.shape.HiddenSize)
	if !p.shape.TieEmbeddings {
		vocabulary *= 2
	}
	if p.config.LoRA != nil && len(p.config.Model.Train) == 0 {
		vocabulary = 0
	}
	return min(vocabulary, p.Trainable)
}

// largestShare is the most elements that one of n ranks updates.
func largestShare(sizes []int, n int) int {
	most := 0
	for _, load := range loads(sizes, shares(sizes, make([]int, n)), n) {
		most = max(most, load)
	}
	return most
}

// shares gives every tensor to one of the ranks: the largest first, each to the rank that has least. load is what they have
// already, and is added to.
func shares(sizes, load []int) []int {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	owner := make([]int, len(sizes))
	for _, i := range order {
		least := 0
		for r := range load {
			if load[r] < load[least] {
				least = r
			}
		}
		owner[i] = least
		load[least] += sizes[i]
	}
	return owner
}

// loads adds up what each of n owners has.
func loads(sizes, owner []int, n int) []int {
	load := make([]int, n)
	for i, s := range sizes {
		load[owner[i]] += s
	}
	return load
}
