package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"leolm/tensor"
)

var errNoType = errors.New("no file type")

// FileType says which data type every tensor of a GGUF file gets: one for all
// matrices, or a mix.
type FileType struct {
	name   string
	number uint32 // llama.cpp's, for general.file_type
	base   tensor.DType
	mix    byte // 'S', 'M' or 'L' for llama.cpp's mixes, 0 for plain types
}

// The names and numbers are llama.cpp's; q4_K, q5_K and q6_K without a letter
// are plain.
var fileTypes = []FileType{
	{"f32", 0, tensor.F32, 0}, {"f16", 1, tensor.F16, 0}, {"bf16", 32, tensor.BF16, 0},
	{"q4_0", 2, tensor.Q4_0, 0}, {"q4_1", 3, tensor.Q4_1, 0}, {"q5_0", 8, tensor.Q5_0, 0}, {"q5_1", 9, tensor.Q5_1, 0},
	{"q8_0", 7, tensor.Q8_0, 0}, {"iq4_nl", 25, tensor.IQ4_NL, 0},
	{"q2_K", 10, tensor.Q2_K, 'M'}, {"q3_K_S", 11, tensor.Q3_K, 'S'}, {"q3_K_M", 12, tensor.Q3_K, 'M'}, {"q3_K_L", 13, tensor.Q3_K, 'L'},
	{"q4_K", 14, tensor.Q4_K, 0}, {"q4_K_S", 14, tensor.Q4_K, 'S'}, {"q4_K_M", 15, tensor.Q4_K, 'M'},
	{"q5_K", 16, tensor.Q5_K, 0}, {"q5_K_S", 16, tensor.Q5_K, 'S'}, {"q5_K_M", 17, tensor.Q5_K, 'M'},
	{"q6_K", 18, tensor.Q6_K, 0},
}

// ParseFileType finds a type by name; case doesn't matter.
func ParseFileType(name string) (FileType, error) {
	for _, t := range fileTypes {
		if strings.EqualFold(t.name, name) {
			return t, nil
		}
	}
	return FileType{}, fmt.Errorf("%w %q; there are %s", errNoType, name, strings.Join(FileTypeNames(), ", "))
}

// String returns the name.
func (f FileType) String() string { return f.name }

// DType is the type that most matrices get.
func (f FileType) DType() tensor.DType { return f.base }

// FileTypeNames lists what [ParseFileType] knows.
func FileTypeNames() []string {
	var names []string
	for _, t := range fileTypes {
		names = append(names, t.name)
	}
	return names
}

// A Fallback says that tensors get another data type than the wanted one, whose blocks
// do not divide their rows. The replacements are llama.cpp's.
type Fallback struct {
	Want, Got tensor.DType
	Columns   int      // of a row
	Tensors   []string // their names in GGUF
}

// Fallbacks lists the sources that don't get the type f wants for them.
func (f FileType) Fallbacks(c *Config, sources []Source, imatrix bool) []Fallback {
	var found []Fallback
	for _, s := range sources {
		name, ok := ggufName(s.Name)
		if !ok || len(s.Shape) < 2 {
			continue
		}
		want, got := f.wanted(c, name, s.Shape, imatrix), f.tensorType(c, name, s.Shape, imatrix)
		if want == got {
			continue
		}
		i := slices.IndexFunc(found, func(e Fallback) bool {
			return e.Want == want && e.Got == got && e.Columns == s.Shape.Cols()
		})
		if i < 0 {
			i = len(found)
			found = append(found, Fallback{Want: want, Got: got, Columns: s.Shape.Cols()})
		}
		found[i].Tensors = append(found[i].Tensors, name)
	}
	return found
}

// tensorType is the data type that a tensor gets.
func (f FileType) tensorType(c *Config, name string, shape tensor.Shape, imatrix bool) tensor.DType {
	d := f.wanted(c, name, shape, imatrix)
	if !d.Quantized() {
		return d
	}
	return fallback(d, shape.Cols())
}

