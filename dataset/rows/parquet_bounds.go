package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The Parquet library believes what a file says of itself: it doubles a buffer
// until a damaged LZ4 page fits, unpacks a page of any length, and takes as much
// memory as the length of a run or a text in the footer says. So a row group is
// checked before the library reads it: every length that it will believe is held
// against the bytes that are there and against these bounds.
const (
	maxFooter     = 256 << 20 // bytes
	maxPage       = 1 << 30   // bytes of an unpacked page; writers make pages of about 1 MB
	maxPageValues = 64 << 20
)

// groupCheck checks the row groups of one file.
type groupCheck struct {
	f      io.ReaderAt
	size   int64
	schema *parquet.Schema
	maxRow int

	packed, plain []byte // of the page at hand
	zstd          *zstd.Decoder
}

// groupFacts is what a check found out.
type groupFacts struct {
	longest int // values of one column in one row, at most
}

// oldDictionary is PLAIN_DICTIONARY, which writers gave dictionaries and their pages before version 2.
const oldDictionary format.Encoding = 2

var errPage = errors.New("a damaged page")

// group checks all pages of a row group.
func (g *groupCheck) group(rg *format.RowGroup) (groupFacts, error) {
	facts := groupFacts{longest: 1}
	for i := range rg.Columns {
		c := &rg.Columns[i].MetaData
		leaf, ok := g.schema.Lookup(c.PathInSchema...)
		if !ok {
			return facts, fmt.Errorf("the row group has a column %q that the schema lacks", c.PathInSchema)
		}
		longest, err := g.chunk(c, &leaf)
		if err != nil {
			return facts, fmt.Errorf("column %q: %w", c.PathInSchema, err)
		}
		facts.longest = max(facts.longest, longest)
	}
	return facts, nil
}

// chunk checks the pages of one column and returns the most values in a row.
func (g *groupCheck) chunk(c *format.ColumnMetaData, leaf *parquet.LeafColumn) (int, error) {
	at := c.DataPageOffset
	if c.DictionaryPageOffset != 0 {
		at = c.DictionaryPageOffset
	}
	if at < 0 || c.TotalCompressedSize < 0 || at > g.size {
		return 0, fmt.Errorf("%w: it begins at byte %d of %d", errPage, at, g.size)
	}
	end := min(at+c.TotalCompressedSize, g.size)
	rowValues := rowCounter{limit: max(g.maxRow/8, 1<<16)}
	for at < end {
		head := make([]byte, min(end-at, 4096))
		for {
			if _, err := g.f.ReadAt(head, at); err != nil && err != io.EOF {
				return 0, err
			}
			t := thriftReader{data: head}
			h, err := t.pageHeader()
			if errors.Is(err, io.ErrUnexpectedEOF) && int64(len(head)) < end-at && len(head) < maxFooter {
				head = make([]byte, min(end-at, int64(len(head))*16)) // long statistics
				continue
			}
			if err != nil {
				return 0, fmt.Errorf("%w at byte %d: %w", errPage, at, err)
			}
			at += int64(t.at)
			if err := g.page(&h, at, end, c.Codec, leaf, &rowValues); err != nil {
				return 0, fmt.Errorf("page at byte %d: %w", at, err)
			}
			at += int64(h.compressed)
			break
		}
	}
	return rowValues.longest, rowValues.err()
}

// pageHeader is what matters of format.PageHeader.
type pageHeader struct {
	kind                     int64
	uncompressed, compressed int64
	values                   int64
	encoding                 int64
	repBytes, defBytes       int64 // version 2
	plainV2                  bool  // version 2: not compressed
	repEncoding, defEncoding int64 // version 1
}

