package llama_test

import (
	"fmt"
	"log"
	"math"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/llama"
)

// A new model knows nothing: to it every token is about equally likely.
func ExampleNew() {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	cfg := checkpoint.Config{
		Architecture: "llama", HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		VocabSize: 100, MaxPositions: 64, RMSEps: 1e-5, RopeTheta: 10000, BOS: -1, PAD: -1,
	}
	m, err := llama.New(dev, cfg, 0.02, 1)
	if err != nil {
		log.Fatal(err)
	}
	// One sequence of four tokens; the target of each is the next token.
	hidden := m.Forward(dev, &llama.Batch{
		IDs: []int32{1, 2, 3, 4}, Positions: []int32{0, 1, 2, 3}, Seqs: []device.Sequence{{Row: 0, Len: 4}},
	})
	ce := dev.LinearCrossEntropy(hidden, m.Head, []int32{2, 3, 4, 5}, []float32{1, 1, 1, 1}, 0)
	dev.Release(hidden)
	fmt.Println(cfg.Parameters(), "parameters")
	fmt.Println("near the loss of a uniform guess:", math.Abs(ce.Loss/4-math.Log(100)) < 0.2)
	// Output:
	// 24992 parameters
	// near the loss of a uniform guess: true
}
