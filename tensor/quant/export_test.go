package quant

import "testing"

// CheckRMS lets tests that need package checkpoint compare with llama.cpp.
func CheckRMS(t *testing.T, name string, x []float32) {
	_, importance := rmsCases()
	checkRMS(t, name, x, importance)
}
