package rows

import (
	"encoding/binary"
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
	var reader *parquet.GenericReader[any]
	if p := opt.Part; p != nil {
		groups := pf.RowGroups()
		if p.From < 0 || p.From >= p.To || p.To > int64(len(groups)) {
			return &Error{File: r.path, What: fmt.Sprintf("has %d row groups where groups %d to %d are wanted", len(groups), p.From, p.To-1), Fatal: true}
		}
		reader = parquet.NewGenericRowGroupReader[any](parquet.MultiRowGroup(groups[p.From:p.To]...), pf.Schema())
	} else {
		reader = parquet.NewGenericReader[any](pf, pf.Schema())
	}
	r.close = append(r.close, reader.Close)
	columns := fieldNames(pf.Schema())
	batch := make([]any, 64)
	at, n := 0, 0
	var end error
	r.next = func(row *Row) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = r.fatal(row, "damaged Parquet file: %v", p)
			}
		}()
		for at == n {
			if end == io.EOF {
				return io.EOF
			}
			if end != nil {
				e := row.Errorf("", "damaged Parquet file; fetch it again")
				e.Fatal, e.Err = true, end
				return e
			}
			at = 0
			clear(batch)
			n, end = reader.Read(batch)
		}
		row.value = fromParquet(batch[at], columns)
		at++
		return nil
	}
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
	r.close = append(r.close, func() error {
		tmp.Close()
		return os.Remove(tmp.Name())
	})
	if _, err := io.Copy(tmp, src); err != nil {
		return nil, &Error{File: r.path, What: "cannot unpack the file", Fatal: true, Err: err}
	}
	return tmp, nil
}
