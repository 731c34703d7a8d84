package corpus

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"leolm/checkpoint"
	"leolm/dataset/shard"
	"leolm/internal/durable"
)

// A Tokenizer is what the stage tokenise needs of one. It must be safe for
// concurrent use.
type Tokenizer struct {
	Append func(dst []int32, text string) []int32 // ids of text, no control tokens
	Vocab  int                                    // ids are 0 … Vocab−1
	BOS    int32                                  // −1: none
	EOS    int32
	// Fingerprint and Files are kept beside the shards, for whoever trains on them; "" and nil: nothing is.
	Fingerprint string
	Files       checkpoint.TokenizerFiles
}

// openTokenizer opens the plan's tokenizer once.
func (r *runner) openTokenizer() (*Tokenizer, error) {
	r.tokOnce.Do(func() {
		for i := range r.plan.Tokenizer {
			if r.tokErr = r.plan.Tokenizer[i].unchanged(); r.tokErr != nil {
				return
			}
		}
		open := r.opt.Tokenizer
		if open == nil {
			open = OpenTokenizer
		}
		path := r.plan.Recipe.Tokenizer
		if len(r.plan.Tokenizer) == 1 {
			path = r.plan.Tokenizer[0].Path
		}
		t, err := open(path)
		switch {
		case err != nil:
			r.tokErr = err
		case t.BOS < 0 && r.plan.Recipe.Pack.BOS:
			r.tokErr = fmt.Errorf("%s: has no token for the beginning of a text; set pack.bos: false", path)
		case t.EOS < 0 && r.plan.Recipe.Pack.EOS:
			r.tokErr = fmt.Errorf("%s: has no token for the end of a text; set pack.eos: false", path)
		}
		r.tok = t
	})
	return r.tok, r.tokErr
}

// TokenStats is what the stage tokenise did to a file.
type TokenStats struct {
	Train   Tokens    `json:"train"`
	Val     Tokens    `json:"validation"`
	Shards  []int64   `json:"shards"` // tokens per shard: train, then validation
	Width   int       `json:"width"`  // bytes of an id
	Vocab   int       `json:"vocab"`
	BOS     int32     `json:"bos"`
	EOS     int32     `json:"eos"`
	Copies  []Dropped `json:"copies,omitempty"` // examples of duplicates
	Longest int64     `json:"longest"`          // document, in tokens
}

// maxCopies bounds the examples of duplicates of an input in the report.
const maxCopies = 5

// Tokens of documents.
type Tokens struct {
	Count
	Tokens int64 `json:"tokens"` // with BOS and EOS
}

// A tokens file holds the documents of one input file grouped by shard, in
// segments that were gathered in memory:
//
//	"LEOTOK1\n"; chunks; directory; u64 offset of the directory, u64 entries, "LEOTOK1\n"
//	directory entry: u32 shard, u32 documents, u64 offset of the chunk, u64 tokens
//	chunk: u64 shuffle key [documents], u32 tokens [documents], ids
const (
	tokMagic     = "LEOTOK1\n"
	segmentBytes = 32 << 20
	dirEntry     = 24
)

type chunk struct {
	shard  uint32
	docs   uint32
	offset int64
	tokens int64
}

type bucket struct {
	keys []uint64
	lens []uint32
	ids  []byte
}

