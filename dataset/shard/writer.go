package shard

import "fmt"

// Writer writes a set of samples as Megatron shards: PREFIX-text.bin and
// .idx with the ids, PREFIX-role.bin and .idx with their roles. Nothing is
// visible before Commit.
type Writer struct {
	prefix     string
	text, role *pairWriter
	width      int // bytes of an id
	vocab      int
	record     Record
	buf        []byte
}

// NewWriter starts shards at a prefix whose folder exists. Ids must be
// below from.Vocab; they take Width(from.Vocab) bytes, roles two. from says where the ids come from, but for
// what the writer counts.
func NewWriter(prefix string, from Record) (*Writer, error) {
	width := Width(from.Vocab)
	text, err := newPairWriter(prefix+"-text", codeOf(width))
	if err != nil {
		return nil, err
	}
	role, err := newPairWriter(prefix+"-role", codeUint16)
	if err != nil {
		text.bin.Abort()
		return nil, err
	}
	from.MaxID, from.Samples, from.IDs = -1, 0, 0
	return &Writer{prefix: prefix, text: text, role: role, width: width, vocab: from.Vocab, record: from}, nil
}

// Add appends a sample with as many roles as ids.
func (w *Writer) Add(s Sample) error {
	if len(s.Roles) != len(s.IDs) {
		return fmt.Errorf("%s: sample %d has %d ids but %d roles", w.text.prefix, len(w.text.sizes), len(s.IDs), len(s.Roles))
	}
	for _, id := range s.IDs {
		if uint32(id) >= uint32(w.vocab) {
			return fmt.Errorf("%s: sample %d has the id %d, outside of the vocabulary of %d", w.text.prefix, len(w.text.sizes), id, w.vocab)
		}
		w.record.MaxID = max(w.record.MaxID, id)
	}
	w.record.Samples++
	w.record.IDs += int64(len(s.IDs))
	w.buf = AppendIDs(w.buf[:0], s.IDs, w.width)
	if err := w.text.add(w.buf); err != nil {
		return err
	}
	w.buf = w.buf[:0]
	for _, r := range s.Roles {
		w.buf = append(w.buf, r, 0)
	}
	return w.role.add(w.buf)
}

// Commit makes the shards visible.
func (w *Writer) Commit() error {
	if err := removeRecord(w.prefix); err != nil {
		return err
	}
	for _, p := range []*pairWriter{w.text, w.role} {
		if err := p.commitBin(); err != nil {
			return err
		}
		if err := p.commitIndex(1); err != nil {
			return err
		}
	}
	if w.record.Tokenizer == "" {
		return nil // ids of nobody's tokenizer, as tests make them
	}
	return WriteRecord(w.prefix, w.record)
}

// Abort drops what was written; after Commit it does nothing.
func (w *Writer) Abort() {
	w.text.bin.Abort()
	w.role.bin.Abort()
}
