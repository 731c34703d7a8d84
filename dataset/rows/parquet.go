package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"leolm/internal/unpack"
)

// startParquet reads a Parquet file; one that is compressed as a whole is
// unpacked into a temporary file first, because the format needs to seek.
func (r *Reader) startParquet(f *os.File, opt Options) (err error) {
	defer func() {
		// The library panics on some damaged files.
		if p := recover(); p != nil {
			err = &Error{File: r.path, What: fmt.Sprintf("damaged Parquet file: %v", p), Fatal: true}
		}
	}()
	if f, err = r.unpack(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	pf, err := openParquet(f, r.path, info.Size())
	if err != nil {
		return err
	}
	groups := pf.RowGroups()
	if p := opt.Part; p != nil {
		if p.From < 0 || p.From >= p.To || p.To > int64(len(groups)) {
			return &Error{File: r.path, What: fmt.Sprintf("has %d row groups where groups %d to %d are wanted", len(groups), p.From, p.To-1), Fatal: true}
		}
		groups = groups[p.From:p.To]
	}
	first := 0
	if opt.Part != nil {
		first = int(opt.Part.From)
	}
	g := &groupReader{pf: pf, groups: groups, at: first, check: groupCheck{f: f, size: info.Size(), schema: pf.Schema(), maxRow: opt.MaxRow}}
	r.close = append(r.close, g.Close)
	columns := fieldNames(pf.Schema())
	r.next = func(row *Row) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = r.fatal(row, "damaged Parquet file: %v", p)
			}
		}()
		x, err := g.next()
		if err == io.EOF || errors.Is(err, errTooLong) {
			return err
		}
		if err != nil {
			e := row.Errorf("", "damaged Parquet file; fetch it again")
			e.Fatal, e.Err = true, err
			return e
		}
		row.value = fromParquet(x, columns)
		return nil
	}
	return nil
}

// groupReader reads row groups one after the other, each after it was checked.
type groupReader struct {
	pf     *parquet.File
	groups []parquet.RowGroup // still to be read
	at     int                // number of the first of them in the file
	check  groupCheck
	rows   parquet.Rows // of the group at hand; nil between groups
	batch  []parquet.Row
	n, i   int
	end    error
}

func (g *groupReader) Close() error {
	if g.check.zstd != nil {
		g.check.zstd.Close()
	}
	if g.rows == nil {
		return nil
	}
	return g.rows.Close()
}

// next returns the next row; errTooLong for one that is longer than the limit.
func (g *groupReader) next() (any, error) {
	for g.i == g.n {
		if err := g.fill(); err != nil {
			return nil, err
		}
	}
	row := g.batch[g.i]
	g.i++
	// Before it is copied: values are parts of pages, and many may be the same part.
	size := 0
	for _, v := range row {
		size += 8
		if k := v.Kind(); k == parquet.ByteArray || k == parquet.FixedLenByteArray {
			size += len(v.ByteArray())
		}
	}
	if size > g.check.maxRow+8*len(row) {
		return nil, errTooLong
	}
	var x any
	err := g.pf.Schema().Reconstruct(&x, row)
	return x, err
}

// fill reads a batch of rows, if need be of the next group.
func (g *groupReader) fill() error {
	if g.rows != nil && g.end != nil {
		err := g.end
		if err == io.EOF {
			err = g.rows.Close()
			g.rows, g.end = nil, nil
		}
		if err != nil {
			return err
		}
	}
	if g.rows == nil {
		if len(g.groups) == 0 {
			return io.EOF
		}
		facts, err := g.check.group(&g.pf.Metadata().RowGroups[g.at])
		if err != nil {
			return err
		}
		g.batch = make([]parquet.Row, max(1, min(64, 1<<20/facts.longest)))
		g.rows = g.groups[0].Rows()
		g.groups = g.groups[1:]
		g.at++
	}
	for i := range g.batch {
		g.batch[i] = g.batch[i][:0]
	}
	g.i = 0
	g.n, g.end = g.rows.ReadRows(g.batch)
	return nil
}

