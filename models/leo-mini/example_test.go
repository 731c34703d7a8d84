//go:build !nomodel

package leomini_test

import (
	"fmt"
	"log"

	"leolm/checkpoint"
	leomini "leolm/models/leo-mini"
)

// The embedded file is a GGUF model like any other.
func Example() {
	c, err := checkpoint.OpenBytes("leo-mini", leomini.GGUF)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Format, c.Config.Layers, "layers,", len(c.Vocab.Tokens), "pieces")
	// Output: gguf 6 layers, 8192 pieces
}
