package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"leolm/internal/bounded/boundtest"
	"leolm/tensor"
)

// smallGGUF is a valid file to damage: a Llama of two heads with a vocabulary.
func smallGGUF(t testing.TB) []byte {
	t.Helper()
	cfg := Config{Architecture: "llama", HiddenSize: 8, IntermediateSize: 8, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 4, VocabSize: 4, MaxPositions: 16, RMSEps: 1e-5, RopeTheta: 10000, BOS: -1, PAD: -1, TieEmbeddings: true,
		RopeScaling: RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192}}
	var sources []Source
	for _, s := range cfg.TensorShapes() {
		n, _ := s.Shape.Elements()
		sources = append(sources, Source{Name: s.Name, Shape: s.Shape, From: F32Rows{make([]float32, n), s.Shape.Cols()}})
	}
	path := filepath.Join(t.TempDir(), "s.gguf")
	f16, _ := ParseFileType("f16")
	meta := []KV{{"tokenizer.ggml.model", "llama"}, {"tokenizer.ggml.tokens", []string{"<unk>", "<s>", "</s>", "a"}}, {"tokenizer.ggml.scores", []float32{0, 0, 0, -1}},
		{"tokenizer.ggml.token_type", []int32{2, 3, 3, 1}}, {"tokenizer.ggml.eos_token_id", uint32(2)}, {"x.nested", []any{[]string{"a"}, []any{[]bool{true}}}}, {"x.wide", []uint64{1}}}
	if err := WriteGGUF(path, cfg, sources, GGUFOptions{Type: f16, Metadata: meta}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
func str(s string) []byte { return append(u64(uint64(len(s))), s...) }
func cat(parts ...[]byte) []byte {
	return bytes.Join(parts, nil)
}

// entry describes a tensor in a GGUF header.
func entry(name string, typ uint32, offset uint64, dims ...uint64) []byte {
	b := cat(str(name), u32(uint32(len(dims))))
	for _, d := range dims {
		b = append(b, u64(d)...)
	}
	return cat(b, u32(typ), u64(offset))
}

// withTensors is a GGUF file of the given tensor entries and 64 bytes of data.
func withTensors(entries ...[]byte) []byte {
	b := cat([]byte("GGUF"), u32(3), u64(uint64(len(entries))), u64(0), cat(entries...))
	b = append(b, make([]byte, (32-len(b)%32)%32)...)
	return append(b, make([]byte, 64)...)
}

func withKV(key string, typ uint32, value ...[]byte) []byte {
	return cat([]byte("GGUF"), u32(3), u64(0), u64(1), str(key), u32(typ), cat(value...))
}

// Every way in which a header can lie is an error that names file, place and reason.
func TestHostileGGUF(t *testing.T) {
	for want, data := range map[string][]byte{
		"not a GGUF file":               []byte("PK\x03\x04........................"),
		"GGUF version 1":                cat([]byte("GGUF"), u32(1), u64(0), u64(0)),
		"big-endian":                    cat([]byte("GGUF"), u32(3<<24), u64(0), u64(0)),
		"version 9":                     cat([]byte("GGUF"), u32(9), u64(0), u64(0)),
		"tensors can't be described":    cat([]byte("GGUF"), u32(3), u64(1<<60), u64(0)),
		"entries can't fit":             cat([]byte("GGUF"), u32(3), u64(0), u64(1<<60)),
		"needs 1152921504606846976":     cat([]byte("GGUF"), u32(3), u64(0), u64(1), u64(1<<60), make([]byte, 20)),
		"can't fit the":                 withKV("a", ggufArray, u32(ggufString), u64(1<<61)),
		"unknown type 77":               withKV("a", 77, u64(0)),
		"array of unknown type 99":      withKV("a", ggufArray, u32(99), u64(1), u64(1)),
		"nests arrays":                  withKV("a", ggufArray, bytes.Repeat(cat(u32(ggufArray), u64(1)), 50)),
		"truth value of 7":              withKV("a", ggufBool, []byte{7}),
		"general.alignment is 3":        withKV("general.alignment", ggufU32, u32(3)),
		"overflows":                     withTensors(entry("x", 0, 0, 1<<40, 1<<40)),
		"an extent of":                  withTensors(entry("x", 0, 0, 1<<63)),
		"beyond the end":                withTensors(entry("x", 0, 0, 17)),
		"beyond the end of":             withTensors(entry("x", 0, 1<<62, 1)),
		"not a multiple of the align":   withTensors(entry("x", 0, 3, 1)),
		"overlaps tensor":               withTensors(entry("x", 0, 0, 9), entry("y", 0, 32, 1)),
		"a second tensor of this name":  withTensors(entry("x", 0, 0, 1), entry("x", 0, 32, 1)),
		"9 dimensions":                  withTensors(entry("x", 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
		"unknown type 1000":             withTensors(entry("x", 1000, 0, 1)),
		"stored as iq2_xs":              withTensors(entry("x", 17, 0, 256)),
		"whole number of q4_0 blocks":   withTensors(entry("x", 2, 0, 33)),
		"architecture \"\" is not":      withTensors(entry("x", 0, 0, 1)),
		"llama.embedding_length is mis": withKV("general.architecture", ggufString, str("llama")),
	} {
		_, err := OpenBytes("bad.gguf", data)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad.gguf") {
			t.Errorf("%v, want %q", err, want)
		}
		var f *FormatError
		if !errors.As(err, &f) {
			t.Errorf("%v is a %T", err, err)
		}
	}
}

// Cut anywhere, or with any bit changed, a file is read or refused; never more.
func TestDamagedGGUF(t *testing.T) {
	data := smallGGUF(t)
	if c, err := OpenBytes("good", data); err != nil {
		t.Fatal(err)
	} else if c.Config.RopeScaling.Type != "llama3" {
		t.Errorf("%+v", c.Config.RopeScaling)
	}
	for cut := range data {
		if _, err := OpenBytes("cut", data[:cut]); err == nil && cut < len(data)-32 {
			t.Errorf("%d of %d bytes: no error", cut, len(data))
		}
	}
	for i := range data {
		for bit := range 8 {
			d := bytes.Clone(data)
			d[i] ^= 1 << bit
			exercise(t, d)
		}
	}
}

// exercise opens and reads everything.
func exercise(t testing.TB, data []byte) {
	c, err := OpenBytes("damaged", data)
	if err != nil {
		return
	}
	for _, x := range c.Tensors() {
		if x.Rows()*x.Cols() > len(data)*64 {
			t.Fatalf("%s of %v in a file of %d bytes", x.Name, x.Shape, len(data))
		}
		if _, err := x.Float32(); err != nil {
			t.Fatalf("opened, but: %v", err)
		}
	}
	if _, err := c.TokenizerFiles(); err != nil && c.Vocab.Model == "llama" && c.Vocab.Scores != nil {
		t.Fatal(err)
	}
}

func safetensors(header string, size int) []byte {
	return cat(u64(uint64(len(header))), []byte(header), make([]byte, size))
}

func TestHostileSafetensors(t *testing.T) {
	for want, data := range map[string][]byte{
		"too few":                    {1, 2},
		"the format allows":          cat(u64(1<<60), make([]byte, 50)),
		"truncated or damaged":       cat(u64(60), make([]byte, 50)),
		"not a JSON object":          safetensors(`[]`, 0),
		"in the JSON header":         safetensors(`{"a":`, 0),
		"appears twice":              safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1),
		"lies at bytes 0 to 9":       safetensors(`{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,9]}}`, 1),
		"data_offsets holds 1":       safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1),
		"lies at bytes 0 to 4":       safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 3),
		"lies at bytes 4 to 0":       safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4),
		"takes 8 bytes":              safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4),
		"overflows":                  safetensors(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}`, 4),
		"negative extent":            safetensors(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4),
		"overlaps":                   safetensors(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3),
		"before it belong to no":     safetensors(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3),
		"at the end belong to no":    safetensors(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 3),
		"bytes after the header's J": safetensors(`{} x`, 0),
	} {
		_, err := ParseSafetensors("bad.safetensors", data)
		var f *FormatError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &f) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// torchZip is a file of torch.save with the given pickle and one storage "0".
func torchZip(t testing.TB, pickle string, storage int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{"m/data.pkl": pickle, "m/data/0": strings.Repeat("\x00", storage), "m/byteorder": "little"} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// onePickle is {"a": tensor} with the tensor's description given.
func onePickle(storageType, numel, offset, shape, stride string) string {
	return "\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n" + storageType + "\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + numel + "tQ" +
		offset + shape + stride + "\x89ccollections\nOrderedDict\n)RtRs."
}

func TestHostilePickles(t *testing.T) {
	good := onePickle("FloatStorage", "K\x04", "K\x00", "K\x02K\x02\x86", "K\x02K\x01\x86")
	p, err := ParsePyTorch("good.bin", torchZip(t, good, 16))
	if err != nil || len(p.Tensors) != 1 || !p.Tensors[0].Shape.Equal(tensor.Shape{2, 2}) {
		t.Fatalf("%+v, %v", p, err)
	}
	big := "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40"
	for want, data := range map[string][]byte{
		"asks for \"os.system\"":             torchZip(t, "\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", 0),
		"asks for \"builtins.eval\"":         torchZip(t, "\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", 0),
		"asks for \"torch.load\"":            torchZip(t, "\x80\x02ctorch\nload\n.", 0),
		"instruction 0x69":                   torchZip(t, "\x80\x02(ios\nsystem\n.", 0),
		"pickle protocol 9":                  torchZip(t, "\x80\x09.", 0),
		"takes from an empty stack":          torchZip(t, "\x80\x02.", 0),
		"no mark":                            torchZip(t, "\x80\x02t.", 0),
		"never stored":                       torchZip(t, "\x80\x02h\x07.", 0),
		"text of 4294967295 bytes":           torchZip(t, "\x80\x02X\xff\xff\xff\xff.", 0),
		"truncated":                          torchZip(t, "\x80\x02}", 0),
		"a number of 200 bytes":              torchZip(t, "\x80\x02\x8a\xc8"+strings.Repeat("\x00", 200)+".", 0),
		"instead of a dictionary":            torchZip(t, "\x80\x02K\x01.", 0),
		"a tensor's name is":                 torchZip(t, "\x80\x02}K\x01K\x02s.", 0),
		"is no storage":                      torchZip(t, "\x80\x02)Q.", 0),
		"calls collections.OrderedDict with": torchZip(t, "\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", 0),
		"is said to hold 4 elements":         torchZip(t, good, 15),
		"doesn't fit its storage":            torchZip(t, onePickle("FloatStorage", "K\x04", "K\x00", "K\x05\x85", "K\x01\x85"), 16),
		"ends beyond its storage":            torchZip(t, onePickle("FloatStorage", "K\x04", "K\x01", "K\x02K\x02\x86", "K\x02K\x01\x86"), 16),
		"leave its storage":                  torchZip(t, onePickle("FloatStorage", "K\x04", "K\x00", "K\x02K\x02\x86", big+"K\x01\x86"), 16),
		"overflows":                          torchZip(t, onePickle("FloatStorage", "K\x04", "K\x00", big+big+"\x86", "K\x00K\x00\x86"), 16),
		"asks for \"torch.QInt8Storage\"":    torchZip(t, onePickle("QInt8Storage", "K\x04", "K\x00", "K\x02\x85", "K\x01\x85"), 16),
		"a storage of torch.Size":            torchZip(t, onePickle("Size", "K\x04", "K\x00", "K\x02\x85", "K\x01\x85"), 16),
		"before 1.6":                         []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
		"broken zip archive":                 []byte("PK\x03\x04 and no directory"),
	} {
		_, err := ParsePyTorch("bad.bin", data)
		var f *FormatError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &f) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// A program that doubles a tuple 60 times takes 60 steps, not 2^60.
	bomb := "\x80\x02)q\x00" + strings.Repeat("h\x00h\x00\x86q\x00", 60) + "."
	start := time.Now()
	if _, err := ParsePyTorch("bomb.bin", torchZip(t, bomb, 0)); err == nil || time.Since(start) > time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// A clone without its large files says so, whichever file is read first.
func TestPointers(t *testing.T) {
	const text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
	const config = `{"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":4}`
	for _, name := range []string{"config.json", "model.safetensors", "pytorch_model.bin", "model.gguf", "imatrix.gguf", "adapter_config.json"} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		files := map[string]string{file: text}
		if filepath.Ext(name) != ".json" {
			files[filepath.Join(dir, "config.json")] = config
		}
		for f, text := range files {
			if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		switch name {
		case "model.gguf":
			_, err = Open(file)
		case "imatrix.gguf":
			_, err = OpenImatrix(file)
		case "adapter_config.json":
			_, err = InspectAdapter(dir)
		default:
			_, err = Open(dir)
		}
		var f *FormatError
		if !errors.Is(err, ErrPointer) || !errors.As(err, &f) || f.File != file {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileConfigs(t *testing.T) {
	const ok = `"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":4`
	if c, err := ParseConfig([]byte(`{` + ok + `,"eos_token_id":null,"rope_scaling":null,"max_position_embeddings":1e30}`)); err != nil || c.MaxPositions != math.MaxInt32 || c.KVHeads != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	for want, text := range map[string]string{
		"unexpected end":                 `{`,
		"null instead":                   `null`,
		"cannot unmarshal array":         `[]`,
		`"vocab_size" is missing`:        `{"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2}`,
		`model_type "gpt2"`:              `{"model_type":"gpt2"}`,
		"neither model_type nor":         `{}`,
		`"hidden_size": 8.5 is not a`:    strings.Replace(`{`+ok+`}`, `_size":8`, `_size":8.5`, 1),
		`"hidden_size": "x" is not`:      strings.Replace(`{`+ok+`}`, `_size":8`, `_size":"x"`, 1),
		"hidden_size is -8":              strings.Replace(`{`+ok+`,"head_dim":4}`, `_size":8`, `_size":-8`, 1),
		"num_hidden_layers is 100000":    strings.Replace(`{`+ok+`}`, `layers":1`, `layers":100000`, 1),
		"multiple of num_attention":      strings.Replace(`{`+ok+`}`, `heads":2`, `heads":3`, 1),
		"num_attention_heads is 0":       strings.Replace(`{`+ok+`}`, `heads":2`, `heads":0`, 1),
		"not a multiple of num_key_valu": `{` + ok + `,"num_key_value_heads":3}`,
		"head_dim 3 is odd":              `{` + ok + `,"head_dim":3}`,
		`hidden_act "gelu"`:              `{` + ok + `,"hidden_act":"gelu"}`,
		`rope scaling "ntk"`:             `{` + ok + `,"rope_scaling":{"type":"ntk","factor":2}}`,
		`"factor" is missing`:            `{` + ok + `,"rope_scaling":{"type":"linear"}}`,
		"factor 0":                       `{` + ok + `,"rope_scaling":{"type":"linear","factor":0}}`,
		"llama3 rope scaling with":       `{` + ok + `,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,"original_max_position_embeddings":8192}}`,
		"rms_norm_eps is 0":              `{` + ok + `,"rms_norm_eps":0}`,
		"rope_theta is -1":               `{` + ok + `,"rope_theta":-1}`,
		"partial_rotary_factor":          `{` + ok + `,"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}}`,
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A folder's files can point out of it, lack what they name, or be cut.
func TestHostileFolders(t *testing.T) {
	copyModel := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "m")
		if err := os.CopyFS(dir, os.DirFS("testdata/models/leolm")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	edit := func(file, old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			p := filepath.Join(dir, file)
			b, err := os.ReadFile(p)
			if err != nil || !bytes.Contains(b, []byte(old)) {
				t.Fatalf("%s holds no %q, %v", p, old, err)
			}
			if err := os.WriteFile(p, bytes.ReplaceAll(b, []byte(old), []byte(new)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want, damage := range map[string]func(t *testing.T, dir string){
		"not a plain file name": edit("model.safetensors.index.json", "model-00002", "../model-00002"),
		"named by":              edit("model.safetensors.index.json", "model-00002", "model-00003"),
		"not in this file":      edit("model.safetensors.index.json", "model.norm.weight", "model.norm.weighs"),
		"has shape [64 16], the configuration implies [65 16]": edit("config.json", `"vocab_size": 64`, `"vocab_size": 65`),
		"missing (9 of the model's tensors are)":               edit("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`),
		"line 3":                                               edit("config.json", `"intermediate_size": 32`, `"intermediate_size" 32`),
		"weight_map is missing": func(t *testing.T, dir string) {
			_ = os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte("{}"), 0o644)
		},
		"no config.json": func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "config.json")) },
		"belong to no tensor": func(t *testing.T, dir string) {
			p := filepath.Join(dir, "model-00001-of-00002.safetensors")
			b, _ := os.ReadFile(p)
			_ = os.WriteFile(p, append(b, 0), 0o644)
		},
		"the file is empty": func(t *testing.T, dir string) {
			_ = os.WriteFile(filepath.Join(dir, "model-00001-of-00002.safetensors"), nil, 0o644)
		},
	} {
		dir := copyModel(t)
		damage(t, dir)
		_, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A model of 7B in q4_0 opens at once: only its header is read. The file is
// sparse; only its size is real.
func TestLargeFileOpensAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs sparse files")
	}
	cfg := Config{Architecture: "llama", HiddenSize: 4096, IntermediateSize: 11008, Layers: 32, Heads: 32, KVHeads: 32, HeadDim: 128, VocabSize: 32000, MaxPositions: 4096, RMSEps: 1e-5, RopeTheta: 10000}
	q4, _ := ParseFileType("q4_0")
	kv := cfg.ggufMetadata(GGUFOptions{Type: q4, Metadata: []KV{{"tokenizer.ggml.model", "llama"}, {"tokenizer.ggml.tokens", make([]string, 32000)}}})
	header := cat([]byte("GGUF"), u32(3), u64(uint64(len(cfg.TensorShapes()))), u64(uint64(len(kv))))
	var b bytes.Buffer
	for _, e := range kv {
		typ, _ := ggufTypeOf(e.Value)
		b.Write(cat(str(e.Key), u32(typ)))
		if err := putGGUFValue(&b, e.Value); err != nil {
			t.Fatal(err)
		}
	}
	var at uint64
	for _, s := range cfg.TensorShapes() {
		name, _ := ggufName(s.Name)
		d := q4.tensorType(&cfg, name, s.Shape, false)
		size, err := s.Shape.Size(d)
		if err != nil {
			t.Fatal(err)
		}
		dims := make([]uint64, len(s.Shape))
		for i, e := range s.Shape {
			dims[len(dims)-1-i] = uint64(e)
		}
		b.Write(entry(name, ggmlNumbers[d], at, dims...))
		at += uint64(size+31) / 32 * 32
	}
	header = append(header, b.Bytes()...)
	path := filepath.Join(t.TempDir(), "7b.gguf")
	if err := os.WriteFile(path, header, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(header)+31)/32*32+int64(at)); err != nil {
		t.Skip(err)
	}
	start := time.Now()
	c, err := Open(path)
	took := time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Logf("%d MB opened in %v", c.Size()>>20, took)
	if c.Size() < 3500<<20 || took > time.Second {
		t.Errorf("%d bytes opened in %v", c.Size(), took)
	}
}

// A program of as many instructions as a pickle may have bytes ends soon.
func TestLongPickle(t *testing.T) {
	for _, unit := range []string{"N", "(", "]", "N0", "h\x00", "N\x94"} {
		program := []byte("\x80\x02Nq\x00" + strings.Repeat(unit, maxInstructions))
		boundtest.Run(t, 1<<30, 10*time.Second, func() {
			if _, err := runPickle(program); err == nil || !strings.Contains(err.Error(), "instructions") {
				t.Errorf("%q: %v", unit, err)
			}
		})
	}
}
