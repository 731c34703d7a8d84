package checkpoint

import (
	"fmt"
	"strings"

	"leolm/tokenizer"
)

// OpenTokenizer opens the tokenizer of a file or folder of any kind: what
// tokenizer.Open reads, and the vocabulary inside a GGUF file.
func OpenTokenizer(path string, opt tokenizer.Options) (*tokenizer.Tokenizer, error) {
	if !strings.HasSuffix(strings.ToLower(path), ".gguf") {
		return tokenizer.Open(path, opt)
	}
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if c.Vocab == nil {
		return nil, fmt.Errorf("%s holds no vocabulary", path)
	}
	t, err := tokenizer.FromGGUF(*c.Vocab, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
