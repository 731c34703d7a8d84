// Command recipekeys writes docs/recipe-keys.md: every key of the recipes of leo train, leo data prepare and leo data
// corpus, from the structs that hold them. Types and ranges come from the fields and their tags, defaults from the
// packages' own defaults, meanings from the comments of the fields.
//
//	go generate ./docs/recipekeys
package main

import (
	"fmt"
	"os"
)

//go:generate go run .

// pageFile is where the page stands, from this folder.
const pageFile = "../recipe-keys.md"

func main() {
	text, err := page("../..")
	if err == nil {
		err = os.WriteFile(pageFile, []byte(text), 0o666)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recipekeys:", err)
		os.Exit(1)
	}
}
