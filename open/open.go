// Package open is the one door to a model that runs: it turns a model argument (a folder, a GGUF file, a Hugging Face id,
// an embedded model) into weights on a device, with the tokenizer, template, stop ids and recommended sampling that
// belong to them, its adapters, and an engine that generates.
//
// It finds and computes nothing itself: package catalog finds models and reads their files, package llama has weights and
// the forward pass, package infer sessions and generation. A program that needs a model's files but does not run it
// (inspection, conversion, training) uses those packages directly.
package open

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/split"
	"leolm/device/vulkan"
	"leolm/infer"
	"leolm/llama"
	"leolm/tensor"
)

// Options choose how a model is opened and run. The zero value runs it as its files describe, on all processors that this
// process may use.
type Options struct {
	// Template is the name of a chat template or of a Jinja file, instead of the model's own.
	Template string
	// Tokenizer is a file or folder, instead of the model's own.
	Tokenizer string
	// Adapters are applied in this order; their effects add up.
	Adapters []catalog.AdapterSpec

	// Threads is the number of worker threads; 0 shares one pool with every other model of the process.
	Threads int
	// On says where the model runs: OnCPU (also ""), OnGPU, with a number or without, or OnAuto.
	On string
	// GPULayers says how much of the model a GPU runs: AllLayers (also ""), AutoLayers, or a number: the last so many of the
	// layers, of which the output (final norm and LM head) is one. The processor runs the rest.
	GPULayers string
	// GPUMemory, if not nil, limits how much of a GPU's memory is taken, by all models opened with it together.
	GPUMemory *vulkan.Budget
	// Device runs the model instead of a new one.
	Device device.Runner
	// Ranks share the model, if it is not this process's alone; each makes a device of its own.
	Ranks *Ranks
	// Convert, if set, returns the type that a matrix is stored as; Invalid keeps the stored type.
	Convert func(name string, stored tensor.DType) tensor.DType

	// Context is the largest number of tokens of a session; 0 means the model's own limit, at most DefaultContext, and
	// less if memory is short.
	Context int
	// CacheType is how keys and values are stored: F16 (the default), BF16, F32 or Q8_0.
	CacheType tensor.DType
	// Sessions is how many full-length sessions the cache has room for; 0 means 1.
	Sessions int
	// Together is how many answers a scheduler will write at one time: the cache has room for as many contexts, or for
	// those that a quarter of the free memory holds, and at least one. Sessions counts where it is 0.
	Together int
	// CacheBytes, if not 0, is the size of the cache in bytes instead, with room for at least one context.
	CacheBytes int64
	// PageLen is the number of tokens in a page of the cache; 0 means the device's default.
	PageLen int

	// Packed is where the repacked weights of a large model are kept, which makes the next start instant: PackedAuto,
	// PackedOff, or a path. "" is PackedOff.
	Packed string
	// Progress, if not nil, is called with the bytes loaded so far and in total.
	Progress func(done, total int64)
}

// DefaultContext is the largest context, in tokens, that is used unless Options ask for more.
const DefaultContext = 8192

// Values of Options.Packed other than a path.
const (
	// PackedAuto keeps packed weights beside the model, or in the user's cache folder if that is read-only.
	PackedAuto = "auto"
	PackedOff  = "off"
)

// packedFrom is the size of the stored weights, in bytes, above which packing takes long enough to keep its result.
const packedFrom = 256 << 20

// Model is a model ready to run.
type Model struct {
	*catalog.Model
	Device device.Runner
	Engine *infer.Engine

	store *cpu.Store     // nil if the weights are in plain memory
	gpu   *vulkan.Device // Device or a part of it, if Open made it and it is to be closed

	gpuLayers int  // on gpu, the output included
	shares    bool // the weights are those of another model

	ranks  *Ranks // that share the model; nil: it is here alone
	split  *split.Device
	number int // of the model among theirs
}

