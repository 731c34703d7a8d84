// Package tokenizer turns text into token ids and back, with the ids that
// SentencePiece and Hugging Face give for the same files, byte for byte.
//
// It reads SentencePiece models (BPE and unigram), Hugging Face tokenizer.json
// files, and the vocabulary inside GGUF files (as plain values: the GGUF format
// itself belongs to package checkpoint). It trains BPE vocabularies and writes
// them as SentencePiece models.
//
// It doesn't know roles, messages or templates (package chat): it only gives the
// caller the means to keep user text and control tokens apart. AppendTokens
// never yields a control token; EncodeTrusted yields them only inside the byte
// ranges that the caller vouches for.
//
// Inside, one form of text is used everywhere: where a vocabulary writes a space
// as "▁" (U+2581), the engines work on a plain space byte. The two are one and
// the same symbol for such a vocabulary, and the shorter one lets ordinary
// text be encoded in place, without a copy.
package tokenizer
