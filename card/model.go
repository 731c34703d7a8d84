package card

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"leolm/catalog"
	"leolm/chat"
	"leolm/checkpoint"
	"leolm/eval"
	"leolm/tokenizer"
)

// Model is what the model's files say.
type Model struct {
	Name       string // of the file or folder
	File       string // the GGUF file's name in the repository; "" if there is none
	Folder     bool   // it is a folder that transformers reads
	Chat       bool   // it is talked to with a template; else it continues texts
	Format     string // "gguf", "safetensors", …
	DType      string // that most bytes of the weights have; "" without weights
	Bytes      int64  // of the weights
	Parameters int64
	Config     checkpoint.Config
	Context    int // tokens it was trained for
	Vocabulary int // ids of the tokenizer
	// Weights and Tokenizer are fingerprints, ChatTemplate the template's name and hash: those that artifacts carry.
	Weights, Tokenizer, ChatTemplate string
	// OwnTemplate is false where the files have no chat template.
	OwnTemplate bool
	Generation  checkpoint.Generation // what the files recommend
	StopIDs     []int32
	Stops       []string // the texts of tokens that end an answer, and those that do as text

	template *chat.Template
	tok      *tokenizer.Tokenizer
}

// openModel reads the facts of the configuration's model.
func (c *Config) openModel() (*Model, error) {
	arg := c.Model
	if arg != "" {
		if _, err := os.Stat(c.path(arg)); err == nil {
			arg = c.path(arg)
		}
	}
	template := c.ChatTemplate
	if template != "" {
		if _, err := os.Stat(c.path(template)); err == nil {
			template = c.path(template)
		}
	}
	m, err := catalog.Open(arg, catalog.Options{Template: template})
	if err != nil {
		return nil, err
	}
	ck := m.Checkpoint
	out := &Model{
		Name: m.Name, Format: ck.Format, Bytes: ck.Size(), Config: m.Config(), Vocabulary: m.Tokenizer.Vocab(), Weights: m.Fingerprint(),
		Tokenizer: m.Tokenizer.Fingerprint(), ChatTemplate: eval.TemplateIdentity(m.Template), OwnTemplate: ck.ChatTemplate != "" && c.ChatTemplate == "",
		Generation: ck.Generation, StopIDs: m.StopIDs, template: m.Template, tok: m.Tokenizer,
	}
	out.Parameters, out.Context = out.Config.Parameters(), out.Config.MaxPositions
	out.Chat = out.OwnTemplate || c.ChatTemplate != "" || len(m.Template.MissingMarkers(m.Tokenizer)) == 0
	out.File, out.Folder = c.File, out.Format != checkpoint.FormatGGUF
	if !out.Folder && out.File == "" {
		out.File = strings.TrimSuffix(filepath.Base(m.Name), ".gguf") + ".gguf"
	}
	sizes, most := map[string]int{}, 0
	for _, t := range ck.Tensors() {
		name := t.DType.String()
		if sizes[name] += t.Size(); sizes[name] > most {
			out.DType, most = name, sizes[name]
		}
	}
	for _, id := range m.StopIDs {
		out.Stops = append(out.Stops, m.Tokenizer.Piece(id))
	}
	if out.Chat {
		out.Stops = append(out.Stops, m.StopStrings...)
	}
	return out, m.Close()
}

// same says why an artifact is not of this model; "" if it is. Results of endpoints and files have no fingerprints: their
// names are compared.
func (m *Model) same(id *eval.Identity, names ...string) string {
	switch {
	case id.Weights == "":
		for _, n := range append(names, m.Name) {
			if n != "" && id.Name == n {
				return ""
			}
		}
		return fmt.Sprintf("it is of %q, and the card of %s", id.String(), strings.Join(nonEmpty(append(names, m.Name)), " or "))
	case id.Weights != m.Weights:
		return fmt.Sprintf("its weights have the fingerprint %s, the card's %s", id.Weights, m.Weights)
	case len(id.Adapters) > 0:
		return "its weights had the adapters " + strings.Join(id.Adapters, ", ")
	case id.Tokenizer != "" && id.Tokenizer != m.Tokenizer:
		return fmt.Sprintf("its tokenizer has the fingerprint %s, the card's %s", id.Tokenizer, m.Tokenizer)
	}
	return ""
}

