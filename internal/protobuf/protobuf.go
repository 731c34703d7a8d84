// Package protobuf reads and writes protocol buffer messages field by field, which
// is all that SentencePiece's models and TensorBoard's events need
// (protobuf.dev/programming-guides/encoding). It knows no messages: numbers of fields
// are their formats'.
package protobuf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Fields walks the fields of one message, whose first byte is at offset at of its
// file. It calls f with the number of the field, and either the varint or fixed value or the
// bytes, and where they are. Errors name the byte.
func Fields(data []byte, at int, f func(num int, v uint64, b []byte, at int) error) error {
	for i := 0; i < len(data); {
		start := at + i
		tag, n := binary.Uvarint(data[i:])
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return fmt.Errorf("byte %d: broken field tag", start)
		}
		i += n
		num := int(tag >> 3)
		var v uint64
		var b []byte
		pos := at + i
		switch tag & 7 {
		case 0:
			v, n = binary.Uvarint(data[i:])
			if n <= 0 {
				return fmt.Errorf("byte %d: broken number in field %d", pos, num)
			}
			i += n
		case 1:
			if len(data)-i < 8 {
				return fmt.Errorf("byte %d: field %d is cut off", pos, num)
			}
			v = binary.LittleEndian.Uint64(data[i:])
			i += 8
		case 2:
			size, n := binary.Uvarint(data[i:])
			if n <= 0 || size > uint64(len(data)-i-n) {
				return fmt.Errorf("byte %d: field %d is longer than what is left of the file", pos, num)
			}
			i += n
			pos = at + i
			b = data[i : i+int(size)]
			i += int(size)
		case 5:
			if len(data)-i < 4 {
				return fmt.Errorf("byte %d: field %d is cut off", pos, num)
			}
			v = uint64(binary.LittleEndian.Uint32(data[i:]))
			i += 4
		default:
			return fmt.Errorf("byte %d: field %d has unknown wire type %d", start, num, tag&7)
		}
		if err := f(num, v, b, pos); err != nil {
			return err
		}
	}
	return nil
}

// AppendTag appends the head of a field with a wire type: 0 varint, 1 eight bytes, 2
// bytes with their number, 5 four bytes.
func AppendTag(b []byte, num, wire int) []byte {
	return binary.AppendUvarint(b, uint64(num)<<3|uint64(wire))
}

// AppendVarint appends a field that holds a whole number.
func AppendVarint(b []byte, num int, v int64) []byte {
	return binary.AppendUvarint(AppendTag(b, num, 0), uint64(v))
}

// AppendBytes appends a field that holds bytes, a text or a message.
func AppendBytes[T string | []byte](b []byte, num int, v T) []byte {
	b = binary.AppendUvarint(AppendTag(b, num, 2), uint64(len(v)))
	return append(b, v...)
}

// AppendFloat appends a field that holds a float32.
func AppendFloat(b []byte, num int, v float32) []byte {
	return binary.LittleEndian.AppendUint32(AppendTag(b, num, 5), math.Float32bits(v))
}

// AppendBool appends a field that holds true or false.
func AppendBool(b []byte, num int, v bool) []byte {
	if v {
		return AppendVarint(b, num, 1)
	}
	return AppendVarint(b, num, 0)
}
