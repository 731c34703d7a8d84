package checkpoint

import (
	"os"
	"path/filepath"
	"testing"
)

func addFiles(f *testing.F, pattern string) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(smallGGUF(f))
	f.Add(withTensors(entry("x", 0, 0, 9), entry("y", 2, 64, 32)))
	f.Add(withKV("a", ggufArray, u32(ggufArray), u64(1), u32(ggufString), u64(1), str("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		exercise(t, data)
		_, _ = ParseImatrix("fuzz", data)
	})
}

func FuzzSafetensors(f *testing.F) {
	addFiles(f, "testdata/adapters/*/*.safetensors")
	f.Add(safetensors(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}`, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSafetensors("fuzz", data)
		if err != nil {
			return
		}
		total := 0
		for _, x := range s.Tensors {
			n, err := x.Shape.Size(x.DType)
			if err != nil || n != len(x.Data) {
				t.Fatalf("%v of %v has %d bytes", x.Shape, x.DType, len(x.Data))
			}
			total += n
		}
		if total > len(data) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
	})
}

func FuzzPickle(f *testing.F) {
	addFiles(f, "testdata/models/*/*.bin")
	f.Add(torchZip(f, onePickle("FloatStorage", "K\x04", "K\x00", "K\x02K\x02\x86", "K\x01K\x02\x86"), 16))
	f.Add([]byte(onePickle("HalfStorage", "K\x04", "K\x01", "K\x02\x85", "K\x01\x85")))
	f.Add([]byte("\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a]\x94(K\x01M\x00\x01\x8a\x01\xffeu."))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = runPickle(data)
		p, err := ParsePyTorch("fuzz", data)
		if err != nil {
			return
		}
		for _, x := range p.Tensors {
			n, err := x.Shape.Size(x.DType)
			if err != nil || n != len(x.Data) || n > len(data) {
				t.Fatalf("%v of %v has %d bytes", x.Shape, x.DType, len(x.Data))
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	addFiles(f, "testdata/models/*/*config.json")
	addFiles(f, "testdata/adapters/*/adapter_config.json")
	f.Add([]byte(`{"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":4,"rope_parameters":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":8192}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ParseGeneration(data)
		_, _ = parsePEFT(data)
		_, _ = tokenizerJSON(data, 100)
		_, _ = sentencePiece(data)
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("parsed, but: %v", err)
		}
		for i, x := range c.InvFreq() {
			if !(x > 0) {
				t.Fatalf("frequency %d is %v for %+v", i, x, c)
			}
		}
		// What was read can be written and read again.
		b, err := c.ConfigJSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseConfig(b); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	})
}