// tokenise turns the documents of one input file that stay into tokens.
func (r *runner) tokenise(ctx context.Context, task int) (result, error) {
	tok, err := r.openTokenizer()
	if err != nil {
		return result{}, err
	}
	p := r.plan
	shards := p.Train + p.Val
	width := shard.Width(tok.Vocab)
	st := TokenStats{Shards: make([]int64, shards), Width: width, Vocab: tok.Vocab, BOS: tok.BOS, EOS: tok.EOS}
	var drop []byte
	if p.Recipe.bands() > 0 {
		if drop, err = os.ReadFile(r.path("work/drop", fmt.Sprintf("%05d", task))); err != nil {
			return result{}, err
		}
	}
	counts, _, err := r.docCounts()
	if err != nil {
		return result{}, err
	}
	if drop != nil && int64(len(drop)) != counts[task]*dropBytes {
		return result{}, fmt.Errorf("%s: damaged work file (%d bytes, want %d)", r.path("work/drop", fmt.Sprintf("%05d", task)), len(drop), counts[task]*dropBytes)
	}
	where := func(id int64) string {
		before := int64(0) // documents in earlier parts of the same file
		for t, n := range counts {
			if !p.Inputs[t].goesOn() {
				before = 0
			}
			if id < n {
				return fmt.Sprintf("document %d of %s", before+id, p.Recipe.Inputs[p.Inputs[t].Input].Name)
			}
			id -= n
			before += n
		}
		return ""
	}
	// The shuffle goes by file and document within the file, not by task: a file
	// in parts gives what the whole file gives.
	file, firstPart := p.origin(task)
	earlier := int64(0)
	for _, n := range counts[firstPart:task] {
		earlier += n
	}

	out := fmt.Sprintf("work/tokens/%05d", task)
	f, err := durable.Create(r.path(out))
	if err != nil {
		return result{}, err
	}
	defer f.Abort()
	w := &tokensWriter{bw: bufio.NewWriterSize(f, 1<<20), shards: make([]bucket, shards), width: width}
	w.write([]byte(tokMagic))

	type job struct {
		block []byte
		first int64 // number of its first document within the file
	}
	type tokenised struct {
		docs   []Tokens
		keys   []uint64
		shard  []uint32
		lens   []uint32
		ids    []int32
		copies []Dropped
	}
	next := int64(0)
	produce := func(emit func(job) error) error {
		return readBlocks(r.path("work/docs", fmt.Sprintf("%05d", task)), func(block []byte) error {
			n, err := countDocs(block)
			if err != nil {
				return err
			}
			j := job{block, next}
			next += n
			return emit(j)
		})
	}
	work := func(j job) (*tokenised, error) {
		o := &tokenised{ids: make([]int32, 0, len(j.block)/3)}
		n := j.first
		err := blockDocs(j.block, func(d doc) error {
			id := n
			n++
			if drop != nil && drop[id*dropBytes] != dropKeep {
				if len(o.copies) < maxCopies {
					kind := "exact copy"
					if drop[id*dropBytes] == dropNear {
						kind = "near copy"
					}
					o.copies = append(o.copies, Dropped{kind, p.Inputs[task].Path, d.row, d.key,
						"of " + where(int64(binary.LittleEndian.Uint32(drop[id*dropBytes+1:])))})
				}
				return nil
			}
			from := len(o.ids)
			if p.Recipe.Pack.BOS {
				o.ids = append(o.ids, tok.BOS)
			}
			o.ids = tok.Append(o.ids, d.text)
			if p.Recipe.Pack.EOS {
				o.ids = append(o.ids, tok.EOS)
			}
			count := len(o.ids) - from
			if count > math.MaxInt32 {
				return fmt.Errorf("%s: row %d: a document of %d tokens", p.Inputs[task].Path, d.row, count)
			}
			key := shuffleKey(p.Recipe.Seed, file, earlier+id)
			to := shardOf(key, p.Train)
			if p.Val > 0 && heldOut(&d, p.Recipe.Validation.Fraction) {
				to = p.Train + shardOf(key, p.Val)
			}
			o.docs = append(o.docs, Tokens{Count{1, int64(len(d.text))}, int64(count)})
			o.keys = append(o.keys, key)
			o.shard = append(o.shard, uint32(to))
			o.lens = append(o.lens, uint32(count))
			return nil
		})
		for _, id := range o.ids {
			if id < 0 || int(id) >= tok.Vocab {
				return nil, fmt.Errorf("%s: the tokenizer gave id %d, its vocabulary has %d", p.Recipe.Tokenizer, id, tok.Vocab)
			}
		}
		return o, err
	}
	consume := func(o *tokenised) error {
		ids := o.ids
		for i := range o.docs {
			n := int(o.lens[i])
			side := &st.Train
			if int(o.shard[i]) >= p.Train {
				side = &st.Val
			}
			side.plus(o.docs[i].Count)
			side.Tokens += int64(n)
			st.Shards[o.shard[i]] += int64(n)
			st.Longest = max(st.Longest, int64(n))
			w.add(int(o.shard[i]), o.keys[i], ids[:n])
			ids = ids[n:]
		}
		for _, c := range o.copies {
			if len(st.Copies) < maxCopies {
				st.Copies = append(st.Copies, c)
			}
		}
		return w.err
	}
	if err := ordered(ctx, r.gate, int(ahead(r.opt.Workers)), produce, work, consume); err != nil {
		return result{}, err
	}
	if err := w.finish(); err != nil {
		return result{}, err
	}
	if err := f.Commit(); err != nil {
		return result{}, err
	}
	name := p.Recipe.Inputs[p.Inputs[task].Input].Name
	return result{files: []string{out}, stats: &st, note: fmt.Sprintf("%s: %d documents, %d tokens", name, st.Train.Docs+st.Val.Docs, st.Train.Tokens+st.Val.Tokens)}, nil
}

