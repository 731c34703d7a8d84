package train

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/internal/durable"
	"leolm/llama"
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

// mergedRows are the rows of a projection with its adapters folded in: W + Σ scale·B·A, with DoRA scaled to the
// magnitudes.
type mergedRows struct {
	deviceRows
	adapters []*llama.Adapter
	low      []deviceRows // A and B of each adapter
}

func newMergedRows(dev device.Device, l *llama.Linear) *mergedRows {
	r := &mergedRows{deviceRows: deviceRows{dev: dev, w: l.W}, adapters: l.Adapters}
	for _, a := range l.Adapters {
		r.low = append(r.low, deviceRows{dev: dev, w: a.A}, deviceRows{dev: dev, w: a.B})
	}
	return r
}

func (r *mergedRows) ReadRow(dst []float32, row int) error {
	if err := r.deviceRows.ReadRow(dst, row); err != nil {
		return err
	}
	in := make([]float32, len(dst))
	for i, a := range r.adapters {
		b := make([]float32, a.B.Cols())
		if err := r.low[2*i+1].ReadRow(b, row); err != nil {
			return err
		}
		for k, s := range b {
			if err := r.low[2*i].ReadRow(in, k); err != nil {
				return err
			}
			for j, v := range in {
				dst[j] += a.Scale * s * v
			}
		}
		if a.DoRA != nil {
			r.rescale(dst, a, row)
		}
	}
	return nil
}

// rescale gives dst the length that DoRA learnt for the row.
func (r *mergedRows) rescale(dst []float32, a *llama.Adapter, row int) {
	lengths := make([]float32, a.DoRA.Magnitude.Cols())
	r.dev.ReadWeight(a.DoRA.Magnitude, lengths)
	var sum float64
	for _, v := range dst {
		sum += float64(v) * float64(v)
	}
	f := lengths[row] / float32(math.Sqrt(max(sum, math.SmallestNonzeroFloat32)))
	for j := range dst {
		dst[j] *= f
	}
}

// average replaces the weights by the mean of those in the last n finished checkpoints.
func (t *Trainer) average(n int) error {
	done, err := committed(t.checkpoints())
	if err != nil {
		return err
	}
	done = done[max(0, len(done)-n):]
	sums := make([][]float64, len(t.sub.params))
	for _, d := range done {
		if err := t.readWeights(filepath.Join(t.checkpoints(), d.name, weightsFile)); err != nil {
			return err
		}
		for i, p := range t.sub.params {
			v := make([]float32, p.Weight.Rows()*p.Weight.Cols())
			t.dev.ReadWeight(p.Weight, v)
			if sums[i] == nil {
				sums[i] = make([]float64, len(v))
			}
			for j, x := range v {
				sums[i][j] += float64(x)
			}
		}
	}
	for i, p := range t.sub.params {
		v := make([]float32, len(sums[i]))
		for j, x := range sums[i] {
			v[j] = float32(x / float64(len(done)))
		}
		if err := t.dev.WriteWeight(p.Weight, v); err != nil {
			return err
		}
	}
	t.obs.note("the exported weights are the mean of the last %d checkpoints", len(done))
	return nil
}

// Export writes the finished run's model into the output folder: see export.
func (t *Trainer) Export() error {
	return t.export(filepath.Join(t.cfg.Output, "model"), filepath.Join(t.cfg.Output, "adapter"))
}

// ExportCheckpoint writes the model of a checkpoint of the run, "best" or a name such as "step-00000200", into dir;
// with "" that of the newest, from which a run goes on. Adapters go into the folder adapter in dir.
func (t *Trainer) ExportCheckpoint(name, dir string) error {
	if name == "" {
		if t.opt.Step == 0 {
			return fmt.Errorf("%s holds no finished checkpoint yet", t.checkpoints())
		}
		return t.export(dir, filepath.Join(dir, "adapter"))
	}
	from := filepath.Join(t.checkpoints(), name)
	if !durable.Marked(from, commitMarker) {
		return fmt.Errorf("%s is no finished checkpoint", from)
	}
	if err := t.readWeights(filepath.Join(from, weightsFile)); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return t.export(dir, filepath.Join(dir, "adapter"))
}

