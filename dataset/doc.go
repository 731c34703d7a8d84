// Package dataset turns dialogues into the tokens a model is trained on.
//
//	files ──rows──▶ dialogues ──filters──▶ ids + roles ──▶ shards ──▶ windows, batches
//
// It owns: the sources (what the columns of a dataset mean), the datamix in
// YAML, the filters and what they report, splits and subsets, the statistics
// block of LeoLM's model card, Megatron's .bin/.idx shards, and the order,
// packing and batching of training. It does not own: file formats (package
// rows), the web corpus (package corpus), templates (chat), ids (tokenizer),
// or what is done with a batch (train).
//
// Two presets exist. "leolm" repeats the original pipeline to the bit; the
// default one fixes what it got wrong. docs/data.md lists the differences.
package dataset

import "leolm/chat"

// Sample is one dialogue as the model sees it, an id and a role per token, or
// one window of a packed corpus.
type Sample struct {
	IDs []int32
	// Roles are the chat.Role of the turn each token belongs to, plus 8 where a
	// template marks what is generated and the token is not, plus 16 in a turn
	// that carries no loss; nil: plain text.
	Roles []uint8
	// Docs are the positions where documents begin, ascending, the first 0;
	// nil: the sample is one document.
	Docs []int32
}

// The role ids in shards are those of package chat.
const (
	roleSystem    = uint8(chat.System)
	roleUser      = uint8(chat.User)
	roleAssistant = uint8(chat.Assistant)
	roleContext   = uint8(chat.Context)
)
