package layered_test

import (
	"fmt"
	"log"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/layered"
	"leolm/tensor"
)

// Two weights on two devices: what the first computes moves to the second where that needs it.
func Example() {
	a, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	b, err := cpu.New(cpu.Options{Threads: 1}) // a GPU, say
	if err != nil {
		log.Fatal(err)
	}
	dev := layered.New(a, b, layered.Layout{Layers: 2, First: 1, Layer: func(name string) int { return int(name[0] - '0') }})
	double := []byte{0, 0, 0, 64} // 2 as float32
	var ws []device.Weight
	for _, name := range []string{"0.weight", "1.weight"} {
		w, err := dev.NewWeight(device.WeightSpec{
			Name: name, DType: tensor.F32, Rows: 1, Cols: 1, Use: device.WeightUseMatmul, Row: func(int) []byte { return double },
		})
		if err != nil {
			log.Fatal(err)
		}
		ws = append(ws, w)
	}
	x := dev.FromSlice(1, 1, []float32{3})
	y := dev.Linear(x, ws[0])
	z := dev.Linear(y, ws[1])
	out := make([]float32, 1)
	dev.Read(z, out)
	dev.Release(x, y, z)
	fmt.Println(out[0])
	// Output: 12
}