// openParquet reads the footer. The library believes the footer's length and
// would take gigabytes of memory for it before it reads.
func openParquet(f *os.File, path string, size int64) (*parquet.File, error) {
	var tail [8]byte
	fail := func(err error) error {
		return &Error{File: path, What: "not a whole Parquet file; fetch it again", Fatal: true, Err: err}
	}
	if size < 12 {
		return nil, fail(fmt.Errorf("%d bytes are too short", size))
	}
	if _, err := f.ReadAt(tail[:], size-8); err != nil {
		return nil, fail(err)
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) == "PAR1" && n > size-12 {
		return nil, fail(fmt.Errorf("its footer is said to have %d bytes, the file has %d", n, size))
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) == "PAR1" {
		if n > maxFooter {
			return nil, fail(fmt.Errorf("its footer has %d bytes, more than the %d that are read", n, maxFooter))
		}
		footer := make([]byte, n)
		if _, err := f.ReadAt(footer, size-8-n); err != nil {
			return nil, fail(err)
		}
		if err := checkFooter(footer); err != nil {
			return nil, fail(fmt.Errorf("its footer is damaged: %w", err))
		}
	}
	pf, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fail(err)
	}
	return pf, nil
}

func fieldNames(schema *parquet.Schema) []string {
	var names []string
	for _, f := range schema.Fields() {
		names = append(names, f.Name())
	}
	return names
}

// fromParquet converts what the library hands over for a row of any schema.
// Order is the order of the columns, for the top level.
func fromParquet(x any, order []string) Value {
	switch x := x.(type) {
	case nil:
		return Value{}
	case string:
		return textOrBytes(x)
	case []byte:
		return textOrBytes(string(x))
	case bool:
		return Value{Kind: Bool, Text: strconv.FormatBool(x)}
	case map[string]any:
		if inner, ok := rawList(x); ok {
			return fromParquet(inner, nil)
		}
		names := order
		if names == nil {
			for name := range x {
				names = append(names, name)
			}
			slices.Sort(names)
		}
		v := Value{Kind: Object, Names: names, Items: make([]Value, len(names))}
		for i, name := range names {
			v.Items[i] = fromParquet(x[name], nil)
		}
		return v
	case []any:
		v := Value{Kind: List, Items: make([]Value, len(x))}
		for i, item := range x {
			if m, ok := item.(map[string]any); ok && len(m) == 1 {
				for _, name := range [...]string{"element", "item", "array_element"} {
					if inner, ok := m[name]; ok {
						item = inner
					}
				}
			}
			v.Items[i] = fromParquet(item, nil)
		}
		return v
	case []string:
		v := Value{Kind: List, Items: make([]Value, len(x))}
		for i, item := range x {
			v.Items[i] = textOrBytes(item)
		}
		return v
	case float64:
		return Value{Kind: Number, Text: strconv.FormatFloat(x, 'g', -1, 64)}
	case float32:
		return Value{Kind: Number, Text: strconv.FormatFloat(float64(x), 'g', -1, 32)}
	}
	return Value{Kind: Number, Text: fmt.Sprint(x)}
}

// textOrBytes goes by the content: some writers leave out that a column is text,
// others write bytes into columns of text.
func textOrBytes(s string) Value {
	if !utf8.ValidString(s) {
		return Value{Kind: Binary, Text: s}
	}
	return Value{Kind: String, Text: s}
}

// rawList recognises the group {list: [...]} that writers put around lists
// and that the library leaves in place when it is not annotated.
func rawList(m map[string]any) (any, bool) {
	if len(m) != 1 {
		return nil, false
	}
	for _, name := range [...]string{"list", "bag", "array"} {
		if inner, ok := m[name].([]any); ok {
			return inner, true
		}
	}
	return nil, false
}

// unpack returns f itself, or a temporary file with its decompressed content.
func (r *Reader) unpack(f *os.File) (*os.File, error) {
	var head [unpack.HeadLen]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, &Error{File: r.path, What: "too short for a Parquet file; fetch it again", Fatal: true, Err: err}
	}
	if unpack.Format(head[:]) == "" {
		return f, nil
	}
	src, err := r.unpacked(f)
	if err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp("", "leo-parquet-*")
	if err != nil {
		return nil, err
	}
	os.Remove(tmp.Name()) // where the system allows it, so that nothing stays behind after a crash
	r.close = append(r.close, func() error {
		tmp.Close()
		return os.Remove(tmp.Name())
	})
	if _, err := io.Copy(tmp, src); err != nil {
		return nil, &Error{File: r.path, What: "cannot unpack the file", Fatal: true, Err: err}
	}
	return tmp, nil
}