// Open finds a model and makes it ready to run; "" is the embedded default. What a person should know about it is in
// Notes. Canceling ctx stops the loading between two weights.
//
// Errors of what is missing or does not fit have types: [catalog.ErrNoModel], [*catalog.NotFoundError],
// [*catalog.NoTokenizerError], [*catalog.TokenizerError], [*catalog.TemplateError], [*llama.TargetError].
func Open(ctx context.Context, arg string, opt Options) (*Model, error) {
	if opt.Ranks != nil {
		return opt.Ranks.open(ctx, leadOpen, arg, 0, opt)
	}
	files, err := catalog.Open(arg, catalog.Options{Template: opt.Template, Tokenizer: opt.Tokenizer, Adapters: opt.Adapters})
	if err != nil {
		return nil, err
	}
	m := &Model{Model: files, Device: opt.Device}
	if err := m.start(ctx, opt); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Model) start(ctx context.Context, opt Options) error {
	auto := opt.GPULayers == AutoLayers
	for {
		err := m.load(ctx, opt)
		var short *device.MemoryError
		if !auto || m.gpu == nil || !errors.As(err, &short) || short.On == "" {
			if err == nil {
				m.noteGPU()
			}
			return err
		}
		// What fits was estimated: pieces of memory are not always where they are needed.
		opt.GPULayers = strconv.Itoa(m.gpuLayers - max(1, m.gpuLayers/8))
		if err := m.closeDevice(); err != nil {
			return err
		}
		if m.store != nil {
			m.store.Close()
			m.store = nil
		}
	}
}

// load makes the device, loads the weights and makes the engine.
func (m *Model) load(ctx context.Context, opt Options) error {
	if m.Device == nil {
		if err := m.ranks.agree(m.choose(opt)); err != nil {
			return err
		}
	}
	lm, err := Weights(ctx, m.Model, m.Device, llama.LoadOptions{Convert: opt.Convert, Progress: opt.Progress})
	if err == nil && m.store != nil {
		err = m.store.Finish()
	}
	if err := m.ranks.agree(err); err != nil {
		return err
	}
	return m.engine(lm, opt)
}

// engine makes the engine that runs lm.
func (m *Model) engine(lm *llama.Model, opt Options) (err error) {
	n := opt.Context
	if n == 0 {
		n = min(lm.Config.MaxPositions, DefaultContext)
	}
	if made := lm.Config.MaxPositions; n > made {
		m.note("The model was made for %d positions; it has never seen longer texts.", made)
	}
	for {
		sessions := opt.Sessions
		if opt.Together > 0 {
			if sessions, err = m.ranks.least(m.sessionsFor(opt.Together, n, lm, opt.CacheType)); err != nil {
				return err
			}
		}
		how := infer.Options{
			Context: n, CacheType: opt.CacheType, Sessions: sessions, CacheBytes: opt.CacheBytes, PageLen: opt.PageLen, Fingerprint: m.Fingerprint(),
		}
		if m.ranks != nil && m.ranks.group.Rank() == 0 {
			how.Peers = peers{m}
		}
		m.Engine, err = infer.NewEngine(m.Device, lm, how)
		err = m.ranks.agree(err)
		// A context that Options did not ask for may shrink until it fits.
		var short *device.MemoryError
		if opt.Context > 0 || !errors.As(err, &short) || n < 1024 {
			return err
		}
		n /= 2
		m.note("%v; the context is %d tokens.", err, n)
	}
}

// sessionsFor is for how many contexts of n tokens the cache should have room, at most wanted.
func (m *Model) sessionsFor(wanted, n int, lm *llama.Model, cache tensor.DType) int {
	c := &lm.Config
	row, err := cmp.Or(cache, tensor.F16).RowSize(c.HeadDim)
	free, ok := m.Device.Available()
	if err != nil || !ok {
		return 1
	}
	heads := c.KVHeads
	if m.split != nil {
		heads = m.split.HeldKVHeads(heads)
	}
	one := max(int64(n)*int64(2*c.Layers*heads*row), 1)
	return int(min(max(free/4/one, 1), int64(wanted)))
}

func (m *Model) note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}

