package cpu_test

import (
	"fmt"
	"log"

	"leolm/device"
	"leolm/device/cpu"
)

// A device with two workers of its own takes one step of AdamW.
func ExampleNew() {
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	w := dev.NewParam("w", 1, 2)
	if err := dev.WriteWeight(w, []float32{1, -1}); err != nil {
		log.Fatal(err)
	}
	m, err := dev.NewOptimizerState(w, 32, true)
	if err != nil {
		log.Fatal(err)
	}
	v, err := dev.NewOptimizerState(w, 32, false)
	if err != nil {
		log.Fatal(err)
	}
	dev.WriteGrad(w, []float32{0.3, -5})
	dev.AdamW(w, m, v, device.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, GradScale: 1})
	values := make([]float32, 2)
	dev.ReadWeight(w, values)
	fmt.Printf("%.3f\n", values)
	// Output: [0.900 -0.900]
}
