package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

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
