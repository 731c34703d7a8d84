//go:build !nomodel

package catalog_test

import (
	"fmt"
	"log"

	"leolm/catalog"
)

// What belongs to a model is found without running it: here the embedded one, by its name.
func ExampleOpen() {
	m, err := catalog.Open("leo-mini", catalog.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	cfg := m.Config()
	fmt.Printf("%s: %.1f million parameters, %d positions\n", m.Name, float64(cfg.Parameters())/1e6, cfg.MaxPositions)
	for _, id := range m.StopIDs {
		fmt.Println("stops at", m.Tokenizer.Piece(id))
	}
	// Output:
	// leo-mini: 4.2 million parameters, 1024 positions
	// stops at </s>
	// stops at <|im_end|>
}
