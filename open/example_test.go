package open_test

import (
	"context"
	"fmt"
	"log"

	"leolm/converse"
	"leolm/infer"
	"leolm/open"
)

// A chat with the embedded model.
func ExampleOpen() {
	ctx := context.Background()
	m, err := open.Open(ctx, "", open.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	chat := converse.New(m.Model, m.Engine, "")
	answer, err := chat.Ask(ctx, "Was ist ein Vulkan?", converse.FullError, infer.Request{MaxNewTokens: 64, TopLogProbs: -1}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Text)
	// Output: Ein Vulkan ist ein Berg. Aus ihm kommt Gestein aus dem Inneren der Erde an die Oberfläche. Das Gestein ist so heiß, dass es geschmolzen ist.
}
