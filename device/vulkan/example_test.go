package vulkan_test

import (
	"fmt"

	"leolm/device/vulkan"
	"leolm/tensor"
)

// Weights stay as they are stored, in every type of numbers.
func ExampleSupported() {
	fmt.Println(vulkan.Supported(tensor.Q4_K), vulkan.Supported(tensor.I8))
	// Output: true false
}
