package open

import (
	"cmp"
	"fmt"
	"strconv"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/layered"
	"leolm/device/vulkan"
	"leolm/llama"
	"leolm/tensor"
)

// Values of Options.GPULayers other than a number.
const (
	AllLayers = "all"
	// AutoLayers is as many as the GPU's memory has room for.
	AutoLayers = "auto"
)

// GPULayersError says that Options.GPULayers is no number of layers.
type GPULayersError struct{ Text string }

func (e *GPULayersError) Error() string {
	return fmt.Sprintf("layers on the GPU: %q: want %s, %s or a number", e.Text, AllLayers, AutoLayers)
}

// CheckGPULayers returns a *GPULayersError if text is no value of Options.GPULayers.
func CheckGPULayers(text string) error {
	if text == "" || text == AllLayers || text == AutoLayers {
		return nil
	}
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return &GPULayersError{text}
	}
	return nil
}

// onGPU makes the device that runs the model on a GPU, or its last layers there and the others on the processor.
func (m *Model) onGPU(gpu *vulkan.Device, opt Options) error {
	m.gpu = gpu // closed with the model, whatever happens
	layers := m.Config().Layers
	sizes := m.layerSizes(opt)
	switch opt.GPULayers {
	case "", AllLayers:
		m.gpuLayers = layers + 1
	case AutoLayers:
		m.gpuLayers = m.fit(gpu, sizes, opt)
	default:
		n, err := strconv.Atoi(opt.GPULayers)
		if err != nil {
			return &GPULayersError{opt.GPULayers}
		}
		m.gpuLayers = min(n, layers+1)
	}
	if m.gpuLayers == 0 {
		free, _ := gpu.Available()
		m.note("No layer fits into the GPU's memory, of which %.1f MiB are available: the processor runs the model.", float64(free)/(1<<20))
		if err := m.closeDevice(); err != nil {
			return err
		}
		return m.onProcessor(opt)
	}
	what := fmt.Sprintf("the weights of %d layers", m.gpuLayers)
	if m.gpuLayers > layers {
		what = "the weights"
	}
	if err := device.Need(gpu, what, sum(sizes, m.gpuLayers, func(l layerSize) float64 { return l.weights })); err != nil {
		return err
	}
	m.Device = gpu
	if m.gpuLayers > layers {
		return nil
	}
	dev, err := cpu.New(cpu.Options{Threads: opt.Threads})
	if err != nil {
		return err
	}
	first := layers + 1 - m.gpuLayers
	m.Device = layered.New(dev, gpu, layered.Layout{
		Layers: layers, First: first, Layer: func(name string) int { return llama.LayerOf(name, layers) },
	})
	m.openStore(dev, opt, fmt.Sprintf("-first-%d", first), m.Checkpoint.Size()*int64(first)/int64(layers))
	return nil
}

// noteGPU says what runs where.
func (m *Model) noteGPU() {
	if m.gpu == nil {
		return
	}
	if layers := m.Config().Layers; m.gpuLayers <= layers {
		m.note("%d of %d layers, the output counted as one, run on the GPU, the first on the processor.", m.gpuLayers, layers+1)
	}
	if m.gpu.Processor() {
		m.note("The GPU's driver computes on the processor: %s.", m.gpu.Name())
	}
}

// layerSize is the memory that a layer takes on a GPU, in bytes.
type layerSize struct{ weights, cache float64 }

// layerSizes are those of the layers, of the output, and of the embedding where it is a weight of its own.
func (m *Model) layerSizes(opt Options) []layerSize {
	cfg := m.Config()
	sizes := make([]layerSize, cfg.Layers+2)
	for _, t := range m.Checkpoint.Tensors() {
		dt := t.DType
		if len(t.Shape) < 2 {
			dt = tensor.F32
		} else if opt.Convert != nil {
			if to := opt.Convert(t.Name, dt); to != tensor.Invalid {
				dt = to
			}
		}
		bytes, err := t.Shape.Size(dt)
		if err != nil {
			continue // loading says what is wrong
		}
		layer := llama.LayerOf(t.Name, cfg.Layers)
		switch {
		case layer < 0 && cfg.TieEmbeddings:
			layer = cfg.Layers
		case layer < 0:
			layer = cfg.Layers + 1
		}
		if layer < len(sizes) {
			sizes[layer].weights += float64(bytes)
		}
	}
	row, err := cmp.Or(opt.CacheType, tensor.F16).RowSize(cfg.HeadDim)
	if err != nil {
		return sizes
	}
	tokens := max(opt.Sessions, 1) * cmp.Or(opt.Context, min(cfg.MaxPositions, DefaultContext))
	for i := range cfg.Layers {
		sizes[i].cache = float64(tokens) * float64(2*cfg.KVHeads*row)
		if opt.CacheBytes > 0 {
			sizes[i].cache = float64(opt.CacheBytes) / float64(cfg.Layers)
		}
	}
	return sizes
}

// sum adds up what the last n layers need, with the output as the last, and with the embedding where they are all.
func sum(sizes []layerSize, n int, need func(layerSize) float64) (total float64) {
	layers := len(sizes) - 2
	for i := layers + 1 - n; i <= layers; i++ {
		total += need(sizes[i])
	}
	if n > layers {
		total += need(sizes[layers+1])
	}
	return total
}

// Rows of activations and of logits that a pass may have at a time, for estimates.
const (
	passRows  = 512
	scoreRows = 256
)

// fit is how many layers a GPU has room for, beside the activations of a pass.
func (m *Model) fit(gpu *vulkan.Device, sizes []layerSize, opt Options) int {
	free, ok := gpu.Available()
	if !ok {
		return len(sizes) - 1
	}
	cfg := m.Config()
	rows := min(passRows, cmp.Or(opt.Context, passRows))
	wide := 6*cfg.HiddenSize + 2*cfg.Heads*cfg.HeadDim + 2*cfg.KVHeads*cfg.HeadDim + 3*cfg.IntermediateSize
	room := float64(free) - 4*float64(rows*wide+min(rows, scoreRows)*cfg.VocabSize)
	n := 0
	for n < len(sizes)-1 && sum(sizes, n+1, func(l layerSize) float64 { return l.weights + l.cache }) <= room {
		n++
	}
	return n
}
