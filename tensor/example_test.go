package tensor_test

import (
	"fmt"
	"log"

	"leolm/tensor"
)

// How many bytes a matrix takes in each way of storing it.
func ExampleShape_Size() {
	matrix := tensor.Shape{4096, 4096}
	for _, name := range []string{"f32", "bf16", "q8_0", "q4_K"} {
		d, err := tensor.ParseDType(name)
		if err != nil {
			log.Fatal(err)
		}
		size, err := matrix.Size(d)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-5s %5.1f MiB\n", d, float64(size)/(1<<20))
	}
	// Output:
	// f32    64.0 MiB
	// bf16   32.0 MiB
	// q8_0   17.0 MiB
	// q4_K    9.0 MiB
}
