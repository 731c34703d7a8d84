package corpus

import (
	"leolm/checkpoint"
	"leolm/tokenizer"
)

// OpenTokenizer opens a tokenizer file or folder with package tokenizer.
func OpenTokenizer(path string) (*Tokenizer, error) {
	files, err := checkpoint.ReadTokenizerFiles(path)
	if err != nil {
		return nil, err
	}
	t, err := files.Open(path, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	return &Tokenizer{Append: t.AppendTokens, Vocab: t.Vocab(), BOS: t.BOS(), EOS: t.EOS(), Fingerprint: t.Fingerprint(), Files: files}, nil
}