func (g *groupCheck) page(h *pageHeader, at, end int64, codec format.CompressionCodec, leaf *parquet.LeafColumn, rows *rowCounter) error {
	if h.compressed < 0 || h.compressed > end-at || h.uncompressed < 0 || h.values < 0 {
		return fmt.Errorf("%w: %d bytes, of which %d are there, for %d values", errPage, h.compressed, end-at, h.values)
	}
	// A page of so many bytes with so few values has a row that is too long.
	if h.uncompressed > h.values*(int64(g.maxRow)+16)+4096 {
		return errTooLong
	}
	if h.uncompressed > maxPage || h.values > maxPageValues {
		return fmt.Errorf("%d bytes and %d values are more than the %d and %d that a page may have; write the file with smaller pages", h.uncompressed, h.values, maxPage, maxPageValues)
	}
	g.packed = sized(g.packed, int(h.compressed))
	if _, err := g.f.ReadAt(g.packed, at); err != nil {
		return err
	}
	data := g.packed
	var levels []byte
	if h.kind == int64(format.DataPageV2) {
		n := h.repBytes + h.defBytes
		if h.repBytes < 0 || h.defBytes < 0 || n > int64(len(data)) || n > h.uncompressed {
			return fmt.Errorf("%w: levels of %d bytes", errPage, n)
		}
		levels, data = data[:n], data[n:]
	}
	if codec != format.Uncompressed && !(h.kind == int64(format.DataPageV2) && h.plainV2) {
		var err error
		if data, err = g.unpack(codec, data, int(h.uncompressed)-len(levels)); err != nil {
			return err
		}
	}
	switch h.kind {
	case int64(format.DictionaryPage):
		if e := format.Encoding(h.encoding); e != format.Plain && e != oldDictionary {
			return fmt.Errorf("%w: a dictionary in encoding %v", errPage, e)
		}
		if h.values > 8*int64(len(data))+8 {
			return fmt.Errorf("%w: %d values in %d bytes", errPage, h.values, len(data))
		}
		return nil
	case int64(format.DataPage):
		for _, l := range []struct {
			top      int
			encoding int64
			each     func(value uint64, n int64)
		}{{leaf.MaxRepetitionLevel, h.repEncoding, rows.add}, {leaf.MaxDefinitionLevel, h.defEncoding, nil}} {
			if l.top == 0 {
				continue
			}
			if format.Encoding(l.encoding) == format.BitPacked {
				return fmt.Errorf("levels in the old encoding BIT_PACKED are not read; write the file anew")
			}
			part, rest, err := prefixed(data)
			if err == nil {
				err = hybrid(part, bits.Len(uint(l.top)), h.values, l.each)
			}
			if err != nil {
				return err
			}
			data = rest
		}
	case int64(format.DataPageV2):
		if leaf.MaxRepetitionLevel > 0 {
			if err := hybrid(levels[:h.repBytes], bits.Len(uint(leaf.MaxRepetitionLevel)), h.values, rows.add); err != nil {
				return err
			}
		}
		if leaf.MaxDefinitionLevel > 0 {
			if err := hybrid(levels[h.repBytes:], bits.Len(uint(leaf.MaxDefinitionLevel)), h.values, nil); err != nil {
				return err
			}
		}
	default:
		return nil // an index, which is not read
	}
	if err := rows.err(); err != nil {
		return err
	}
	return pageValues(format.Encoding(h.encoding), data, h.values)
}

// pageValues checks the values of a data page, whose number is known.
func pageValues(e format.Encoding, data []byte, n int64) error {
	switch e {
	case oldDictionary, format.RLEDictionary:
		if len(data) == 0 {
			return nil
		}
		return hybrid(data[1:], int(data[0]), n, nil)
	case format.RLE:
		part, _, err := prefixed(data)
		if err != nil {
			return err
		}
		return hybrid(part, 1, n, nil)
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		return deltaHeader(data, n)
	case format.DeltaByteArray:
		// Each text repeats a part of the one before: their sum is not in the bytes.
		if err := deltaHeader(data, n); err != nil {
			return err
		}
		var d delta.BinaryPackedEncoding
		prefixes, err := d.DecodeInt32(nil, data)
		if err != nil {
			return fmt.Errorf("%w: %w", errPage, err)
		}
		sum := int64(len(data))
		for _, p := range prefixes {
			if sum += int64(p); p < 0 || sum > maxPage {
				return fmt.Errorf("the texts of a page in encoding %v are longer than %d bytes together", e, maxPage)
			}
		}
		// What follows are the lengths of the rest of each text.
		return nil
	}
	return nil
}

