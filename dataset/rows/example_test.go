package rows_test

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"leolm/dataset/rows"
)

// The rows of a file, whatever its format; a row that is wrong is named, and those behind it are read.
func ExampleReader() {
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "animals.jsonl")
	if err := os.WriteFile(file, []byte(`{"animal": "Igel", "legs": 4}
{"animal": "Fisch", "legs":}
{"animal": "Spinne", "legs": 8}
`), 0o666); err != nil {
		log.Fatal(err)
	}
	r, err := rows.Open(file, rows.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var row rows.Row
	for {
		if err := r.Next(&row); err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		v, err := row.Value()
		if err != nil {
			fmt.Println("skipped: row", row.Number)
			continue
		}
		animal, _ := v.Get("animal")
		legs, _ := v.Get("legs")
		fmt.Println(animal.Text, legs.Text)
	}
	// Output:
	// Igel 4
	// skipped: row 2
	// Spinne 8
}
