// Package corpus turns collections of text into shuffled, packed token shards
// for pretraining: read, normalize, filter, drop duplicates, tokenize, shuffle,
// pack.
//
// It owns: the recipe of a corpus, the plan of stages and tasks that any number
// of workers or machines share, the tasks themselves with their completion
// markers, the report, the order of samples in an epoch, and printing the plan
// as Slurm or Kubernetes jobs. It does not own: cutting files into rows
// (dataset/rows), judging a text (internal/textcheck), tokens (tokenizer).
//
// The stages of a plan, each a number of independent tasks:
//
//	prep      one task per input file: read, normalize, filter; write the kept
//	          documents and their duplicate keys
//	buckets   one task per MinHash band and one for exact copies: sort the keys
//	          (beyond memory by merging runs), write pairs that share one
//	cluster   one task: join the pairs, keep the first document of each group
//	tokenize  one task per input file: tokens of the documents that stay, laid
//	          out by shuffle bucket
//	pack      one task per shuffle bucket: sort by shuffle key, cut into windows,
//	          write MMIDIDX shards and tables of document boundaries
//	report    one task: add everything up
//
// Without duplicate removal the stages buckets and cluster are left out.
//
// A task reads committed files of earlier stages and writes files that depend
// on the plan alone: not on time, machine, number of workers or earlier,
// interrupted attempts. A task is done when its marker exists; whoever dies
// before that has done nothing.
package corpus