// deltaHeader checks the header of values stored as differences.
func deltaHeader(data []byte, n int64) error {
	block, a := binary.Uvarint(data)
	if a <= 0 {
		return fmt.Errorf("%w: a header of differences is cut off", errPage)
	}
	mini, b := binary.Uvarint(data[a:])
	if b <= 0 {
		return fmt.Errorf("%w: a header of differences is cut off", errPage)
	}
	total, c := binary.Uvarint(data[a+b:])
	if c <= 0 || block > 1<<20 || mini > block || total > uint64(n)+1 {
		return fmt.Errorf("%w: blocks of %d differences in %d parts, %d of %d values", errPage, block, mini, total, n)
	}
	return nil
}

// prefixed cuts off a part that has its length in front.
func prefixed(data []byte) (part, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, fmt.Errorf("%w: it is cut off", errPage)
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if n > int64(len(data)-4) {
		return nil, nil, fmt.Errorf("%w: a part of %d bytes, of which %d are there", errPage, n, len(data)-4)
	}
	return data[4 : 4+n], data[4+n:], nil
}

// hybrid walks over runs of equal and of packed values (encoding RLE): they must
// not be more than n. each, if not nil, gets the values.
func hybrid(data []byte, width int, n int64, each func(value uint64, n int64)) error {
	if width > 32 {
		return fmt.Errorf("%w: values of %d bits", errPage, width)
	}
	left := n
	for len(data) > 0 {
		head, k := binary.Uvarint(data)
		if k <= 0 {
			return fmt.Errorf("%w: a run is cut off", errPage)
		}
		data = data[k:]
		count := head >> 1
		// A packed run is filled up to a multiple of 8.
		if count > uint64(n) || head&1 == 0 && int64(count) > left || head&1 == 1 && int64(count) > (left+7)/8 {
			return fmt.Errorf("%w: runs of more than its %d values", errPage, n)
		}
		size := (width + 7) / 8
		if head&1 == 1 {
			size = int(count) * width
		}
		if size > len(data) {
			return fmt.Errorf("%w: a run is cut off", errPage)
		}
		if head&1 == 0 {
			var v uint64
			for i := size - 1; i >= 0; i-- {
				v = v<<8 | uint64(data[i])
			}
			if each != nil {
				each(v, int64(count))
			}
			left -= int64(count)
		} else {
			m := min(int64(count)*8, left)
			if each != nil {
				for i := range m {
					var v uint64
					for b := range int64(width) {
						at := i*int64(width) + b
						v |= uint64(data[at/8]>>(at%8)&1) << b
					}
					each(v, 1)
				}
			}
			left -= m
		}
		data = data[size:]
	}
	return nil
}

// rowCounter counts the values of one row by their repetition levels.
type rowCounter struct {
	now, longest, limit int
}

func (r *rowCounter) add(level uint64, n int64) {
	if level == 0 {
		r.now = 1
	} else {
		r.now += int(n)
	}
	r.longest = max(r.longest, r.now)
}

func (r *rowCounter) err() error {
	if r.longest > r.limit {
		return errTooLong
	}
	return nil
}

