package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"leolm/internal/durable"
	"leolm/tensor"
)

var ggmlNumbers = func() map[tensor.DType]uint32 {
	m := map[tensor.DType]uint32{}
	for n, d := range ggmlTypes {
		m[d] = n
	}
	return m
}()

const ggufWriteAlignment = 32

// writeGGUF writes a version 3 file atomically. Tensors' Write gives exactly
// the bytes that Shape and DType imply, in the file's row order.
func writeGGUF(path string, kv []KV, tensors []Output) error {
	var b bytes.Buffer
	u32 := func(v uint32) { b.Write(binary.LittleEndian.AppendUint32(nil, v)) }
	u64 := func(v uint64) { b.Write(binary.LittleEndian.AppendUint64(nil, v)) }
	str := func(s string) {
		u64(uint64(len(s)))
		b.WriteString(s)
	}
	b.WriteString("GGUF")
	u32(3)
	u64(uint64(len(tensors)))
	u64(uint64(len(kv)))
	for _, e := range kv {
		str(e.Key)
		typ, ok := ggufTypeOf(e.Value)
		if !ok {
			return fmt.Errorf("%s: metadata %q: a %T can't be stored", path, e.Key, e.Value)
		}
		u32(typ)
		if err := putGGUFValue(&b, e.Value); err != nil {
			return fmt.Errorf("%s: metadata %q: %w", path, e.Key, err)
		}
	}
	pad := func(n int64) int64 { return (n + ggufWriteAlignment - 1) / ggufWriteAlignment * ggufWriteAlignment }
	var at int64
	for _, t := range tensors {
		number, ok := ggmlNumbers[t.DType]
		if !ok {
			return fmt.Errorf("%s: tensor %q: GGUF can't hold %v", path, t.Name, t.DType)
		}
		size, err := t.Shape.Size(t.DType)
		if err != nil {
			return fmt.Errorf("%s: tensor %q: %w", path, t.Name, err)
		}
		str(t.Name)
		u32(uint32(len(t.Shape)))
		for i := len(t.Shape) - 1; i >= 0; i-- {
			u64(uint64(t.Shape[i]))
		}
		u32(number)
		u64(uint64(at))
		at += pad(int64(size))
	}
	header := b.Bytes()
	header = append(header, make([]byte, pad(int64(len(header)))-int64(len(header)))...)
	if err := durable.Need(path, at+int64(len(header))); err != nil {
		return err
	}
	return durable.WriteTo(path, func(file io.Writer) error {
		w := bufio.NewWriterSize(file, 1<<20)
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, t := range tensors {
			size, _ := t.Shape.Size(t.DType)
			if err := writeExactly(w, int64(size), t.Write); err != nil {
				return fmt.Errorf("%s: tensor %q: %w", path, t.Name, err)
			}
			if _, err := w.Write(make([]byte, pad(int64(size))-int64(size))); err != nil {
				return err
			}
		}
		return w.Flush()
	})
}

// ggufTypeOf returns the metadata type number of a Go value.
func ggufTypeOf(v any) (uint32, bool) {
	switch v.(type) {
	case uint8:
		return ggufU8, true
	case int8:
		return ggufI8, true
	case uint16:
		return ggufU16, true
	case int16:
		return ggufI16, true
	case uint32:
		return ggufU32, true
	case int32:
		return ggufI32, true
	case float32:
		return ggufF32, true
	case bool:
		return ggufBool, true
	case string:
		return ggufString, true
	case uint64:
		return ggufU64, true
	case int64:
		return ggufI64, true
	case float64:
		return ggufF64, true
	case []uint8, []int8, []uint16, []int16, []uint32, []int32, []float32, []bool, []string, []uint64, []int64, []float64, []any:
		return ggufArray, true
	}
	return 0, false
}

func putGGUFValue(b *bytes.Buffer, v any) error {
	head := func(typ uint32, n int) {
		b.Write(binary.LittleEndian.AppendUint32(nil, typ))
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	}
	str := func(s string) {
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
		b.WriteString(s)
	}
	switch v := v.(type) {
	case string:
		str(v)
		return nil
	case []string:
		head(ggufString, len(v))
		for _, s := range v {
			str(s)
		}
		return nil
	case []any:
		head(ggufArray, len(v))
		for _, e := range v {
			if t, ok := ggufTypeOf(e); !ok || t != ggufArray {
				return fmt.Errorf("a %T inside an array of arrays", e)
			}
			if err := putGGUFValue(b, e); err != nil {
				return err
			}
		}
		return nil
	case []uint8:
		head(ggufU8, len(v))
	case []int8:
		head(ggufI8, len(v))
	case []uint16:
		head(ggufU16, len(v))
	case []int16:
		head(ggufI16, len(v))
	case []uint32:
		head(ggufU32, len(v))
	case []int32:
		head(ggufI32, len(v))
	case []float32:
		head(ggufF32, len(v))
	case []bool:
		head(ggufBool, len(v))
	case []uint64:
		head(ggufU64, len(v))
	case []int64:
		head(ggufI64, len(v))
	case []float64:
		head(ggufF64, len(v))
	}
	return binary.Write(b, binary.LittleEndian, v)
}

// GGUFOptions are the parts of a GGUF model besides configuration and weights.
type GGUFOptions struct {
	Type     FileType // which data type each tensor gets; see ParseFileType
	Name     string   // general.name; "" leaves it out
	Metadata []KV     // tokenizer.* and further entries; see Checkpoint.TokenizerMetadata
	Imatrix  *Imatrix // importance of input columns for block types, or nil
	Progress func(tensor string, done, total int64)
}