func nonEmpty(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Sentinels that stand for texts in a rendered conversation.
const (
	markSystem = "\uf8f0leo-system\uf8f0"
	markUser   = "\uf8f0leo-user\uf8f0"
	markAnswer = "\uf8f0leo-answer\uf8f0"
)

// pieces are what a chat template writes around the texts of a conversation of one turn.
type pieces struct {
	systemBefore, systemAfter string // around the system message, up to the user's header; "" if there can be none
	system                    bool   // a system message has a place
	before, after, end        string // before the question, between question and answer, after the answer
	opening                   string // in front of all without a system message
}

var errTemplate = errors.New("its chat template writes a conversation that cannot be told apart")

// split renders conversations and takes them apart.
func (m *Model) split() (*pieces, error) {
	render := func(generate bool, msgs ...chat.Message) (string, error) {
		r, err := m.template.Render(msgs, chat.Options{AddGenerationPrompt: generate})
		if err != nil {
			return "", err
		}
		return r.Text, nil
	}
	user := chat.Message{Role: chat.User, Content: markUser}
	plain, err := render(true, user)
	if err != nil {
		return nil, err
	}
	p := &pieces{}
	head, after, ok := strings.Cut(plain, markUser)
	if !ok {
		return nil, errTemplate
	}
	p.before, p.after = head, after
	if whole, err := render(false, user, chat.Message{Role: chat.Assistant, Content: markAnswer}); err == nil {
		if _, end, ok := strings.Cut(whole, markAnswer); ok {
			p.end = end
		}
	}
	with, err := render(true, chat.Message{Role: chat.System, Content: markSystem}, user)
	if err != nil {
		return p, nil // a template without system messages
	}
	a, rest, ok := strings.Cut(with, markSystem)
	if !ok {
		return p, nil
	}
	b, c, ok := strings.Cut(rest, markUser)
	if !ok || c != after {
		return nil, errTemplate
	}
	p.system, p.systemBefore = true, a
	// What the question's header is, with and without a system message.
	if inner, found := strings.CutSuffix(b, head); found {
		p.systemAfter = inner
		return p, nil
	}
	n := 0
	for n < len(b) && n < len(head) && b[len(b)-1-n] == head[len(head)-1-n] {
		n++
	}
	p.systemAfter, p.opening, p.before = b[:len(b)-n], head[:len(head)-n], head[len(head)-n:]
	return p, nil
}

// Prompt is the template as cards show it: what stands around a system message and a question.
func (m *Model) Prompt() (string, error) {
	p, err := m.split()
	if err != nil {
		return "", err
	}
	if p.system {
		return p.systemBefore + "{system_message}" + p.systemAfter + p.before + "{prompt}" + p.after, nil
	}
	return p.opening + p.before + "{prompt}" + p.after, nil
}

// goText writes text into a Go template.
func goText(s string) string { return strings.ReplaceAll(s, "{{", `{{ "{{" }}`) }

// OllamaTemplate is the chat template in Ollama's language: Go's, with .System, .Prompt and .Response.
func (m *Model) OllamaTemplate() (string, error) {
	if !m.Chat {
		return "{{ .Prompt }}", nil
	}
	p, err := m.split()
	if err != nil {
		return "", err
	}
	if m.tok.BOS() >= 0 && m.tok.AddBOS() { // Ollama puts it in front itself
		bos := m.tok.Piece(m.tok.BOS())
		p.systemBefore, p.opening = strings.TrimPrefix(p.systemBefore, bos), strings.TrimPrefix(p.opening, bos)
		if p.opening == "" {
			p.before = strings.TrimPrefix(p.before, bos)
		}
	}
	var b strings.Builder
	if p.system {
		b.WriteString("{{ if .System }}" + goText(p.systemBefore) + "{{ .System }}" + goText(p.systemAfter))
		if p.opening != "" {
			b.WriteString("{{ else }}" + goText(p.opening))
		}
		b.WriteString("{{ end }}")
	} else {
		b.WriteString(goText(p.opening))
	}
	b.WriteString(goText(p.before) + "{{ .Prompt }}" + goText(p.after) + "{{ .Response }}" + goText(p.end))
	return b.String(), nil
}

// Modelfile is what `ollama create` reads.
func (m *Model) Modelfile() (string, error) {
	template, err := m.OllamaTemplate()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "FROM ./%s\n", m.File)
	if strings.Contains(template, `"""`) {
		return "", fmt.Errorf("%w in a Modelfile: it has three quotes in a row", errTemplate)
	}
	fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", template)
	for _, s := range m.Stops {
		fmt.Fprintf(&b, "PARAMETER stop %s\n", modelfileText(s))
	}
	g := m.Generation.Drawing()
	for _, x := range []struct {
		name string
		v    *float64
	}{{"temperature", g.Temperature}, {"top_p", g.TopP}, {"min_p", g.MinP}, {"repeat_penalty", g.RepetitionPenalty}} {
		if x.v != nil {
			fmt.Fprintf(&b, "PARAMETER %s %v\n", x.name, *x.v)
		}
	}
	if g.TopK != nil {
		fmt.Fprintf(&b, "PARAMETER top_k %d\n", *g.TopK)
	}
	if m.Context > 0 {
		fmt.Fprintf(&b, "PARAMETER num_ctx %d\n", m.Context)
	}
	return b.String(), nil
}

// modelfileText quotes a value.
func modelfileText(s string) string {
	if strings.ContainsAny(s, "\"\n") {
		return `"""` + s + `"""`
	}
	return `"` + s + `"`
}

// localName is a name that ollama takes for a model.
func localName(s string) string {
	s = strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(s)), "-"), "-.")
	if s == "" {
		return "model"
	}
	return s
}

var notInName = regexp.MustCompile(`[^a-z0-9._-]+`)

// shellWord quotes a word of a command line where that is needed.
func shellWord(s string) string {
	if shellPlain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(oneLine(s), "'", `'\''`) + "'"
}

var shellPlain = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-]+$`)