// sized returns b with n bytes, or new memory.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// unpack returns the page, which must have n bytes.
func (g *groupCheck) unpack(codec format.CompressionCodec, src []byte, n int) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("%w (%v): %w", errPage, codec, err) }
	wrong := fmt.Errorf("its length is not the %d bytes that it is said to have", n)
	// No more memory than so many bytes can become: the most that a byte stands for in these formats.
	ratio := map[format.CompressionCodec]int{format.Snappy: 22, format.Lz4Raw: 255, format.Gzip: 1032}[codec]
	if n < 0 || ratio > 0 && n > ratio*len(src)+64 {
		return fail(wrong)
	}
	if ratio > 0 {
		g.plain = sized(g.plain, n+1) // a byte more, so that what is too long shows
	}
	switch codec {
	case format.Snappy:
		if m, err := snappy.DecodedLen(src); err != nil || m != n {
			return fail(wrong)
		}
		out, err := snappy.Decode(g.plain, src)
		if err != nil {
			return fail(err)
		}
		return out, nil
	case format.Lz4Raw:
		m, err := lz4.UncompressBlock(src, g.plain)
		if err != nil {
			return fail(err)
		}
		if m != n {
			return fail(wrong)
		}
		return g.plain[:n], nil
	case format.Gzip:
		z, err := gzip.NewReader(&byteReader{src})
		if err != nil {
			return fail(err)
		}
		return g.stream(z, n, fail, wrong)
	case format.Zstd:
		if g.zstd == nil {
			var err error
			if g.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(256<<20)); err != nil {
				return nil, err
			}
		}
		if err := g.zstd.Reset(&byteReader{src}); err != nil {
			return fail(err)
		}
		return g.stream(g.zstd, n, fail, wrong)
	case format.Brotli:
		return g.stream(brotli.NewReader(&byteReader{src}), n, fail, wrong)
	}
	return nil, fmt.Errorf("compression %v is not read; write the file with another, such as ZSTD", codec)
}

// stream reads n bytes and not one more. Memory grows with what really comes.
func (g *groupCheck) stream(r io.Reader, n int, fail func(error) ([]byte, error), wrong error) ([]byte, error) {
	out := g.plain[:0]
	for {
		if len(out) == cap(out) {
			out = slices.Grow(out, min(max(len(out), 64<<10), n+1-len(out)))
		}
		m, err := r.Read(out[len(out):min(cap(out), n+1)])
		out = out[:len(out)+m]
		g.plain = out
		switch {
		case len(out) > n:
			return fail(wrong)
		case err == io.EOF && len(out) == n:
			return out, nil
		case err == io.EOF:
			return fail(wrong)
		case err != nil:
			return fail(err)
		}
	}
}

// byteReader reads from memory.
type byteReader struct{ data []byte }

func (b *byteReader) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// thriftReader walks over Thrift's compact protocol. It follows no length that
// the data do not have.
type thriftReader struct {
	data []byte
	at   int
}

func (t *thriftReader) byte() (byte, error) {
	if t.at >= len(t.data) {
		return 0, io.ErrUnexpectedEOF
	}
	t.at++
	return t.data[t.at-1], nil
}

func (t *thriftReader) uvarint() (uint64, error) {
	v, n := binary.Uvarint(t.data[t.at:])
	if n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if n < 0 {
		return 0, errors.New("a number is too long")
	}
	t.at += n
	return v, nil
}

func (t *thriftReader) varint() (int64, error) {
	v, err := t.uvarint()
	return int64(v>>1) ^ -int64(v&1), err
}

const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// fields calls f with the fields of a struct; f returns false for one that is to be skipped.
func (t *thriftReader) fields(depth int, f func(id int64, kind byte) (bool, error)) error {
	if depth > 32 {
		return errors.New("nested deeper than 32 levels")
	}
	id := int64(0)
	for {
		head, err := t.byte()
		if err != nil {
			return err
		}
		kind := head & 15
		if kind == 0 {
			return nil
		}
		if step := int64(head >> 4); step != 0 {
			id += step
		} else if id, err = t.varint(); err != nil {
			return err
		}
		done, err := f(id, kind)
		if err == nil && !done {
			err = t.skip(kind, depth)
		}
		if err != nil {
			return err
		}
	}
}

