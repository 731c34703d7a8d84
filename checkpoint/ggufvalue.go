package checkpoint

import (
	"encoding/binary"
	"math"
)

// ggufWidth is the size of a fixed-size value, or 0.
func ggufWidth(typ uint32) uint64 {
	switch typ {
	case ggufU8, ggufI8, ggufBool:
		return 1
	case ggufU16, ggufI16:
		return 2
	case ggufU32, ggufI32, ggufF32:
		return 4
	case ggufU64, ggufI64, ggufF64:
		return 8
	}
	return 0
}

func (p *ggufParser) value(key string, typ uint32, depth int) (any, error) {
	switch typ {
	case ggufString:
		return p.str("the value of " + key)
	case ggufArray:
		return p.array(key, depth)
	}
	w := ggufWidth(typ)
	if w == 0 {
		return nil, p.fail(p.at-4, "metadata %q has unknown type %d", key, typ)
	}
	at := p.at
	b, err := p.take(w, "the value of "+key)
	if err != nil {
		return nil, err
	}
	switch typ {
	case ggufU8:
		return b[0], nil
	case ggufI8:
		return int8(b[0]), nil
	case ggufU16:
		return binary.LittleEndian.Uint16(b), nil
	case ggufI16:
		return int16(binary.LittleEndian.Uint16(b)), nil
	case ggufU32:
		return binary.LittleEndian.Uint32(b), nil
	case ggufI32:
		return int32(binary.LittleEndian.Uint32(b)), nil
	case ggufF32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b)), nil
	case ggufU64:
		return binary.LittleEndian.Uint64(b), nil
	case ggufI64:
		return int64(binary.LittleEndian.Uint64(b)), nil
	case ggufF64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b)), nil
	}
	if b[0] > 1 {
		return nil, p.fail(at, "metadata %q is a truth value of %d", key, b[0])
	}
	return b[0] == 1, nil
}

func (p *ggufParser) array(key string, depth int) (any, error) {
	if depth >= maxGGUFDepth {
		return nil, p.fail(p.at, "metadata %q nests arrays more than %d deep", key, maxGGUFDepth)
	}
	at := p.at
	typ, err := p.u32("the element type of " + key)
	if err != nil {
		return nil, err
	}
	n, err := p.u64("the length of " + key)
	if err != nil {
		return nil, err
	}
	smallest := ggufWidth(typ)
	switch typ {
	case ggufString:
		smallest = 8
	case ggufArray:
		smallest = 12
	}
	if smallest == 0 {
		return nil, p.fail(at, "metadata %q is an array of unknown type %d", key, typ)
	}
	if left := uint64(len(p.data) - p.at); n > left/smallest {
		return nil, p.fail(at, "metadata %q has %d elements, which can't fit the %d bytes that follow", key, n, left)
	}
	switch typ {
	case ggufString:
		return elements(n, func() (string, error) { return p.str("an element of " + key) })
	case ggufArray:
		return elements(n, func() (any, error) { return p.array(key, depth+1) })
	}
	b, err := p.take(n*smallest, "the value of "+key)
	if err != nil {
		return nil, err
	}
	if typ == ggufBool {
		return p.bools(key, b)
	}
	return decodeNumbers(typ, b), nil
}

// elements reads n values that follow each other.
func elements[T any](n uint64, read func() (T, error)) ([]T, error) {
	s := make([]T, n)
	for i := range s {
		var err error
		if s[i], err = read(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// bools reads truth values from b, which has just been taken.
func (p *ggufParser) bools(key string, b []byte) ([]bool, error) {
	s := make([]bool, len(b))
	for i, v := range b {
		if v > 1 {
			return nil, p.fail(p.at-len(b)+i, "metadata %q holds a truth value of %d", key, v)
		}
		s[i] = v == 1
	}
	return s, nil
}

// decodeNumbers reads numbers of the type that metadata name.
func decodeNumbers(typ uint32, b []byte) any {
	switch typ {
	case ggufU8:
		return append([]uint8(nil), b...)
	case ggufI8:
		return decodeArray[int8](b)
	case ggufU16:
		return decodeArray[uint16](b)
	case ggufI16:
		return decodeArray[int16](b)
	case ggufU32:
		return decodeArray[uint32](b)
	case ggufI32:
		return decodeArray[int32](b)
	case ggufF32:
		return decodeArray[float32](b)
	case ggufU64:
		return decodeArray[uint64](b)
	case ggufI64:
		return decodeArray[int64](b)
	}
	return decodeArray[float64](b)
}

func decodeArray[T int8 | uint16 | int16 | uint32 | int32 | float32 | uint64 | int64 | float64](b []byte) []T {
	var zero T
	s := make([]T, len(b)/binary.Size(zero))
	// Decode only fails on a short buffer, and this one is exactly as long.
	_, _ = binary.Decode(b, binary.LittleEndian, s)
	return s
}

// asInt reads any whole-number metadata value.
func asInt(v any) (int, bool) {
	switch v := v.(type) {
	case uint8:
		return int(v), true
	case int8:
		return int(v), true
	case uint16:
		return int(v), true
	case int16:
		return int(v), true
	case uint32:
		return int(v), true
	case int32:
		return int(v), true
	case uint64:
		if v > math.MaxInt {
			return 0, false
		}
		return int(v), true
	case int64:
		return int(v), true
	}
	return 0, false
}

// asFloat reads any numeric metadata value.
func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	n, ok := asInt(v)
	return float64(n), ok
}

// numbers converts an array of any numeric type.
func numbers[T int32 | float32](v any) ([]T, bool) {
	switch v := v.(type) {
	case []T:
		return v, true
	case []uint8:
		return converted[T](v), true
	case []int8:
		return converted[T](v), true
	case []uint16:
		return converted[T](v), true
	case []int16:
		return converted[T](v), true
	case []uint32:
		return converted[T](v), true
	case []int32:
		return converted[T](v), true
	case []uint64:
		return converted[T](v), true
	case []int64:
		return converted[T](v), true
	case []float32:
		return converted[T](v), true
	case []float64:
		return converted[T](v), true
	}
	return nil, false
}

func converted[T int32 | float32, S int8 | uint8 | uint16 | int16 | uint32 | int32 | float32 | uint64 | int64 | float64](v []S) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}
