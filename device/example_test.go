package device_test

import (
	"fmt"
	"log"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/tensor"
)

// A frozen weight as it is stored in a file, a product with it, and a sum.
func Example() {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	rows := [][]byte{ // bf16: the upper halves of 1, 2 and of 0.5, -1
		{0x80, 0x3f, 0x00, 0x40},
		{0x00, 0x3f, 0x80, 0xbf},
	}
	w, err := dev.NewWeight(device.WeightSpec{
		Name: "proj.weight", DType: tensor.BF16, Rows: 2, Cols: 2, Use: device.WeightUseMatmul,
		Row: func(i int) []byte { return rows[i] },
	})
	if err != nil {
		log.Fatal(err)
	}
	x := dev.FromSlice(1, 2, []float32{3, 4})
	y := dev.Linear(x, w)
	z := dev.Add(y, y, 0.5)
	out := make([]float32, 2)
	dev.Read(z, out)
	dev.Release(x, y, z)
	fmt.Println(out, dev.Memory().Tensors)
	// Output: [16.5 -3.75] 0
}
