package quant_test

import (
	"testing"

	"leolm/checkpoint"
	"leolm/internal/shareddata"
	"leolm/tensor/quant"
)

// The same comparison on trained weights.
func TestRealErrorAtMostLlamaCpp(t *testing.T) {
	path := shareddata.Path(t, "data/models/stories260K.gguf")
	g, err := checkpoint.OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var flat []float32
	for _, s := range g.Tensors {
		if len(s.Shape) != 2 {
			continue
		}
		f := make([]float32, s.Shape[0]*s.Shape[1])
		if err := quant.Dequantize(f, s.DType, s.Data); err != nil {
			t.Fatal(err)
		}
		flat = append(flat, f...)
	}
	quant.CheckRMS(t, "stories260K", flat[:len(flat)/512*512])
}
