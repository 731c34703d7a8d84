package checkpoint_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/checkpoint"
	leomini "leolm/models/leo-mini"
)

// A folder of transformers is opened: its weights are mapped, not read.
func ExampleOpen() {
	c, err := checkpoint.Open("testdata/models/llama3")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Printf("%s, %d layers of %d, %d parameters\n", c.Format, c.Config.Layers, c.Config.HiddenSize, c.Config.Parameters())
	w, _ := c.Tensor("model.layers.0.self_attn.q_proj.weight")
	fmt.Println(w.Name, w.Shape, w.DType)
	// Output:
	// safetensors, 2 layers of 16, 29808 parameters
	// model.layers.0.self_attn.q_proj.weight [256 16] bf16
}

// A model is quantized: the embedded one from eight bits to four, vocabulary and template with it.
func ExampleWriteGGUF() {
	c, err := checkpoint.OpenBytes("leo-mini", leomini.GGUF)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	metadata, _, err := c.GGUFMetadata()
	if err != nil {
		log.Fatal(err)
	}
	q4, err := checkpoint.ParseFileType("q4_0")
	if err != nil {
		log.Fatal(err)
	}
	file := filepath.Join(dir, "small.gguf")
	if err := checkpoint.WriteGGUF(file, c.Config, c.Sources(), checkpoint.GGUFOptions{Type: q4, Metadata: metadata}); err != nil {
		log.Fatal(err)
	}
	small, err := checkpoint.Open(file)
	if err != nil {
		log.Fatal(err)
	}
	defer small.Close()
	fmt.Printf("%.1f MB of weights instead of %.1f\n", float64(small.Size())/1e6, float64(c.Size())/1e6)
	// Output: 3.2 MB of weights instead of 4.5
}
