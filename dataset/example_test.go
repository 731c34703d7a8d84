package dataset_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/chat"
	"leolm/dataset"
	"leolm/dataset/shard"
	"leolm/tokenizer"
)

// Dialogues become tokens with the role of each, in shards that training reads.
func ExamplePrepare() {
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trainer, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 300, Control: []string{"<|im_start|>", "<|im_end|>"}})
	if err != nil {
		log.Fatal(err)
	}
	trainer.Counter().Add("Was frisst der Igel? Der Igel frisst, was er findet. user assistant")
	learned, err := trainer.Train(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	for name, data := range map[string]string{
		"tokenizer.model": string(learned.Model),
		"animals.jsonl": `{"messages": [{"role": "user", "content": "Was frisst der Igel?"}, {"role": "assistant", "content": "Was er findet."}]}
{"messages": [{"role": "user", "content": "Der Igel?"}, {"role": "assistant", "content": ""}]}
`,
		"mix.yaml": `
prefix: animals
tokenizer: tokenizer.model
sources:
  - {name: Animals, reader: messages, files: [animals.jsonl]}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			log.Fatal(err)
		}
	}

	mix, err := dataset.LoadMix(filepath.Join(dir, "mix.yaml"), nil)
	if err != nil {
		log.Fatal(err)
	}
	report, err := dataset.Prepare(context.Background(), mix, dir, dataset.PrepareOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Train[0].Accepted, "accepted, skipped:", report.Train[0].Skipped)

	shards, err := shard.Open(report.Prefix + "-train")
	if err != nil {
		log.Fatal(err)
	}
	defer shards.Close()
	tok, err := tokenizer.FromSentencePiece(learned.Model, tokenizer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sample := shards.Sample(0)
	var answer []int32
	for i, role := range sample.Roles {
		if chat.Role(role) == chat.Assistant {
			answer = append(answer, sample.IDs[i])
		}
	}
	fmt.Printf("%q\n", tok.Decode(answer, false))
	// Output:
	// 1 accepted, skipped: 1
	// "<|im_start|> assistant\nWas er findet.<|im_end|> \n"
}
