package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// TextWriter writes one shard of a corpus: PREFIX.bin and .idx with the ids, in
// which each sample counts as a document, and PREFIX.docs with the places where
// documents begin. Nothing is visible before Commit.
type TextWriter struct {
	text  *pairWriter
	docs  docTableWriter
	sum   hash.Hash
	stats TextStats
}

// TextStats counts what a TextWriter was given.
type TextStats struct {
	Samples, IDs int64
	Starts       int64 // documents that begin in the samples
	Last         int64 // ids of the last sample
}

// NewTextWriter starts a shard of ids of width bytes (2 or 4) at a prefix whose folder exists.
func NewTextWriter(prefix string, width int) (*TextWriter, error) {
	if width != 2 && width != 4 {
		return nil, fmt.Errorf("%s: ids of %d bytes, want 2 or 4", prefix, width)
	}
	text, err := newPairWriter(prefix, codeOf(width))
	if err != nil {
		return nil, err
	}
	return &TextWriter{text: text, sum: sha256.New()}, nil
}

// Add appends one sample, its ids little endian (see AppendIDs), and the positions in it at
// which documents begin, ascending.
func (w *TextWriter) Add(ids []byte, starts []uint32) error {
	if err := w.text.add(ids); err != nil {
		return err
	}
	w.sum.Write(ids)
	w.docs.add(starts)
	n := int64(len(ids) / elementSize(w.text.code))
	w.stats.Samples++
	w.stats.IDs += n
	w.stats.Starts += int64(len(starts))
	w.stats.Last = n
	return nil
}

// Stats counts what was added so far.
func (w *TextWriter) Stats() TextStats { return w.stats }

// Commit makes the three files visible, the index last; it returns the SHA-256 of the ids.
func (w *TextWriter) Commit() (string, error) {
	if err := w.text.commitBin(); err != nil {
		return "", err
	}
	if err := w.docs.commit(w.text.prefix + ".docs"); err != nil {
		return "", err
	}
	if err := w.text.commitIndex(len(w.text.sizes) + 1); err != nil {
		return "", err
	}
	return hex.EncodeToString(w.sum.Sum(nil)), nil
}

// Abort drops what was written; after Commit it does nothing.
func (w *TextWriter) Abort() { w.text.bin.Abort() }
