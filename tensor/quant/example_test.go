package quant_test

import (
	"fmt"
	"log"

	"leolm/tensor"
	"leolm/tensor/quant"
)

// A row of 32 numbers as one block of 8 bits each with a common scale, and back.
func Example() {
	row := make([]float32, 32)
	for i := range row {
		row[i] = float32(i) - 15.5
	}
	size, err := tensor.Q8_0.RowSize(len(row))
	if err != nil {
		log.Fatal(err)
	}
	block, back := make([]byte, size), make([]float32, len(row))
	if err := quant.Quantize(block, tensor.Q8_0, row, nil); err != nil {
		log.Fatal(err)
	}
	if err := quant.Dequantize(back, tensor.Q8_0, block); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes: %.2f … %.2f\n", len(block), back[0], back[31])
	// Output: 34 bytes: -15.48 … 15.48
}
