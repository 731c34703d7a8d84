// Package dataset turns dialogues into the tokens a model is trained on.
//
//	files ──rows──▶ dialogues ──filters──▶ ids + roles ──shard──▶ files ──loader──▶ windows, batches
//
// It owns: the sources (what the columns of a dataset mean), the datamix in
// YAML, the filters and what they report, splits and subsets, and the statistics
// block of LeoLM's model card. It does not own: file formats (package rows), the
// web corpus (package corpus), the files of samples (package shard), what training
// reads of them (package loader), templates (chat), or ids (tokenizer).
//
// Two presets exist. "leolm" repeats the original pipeline to the bit; the
// default one fixes what it got wrong. docs/data.md lists the differences.
package dataset

import "leolm/chat"

// roleAssistant is the role of the assistant in shards, whose ids are those of package chat.
const roleAssistant = uint8(chat.Assistant)