// WriteGGUF writes a model that llama.cpp loads. Sources must be the tensors
// that cfg implies, under their canonical names; Q and K rows are interleaved
// on the way. Metadata entries replace Leo's own of the same key.
func WriteGGUF(path string, cfg Config, sources []Source, opt GGUFOptions) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := checkSources(&cfg, sources); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := cfg.ropeInGGUF(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	kv := cfg.ggufMetadata(opt)
	var tensors []Output
	factors := cfg.ropeTensors()
	for _, name := range sortedKeys(factors) {
		tensors = append(tensors, Output{Name: name, DType: tensor.F32, Shape: tensor.Shape{len(factors[name])},
			Write: func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, factors[name]) }})
	}
	var total, done int64
	for i := range sources {
		s := sources[i]
		name, ok := ggufName(s.Name)
		if !ok {
			return fmt.Errorf("%s: tensor %q has no name in GGUF", path, s.Name)
		}
		d := opt.Type.tensorType(&cfg, name, s.Shape, opt.Imatrix != nil)
		if opt.Imatrix != nil && d.Quantized() {
			var err error
			if s.Importance, err = opt.Imatrix.importance(name, s.Shape.Cols()); err != nil {
				return fmt.Errorf("%s: tensor %q: %w", path, name, err)
			}
		}
		size, err := s.Shape.Size(d)
		if err != nil {
			return fmt.Errorf("%s: tensor %q: %w", path, name, err)
		}
		total += int64(size)
		tensors = append(tensors, Output{Name: name, DType: d, Shape: s.Shape, Write: func(w io.Writer) error {
			if opt.Progress != nil {
				opt.Progress(name, done, total)
			}
			done += int64(size)
			return s.writeAs(w, d, cfg.rotaryHeads(s.Name))
		}})
	}
	if err := writeGGUF(path, kv, tensors); err != nil {
		return err
	}
	if opt.Progress != nil {
		opt.Progress("", total, total)
	}
	return nil
}

func (c *Config) ggufMetadata(opt GGUFOptions) []KV {
	kv := []KV{{"general.architecture", "llama"}, {"general.type", "model"}}
	if opt.Name != "" {
		kv = append(kv, KV{"general.name", opt.Name})
	}
	u := func(key string, v int) { kv = append(kv, KV{"llama." + key, uint32(v)}) }
	u("block_count", c.Layers)
	u("context_length", c.MaxPositions)
	u("embedding_length", c.HiddenSize)
	u("feed_forward_length", c.IntermediateSize)
	u("attention.head_count", c.Heads)
	u("attention.head_count_kv", c.KVHeads)
	if c.HeadDim*c.Heads != c.HiddenSize {
		u("attention.key_length", c.HeadDim)
		u("attention.value_length", c.HeadDim)
	}
	u("rope.dimension_count", c.HeadDim)
	u("vocab_size", c.VocabSize)
	if c.SlidingWindow > 0 {
		u("attention.sliding_window", c.SlidingWindow)
	}
	kv = append(kv, KV{"llama.rope.freq_base", float32(c.RopeTheta)}, KV{"llama.attention.layer_norm_rms_epsilon", float32(c.RMSEps)})
	kv = append(kv, c.ropeMetadata()...)
	kv = append(kv, KV{"general.file_type", opt.Type.number}, KV{"general.quantization_version", uint32(2)})
	own := map[string]int{}
	for i, e := range kv {
		own[e.Key] = i
	}
	for _, e := range opt.Metadata {
		if i, ok := own[e.Key]; ok {
			kv[i] = e
			continue
		}
		kv = append(kv, e)
	}
	return kv
}

// GGUFMetadata are the entries of a GGUF file besides those of the configuration: what a GGUF source states, or a folder's
// vocabulary, templates and sampling. The notes say what the file can't hold.
func (c *Checkpoint) GGUFMetadata() (kv []KV, notes []string, err error) {
	if c.GGUF != nil {
		return padVocab(c.GGUF.KeptMetadata(), c.Config.VocabSize), c.Config.GGUFNotes(), nil
	}
	kv, notes, err = c.TokenizerMetadata()
	if err != nil {
		return nil, nil, err
	}
	notes = append(notes, c.Generation.GGUFNotes()...)
	return c.Generation.Replace(kv), append(notes, c.Config.GGUFNotes()...), nil
}

// GGUFNotes says which parts of the configuration other readers of GGUF ignore.
func (c *Config) GGUFNotes() []string {
	if c.SlidingWindow == 0 || c.SlidingWindow >= c.MaxPositions {
		return nil
	}
	return []string{fmt.Sprintf("Each position attends to the last %d only (sliding window). The file says so, but llama.cpp's llama architecture has no window: "+
		"its answers differ beyond that many positions.", c.SlidingWindow)}
}

// WithVocabulary returns kept metadata of another file with the tokenizer.* entries of files in place of its own.
func (f TokenizerFiles) WithVocabulary(kept []KV, cfg *Config) (kv []KV, notes []string, err error) {
	for _, e := range kept {
		if !strings.HasPrefix(e.Key, "tokenizer.") {
			kv = append(kv, e)
		}
	}
	own, notes, err := f.Metadata(cfg)
	return append(kv, own...), notes, err
}

// KeptMetadata are the entries of a GGUF file that stay true when it is written
// again with other data types: all but those about types, splits and shapes.
func (g *GGUF) KeptMetadata() []KV {
	var out []KV
	for _, e := range g.KV {
		switch {
		case e.Key == "general.file_type", e.Key == "general.quantization_version", e.Key == "general.alignment",
			strings.HasPrefix(e.Key, "split."), strings.HasPrefix(e.Key, "llama."), strings.HasPrefix(e.Key, "quantize."):
		default:
			out = append(out, e)
		}
	}
	return out
}
