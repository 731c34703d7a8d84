package loader_test

import (
	"fmt"
	"log"

	"leolm/dataset/loader"
	"leolm/dataset/shard"
)

// inMemory is a set of samples; those of shards are one, too.
type inMemory []shard.Sample

func (m inMemory) Len() int                  { return len(m) }
func (m inMemory) Length(i int) int          { return len(m[i].IDs) }
func (m inMemory) Sample(i int) shard.Sample { return m[i] }

// Samples are packed into windows, each to be read by itself.
func ExampleBatcher() {
	set := inMemory{{IDs: []int32{10, 11, 12}}, {IDs: []int32{20, 21}}, {IDs: []int32{30, 31, 32}}}
	blend, err := loader.NewBlend(1, loader.Part{Set: set, Weight: 1})
	if err != nil {
		log.Fatal(err)
	}
	b, err := loader.NewBatcher(blend, loader.BatchOptions{Length: 8, Batch: 1, Pack: true, Loss: loader.AllLoss()})
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range b.Next() {
		fmt.Println(w.Len(), "positions of", len(w.Docs), "documents, loss weight", w.Loss())
	}
	fmt.Println(b.Epochs(), "epochs")
	// Output:
	// 5 positions of 3 documents, loss weight 5
	// 1 epochs
}
