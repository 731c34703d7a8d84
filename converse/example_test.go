package converse_test

import (
	"context"
	"fmt"
	"log"

	"leolm/converse"
	"leolm/infer"
	"leolm/open"
)

// A conversation remembers what was said, and takes the last exchange back.
func Example() {
	ctx := context.Background()
	m, err := open.Open(ctx, "", open.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	c := converse.New(m.Model, m.Engine, "")
	defer c.Close()
	for _, question := range []string{"Was ist ein Vulkan?", "Was ist 17 plus 5?"} {
		answer, err := c.Ask(ctx, question, converse.FullDrop, infer.Request{MaxNewTokens: 64, TopLogProbs: -1}, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Text)
	}
	fmt.Println(len(c.Messages), "messages")
	question, _ := c.Undo()
	fmt.Println("taken back:", question)
	fmt.Println(len(c.Messages), "messages")
	// Output:
	// Ein Vulkan ist ein Berg. Aus ihm kommt Gestein aus dem Inneren der Erde an die Oberfläche. Das Gestein ist so heiß, dass es geschmolzen ist.
	// 17 plus 5 ist 21.
	// 4 messages
	// taken back: Was ist 17 plus 5?
	// 2 messages
}
