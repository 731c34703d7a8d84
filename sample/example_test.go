package sample_test

import (
	"fmt"
	"log"

	"leolm/sample"
)

// Tokens are drawn from logits. The same seed gives the same tokens, on every machine.
func ExampleSampler() {
	s, err := sample.New(sample.Params{Temperature: 0.8, TopK: 3, Seed: 1}, 5)
	if err != nil {
		log.Fatal(err)
	}
	for range 8 {
		logits := []float32{1, 3, 2.5, 2, -1} // Sample changes them
		id, err := s.Sample(logits, nil)
		if err != nil {
			log.Fatal(err)
		}
		s.Accept(id)
		fmt.Print(id, " ")
	}
	// Output: 2 2 1 2 1 2 3 1
}

// A stop string ends a text that comes in pieces; no part of it is ever shown.
func ExampleStopMatcher() {
	m := sample.NewStopMatcher([]string{"\nUser:"})
	for _, piece := range []string{"Ein Berg.", "\nU", "nd zwar", " hoch.\nUs", "er: Danke"} {
		text, stopped := m.Push(piece)
		fmt.Printf("%q %v\n", text, stopped)
	}
	// Output:
	// "Ein Berg." false
	// "" false
	// "\nUnd zwar" false
	// " hoch." false
	// "" true
}
