package corpus

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"leolm/internal/durable"
	"leolm/internal/textcheck"
)

// DedupStats is what duplicate removal dropped.
type DedupStats struct {
	Docs   int64 `json:"docs"`
	Exact  Count `json:"exact"`
	Near   Count `json:"near"`
	Groups int64 `json:"groups"` // of two documents or more
	// Between counts dropped documents by "input of the copy = input of the
	// document kept".
	Between map[string]Count `json:"between,omitempty"`
}

// A drop file has 5 bytes for each document of a docs file: u8 kind, u32 number
// of the document kept instead.
const (
	dropKeep = iota
	dropExact
	dropNear
	dropBytes = 5
)

// cluster joins all pairs and decides which documents go.
func (r *runner) cluster(ctx context.Context, _ int) (result, error) {
	counts, total, err := r.docCounts()
	if err != nil {
		return result{}, err
	}
	c := &clusterTask{r: r, counts: counts, groups: textcheck.NewClusters(int(total)), exact: newBitset(total), seen: newBitset(total)}
	c.stats = DedupStats{Docs: total, Between: map[string]Count{}}
	if err := c.join(ctx); err != nil {
		return result{}, err
	}
	res := result{stats: &c.stats}
	for i := range counts {
		path := fmt.Sprintf("work/drop/%05d", i)
		out, err := c.judge(i)
		if err != nil {
			return result{}, err
		}
		if err := durable.WriteFile(r.path(path), out); err != nil {
			return result{}, err
		}
		res.files = append(res.files, path)
	}
	res.note = fmt.Sprintf("%d exact and %d near duplicates of %d documents", c.stats.Exact.Docs, c.stats.Near.Docs, total)
	return res, nil
}

// A bitset holds a bit for each document.
type bitset []byte

func newBitset(n int64) bitset { return make(bitset, (n+7)/8) }

func (b bitset) has(i int) bool { return b[i/8]>>(i%8)&1 != 0 }

func (b bitset) set(i int) { b[i/8] |= 1 << (i % 8) }

// clusterTask is the stage cluster.
type clusterTask struct {
	r      *runner
	counts []int64 // documents of each input file
	groups *textcheck.Clusters
	exact  bitset // documents that are exact copies
	seen   bitset // kept documents of a group of two or more that were counted
	next   int    // number of the document to be judged next
	stats  DedupStats
}

// join joins the pairs of all columns, those of exact copies first.
func (c *clusterTask) join(ctx context.Context) error {
	next := 0
	if c.r.plan.Recipe.Dedup.Exact {
		if err := c.union(ctx, 0); err != nil {
			return err
		}
		for i := range int(c.stats.Docs) {
			if c.groups.Find(i) != i {
				c.exact.set(i)
			}
		}
		next = 1
	}
	for ; next < c.r.plan.Recipe.bands(); next++ {
		if err := c.union(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// union joins the pairs of one column.
func (c *clusterTask) union(ctx context.Context, task int) error {
	path := c.r.path("work/pairs", fmt.Sprintf("%05d", task))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	br := bufio.NewReaderSize(f, 256<<10)
	var b [8]byte
	for {
		if _, err := io.ReadFull(br, b[:]); err == io.EOF {
			return ctx.Err()
		} else if err != nil {
			return fmt.Errorf("%s: damaged work file: %w", path, err)
		}
		x, y := binary.LittleEndian.Uint32(b[:4]), binary.LittleEndian.Uint32(b[4:])
		if int64(x) >= c.stats.Docs || int64(y) >= c.stats.Docs {
			return fmt.Errorf("%s: damaged work file: document %d of %d", path, max(x, y), c.stats.Docs)
		}
		c.groups.Union(int(x), int(y))
	}
}

// judge makes the drop file of an input file.
func (c *clusterTask) judge(file int) ([]byte, error) {
	bands := 0
	if m := c.r.plan.Recipe.Dedup.MinHash; m != nil {
		bands = m.Bands
	}
	f, err := os.Open(c.r.path("work/keys", fmt.Sprintf("%05d", file)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := c.inputOf(file)
	out := make([]byte, c.counts[file]*dropBytes)
	rest := out
	err = keysColumn(f, c.counts[file], bands, -2, func(group []byte) error {
		for ; len(group) > 0; group, rest = group[4:], rest[dropBytes:] {
			if root := c.groups.Find(c.next); root != c.next {
				c.drop(rest, name, root, int(binary.LittleEndian.Uint32(group)))
			}
			c.next++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return out, nil
}

// drop notes that the next document, of so many bytes, goes because root stays.
func (c *clusterTask) drop(entry []byte, input string, root, bytes int) {
	if c.exact.has(c.next) {
		entry[0] = dropExact
		c.stats.Exact.add(bytes)
	} else {
		entry[0] = dropNear
		c.stats.Near.add(bytes)
	}
	binary.LittleEndian.PutUint32(entry[1:], uint32(root))
	pair := input + " = " + c.inputOfDocument(root)
	n := c.stats.Between[pair]
	n.add(bytes)
	c.stats.Between[pair] = n
	if !c.seen.has(root) {
		c.seen.set(root)
		c.stats.Groups++
	}
}

// inputOf is the name of the input that a file belongs to.
func (c *clusterTask) inputOf(file int) string {
	return c.r.plan.Recipe.Inputs[c.r.plan.Inputs[file].Input].Name
}

func (c *clusterTask) inputOfDocument(id int) string {
	for i, n := range c.counts {
		if int64(id) < n {
			return c.inputOf(i)
		}
		id -= int(n)
	}
	return ""
}
