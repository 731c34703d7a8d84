package tokenizer

// GGUFVocab holds the tokenizer.ggml.* values of a GGUF file as they are
// stored. Package checkpoint fills it; FromGGUF makes a Tokenizer of it.
type GGUFVocab struct {
	Model  string // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), …
	Pre    string // name of the pre-tokenizer, "" if not stated
	Tokens []string
	Scores []float32 // nil, or one per token
	Types  []int32   // nil, or one per token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
	Merges []string  // "left right", best first

	BOS, EOS, UNK, PAD, EOT int // -1: none

	AddBOS, AddEOS, AddSpacePrefix *bool // nil: not stated
}
