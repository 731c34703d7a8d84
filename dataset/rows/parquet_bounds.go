package rows

import (
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
