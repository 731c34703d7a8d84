package checkpoint

import (
	"fmt"
	"io"
	"os"
	"strings"

	"leolm/tokenizer"
)

// isGGUF reports whether a file is GGUF, by its name or its first bytes.
func isGGUF(path string) bool {
	if strings.HasSuffix(strings.ToLower(path), ".gguf") {
		return true
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "GGUF"
}

// OpenTokenizer opens the tokenizer of a file or folder of any kind: what
// tokenizer.Open reads, and the vocabulary inside a GGUF file.
func OpenTokenizer(path string, opt tokenizer.Options) (*tokenizer.Tokenizer, error) {
	if !isGGUF(path) {
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
