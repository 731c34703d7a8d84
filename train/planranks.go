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
	// Tensor is how many ranks share every layer.
	Tensor int `json:"tensor,omitempty"`
	// Memory is that of the rank which takes most.
	Memory Memory `json:"memory"`
	// Sent is what a rank sends in a step, and receives, in bytes: gradients to the ranks that sum them up, sums or updated
	// weights back.
	Sent int64 `json:"bytes_sent_per_step"`
	// Gathered is how much of Sent are values of weights on their way to ranks that compute with them: of sharded
	// parameters.
	Gathered int64 `json:"bytes_gathered_per_step,omitempty"`
	// Shared is how much of Sent passes between ranks that share every layer.
	Shared int64 `json:"bytes_shared_per_step,omitempty"`
}

// stageBytes is what a group of ranks holds for data on their way (package cluster), processBytes what a process with an MPI
// library takes before it does anything.
const (
	stageBytes   = 14 << 20
	processBytes = 48 << 20
)

// ForRanks plans the same run for n ranks. The steps of a run stay what they are: each rank computes its part of their
// sequences.
func (p *Plan) ForRanks(n int) (RankPlan, error) {
	c, team := p.config, p.config.teamOf(n)
	if n%team != 0 {
		return RankPlan{}, &TensorError{Tensor: team, Ranks: n}
	}
	teams := n / team
	parts := c.parts(teams, 0)
	if err := checkParts(teams, parts, c.Batch.Global); err != nil {
		return RankPlan{}, err
	}
	r := RankPlan{Ranks: n, Parts: parts, Sharding: c.Parallel.Sharding, Memory: p.Memory}
	if n == 1 {
		return r, nil
	}
	trainable, group, block := p.Trainable, p.largestGroup(), p.blockParams()
	if team > 1 {
		if _, err := checkTensor(&p.shape, team); err != nil {
			return RankPlan{}, err
		}
		s := p.shareLayers(&r, team)
		trainable, group, block = s.trainable(p.Trainable), s.trainable(group), s.trainable(block)
	}
	if c.Parallel.shardsParameters() {
		p.pool(&r)
		return r, nil
	}
	sizes := p.trainedSizes()
	var largest int
	for _, s := range sizes {
		largest = max(largest, s)
	}
	written := int64(largest)
	largest /= team
	share := trainable / int64(teams)
	if c.Parallel.Sharding != "none" && teams > 1 {
		share = int64(largestShare(sizes, teams)) / int64(team)
		r.Memory.Optimizer = int64(float64(r.Memory.Optimizer) * float64(share) / float64(max(trainable, 1)))
		r.Memory.Workspace += 4 * int64(largest) // a weight on its way
	}
	if c.Parallel.Sharding == "gradients" && teams > 1 {
		r.Memory.Gradients = 4 * (share + group)
	}
	r.Memory.Workspace += processBytes + stageBytes + 4*int64(largest) + 4*written // a gradient on its way, and a copy that is written
	if c.Parallel.Overlap == "always" {
		r.Memory.Workspace += 4 * block
	}
	if parts > teams {
		r.Memory.Workspace += 8 * share
	}
	r.Sent = r.Shared + 4*trainable*int64(teams-1)/int64(teams)*int64(parts/teams+1)
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

// largestGroup is the most trained parameters whose gradients exist at a time where they are dropped layer by layer: a
// layer's, or those of no layer.
func (p *Plan) largestGroup() int64 {
	return p.vocabularyParams() + p.blockParams() // the head's are made first and stay until the end
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
