// Package shard keeps samples on disk: Megatron's .bin/.idx pairs with a record
// of where their ids come from.
//
// It owns: the sample and the set that training draws from, the MMIDIDX writer
// and reader, the roles of dialogues, the table of document starts of a corpus,
// and the record PREFIX.leo.json. It does not own: how samples are made (packages
// dataset and corpus), or the order in which training reads them (package loader).
package shard
