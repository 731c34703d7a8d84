// Package textcheck looks at one text at a time and says what is wrong with it.
//
// It owns: language identification (Detect), damage by a wrong character set
// and its repair (RepairMojibake), clean-up (Normalizer), hashes and MinHash
// signatures for exact and near duplicates (Hasher, Clusters), overlap with
// evaluation files (Overlap), the published heuristics for web text (Gopher,
// C4Lines, Boilerplate), and refusals and template residue in dialogues
// (Refusal, Residue).
//
// It does not own files, filters' order, counting or reports: package
// dataset and package dataset/corpus do.
//
// Every check is a pure function of its input, safe for concurrent use unless
// its comment says otherwise, and never fails: text is any byte string; bytes
// that are not UTF-8 count as letters of no language.
package textcheck
