package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// spModel is what Leo uses of a SentencePiece ModelProto.
type spModel struct {
	pieces []spPiece
	// converted: with LegacyOff, encode as Hugging Face's conversion of the model does. Always so for tokenizer.model.
	converted bool

	// trainer_spec
	modelType  int // 1 unigram, 2 BPE, 3 word, 4 char
	suffix     bool
	byteFall   bool
	unkSurface string
	bosPiece   string
	eosPiece   string
	padPiece   string
	unkPiece   string

	// normalizer_spec
	normName    string
	charsmap    []byte
	dummyPrefix bool
	noPrefix    bool // files beside the model overrule dummyPrefix
	removeExtra bool
	escape      bool
	denormMap   []byte
}

type spPiece struct {
	text  string
	score float32
	kind  Kind
}

const (
	modelUnigram = 1
	modelBPE     = 2

	// maxPieces bounds what a hostile file can make us allocate.
	maxPieces = 4 << 20
)

// protoField walks the fields of one protobuf message. It calls f with the
// field's number, and either the varint or fixed value or the bytes.
func protoFields(data []byte, at int, f func(num int, v uint64, b []byte, at int) error) error {
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

// parseSPModel reads a SentencePiece model file. Unknown fields are left alone,
// as protobuf demands.
func parseSPModel(data []byte) (*spModel, error) {
	m := &spModel{
		modelType: modelUnigram, unkSurface: " \u2047 ",
		bosPiece: "<s>", eosPiece: "</s>", padPiece: "<pad>", unkPiece: "<unk>",
		dummyPrefix: true, removeExtra: true, escape: true,
	}
	err := protoFields(data, 0, func(num int, v uint64, b []byte, at int) error {
		switch num {
		case 1:
			if len(m.pieces) == maxPieces {
				return fmt.Errorf("byte %d: more than %d pieces", at, maxPieces)
			}
			p := spPiece{kind: Normal}
			err := protoFields(b, at, func(num int, v uint64, b []byte, at int) error {
				switch num {
				case 1:
					p.text = string(b)
				case 2:
					p.score = math.Float32frombits(uint32(v))
				case 3:
					if v < 1 || v > 6 {
						return fmt.Errorf("byte %d: piece %d has unknown type %d", at, len(m.pieces), v)
					}
					p.kind = Kind(v)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if p.text == "" {
				return fmt.Errorf("byte %d: piece %d is empty", at, len(m.pieces))
			}
			if p.score != p.score {
				return fmt.Errorf("byte %d: score of piece %d (%q) is not a number", at, len(m.pieces), p.text)
			}
			m.pieces = append(m.pieces, p)
		case 2:
			return protoFields(b, at, func(num int, v uint64, b []byte, at int) error {
				switch num {
				case 3:
					m.modelType = int(v)
				case 24:
					m.suffix = v != 0
				case 35:
					m.byteFall = v != 0
				case 44:
					m.unkSurface = string(b)
				case 45:
					m.unkPiece = string(b)
				case 46:
					m.bosPiece = string(b)
				case 47:
					m.eosPiece = string(b)
				case 48:
					m.padPiece = string(b)
				}
				return nil
			})
		case 3, 5:
			return protoFields(b, at, func(sub int, v uint64, b []byte, at int) error {
				if num == 5 {
					if sub == 2 {
						m.denormMap = b
					}
					return nil
				}
				switch sub {
				case 1:
					m.normName = string(b)
				case 2:
					m.charsmap = b
				case 3:
					m.dummyPrefix = v != 0
				case 4:
					m.removeExtra = v != 0
				case 5:
					m.escape = v != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(m.pieces) == 0 {
		return nil, errors.New("no pieces: not a SentencePiece model")
	}
	return m, nil
}

// Writing: protobuf fields in ascending order, as SentencePiece writes them.

func appendTag(b []byte, num, wire int) []byte {
	return binary.AppendUvarint(b, uint64(num)<<3|uint64(wire))
}

func appendVarint(b []byte, num int, v int64) []byte {
	return binary.AppendUvarint(appendTag(b, num, 0), uint64(v))
}

func appendBytes[T string | []byte](b []byte, num int, v T) []byte {
	b = binary.AppendUvarint(appendTag(b, num, 2), uint64(len(v)))
	return append(b, v...)
}

func appendFloat(b []byte, num int, v float32) []byte {
	return binary.LittleEndian.AppendUint32(appendTag(b, num, 5), math.Float32bits(v))
}

func appendBool(b []byte, num int, v bool) []byte {
	if v {
		return appendVarint(b, num, 1)
	}
	return appendVarint(b, num, 0)
}
