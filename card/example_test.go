package card_test

import (
	"errors"
	"fmt"

	"leolm/card"
)

// What the hub would refuse is known before anything is uploaded.
func ExampleCheckFrontMatter() {
	err := card.CheckFrontMatter([]byte("---\nlicense: MIT License\nlanguage: German\n---\n# A model\n"))
	var e *card.FrontMatterError
	if errors.As(err, &e) {
		for _, p := range e.Problems {
			fmt.Println(p.Key)
		}
	}
	// Output:
	// license
	// language
}
