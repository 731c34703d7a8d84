package vulkan_test

import (
	"fmt"
	"log"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/vulkan"
)

// What is written against device.Runner runs on a GPU or, where there is none, on the processor.
func ExampleNew() {
	var dev device.Runner
	if gpu, err := vulkan.New(vulkan.Options{}); err == nil {
		defer gpu.Close()
		dev = gpu
	} else if dev, err = cpu.New(cpu.Options{Threads: 1}); err != nil { // the GPU's error says what is missing
		log.Fatal(err)
	}
	a, b := dev.FromSlice(1, 3, []float32{1, 2, 3}), dev.FromSlice(1, 3, []float32{10, 20, 30})
	sum := dev.Add(a, b, 1)
	got := make([]float32, 3)
	dev.Read(sum, got)
	dev.Release(a, b, sum)
	if err := dev.Sync(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(got)
	// Output: [11 22 33]
}
