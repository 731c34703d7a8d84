package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/dataset/shard"
	"leolm/device/cpu"
	"leolm/tokenizer"
	"leolm/train"
)

// A model of a few thousand parameters takes ten steps on one sentence, and is written as a folder of transformers.
func ExampleTrainer() {
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	tok, err := writeData(dir, "Der Mond scheint hell über dem stillen Wald.")
	if err != nil {
		log.Fatal(err)
	}
	recipe := fmt.Sprintf(`
name: ten-steps
output: '%[1]s/out'
seed: 1
model:
  tokenizer: '%[1]s/tokenizer.model'
  shape: {hidden_size: 32, intermediate_size: 64, layers: 2, heads: 2, vocab_size: %[2]d, max_positions: 64}
data: {train: [{shards: '%[1]s/data'}], sequence_length: 48}
batch: {micro: 4, global: 4}
optimizer: {lr: 1e-2}
schedule: {type: constant, steps: 10}
`, filepath.ToSlash(dir), tok.Vocab())
	file := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(file, []byte(recipe), 0o666); err != nil {
		log.Fatal(err)
	}

	cfg, err := train.Load(file, nil)
	if err != nil {
		log.Fatal(err)
	}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	var losses []float64
	t, err := train.New(cfg, dev, train.Observer{Step: func(s train.Step) { losses = append(losses, s.Loss) }})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	result, err := t.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := t.Export(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Steps, "steps, the loss fell:", losses[9] < losses[0])
	_, err = os.Stat(filepath.Join(cfg.Output, "model", "config.json"))
	fmt.Println("written:", err == nil)
	// Output:
	// 10 steps, the loss fell: true
	// written: true
}

// writeData learns a vocabulary from a sentence and writes the sentence as shards, eight times.
func writeData(dir, sentence string) (*tokenizer.Tokenizer, error) {
	trainer, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 290})
	if err != nil {
		return nil, err
	}
	trainer.Counter().Add(sentence)
	learned, err := trainer.Train(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), learned.Model, 0o666); err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromSentencePiece(learned.Model, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	w, err := shard.NewWriter(filepath.Join(dir, "data"), shard.Record{Vocab: tok.Vocab(), Tokenizer: tok.Fingerprint()})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for range 8 {
		ids := tok.AppendTokens([]int32{tok.BOS()}, sentence)
		if err := w.Add(shard.Sample{IDs: ids, Roles: make([]uint8, len(ids))}); err != nil {
			return nil, err
		}
	}
	return tok, w.Commit()
}
