package grad_test

import (
	"fmt"
	"log"
	"math"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/grad"
)

// The loss of one token under a softmax over two, and the gradient of the weight.
func Example() {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	head := dev.NewParam("lm_head.weight", 2, 1) // both logits are 0
	tape := grad.New(dev, false)
	var ops device.Ops = tape // a forward pass sees no difference
	hidden := dev.FromSlice(1, 1, []float32{2})
	ce := ops.LinearCrossEntropy(hidden, head, []int32{1}, nil, 0)
	tape.Backward(nil)
	ops.Release(hidden)

	g := make([]float32, 2)
	dev.ReadGrad(head, g)
	fmt.Printf("loss %.3f (log 2 is %.3f), gradient %.1f\n", ce.Loss, math.Ln2, g)
	// Output: loss 0.693 (log 2 is 0.693), gradient [1.0 -1.0]
}
