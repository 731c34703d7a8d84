package train

import (
	"slices"
	"strings"

	"leolm/checkpoint"
)

// burden is what a tensor costs the rank that has it, in bytes.
type burden struct {
	name                       string
	values, gradients, moments int
}

func (b *burden) total() int { return b.values + b.gradients + b.moments }

// totals are the sums of each burden.
func totals(list []burden) []int {
	sizes := make([]int, len(list))
	for i := range list {
		sizes[i] = list[i].total()
	}
	return sizes
}

// burdens are those of a model's tensors. beside says that none is trained; stored are the rows of the vocabulary before it
// grew.
func (c *Config) burdens(m *checkpoint.Config, stored int, beside bool) []burden {
	perFrozen := c.perFrozen()
	if beside {
		perFrozen = 2
	}
	var list []burden
	for _, s := range m.TensorShapes() {
		n, err := s.Shape.Elements()
		if err != nil {
			continue
		}
		matrix := len(s.Shape) == 2
		vocabulary := matrix && (strings.Contains(s.Name, "embed_tokens") || strings.Contains(s.Name, "lm_head"))
		trained := 0
		switch {
		case beside:
		case (c.LoRA == nil || len(c.Model.Train) > 0) && trains(c.Model.Train, s.Name):
			trained = n
		case vocabulary && slices.Contains(c.Model.Train, newRows) && m.VocabSize > stored:
			trained = (m.VocabSize - stored) * m.HiddenSize
		}
		b := burden{name: s.Name, values: int(perFrozen * float64(n)), gradients: 4 * trained, moments: 8 * trained}
		switch {
		case trained > 0 || !matrix:
			b.values = 4 * n
		case vocabulary && n > stored*m.HiddenSize: // grown and frozen
			b.values = 4 * n
		}
		switch {
		case c.Optimizer.Bits == 8 && trained >= smallest8Bit:
			b.moments = 2 * trained
		case c.Optimizer.Type == "muon" && matrix && !vocabulary:
			b.moments = 4 * trained
		}
		list = append(list, b)
	}
	return list
}

// adapters are the burdens of a recipe's adapters, in the order in which they are made.
func (c *Config) adapters(m *checkpoint.Config) []burden {
	var list []burden
	if c.LoRA == nil {
		return nil
	}
	add := func(name string, n int) {
		list = append(list, burden{name: name, values: 4 * n, gradients: 4 * n, moments: 8 * n})
	}
	for _, s := range m.TensorShapes() {
		module, ok := strings.CutSuffix(s.Name, ".weight")
		if !ok || len(s.Shape) != 2 || !targets(c.LoRA.Targets, module) {
			continue
		}
		rank, _ := c.LoRA.of(module)
		add(module+".lora_A.weight", rank*s.Shape[1])
		add(module+".lora_B.weight", rank*s.Shape[0])
		if c.LoRA.DoRA {
			add(module+".lora_magnitude_vector", s.Shape[0])
		}
	}
	return list
}

// poolPlan follows what pooled does with the weights of a run's models.
type poolPlan struct {
	load, values, gradients, moments []int         // by rank
	trained                          []burden      // of all models,
	owner                            []int         // and whose they are
	others                           []map[int]int // by rank: how many values of a size others' groups have at most
	ahead                            bool          // of what is computed with
	passed                           int           // bytes of values that a forward pass of the model before reads
}

// add shares the weights of a model out. They belong to groups of the same name.
func (p *poolPlan) add(list, adapters []burden, tied bool) {
	n := len(p.load)
	owner := shares(totals(list), p.load)
	for _, a := range adapters {
		owner = append(owner, shares([]int{a.total()}, p.load)...)
	}
	list = slices.Concat(list, adapters)
	p.trained, p.owner = append(p.trained, list...), append(p.owner, owner...)
	p.passed = 0
	in := make([]map[int]map[int]int, n) // by rank and group: values of others, by size
	for i, b := range list {
		p.values[owner[i]] += b.values
		p.gradients[owner[i]] += b.gradients
		p.moments[owner[i]] += b.moments
		g := groupOf(b.name, tied)
		if p.passed += b.values; tied && g == embedding {
			p.passed += b.values // as the head, too
		}
		for r := range n {
			if r == owner[i] {
				continue
			}
			if in[r] == nil {
				in[r] = map[int]map[int]int{}
			}
			if in[r][g] == nil {
				in[r][g] = map[int]int{}
			}
			in[r][g][b.values]++
			count := in[r][g][b.values]
			if p.ahead && g >= 0 {
				count *= 2 // of the next block, too
			}
			p.others[r][b.values] = max(p.others[r][b.values], count)
		}
	}
}

// blocks is the part of the decoder blocks in what a forward pass reads.
func blocks(list []burden) int {
	n := 0
	for i := range list {
		if _, ok := blockOf(list[i].name); ok {
			n += list[i].values
		}
	}
	return n
}

// pool plans a run whose ranks pool their memory for weights.
func (p *Plan) pool(r *RankPlan) {
	c, n := p.config, r.Ranks
	s := poolPlan{load: make([]int, n), values: make([]int, n), gradients: make([]int, n), moments: make([]int, n), others: make([]map[int]int, n)}
	s.ahead = c.Parallel.Overlap == "always"
	for i := range s.others {
		s.others[i] = map[int]int{}
	}
	own, adapters := c.burdens(&p.shape, p.stored, false), c.adapters(&p.shape)
	s.add(own, adapters, p.shape.TieEmbeddings)
	// Each micro-batch runs forward, through the blocks once more for the derivatives, and for what else the objective wants.
	passed := int64(s.passed + blocks(own) + blocks(adapters))
	if s.ahead { // the last block is still here when the way back begins
		passed -= int64(blocks(own)+blocks(adapters)) / int64(max(p.shape.Layers, 1))
	}
	d := c.demand()
	passed += int64(d.forwards) * int64(s.passed)
	if d.reference && c.LoRA == nil {
		s.add(c.burdens(&p.shape, p.shape.VocabSize, true), nil, p.shape.TieEmbeddings)
	}
	if p.teacher != nil {
		s.add(c.burdens(p.teacher, p.teacher.VocabSize, true), nil, p.teacher.TieEmbeddings)
		passed += int64(s.passed)
	}
	most := 0
	for rank := range n {
		if s.load[rank] > s.load[most] {
			most = rank
		}
	}
	m := &r.Memory
	m.Weights, m.Optimizer = int64(s.values[most]), int64(s.moments[most])
	m.Gradients = heldGradients(s.trained, s.owner, most)
	for size, count := range s.others[most] {
		m.Workspace += int64(size) * int64(count)
	}
	if s.ahead {
		m.Workspace += 4 * p.blockParams()
	}
	if r.Parts > n {
		m.Workspace += 2 * int64(s.gradients[most]) // sums in float64
	}
	m.inProcess(n)
	sent := func(bytes int64) int64 { return bytes * int64(n-1) / int64(n) * int64(r.Parts/n) }
	r.Gathered = sent(passed)
	r.Sent = sent(4*p.Trainable) + r.Gathered
}
