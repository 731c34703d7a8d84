package corpus

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"os"
	"strings"

	"github.com/zeebo/xxh3"

	"leolm/dataset/shard"
	"leolm/internal/durable"
	"leolm/internal/splitmix"
)

// TokenStats is what the stage tokenize did to a file.
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

// tokenize turns the documents of one input file that stay into tokens.
func (r *runner) tokenize(ctx context.Context, task int) (result, error) {
	t := &tokenizeTask{r: r, task: task}
	if err := t.open(); err != nil {
		return result{}, err
	}
	out := fmt.Sprintf("work/tokens/%05d", task)
	f, err := durable.Create(r.path(out))
	if err != nil {
		return result{}, err
	}
	defer f.Abort()
	t.out = newTokensWriter(f, len(t.stats.Shards), t.stats.Width)
	if err := ordered(ctx, r.gate, int(ahead(r.opt.Workers)), t.read, t.encode, t.write); err != nil {
		return result{}, err
	}
	if err := t.out.finish(); err != nil {
		return result{}, err
	}
	if err := f.Commit(); err != nil {
		return result{}, err
	}
	st := &t.stats
	name := r.plan.Recipe.Inputs[r.plan.Inputs[task].Input].Name
	return result{files: []string{out}, stats: st, note: fmt.Sprintf("%s: %d documents, %d tokens", name, st.Train.Docs+st.Val.Docs, st.Train.Tokens+st.Val.Tokens)}, nil
}

// tokenizeTask is the stage tokenize of one input file.
type tokenizeTask struct {
	r      *runner
	task   int
	tok    *Tokenizer
	counts []int64 // documents of each input file
	drop   []byte  // the drop file; nil: nothing is dropped
	// The shuffle goes by file and document within the file, not by task: a file
	// in parts gives what the whole file gives.
	file    int
	earlier int64 // documents in earlier parts of the file
	out     *tokensWriter
	stats   TokenStats
}

// A docBlock is a block of documents on the way to the tokenizer.
type docBlock struct {
	block []byte
	first int64 // number of its first document within the input file
}

// tokenized is what a docBlock becomes.
type tokenized struct {
	docs   []Tokens
	keys   []uint64
	shard  []uint32
	lens   []uint32
	ids    []int32
	copies []Dropped
}

// open reads what the stages before say of the input file.
func (t *tokenizeTask) open() (err error) {
	r, p := t.r, t.r.plan
	if t.tok, err = r.openTokenizer(); err != nil {
		return err
	}
	t.stats = TokenStats{Shards: make([]int64, p.Train+p.Val), Width: shard.Width(t.tok.Vocab), Vocab: t.tok.Vocab, BOS: t.tok.BOS, EOS: t.tok.EOS}
	if t.counts, _, err = r.docCounts(); err != nil {
		return err
	}
	if p.Recipe.bands() > 0 {
		path := r.path("work/drop", fmt.Sprintf("%05d", t.task))
		if t.drop, err = os.ReadFile(path); err != nil {
			return err
		}
		if want := t.counts[t.task] * dropBytes; int64(len(t.drop)) != want {
			return fmt.Errorf("%s: damaged work file (%d bytes, want %d)", path, len(t.drop), want)
		}
	}
	file, firstPart := p.origin(t.task)
	t.file = file
	for _, n := range t.counts[firstPart:t.task] {
		t.earlier += n
	}
	return nil
}

// read emits the blocks of documents.
func (t *tokenizeTask) read(emit func(docBlock) error) error {
	next := int64(0)
	return readBlocks(t.r.path("work/docs", fmt.Sprintf("%05d", t.task)), func(block []byte) error {
		n, err := countDocs(block)
		if err != nil {
			return err
		}
		b := docBlock{block, next}
		next += n
		return emit(b)
	})
}

// encode turns a block into tokens. It is called from several goroutines.
func (t *tokenizeTask) encode(b docBlock) (*tokenized, error) {
	o := &tokenized{ids: make([]int32, 0, len(b.block)/3)}
	n := b.first
	err := blockDocs(b.block, func(d doc) error {
		id := n
		n++
		if t.drop != nil && t.drop[id*dropBytes] != dropKeep {
			if len(o.copies) < maxCopies {
				o.copies = append(o.copies, t.dropped(&d, id))
			}
			return nil
		}
		return t.document(o, &d, id)
	})
	for _, id := range o.ids {
		if id < 0 || int(id) >= t.tok.Vocab {
			return nil, fmt.Errorf("%s: the tokenizer gave id %d, its vocabulary has %d", t.r.plan.Recipe.Tokenizer, id, t.tok.Vocab)
		}
	}
	return o, err
}

