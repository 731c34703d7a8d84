package rows

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

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
