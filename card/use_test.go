package card

import (
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"leolm/chat"
	"leolm/tokenizer"
)

// A model without the markers of a template continues texts; one in a folder may have a GGUF file beside it.
func TestBaseModel(t *testing.T) {
	c := leo(t)
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("Der Mond scheint hell über dem stillen Wald, und ein alter Mann sitzt am Fluss.")
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, c.path("model/tokenizer.model"), string(res.Model))
	c.Question, c.File = "", "leo 13b's.gguf"
	text := render(t, c)
	inOrder(t, text, "leo pull LeoLM/leo-hessianai-13b-chat\nleo generate --model LeoLM/leo-hessianai-13b-chat 'Ein Vulkan ist'\n",
		`inputs = tokenizer("Ein Vulkan ist", return_tensors="pt")`, `llama-server -m 'leo 13b'\''s.gguf' -c 8192`+"\ncurl http://localhost:8080/v1/completions",
		"FROM ./leo 13b's.gguf\nTEMPLATE \"\"\"{{ .Prompt }}\"\"\"\n")
	for _, no := range []string{"## Prompt Template", "chat_template", "im_end"} {
		if strings.Contains(text, no) {
			t.Errorf("the card of a base model has %q", no)
		}
	}
}

// The Modelfile's template writes what the chat template writes.
func TestOllamaTemplate(t *testing.T) {
	dir := t.TempDir()
	leoFolder(t, filepath.Join(dir, "model"))
	for _, name := range chat.TemplateNames() {
		if name == "training" { // whole conversations only
			continue
		}
		m, err := (&Config{Model: filepath.Join(dir, "model"), ChatTemplate: name}).openModel()
		if err != nil {
			t.Fatal(err)
		}
		source, err := m.OllamaTemplate()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		tmpl, err := template.New(name).Parse(source)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, system := range []string{"", "Sei kurz."} {
			msgs := []chat.Message{{Role: chat.User, Content: "Wie {{geht}} es?"}}
			if system != "" {
				msgs = append([]chat.Message{{Role: chat.System, Content: system}}, msgs...)
			}
			want, err := m.template.Render(msgs, chat.Options{AddGenerationPrompt: true})
			if err != nil {
				continue // no place for a system message
			}
			var got strings.Builder
			if err := tmpl.Execute(&got, map[string]string{"System": system, "Prompt": "Wie {{geht}} es?", "Response": "\x00"}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			prompt, _, _ := strings.Cut(got.String(), "\x00")
			if prompt != want.Text && "<s>"+prompt != want.Text && "<bos>"+prompt != want.Text {
				t.Errorf("%s: %q, want %q", name, prompt, want.Text)
			}
		}
	}
}