// document appends the tokens of a document and chooses its shard.
func (t *tokenizeTask) document(o *tokenized, d *doc, id int64) error {
	p := t.r.plan
	from := len(o.ids)
	if p.Recipe.Pack.BOS {
		o.ids = append(o.ids, t.tok.BOS)
	}
	o.ids = t.tok.Append(o.ids, d.text)
	if p.Recipe.Pack.EOS {
		o.ids = append(o.ids, t.tok.EOS)
	}
	count := len(o.ids) - from
	if count > math.MaxInt32 {
		return fmt.Errorf("%s: row %d: a document of %d tokens", p.Inputs[t.task].Path, d.row, count)
	}
	key := shuffleKey(p.Recipe.Seed, t.file, t.earlier+id)
	to := shardOf(key, p.Train)
	if p.Val > 0 && heldOut(d, p.Recipe.Validation.Fraction) {
		to = p.Train + shardOf(key, p.Val)
	}
	o.docs = append(o.docs, Tokens{Count{1, int64(len(d.text))}, int64(count)})
	o.keys = append(o.keys, key)
	o.shard = append(o.shard, uint32(to))
	o.lens = append(o.lens, uint32(count))
	return nil
}

// dropped tells of which document this one is a copy.
func (t *tokenizeTask) dropped(d *doc, id int64) Dropped {
	entry := t.drop[id*dropBytes:]
	kind := "exact copy"
	if entry[0] == dropNear {
		kind = "near copy"
	}
	return Dropped{kind, t.r.plan.Inputs[t.task].Path, d.row, d.key, "of " + t.where(int64(binary.LittleEndian.Uint32(entry[1:])))}
}

// where names a document by its number over all input files.
func (t *tokenizeTask) where(id int64) string {
	p := t.r.plan
	before := int64(0) // documents in earlier parts of the same file
	for i, n := range t.counts {
		if !p.Inputs[i].goesOn() {
			before = 0
		}
		if id < n {
			return fmt.Sprintf("document %d of %s", before+id, p.Recipe.Inputs[p.Inputs[i].Input].Name)
		}
		id -= n
		before += n
	}
	return ""
}

// write writes the tokens of a block.
func (t *tokenizeTask) write(o *tokenized) error {
	st, ids := &t.stats, o.ids
	for i := range o.docs {
		n := int(o.lens[i])
		side := &st.Train
		if int(o.shard[i]) >= t.r.plan.Train {
			side = &st.Val
		}
		side.plus(o.docs[i].Count)
		side.Tokens += int64(n)
		st.Shards[o.shard[i]] += int64(n)
		st.Longest = max(st.Longest, int64(n))
		t.out.add(int(o.shard[i]), o.keys[i], ids[:n])
		ids = ids[n:]
	}
	for _, c := range o.copies {
		if len(st.Copies) < maxCopies {
			st.Copies = append(st.Copies, c)
		}
	}
	return t.out.err
}

func countDocs(block []byte) (n int64, err error) {
	err = blockDocs(block, func(doc) error { n++; return nil })
	return n, err
}

// shuffleKey is the place of a document in the shuffle: a pseudo-random 64-bit
// number, different for all documents of a plan. id counts within the file.
func shuffleKey(seed uint64, file int, id int64) uint64 {
	next := func(x uint64) uint64 { return splitmix.Mix(x + splitmix.Gamma) }
	return next(next(seed) ^ next(uint64(file)<<40|uint64(id)))
}

// shardOf cuts the range of keys into n equal parts, so that sorting the shards
// one after the other sorts all: the stream of documents doesn't depend on n.
func shardOf(key uint64, n int) int {
	hi, _ := bits.Mul64(key, uint64(n))
	return int(hi)
}

// heldOut reports whether a document belongs to the validation set: by its key,
// folded, or by its text if it has none.
func heldOut(d *doc, fraction float64) bool {
	k := strings.ToLower(strings.TrimSpace(d.key))
	if k == "" {
		k = d.text
	}
	return float64(xxh3.HashString(k)>>11)/(1<<53) < fraction
}
