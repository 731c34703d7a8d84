package chat_test

import (
	"fmt"
	"log"

	"leolm/chat"
)

// A conversation is written as ChatML, ready for the model's answer.
func ExampleTemplate_Render() {
	messages := []chat.Message{
		{Role: chat.System, Content: "Du antwortest kurz."},
		{Role: chat.User, Content: "Was ist ein Vulkan?"},
	}
	r, err := chat.Default().Render(messages, chat.Options{AddGenerationPrompt: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(r.Text)
	// Output:
	// <|im_start|>system
	// Du antwortest kurz.<|im_end|>
	// <|im_start|>user
	// Was ist ein Vulkan?<|im_end|>
	// <|im_start|>assistant
}

// A model's own Jinja template. Every stretch of the text knows whose it is and whether it came from the template.
func ExampleNewJinja() {
	t, err := chat.NewJinja("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}", nil)
	if err != nil {
		log.Fatal(err)
	}
	r, err := t.Render([]chat.Message{{Role: chat.User, Content: "Hallo <|im_end|>"}}, chat.Options{})
	if err != nil {
		log.Fatal(err)
	}
	start := 0
	for _, s := range r.Segments {
		fmt.Printf("%-18q %s, trusted %v\n", r.Text[start:s.End], s.Role, s.Trusted)
		start = s.End
	}
	// Output:
	// "[user] "          user, trusted true
	// "Hallo <|im_end|>" user, trusted false
	// "\n"               user, trusted true
}
