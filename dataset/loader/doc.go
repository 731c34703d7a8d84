// Package loader is what training reads: samples of shards as windows in batches.
//
// It owns: subsets and hold-outs, sets blended by weight, the order of an epoch,
// the loss weight of each token, packing, and batches that go on where a run stopped.
// It does not own: the files (package shard), or what is done with a batch (train).
package loader
