package checkpoint

import (
	"leolm/internal/bounded/boundtest"
	"leolm/tokenizer"
	"os"
	"path/filepath"
	"testing"
	"time"
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
			if x.Foreign == "" && (err != nil || n != len(x.Data)) {
				t.Fatalf("%v of %v has %d bytes", x.Shape, x.DType, len(x.Data))
			}
			total += len(x.Data)
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

func FuzzImatrix(f *testing.F) {
	m := &Imatrix{Datasets: []string{"t"}, Chunks: 1, ChunkSize: 2, Entries: map[string]ImatrixEntry{"model.norm.weight": {Count: 2, SumSquares: []float32{1, 4}}}}
	path := filepath.Join(f.TempDir(), "i.gguf")
	if err := m.Write(path); err != nil {
		f.Fatal(err)
	}
	addFiles(f, path)
	old := cat(u32(1), u32(3), []byte("a.b"), u32(2), u32(2), make([]byte, 8), u32(1), u32(1), []byte("t"))
	f.Add(old)
	f.Add(old[:len(old)-5])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseImatrix("fuzz", data)
		if err != nil {
			return
		}
		total := 0
		for _, e := range m.Entries {
			total += len(e.SumSquares)
		}
		if 4*total > len(data) {
			t.Fatalf("%d columns of a file of %d bytes", total, len(data))
		}
	})
}

// FuzzAdapter reads PEFT folders whose configuration and weights are damaged.
func FuzzAdapter(f *testing.F) {
	dirs, err := filepath.Glob("testdata/adapters/*/adapter_config.json")
	if err != nil || len(dirs) == 0 {
		f.Fatal("no adapters", err)
	}
	for _, path := range dirs {
		config, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		weights, err := os.ReadFile(filepath.Join(filepath.Dir(path), "adapter_model.safetensors"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, weights)
	}
	f.Add([]byte(`{"peft_type":"LORA","r":1,"lora_alpha":2,"alpha_pattern":{"(q":3}}`),
		safetensors(`{"base_model.model.q.lora_A.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"base_model.model.q.lora_B.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}`, 8))
	base, err := Open("testdata/models/leolm")
	if err != nil {
		f.Fatal(err)
	}
	defer base.Close()
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, config, weights []byte) {
		for name, data := range map[string][]byte{"adapter_config.json": config, "adapter_model.safetensors": weights} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := InspectAdapter(dir); err == nil {
			for _, l := range a.Targets {
				if l.Rank < 1 || !(l.Scale > 0) {
					t.Fatalf("%s has rank %d and scale %v", l.Name, l.Rank, l.Scale)
				}
			}
			a.Close()
		}
		a, err := OpenAdapter(dir, base.Config)
		if err != nil {
			return
		}
		defer a.Close()
		_, sources, err := base.WithAdapter(a)
		if err != nil {
			return
		}
		for _, s := range sources {
			if err := s.From.ReadRow(make([]float32, s.Shape.Cols()), s.Shape.Rows()-1); err != nil {
				t.Fatalf("%s: opened, but: %v", s.Name, err)
			}
		}
	})
}

// FuzzVocab reads the tokenizer files that become GGUF metadata.
func FuzzVocab(f *testing.F) {
	for _, n := range []string{"bpe.model", "hf_smollm.json", "hf_llama_legacy.json"} {
		addFiles(f, "../tokenizer/testdata/"+n)
	}
	addFiles(f, "testdata/models/leolm/added_tokens.json")
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b",["a","b"]]},"added_tokens":[{"id":9,"content":"<s>","special":true}],"pre_tokenizer":{"type":"ByteLevel"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := tokenizerJSON(data, 600); err == nil && len(v.tokens) != 600 {
			t.Fatalf("%d tokens for 600 rows", len(v.tokens))
		}
		if v, err := sentencePiece(data); err == nil {
			// What was read can be written and read again.
			if _, err := sentencePiece(v.sentencePieceModel()); err != nil {
				t.Fatal(err)
			}
		}
		_ = addedTokens(data, map[string][]int{})
	})
}

// FuzzFolder reads the small files around a model's weights.
func FuzzFolder(f *testing.F) {
	read := func(name string) []byte {
		data, err := os.ReadFile("testdata/models/leolm/" + name)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	config, weights := read("config.json"), map[string][]byte{}
	for _, n := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		weights[n] = read(n)
	}
	f.Add(read("model.safetensors.index.json"), read("tokenizer_config.json"), read("special_tokens_map.json"), read("added_tokens.json"), read("generation_config.json"))
	f.Add([]byte(`{"weight_map":{"a":"../../etc/passwd"}}`), []byte(`{"chat_template":[{"name":"a","template":"b"}],"added_tokens_decoder":{"7":{"content":"x"}}}`), []byte(`{"bos_token":{"content":"x"}}`), []byte(`{"x":-1}`), []byte(`{"eos_token_id":[1,2]}`))
	dir := f.TempDir()
	weights["config.json"] = config
	for n, data := range weights {
		if err := os.WriteFile(filepath.Join(dir, n), data, 0o666); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, index, tokenizerConfig, special, added, generation []byte) {
		for name, data := range map[string][]byte{"model.safetensors.index.json": index, "tokenizer_config.json": tokenizerConfig, "special_tokens_map.json": special, "added_tokens.json": added, "generation_config.json": generation} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Open(dir)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.StopIDs()
		if _, err := c.TokenizerFiles(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzGrow adds tokens to a tokenizer whose small files are arbitrary, and makes GGUF's metadata of it: errors, but no
// panic, no unbounded memory, and what is grown opens.
func FuzzGrow(f *testing.F) {
	model, err := os.ReadFile("../tokenizer/testdata/bpe_nosplit.model")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"added_tokens_decoder":{"700":{"content":"<x>"}},"legacy":false}`), []byte(`{"<y>":701}`), []byte(`{"tokenizer_fingerprint":"t1-0"}`))
	f.Add([]byte(`{"added_tokens_decoder":[]}`), []byte(`{"<|im_end|>":3}`), []byte(`[]`))
	f.Add([]byte(`{"chat_template":[{"name":"default","template":1}],"eos_token":{"content":"</s>"}}`), []byte(`{"<|im_start|>":1000000}`), []byte(`{`))
	f.Fuzz(func(t *testing.T, config, added, leo []byte) {
		files := TokenizerFiles{fileSentencePiece: model, fileConfig: config, fileAddedTokens: added, fileLeo: leo}
		boundtest.Run(t, 1<<29, 20*time.Second, func() {
			grown, err := files.Grow("fuzz", []string{"<|new|>", "<|newer|>"})
			if err != nil {
				return
			}
			tok, err := grown.Open("fuzz", tokenizer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := grown.WithTemplate("x"); err != nil {
				return
			}
			cfg := Config{VocabSize: tok.Vocab(), BOS: -1, PAD: -1}
			_, _, _ = grown.Metadata(&cfg)
		})
	})
}
