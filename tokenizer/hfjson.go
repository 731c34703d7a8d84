package tokenizer

import "errors"

// FromJSON makes a tokenizer of a Hugging Face tokenizer.json.
func FromJSON(data []byte, opt Options) (*Tokenizer, error) {
	return nil, errors.New("tokenizer: tokenizer.json isn't read yet")
}
