package train

import (
	"errors"
	"fmt"

	"leolm/device"
)

// checkMemory refuses a run on so many ranks, some of them here, that does not fit into the device's memory with a
// *device.MemoryError, before anything of it is allocated.
func checkMemory(dev device.Device, c *Config, ranks, here int) error {
	var assumed []string
	m, _, err := planModel(c, nil, &assumed) // without data: the shape alone
	if err != nil {
		return nil // openModel says what is wrong with the model
	}
	stored := m.VocabSize
	m.VocabSize = max(stored, c.Model.VocabSize)
	what := fmt.Sprintf("weights, gradients, optimizer and activations of batches of %d sequences of %d tokens", c.Batch.Micro, c.Data.SequenceLength)
	// First a part of it in floats: absurd sizes exceed the integers of a plan.
	h, q, kv := float64(m.HiddenSize), float64(m.Heads)*float64(m.HeadDim), float64(m.KVHeads)*float64(m.HeadDim)
	layer := 2*h*q + 2*h*kv + 3*h*float64(m.IntermediateSize)
	weights := float64(m.Layers)*layer + h*float64(m.VocabSize) // half a byte each at least, and the norms
	if c.Parallel.shardsParameters() {
		weights /= float64(ranks)
	}
	weights /= float64(c.teamOf(ranks))
	tokens := float64(c.Batch.Micro) * float64(c.demand().sequences) * float64(c.Data.SequenceLength)
	least := weights + 4*tokens*(float64(m.Layers)*h+float64(m.IntermediateSize))
	if l := c.LoRA; l != nil {
		rank := l.Rank
		for _, r := range l.RankPattern {
			rank = max(rank, r)
		}
		least += 8 * float64(rank) * h // one adapter at least
	}
	if err := errors.Join(need(dev, what, least/2, here), need(nil, "the sequences of a step", 4*float64(c.Batch.Global)*float64(c.Data.SequenceLength), here)); err != nil {
		return err
	}
	teacher, err := planTeacher(c, nil, &assumed)
	if err != nil {
		return nil // it is opened later
	}
	p := makePlan(c, m, stored, runLength{steps: 1}, teacher)
	if onGPU(dev) {
		p.OnGPU(dev)
		return need(dev, what, float64(p.Memory.Total()), here)
	}
	each, err := p.ForRanks(ranks)
	if err != nil {
		return nil // join says that these ranks cannot share it
	}
	return need(dev, what, float64(each.Memory.Total()), here)
}
