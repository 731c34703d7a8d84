// Command train takes full training steps (forward, backward, clipping, AdamW) on the shapes of compare.py. Like
// torch_step.py it reads commands from standard input: "step" takes a step and prints its seconds, "memory" prints the
// peak and the initial resident memory in MiB.
//
//	train 110M bf16 512 [MICRO [THREADS | gpu]]
//
// On a GPU, the best that Vulkan offers, the memory of the process says little.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/vulkan"
	"leolm/grad"
	"leolm/llama"
	"leolm/tensor"
	"leolm/train"
)

const tokens = 4096

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// resident returns a line of /proc/self/status in MiB.
func resident(key string) float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// trainer is the device that trains.
func trainer(onGPU bool, threads int) (device.Device, error) {
	if onGPU {
		return vulkan.New(vulkan.Options{Index: vulkan.Best})
	}
	return cpu.New(cpu.Options{Threads: threads})
}

func run(args []string) error {
	shapes := map[string][6]int{
		"7M": {256, 704, 6, 4, 8192, 4}, "15M": {288, 768, 6, 6, 32000, 6}, "110M": {768, 2048, 12, 12, 32000, 12}, "1.1B": {2048, 5632, 22, 32, 32000, 4},
	}
	if len(args) < 3 {
		return errors.New("usage: train SHAPE f32|bf16 LENGTH [MICRO [THREADS | gpu]]")
	}
	onGPU := len(args) == 5 && args[4] == "gpu"
	if onGPU {
		args = args[:4]
	}
	s, ok := shapes[args[0]]
	dt, err := tensor.ParseDType(args[1])
	var n [3]int
	for i, text := range args[2:] {
		if err == nil {
			n[i], err = strconv.Atoi(text)
		}
	}
	length, micro, threads := n[0], n[1], n[2]
	if err != nil || !ok || length < 1 || tokens%length != 0 {
		return fmt.Errorf("bad arguments %q: %v", args, err)
	}
	if micro == 0 {
		micro = tokens / length
	}
	before := resident("VmRSS")
	cfg := checkpoint.Config{
		Architecture: "llama", HiddenSize: s[0], IntermediateSize: s[1], Layers: s[2], Heads: s[3], KVHeads: s[5],
		HeadDim: s[0] / s[3], VocabSize: s[4], MaxPositions: length, RMSEps: 1e-5, RopeTheta: 10000, TieEmbeddings: true, BOS: -1, PAD: -1,
	}
	dev, err := trainer(onGPU, threads)
	if err != nil {
		return err
	}
	if err := dev.SetCompute(dt); err != nil {
		return err
	}
	m, err := llama.New(dev, cfg, 0.02, 1)
	if err != nil {
		return err
	}
	opt, err := train.NewOptimizer(dev, train.OptimizerConfig{Type: "adamw", Betas: []float64{0.9, 0.95}, Eps: 1e-8, WeightDecay: 0.1, Clip: 1, Bits: 32}, m.Params())
	if err != nil {
		return err
	}
	var batches []llama.Batch
	for at := 0; at < tokens; at += micro * length {
		var b llama.Batch
		for i := range micro * length {
			b.IDs = append(b.IDs, int32((at+i)*37%s[4]))
			b.Positions = append(b.Positions, int32(i%length))
			if i%length == 0 {
				b.Seqs = append(b.Seqs, device.Sequence{Row: i, Len: length})
			}
		}
		batches = append(batches, b)
	}
	targets, weights := make([]int32, micro*length), make([]float32, micro*length)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "step":
			start := time.Now()
			for i := range batches {
				b := &batches[i]
				for j := range targets {
					targets[j], weights[j] = (b.IDs[j]+37)%int32(s[4]), 1.0/tokens
				}
				tape := grad.New(dev, false)
				h := m.Forward(tape, b)
				tape.LinearCrossEntropy(h, m.Head, targets, weights, 0)
				tape.Release(h)
				tape.Backward(nil)
			}
			norm, _ := opt.GradNorm()
			opt.Update(1e-4, norm)
			if err := dev.Sync(); err != nil {
				return err
			}
			fmt.Printf("{\"seconds\": %.6f}\n", time.Since(start).Seconds())
		case "memory":
			fmt.Printf("{\"peak\": %.1f, \"start\": %.1f, \"version\": %q}\n", resident("VmHWM"), before, dev.Name())
		}
	}
	return in.Err()
}