// export writes the model as a Hugging Face folder in bf16, with the tokenizer's
// files. Adapters are written as a PEFT folder, and with lora.merge the merged
// model too; a base that was a GGUF file gets a GGUF file beside the folder.
func (t *Trainer) export(dir, adapter string) error {
	if n := t.cfg.Checkpoint.Average; n > 1 {
		if err := t.average(n); err != nil {
			return err
		}
	}
	if l := t.cfg.LoRA; l != nil {
		if err := t.exportAdapter(adapter); err != nil || !l.Merge {
			return err
		}
	}
	linears := map[string]*llama.Linear{}
	for _, l := range t.sub.model.Linears() {
		linears[l.Name+".weight"] = l
	}
	var sources []checkpoint.Source
	for _, p := range t.sub.model.Params() {
		src := checkpoint.Source{Name: p.Name, Shape: tensor.Shape{p.Weight.Rows(), p.Weight.Cols()}, From: &deviceRows{dev: t.dev, w: p.Weight}}
		if p.Vector {
			src.Shape = tensor.Shape{p.Weight.Cols()}
		}
		if l := linears[p.Name]; l != nil && len(l.Adapters) > 0 {
			src.From = newMergedRows(t.dev, l)
		}
		sources = append(sources, src)
	}
	files, err := t.tokenizerFiles()
	if err != nil {
		return err
	}
	if t.cfg.Model.ChatTemplate != "" {
		template, err := t.template()
		if err != nil {
			return err
		}
		files["chat_template.jinja"] = []byte(template.Source())
	}
	opt := checkpoint.HFOptions{DType: tensor.BF16, Files: files}
	if g := t.cfg.Model.Generation; g != nil {
		opt.Generation = &checkpoint.Generation{Temperature: g.Temperature, TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, RepetitionPenalty: g.RepetitionPenalty}
	}
	if err := checkpoint.WriteHF(dir, t.sub.cfg, sources, opt); err != nil {
		return err
	}
	if t.sub.base == nil || t.sub.base.Checkpoint.GGUF == nil {
		return nil
	}
	typ, err := checkpoint.ParseFileType("bf16")
	if err != nil {
		return err
	}
	metadata := t.sub.base.Checkpoint.GGUF.KeptMetadata()
	if opt.Generation != nil {
		metadata = opt.Generation.Replace(metadata)
	}
	return checkpoint.WriteGGUF(dir+".gguf", t.sub.cfg, sources, checkpoint.GGUFOptions{Type: typ, Metadata: metadata})
}

// exportAdapter writes the adapters as PEFT has them.
func (t *Trainer) exportAdapter(dir string) error {
	var targets []checkpoint.LoRAWeights
	for _, l := range t.sub.model.Linears() {
		for _, a := range l.Adapters {
			w := checkpoint.LoRAWeights{
				Name: l.Name + ".weight", A: &deviceRows{dev: t.dev, w: a.A}, B: &deviceRows{dev: t.dev, w: a.B}, Rank: a.A.Rows(), In: l.W.Cols(), Out: l.W.Rows(),
			}
			if a.DoRA != nil {
				w.Magnitude = &deviceRows{dev: t.dev, w: a.DoRA.Magnitude}
			}
			targets = append(targets, w)
		}
	}
	l := t.cfg.LoRA
	opt := checkpoint.PEFTOptions{
		BaseModel: t.cfg.Model.Base, Rank: l.Rank, Alpha: l.Alpha, RSLoRA: l.RSLoRA, Dropout: l.Dropout, RankPattern: l.RankPattern, AlphaPattern: l.AlphaPattern,
	}
	for _, p := range t.sub.model.Params() {
		if p.Weight.Trainable() {
			s := checkpoint.Source{Name: p.Name, Shape: tensor.Shape{p.Weight.Rows(), p.Weight.Cols()}, From: &deviceRows{dev: t.dev, w: p.Weight}}
			if p.Vector {
				s.Shape = tensor.Shape{p.Weight.Cols()}
			}
			opt.Saved = append(opt.Saved, s)
		}
	}
	return checkpoint.WritePEFT(dir, targets, opt)
}

// tokenizerNames are the files of a Hugging Face folder that make up its tokenizer.
var tokenizerNames = []string{"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}

// tokenizerFiles collects what belongs to the tokenizer, for the exported folder.
func (t *Trainer) tokenizerFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	from := t.cfg.Model.Tokenizer
	if from == "" {
		return t.sub.base.Checkpoint.TokenizerFiles()
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
