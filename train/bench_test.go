package train

import (
	"fmt"
	"testing"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/grad"
	"leolm/llama"
	"leolm/tensor"
)

// BenchmarkStep is a full training step (forward, backward, clipping, AdamW)
// on Llama shapes of about 15M and 110M parameters.
func BenchmarkStep(b *testing.B) {
	shapes := []struct {
		name                                    string
		hidden, inter, layers, heads, kv, vocab int
	}{
		{"7M", 256, 704, 6, 4, 4, 8192},
		{"15M", 288, 768, 6, 6, 6, 32000},
		{"110M", 768, 2048, 12, 12, 12, 32000},
	}
	for _, s := range shapes {
		for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
			for _, length := range []int{512, 2048} {
				b.Run(fmt.Sprintf("%s/%v/%d", s.name, dt, length), func(b *testing.B) {
					cfg := checkpoint.Config{
						Architecture: "llama", HiddenSize: s.hidden, IntermediateSize: s.inter, Layers: s.layers, Heads: s.heads, KVHeads: s.kv,
						HeadDim: s.hidden / s.heads, VocabSize: s.vocab, MaxPositions: length, RMSEps: 1e-5, RopeTheta: 10000, TieEmbeddings: true, BOS: -1, PAD: -1,
					}
					dev, err := cpu.New(cpu.Options{})
					if err != nil {
						b.Fatal(err)
					}
					if err := dev.SetCompute(dt); err != nil {
						b.Fatal(err)
					}
					m, err := llama.New(dev, cfg, 0.02, 1)
					if err != nil {
						b.Fatal(err)
					}
					opt, err := NewOptimizer(dev, OptimizerConfig{Betas: []float64{0.9, 0.95}, Eps: 1e-8, WeightDecay: 0.1, Clip: 1, Bits: 32}, m.Params())
					if err != nil {
						b.Fatal(err)
					}
					const tokens = 4096
					batch := llama.Batch{}
					targets, weights := make([]int32, tokens), make([]float32, tokens)
					for i := range tokens {
						batch.IDs = append(batch.IDs, int32(i*37%s.vocab))
						batch.Positions = append(batch.Positions, int32(i%length))
						targets[i], weights[i] = int32((i+1)*37%s.vocab), 1.0/tokens
					}
					for at := 0; at < tokens; at += length {
						batch.Seqs = append(batch.Seqs, device.Sequence{Row: at, Len: length})
					}
					b.ResetTimer()
					for range b.N {
						tape := grad.New(dev, false)
						h := m.Forward(tape, &batch)
						tape.LinearCrossEntropy(h, m.Head, targets, weights, 0)
						tape.Release(h)
						tape.Backward(nil)
						norm, _ := opt.GradNorm()
						opt.Update(1e-4, norm)
					}
					b.StopTimer()
					rate := float64(b.N) * tokens / b.Elapsed().Seconds()
					b.ReportMetric(rate, "tokens/s")
					b.ReportMetric(rate*flopsPerToken(&cfg, length)/1e9, "GFLOP/s")
					b.ReportMetric(float64(m.WeightBytes()+opt.Bytes()+dev.Memory().Arena)/(1<<20), "MiB")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}