func (t *thriftReader) skip(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse:
		return nil
	case thriftByte:
		_, err := t.byte()
		return err
	case thriftI16, thriftI32, thriftI64:
		_, err := t.uvarint()
		return err
	case thriftDouble:
		return t.bytes(8)
	case thriftBinary:
		n, err := t.uvarint()
		if err != nil {
			return err
		}
		return t.bytes(n)
	case thriftList, thriftSet:
		return t.list(depth)
	case thriftMap:
		n, err := t.uvarint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := t.byte()
		if err != nil {
			return err
		}
		if err := t.room(n); err != nil {
			return err
		}
		for range n {
			for _, k := range []byte{kinds >> 4, kinds & 15} {
				if err := t.element(k, depth); err != nil {
					return err
				}
			}
		}
		return nil
	case thriftStruct:
		return t.fields(depth+1, func(int64, byte) (bool, error) { return false, nil })
	}
	return fmt.Errorf("a value of the unknown type %d", kind)
}

func (t *thriftReader) bytes(n uint64) error {
	if n > uint64(len(t.data)-t.at) {
		return io.ErrUnexpectedEOF
	}
	t.at += int(n)
	return nil
}

// room checks that n elements of a byte at least are there.
func (t *thriftReader) room(n uint64) error {
	if n > uint64(len(t.data)-t.at) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (t *thriftReader) list(depth int) error {
	if depth > 32 {
		return errors.New("nested deeper than 32 levels")
	}
	head, err := t.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = t.uvarint(); err != nil {
			return err
		}
	}
	kind := head & 15
	if err := t.room(n); err != nil {
		return err
	}
	// A struct takes hundreds of bytes in memory; none of a footer has fewer than these in the file.
	if kind == thriftStruct && n > 64 && n > uint64(len(t.data)-t.at)/4 {
		return fmt.Errorf("a list of %d entries in %d bytes", n, len(t.data)-t.at)
	}
	for range n {
		if err := t.element(kind, depth); err != nil {
			return err
		}
	}
	return nil
}

// element skips an element of a list, where truth values take a byte.
func (t *thriftReader) element(kind byte, depth int) error {
	if kind == thriftTrue || kind == thriftFalse {
		_, err := t.byte()
		return err
	}
	return t.skip(kind, depth+1)
}

// numbers reads the numbers among the fields of a struct into the places that are named by their ids.
func (t *thriftReader) numbers(into map[int64]*int64, truth map[int64]*bool) error {
	return t.fields(1, func(id int64, kind byte) (bool, error) {
		if p := into[id]; p != nil && kind >= thriftI16 && kind <= thriftI64 {
			var err error
			*p, err = t.varint()
			return true, err
		}
		if p := truth[id]; p != nil && kind <= thriftFalse {
			*p = kind == thriftTrue
		}
		return false, nil
	})
}

func (t *thriftReader) pageHeader() (h pageHeader, err error) {
	compressed := true
	err = t.fields(0, func(id int64, kind byte) (bool, error) {
		var err error
		switch {
		case id == 1 && kind == thriftI32:
			h.kind, err = t.varint()
		case id == 2 && kind == thriftI32:
			h.uncompressed, err = t.varint()
		case id == 3 && kind == thriftI32:
			h.compressed, err = t.varint()
		case id == 5 && kind == thriftStruct:
			err = t.numbers(map[int64]*int64{1: &h.values, 2: &h.encoding, 3: &h.defEncoding, 4: &h.repEncoding}, nil)
		case id == 7 && kind == thriftStruct:
			err = t.numbers(map[int64]*int64{1: &h.values, 2: &h.encoding}, nil)
		case id == 8 && kind == thriftStruct:
			err = t.numbers(map[int64]*int64{1: &h.values, 4: &h.encoding, 5: &h.defBytes, 6: &h.repBytes}, map[int64]*bool{7: &compressed})
		default:
			return false, nil
		}
		return true, err
	})
	h.plainV2 = !compressed
	return h, err
}

// checkFooter walks over the footer before the library reads it.
func checkFooter(data []byte) error {
	t := thriftReader{data: data}
	return t.fields(0, func(int64, byte) (bool, error) { return false, nil })
}
