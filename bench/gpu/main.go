// Command gpu writes models with random weights for gpu.sh, where neither Python nor a network is at hand: speed does not
// depend on values. All layers are the same, so that one is quantized and the others are copies of its bytes: a file
// appears about as fast as the disk takes it.
//
//	gpu OUT.gguf tiny|1b|7b TYPE
package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"leolm/checkpoint"
)

// shapes are hidden size, width of the MLP, layers, heads, key/value heads, vocabulary, positions.
var shapes = map[string][7]int{
	"tiny": {256, 512, 2, 4, 4, 1000, 2048},
	"1b":   {2048, 5632, 22, 32, 4, 32000, 4096},
	"7b":   {4096, 11008, 32, 32, 32, 32000, 4096},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: gpu OUT.gguf tiny|1b|7b TYPE")
	}
	s, ok := shapes[args[1]]
	if !ok {
		return fmt.Errorf("shape %q: want tiny, 1b or 7b", args[1])
	}
	as, err := checkpoint.ParseFileType(args[2])
	if err != nil {
		return err
	}
	cfg := checkpoint.Config{
		Architecture: "llama", HiddenSize: s[0], IntermediateSize: s[1], Layers: s[2], Heads: s[3], KVHeads: s[4], HeadDim: s[0] / s[3],
		VocabSize: s[5], MaxPositions: s[6], RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: []int{2}, PAD: -1,
	}
	return write(args[0], cfg, checkpoint.GGUFOptions{Type: as, Name: "random weights", Metadata: vocabulary(s[5])})
}

// write writes a model of one layer beside path, and from it the one of cfg.
func write(path string, cfg checkpoint.Config, opt checkpoint.GGUFOptions) error {
	one, first := cfg, path+".layer"
	one.Layers = 1
	var sources []checkpoint.Source
	for _, t := range one.TensorShapes() {
		sources = append(sources, checkpoint.Source{Name: t.Name, Shape: t.Shape, From: noise{vector: len(t.Shape) == 1}})
	}
	if err := checkpoint.WriteGGUF(first, one, sources, opt); err != nil {
		return err
	}
	defer os.Remove(first)
	layer, err := checkpoint.Open(first)
	if err != nil {
		return err
	}
	defer layer.Close()
	sources = nil
	for _, t := range cfg.TensorShapes() {
		from, ok := layer.Tensor(layerNumber.ReplaceAllString(t.Name, "layers.0."))
		if !ok {
			return fmt.Errorf("%s: no tensor for %s", first, t.Name)
		}
		sources = append(sources, checkpoint.Source{Name: t.Name, Shape: t.Shape, From: from})
	}
	return checkpoint.WriteGGUF(path, cfg, sources, opt)
}

// layerNumber finds the number of a layer in a tensor's name.
var layerNumber = regexp.MustCompile(`layers\.\d+\.`)

// noise are rows of numbers in ±0.035, whose variance is that of 0.02; the gains of norms are 1.
type noise struct{ vector bool }

func (n noise) ReadRow(dst []float32, row int) error {
	x := uint32(row)*2654435761 + 1
	for i := range dst {
		if n.vector {
			dst[i] = 1
			continue
		}
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		dst[i] = float32(int32(x)) * (0.035 / (1 << 31))
	}
	return nil
}

// vocabulary is one of SentencePiece's kind: three special tokens, bytes, and words that nobody needs.
func vocabulary(n int) []checkpoint.KV {
	tokens, scores, types := []string{"<unk>", "<s>", "</s>"}, make([]float32, n), []int32{2, 3, 3}
	for b := range 256 {
		tokens, types = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(types, 6)
	}
	for i := len(tokens); i < n; i++ {
		tokens, types, scores[i] = append(tokens, "t"+strconv.Itoa(i)), append(types, 1), -float32(i)
	}
	return []checkpoint.KV{
		{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.scores", Value: scores}, {Key: "tokenizer.ggml.token_type", Value: types},
	}
}
