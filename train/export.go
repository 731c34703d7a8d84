package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/tensor"
)

// deviceRows reads a weight for the writers: copied as a whole when the first row is asked for.
type deviceRows struct {
	dev    device.Device
	w      device.Weight
	once   sync.Once
	values []float32
}

func (r *deviceRows) ReadRow(dst []float32, row int) error {
	r.once.Do(func() {
		r.values = make([]float32, r.w.Rows()*r.w.Cols())
		r.dev.ReadWeight(r.w, r.values)
	})
	copy(dst, r.values[row*r.w.Cols():(row+1)*r.w.Cols()])
	return nil
}

// Export writes the model as a Hugging Face folder in bf16, with the tokenizer's files and the chat template.
func (t *Trainer) Export(dir string) error {
	var sources []checkpoint.Source
	for _, p := range t.sub.model.Params() {
		shape := tensor.Shape{p.Weight.Rows(), p.Weight.Cols()}
		if p.Vector {
			shape = tensor.Shape{p.Weight.Cols()}
		}
		sources = append(sources, checkpoint.Source{Name: p.Name, Shape: shape, From: &deviceRows{dev: t.dev, w: p.Weight}})
	}
	files, err := t.tokenizerFiles()
	if err != nil {
		return err
	}
	return checkpoint.WriteHF(dir, t.sub.cfg, sources, checkpoint.HFOptions{DType: tensor.BF16, Files: files})
}

// tokenizerNames are the files of a Hugging Face folder that make up its tokenizer.
var tokenizerNames = []string{"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}

// tokenizerFiles collects what belongs to the tokenizer, for the exported folder.
func (t *Trainer) tokenizerFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	from := t.cfg.Model.Tokenizer
	if from == "" && t.sub.base != nil {
		from = t.sub.base.Checkpoint.TokenizerDir
	}
	if from == "" {
		return files, nil // a GGUF base carries its vocabulary only in the GGUF export
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		for _, n := range tokenizerNames {
			b, err := os.ReadFile(filepath.Join(from, n))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			files[n] = b
		}
		return files, nil
	}
	name := "tokenizer.model"
	if filepath.Ext(from) == ".json" {
		name = "tokenizer.json"
	}
	if files[name], err = os.ReadFile(from); err != nil {
		return nil, err
	}
	cfg := map[string]any{"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "add_eos_token": false, "legacy": true, "clean_up_tokenization_spaces": false}
	for key, id := range map[string]int32{"bos_token": t.sub.tok.BOS(), "eos_token": t.sub.tok.EOS(), "pad_token": t.sub.tok.PAD(), "unk_token": t.sub.tok.UNK()} {
		if id >= 0 {
			cfg[key] = t.sub.tok.Piece(id)
		}
	}
	files["tokenizer_config.json"], err = json.MarshalIndent(cfg, "", "  ")
	return files, err
}
