package train

import (
	"fmt"

	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/device"
	"leolm/llama"
)

// feed is where batches come from.
type feed struct {
	batcher *loader.Batcher
	valid   []validSet
	opened  []openedShards
}

// openedShards are shards with the recipe's key that names them.
type openedShards struct {
	key string
	*shard.Shards
}

// each calls f for all shards.
func (f *feed) each(fn func(key string, s *shard.Shards) error) error {
	for _, o := range f.opened {
		if err := fn(o.key, o.Shards); err != nil {
			return err
		}
	}
	return nil
}

// template is the record of the first shards that say what wrote their dialogues; nil if none do.
func (f *feed) template() *shard.Record {
	for _, o := range f.opened {
		if r := o.Record(); r != nil && r.Template != "" {
			return r
		}
	}
	return nil
}

// validSet is one named set that validation loss is measured on.
type validSet struct {
	name string
	set  shard.Set
}

func (f *feed) Close() {
	for _, o := range f.opened {
		o.Shards.Close()
	}
}

func (f *feed) open(key string, d DataSet) (*shard.Shards, error) {
	s, err := shard.Open(d.Shards)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	f.opened = append(f.opened, openedShards{key, s})
	return s, nil
}

// lossWeights turns the recipe's loss into weights by role.
func (c *DataConfig) lossWeights() (loader.LossWeights, error) {
	switch c.Loss {
	case "assistant":
		return loader.AssistantLoss(), nil
	case "roles":
		return loader.RoleLoss(c.RoleWeights)
	}
	return loader.AllLoss(), nil
}

// holdOutSeed is the seed of scikit-learn's split in the original pipeline.
const holdOutSeed = 666

// openData opens the sets of a recipe.
func openData(c *Config) (*feed, error) {
	f := &feed{}
	loss, err := c.Data.lossWeights()
	if err != nil {
		return nil, fmt.Errorf("data.role_weights: %w", err)
	}
	var sets []shard.Set
	var weights []float64
	fail := func(err error) (*feed, error) {
		f.Close()
		return nil, err
	}
	for i, d := range c.Data.Train {
		s, err := f.open(fmt.Sprintf("data.train[%d]", i), d)
		if err != nil {
			return fail(err)
		}
		var set shard.Set = s
		if c.Data.HoldOut > 0 {
			train, held, err := loader.HoldOut(s, c.Data.HoldOut, holdOutSeed)
			if err != nil {
				return fail(fmt.Errorf("data.train[%d]: %w", i, err))
			}
			set = train
			f.valid = append(f.valid, validSet{nameOf(d, i), held})
		}
		sets, weights = append(sets, set), append(weights, d.Weight)
	}
	for i, d := range c.Data.Valid {
		s, err := f.open(fmt.Sprintf("data.valid[%d]", i), d)
		if err != nil {
			return fail(err)
		}
		f.valid = append(f.valid, validSet{nameOf(d, i), s})
	}
	if len(sets) == 0 {
		return f, nil // objectives over answers bring their own
	}
	parts, err := loader.Proportions(sets, weights)
	if err != nil {
		return fail(fmt.Errorf("data.train: %w", err))
	}
	blend, err := loader.NewBlend(c.Seed, parts...)
	if err != nil {
		return fail(fmt.Errorf("data.train: %w", err))
	}
	f.batcher, err = loader.NewBatcher(blend, loader.BatchOptions{
		Length: c.Data.SequenceLength, Batch: c.Batch.Global, Pack: c.Data.Packing, GroupByLength: c.Data.GroupByLength, Loss: loss,
	})
	if err != nil {
		return fail(err)
	}
	return f, nil
}

func nameOf(d DataSet, i int) string {
	if d.Name != "" {
		return d.Name
	}
	return fmt.Sprintf("set%d", i)
}

// microBatch is a micro-batch ready for the model: windows behind each other, without padding.
type microBatch struct {
	batch   llama.Batch
	targets []int32
	weights []float32
	ends    []int   // of the windows: the row after the last
	loss    float64 // sum of the weights before scaling
}

// fill makes a micro-batch of ws. With cross, a window is one sequence whatever documents it holds.
func (r *microBatch) fill(ws []loader.Window, cross bool) {
	b := &r.batch
	b.IDs, b.Positions, b.Seqs = b.IDs[:0], b.Positions[:0], b.Seqs[:0]
	r.targets, r.weights, r.ends, r.loss = r.targets[:0], r.weights[:0], r.ends[:0], 0
	for i := range ws {
		w := &ws[i]
		at := len(b.IDs)
		if cross || len(w.Docs) == 0 {
			b.Seqs = append(b.Seqs, device.Sequence{Row: at, Len: w.Len()})
			for p := range w.Len() {
				b.Positions = append(b.Positions, int32(p))
			}
		} else {
			for d, start := range w.Docs {
				end := int32(w.Len())
				if d+1 < len(w.Docs) {
					end = w.Docs[d+1]
				}
				if end > start {
					b.Seqs = append(b.Seqs, device.Sequence{Row: at + int(start), Len: int(end - start)})
				}
			}
			b.Positions = append(b.Positions, w.Positions()...)
		}
		b.IDs = append(b.IDs, w.IDs...)
		r.targets = append(r.targets, w.Targets...)
		r.weights = append(r.weights, w.Weights...)
		r.ends = append(r.ends, len(b.IDs))
		r.loss += w.Loss()
	}
}

// check refuses ids that have no row: a shard was damaged since its largest id was written down.
func (r *microBatch) check(rows int) error {
	for _, ids := range [][]int32{r.batch.IDs, r.targets} {
		for _, id := range ids {
			if id < 0 || int(id) >= rows {
				return &MismatchError{"data", fmt.Sprintf("the shards hold the id %d, the model has %d rows: a file was changed since it was prepared", id, rows), "prepare the data again"}
			}
		}
	}
	return nil
}

// scale multiplies the weights, so that the loss of a step is a mean.
func (r *microBatch) scale(s float64) {
	for i, w := range r.weights {
		r.weights[i] = float32(float64(w) * s)
	}
}