// wanted chooses the data type of a tensor by its GGUF name, as llama.cpp's
// llama_model_quantize does for the llama architecture: vectors in f32, the
// output matrix better than the rest, and in the mixes the tensors that suffer
// most from rounding (V and down projections of some layers) better too.
func (f FileType) wanted(c *Config, name string, shape tensor.Shape, imatrix bool) tensor.DType {
	if len(shape) < 2 {
		return tensor.F32
	}
	d := f.base
	if !d.Quantized() {
		return d
	}
	layer, part := -1, ""
	if m := ggufLayer.FindStringSubmatch(name); m != nil {
		fmt.Sscan(m[1], &layer)
		part = m[2]
	}
	n := c.Layers
	more := layer < n/8 || layer >= 7*n/8 || (layer-n/8)%3 == 2
	grouped := c.Heads / c.KVHeads
	is := func(base tensor.DType, mix byte) bool { return f.base == base && f.mix == mix }
	switch {
	case name == "output.weight" || name == "token_embd.weight" && c.TieEmbeddings:
		if d != tensor.Q8_0 {
			d = tensor.Q6_K
		}
	case part == "attn_v":
		switch {
		case is(tensor.Q2_K, 'M'):
			if d = tensor.Q3_K; grouped >= 4 {
				d = tensor.Q4_K
			}
		case is(tensor.Q3_K, 'M'):
			if d = tensor.Q4_K; layer < 2 {
				d = tensor.Q5_K
			}
		case is(tensor.Q3_K, 'L'):
			d = tensor.Q5_K
		case (is(tensor.Q4_K, 'M') || is(tensor.Q5_K, 'M')) && more:
			d = tensor.Q6_K
		case is(tensor.Q4_K, 'S') && layer < 4, f.base == tensor.IQ4_NL && grouped >= 4:
			d = tensor.Q5_K
		}
		// In Llama-2 70B eight query heads share one V, which is small: a
		// better type costs little.
		if f.mix != 0 && n == 80 && grouped > 1 && (d == tensor.Q3_K || d == tensor.Q4_K) {
			d = tensor.Q5_K
		}
	case part == "ffn_down":
		switch {
		case is(tensor.Q2_K, 'M'):
			d = tensor.Q3_K
		case is(tensor.Q3_K, 'M'):
			if d = tensor.Q4_K; layer < n/16 {
				d = tensor.Q5_K
			}
		case is(tensor.Q3_K, 'L'):
			d = tensor.Q5_K
		case (is(tensor.Q4_K, 'M') || is(tensor.Q5_K, 'M')) && more:
			d = tensor.Q6_K
		case is(tensor.Q4_K, 'S') && layer < n/8, f.base == tensor.IQ4_NL && !imatrix && layer < n/8:
			d = tensor.Q5_K
		case f.base == tensor.Q4_0 && imatrix && layer < n/8:
			d = tensor.Q4_1
		case f.base == tensor.Q5_0 && imatrix && layer < n/8:
			d = tensor.Q5_1
		}
	case part == "attn_output":
		switch {
		case is(tensor.Q2_K, 'M'):
			d = tensor.Q3_K
		case is(tensor.Q3_K, 'M'):
			d = tensor.Q4_K
		case is(tensor.Q3_K, 'L'):
			d = tensor.Q5_K
		}
	}
	return d
}

// fallback replaces types whose blocks don't divide a row, as llama.cpp does.
func fallback(d tensor.DType, cols int) tensor.DType {
	if cols%d.BlockLen() == 0 {
		return d
	}
	switch d {
	case tensor.Q2_K, tensor.Q3_K:
		d = tensor.Q4_0
	case tensor.Q4_K:
		d = tensor.Q5_0
	case tensor.Q5_K:
		d = tensor.Q5_1
	case tensor.Q6_K:
		d = tensor.Q8_0
	}
	if cols%d.BlockLen() != 0 {
		return tensor.F16
	}
	return d
}