func countDocs(block []byte) (n int64, err error) {
	err = blockDocs(block, func(doc) error { n++; return nil })
	return n, err
}

// shuffleKey is the place of a document in the shuffle: a pseudo-random 64-bit
// number, different for all documents of a plan. id counts within the file.
func shuffleKey(seed uint64, file int, id int64) uint64 {
	return mix(mix(seed) ^ mix(uint64(file)<<40|uint64(id)))
}

// mix is the finaliser of splitmix64, a bijection.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// shardOf cuts the range of keys into n equal parts, so that sorting the shards
// one after the other sorts all: the stream of documents doesn't depend on n.
func shardOf(key uint64, n int) int {
	hi, _ := bits.Mul64(key, uint64(n))
	return int(hi)
}

// heldOut tells whether a document belongs to the validation set: by its key,
// folded, or by its text if it has none.
func heldOut(d *doc, fraction float64) bool {
	k := strings.ToLower(strings.TrimSpace(d.key))
	if k == "" {
		k = d.text
	}
	return float64(xxh3.HashString(k)>>11)/(1<<53) < fraction
}

type tokensWriter struct {
	bw     *bufio.Writer
	off    int64
	shards []bucket
	width  int
	held   int
	dir    []chunk
	err    error
}

func (w *tokensWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.bw.Write(b)
	}
	w.off += int64(len(b))
}

func (w *tokensWriter) add(to int, key uint64, ids []int32) {
	b := &w.shards[to]
	b.keys = append(b.keys, key)
	b.lens = append(b.lens, uint32(len(ids)))
	b.ids = shard.AppendIDs(b.ids, ids, w.width)
	w.held += 12 + w.width*len(ids)
	if w.held >= segmentBytes {
		w.segment()
	}
}

// segment writes what is held in memory.
func (w *tokensWriter) segment() {
	var head []byte
	for i := range w.shards {
		b := &w.shards[i]
		if len(b.keys) == 0 {
			continue
		}
		w.dir = append(w.dir, chunk{uint32(i), uint32(len(b.keys)), w.off, int64(len(b.ids) / w.width)})
		head = head[:0]
		for _, k := range b.keys {
			head = binary.LittleEndian.AppendUint64(head, k)
		}
		for _, n := range b.lens {
			head = binary.LittleEndian.AppendUint32(head, n)
		}
		w.write(head)
		w.write(b.ids)
		b.keys, b.lens, b.ids = b.keys[:0], b.lens[:0], b.ids[:0]
	}
	w.held = 0
}

