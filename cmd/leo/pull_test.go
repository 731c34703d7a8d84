package main

import (
	"slices"
	"strings"
	"testing"

	"leolm/internal/hub"
)

// Of all that a repository holds, one form of the weights and the small files are fetched.
func TestChooseModelFiles(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{"config.json model.safetensors pytorch_model.bin tokenizer.model README.md .gitattributes original/consolidated.00.pth tf_model.h5 LICENSE chat_template.jinja",
			"config.json model.safetensors tokenizer.model README.md LICENSE chat_template.jinja"},
		{"config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin",
			"config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json"},
		{"config.json pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json training_args.bin modeling_flash_llama.py",
			"config.json pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json"},
		{"config.json consolidated.safetensors model-00001-of-00001.safetensors model.safetensors.index.json consolidated.safetensors.index.json params.json tekken.json",
			"config.json model-00001-of-00001.safetensors model.safetensors.index.json params.json tekken.json"},
		{"config.json model.safetensors model.fp16.safetensors model-fp8.safetensors pytorch_model.fp16.bin onnx/model.onnx onnx/model.safetensors openvino/model.bin",
			"config.json model.safetensors"},
		{"config.json pytorch_model.bin pytorch_model.fp16.bin consolidated.00.pth weights.safetensors model.gguf", "config.json pytorch_model.bin"},
		{"config.json consolidated.safetensors tokenizer.model", "config.json consolidated.safetensors tokenizer.model"},
		{"big-00001-of-00002.gguf big-00002-of-00002.gguf", "big-00001-of-00002.gguf big-00002-of-00002.gguf"},
		{"adapter_config.json adapter_model.safetensors adapter_model.bin", "adapter_config.json adapter_model.safetensors"},
		{"README.md leo.Q4_K_M.gguf", "README.md leo.Q4_K_M.gguf"},
		{"adapter_config.json adapter_model.bin", "adapter_config.json adapter_model.bin"},
	} {
		var files []hub.File
		for _, n := range strings.Fields(c.have) {
			files = append(files, hub.File{Name: n})
		}
		got, err := chooseModelFiles(files)
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, f := range got {
			names = append(names, f.Name)
		}
		if !slices.Equal(names, strings.Fields(c.want)) {
			t.Errorf("of %s:\n%v, want\n%s", c.have, names, c.want)
		}
	}
	_, err := chooseModelFiles([]hub.File{{Name: "a.Q2_K.gguf", Size: 3 << 20}, {Name: "a.Q8_0.gguf"}})
	if err == nil || !strings.Contains(err.Error(), "a.Q2_K.gguf (3.0 MiB)") {
		t.Errorf("two GGUF files: %v", err)
	}
}