// Weights loads the weights of m onto dev and applies its adapters. opt may change how the stored weights are loaded.
// Logits cover the ids in use only: rows that merely pad the matrix were never trained.
func Weights(ctx context.Context, m *catalog.Model, dev device.Runner, opt llama.LoadOptions) (*llama.Model, error) {
	if !m.Checkpoint.HasWeights() {
		return nil, fmt.Errorf("%s has a vocabulary but no weights", m.Name)
	}
	if len(m.Adapters) > 0 {
		cfg := m.Config()
		opt.Config = func(c *checkpoint.Config) { *c = cfg }
		opt.Replace = map[string]*checkpoint.Tensor{}
		for _, a := range m.Adapters {
			for _, t := range a.Saved {
				opt.Replace[t.Name] = t
			}
		}
	}
	lm, err := llama.Load(ctx, dev, m.Checkpoint, opt)
	if err != nil {
		return nil, err
	}
	for _, a := range m.Adapters {
		if err := lm.Apply(dev, a.Adapter, a.Strength); err != nil {
			return nil, err
		}
	}
	lm.Vocab = min(lm.Vocab, m.Tokenizer.Used())
	return lm, nil
}

// openStore opens the file of packed weights: of all, or of the part with that mark, which are share bytes of the stored
// ones. Without one the start is slower, which is a note, not an error.
func (m *Model) openStore(dev *cpu.Device, opt Options, part string, share int64) {
	size, mark := m.Checkpoint.Size(), m.Fingerprint()+part
	auto := opt.Packed == PackedAuto
	if opt.Packed == "" || opt.Packed == PackedOff || auto && (size < packedFrom || len(m.Checkpoint.Files) == 0) || len(m.Adapters) > 0 || opt.Convert != nil {
		return
	}
	paths := []string{opt.Packed}
	if auto {
		paths = []string{m.Checkpoint.Files[0] + part + ".leopack"}
		if dir, err := os.UserCacheDir(); err == nil {
			paths = append(paths, filepath.Join(dir, "leo", mark+".leopack"))
		}
	} else {
		paths[0] += part
	}
	var err error
	for _, path := range paths {
		if err = os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			continue
		}
		if m.store, err = cpu.OpenStore(path, mark, share); err == nil {
			dev.UseStore(m.store)
			if damage := m.store.Damage(); damage != nil {
				m.note("%v; they are packed again.", damage)
			}
			return
		}
	}
	m.note("The packed weights cannot be kept, so every start packs them again: %v.", err)
}

// Adapt returns a model with the adapters of opt that shares the weights and the device of m, which must stay open longer
// and must have no adapters itself; arg is what m was opened with. The two must not run at the same moment: see
// infer.SchedulerOptions.Turn. Adapters that replace whole weights share nothing; they have a device of their own.
func (m *Model) Adapt(ctx context.Context, arg string, opt Options) (*Model, error) {
	files, err := catalog.Open(arg, catalog.Options{Template: opt.Template, Tokenizer: opt.Tokenizer, Adapters: opt.Adapters})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(files.Adapters, func(a catalog.Adapter) bool { return len(a.Saved) > 0 }) {
		if err := files.Close(); err != nil {
			return nil, err
		}
		return Open(ctx, arg, opt)
	}
	n := &Model{Model: files, Device: m.Device, shares: true}
	if m.ranks != nil { // they open the files themselves
		if err := n.Close(); err != nil {
			return nil, err
		}
		return m.ranks.open(ctx, leadAdapt, arg, m.number, opt)
	}
	if err := n.adapt(m, opt); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// adapt runs the model of base with the adapters of m.
func (m *Model) adapt(base *Model, opt Options) (err error) {
	lm := base.Engine.Model().Bare()
	for _, a := range m.Adapters {
		if err == nil {
			err = lm.Apply(m.Device, a.Adapter, a.Strength)
		}
	}
	if err := m.ranks.agree(err); err != nil {
		return err
	}
	lm.Vocab = min(lm.Vocab, m.Tokenizer.Used())
	return m.engine(lm, opt)
}

// Close closes the model's files. The model must not be used afterward.
func (m *Model) Close() error {
	if m.ranks == nil {
		return m.closeHere()
	}
	var err error
	failed := m.ranks.lead(leadClose, m.number, nil, func() {
		delete(m.ranks.models, m.number)
		err = m.closeHere()
	})
	return errors.Join(failed, err)
}

// closeHere closes what this process has of the model.
func (m *Model) closeHere() error {
	if m.store != nil {
		m.store.Close()
	}
	return errors.Join(m.closeDevice(), m.Model.Close())
}
