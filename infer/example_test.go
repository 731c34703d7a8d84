package infer_test

import (
	"context"
	"fmt"
	"log"

	"leolm/chat"
	"leolm/infer"
	"leolm/open"
	"leolm/sample"
)

// An answer is streamed: each piece of text is passed on as soon as it is certain.
func ExampleEngine_Generate() {
	ctx := context.Background()
	m, err := open.Open(ctx, "", open.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	prompt, _, err := m.Template.Encode(m.Tokenizer, []chat.Message{{Role: chat.User, Content: "Was ist ein Vulkan?"}},
		chat.Options{AddGenerationPrompt: true})
	if err != nil {
		log.Fatal(err)
	}
	session := m.Engine.NewSession()
	defer session.Close()
	result, err := m.Engine.Generate(ctx, session, m.Tokenizer.NewDecoder(true), &infer.Request{
		Prompt: prompt, Params: sample.Params{}, MaxNewTokens: 5, StopIDs: m.StopIDs, TopLogProbs: -1,
	}, func(t infer.Token) error {
		fmt.Printf("%q ", t.Text)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Finish)
	// Output: "Ein" " Vul" "kan" " ist" " ein" length
}

// Sessions share a common prefix: the prompt is read once, then two continuations are compared.
func ExampleSession_Fork() {
	ctx := context.Background()
	m, err := open.Open(ctx, "", open.Options{Sessions: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	prompt := m.Engine.NewSession()
	defer prompt.Close()
	if _, err := m.Engine.Prefill(ctx, prompt, m.Tokenizer.AppendTokens(nil, "Ein Vulkan ist ein"), nil); err != nil {
		log.Fatal(err)
	}
	score := func(text string) (sum float32) {
		s, err := prompt.Fork()
		if err != nil {
			log.Fatal(err)
		}
		defer s.Close()
		scores, err := m.Engine.Score(ctx, s, m.Tokenizer.AppendTokens(nil, text))
		if err != nil {
			log.Fatal(err)
		}
		for _, x := range scores {
			sum += x
		}
		return sum
	}
	fmt.Println("a mountain before a fish:", score("Berg") > score("Fisch"))
	// Output: a mountain before a fish: true
}