func (w *tokensWriter) finish() error {
	w.segment()
	at := w.off
	var b []byte
	for _, c := range w.dir {
		b = binary.LittleEndian.AppendUint32(b, c.shard)
		b = binary.LittleEndian.AppendUint32(b, c.docs)
		b = binary.LittleEndian.AppendUint64(b, uint64(c.offset))
		b = binary.LittleEndian.AppendUint64(b, uint64(c.tokens))
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.dir)))
	w.write(append(b, tokMagic...))
	if w.err != nil {
		return w.err
	}
	return w.bw.Flush()
}

// tokensFile reads a tokens file.
type tokensFile struct {
	f   *os.File
	dir []chunk
}

func openTokens(path string) (*tokensFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := readDir(f)
	if err != nil {
		f.Close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: damaged work file (%w); remove it and run the task again", path, err)
	}
	return t, nil
}

func readDir(f *os.File) (*tokensFile, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var tail [24]byte
	if st.Size() < int64(len(tail)+len(tokMagic)) {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := f.ReadAt(tail[:], st.Size()-24); err != nil {
		return nil, err
	}
	at, n := int64(binary.LittleEndian.Uint64(tail[:])), int64(binary.LittleEndian.Uint64(tail[8:]))
	if string(tail[16:]) != tokMagic || n < 0 || n > st.Size()/dirEntry || at != st.Size()-24-n*dirEntry {
		return nil, errors.New("the end is not a directory")
	}
	b := make([]byte, n*dirEntry)
	if _, err := f.ReadAt(b, at); err != nil {
		return nil, err
	}
	t := &tokensFile{f: f}
	for ; len(b) > 0; b = b[dirEntry:] {
		t.dir = append(t.dir, chunk{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))})
	}
	return t, nil
}

// entry is one document of a shard.
type entry struct {
	key  uint64
	n    uint32
	file *tokensFile
	off  int64  // of its ids in the file
	ids  []byte // nil: not loaded
}

// read returns the ids of a document, from memory or disk.
func (e *entry) read(width int) ([]byte, error) {
	if e.ids != nil {
		return e.ids, nil
	}
	b := make([]byte, int(e.n)*width)
	if _, err := e.file.f.ReadAt(b, e.off); err != nil {
		return nil, fmt.Errorf("%s: damaged work file: %w", e.file.f.Name(), err)
	}
	return b, nil
}

// entries appends the documents of a shard, unsorted; with their ids if load.
func (t *tokensFile) entries(dst []entry, shard, width int, load bool) ([]entry, error) {
	for _, c := range t.dir {
		if int(c.shard) != shard {
			continue
		}
		head := make([]byte, int64(c.docs)*12)
		if _, err := t.f.ReadAt(head, c.offset); err != nil {
			return nil, fmt.Errorf("%s: damaged work file: %w", t.f.Name(), err)
		}
		keys, lens := head[:8*c.docs], head[8*c.docs:]
		off, left := c.offset+int64(len(head)), c.tokens
		var ids []byte
		if load {
			ids = make([]byte, c.tokens*int64(width))
			if _, err := t.f.ReadAt(ids, off); err != nil {
				return nil, fmt.Errorf("%s: damaged work file: %w", t.f.Name(), err)
			}
		}
		for i := range int(c.docs) {
			n := binary.LittleEndian.Uint32(lens[4*i:])
			if left -= int64(n); left < 0 {
				return nil, fmt.Errorf("%s: damaged work file: a chunk at %d is too short", t.f.Name(), c.offset)
			}
			e := entry{key: binary.LittleEndian.Uint64(keys[8*i:]), n: n, file: t, off: off}
			if load {
				e.ids, ids = ids[:int(n)*width:int(n)*width], ids[int(n)*width:]
			}
			dst = append(dst, e)
			off += int64(n) * int64(width)
		}
	}
	return dst, nil
}

func sortEntries(es []entry) {
	slices.SortFunc(es, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
}
