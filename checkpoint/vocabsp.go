package checkpoint

import (
	"fmt"
	"math"

	"leolm/internal/protobuf"
)

// sentencePiece reads a tokenizer.model (sentencepiece_model.proto).
func sentencePiece(data []byte) (*rawVocab, error) {
	v := &rawVocab{model: "llama", pre: "default", bos: 1, eos: 2, unk: 0, pad: -1, dummyPrefix: true, removeExtra: true}
	modelType := uint64(1)
	err := protobuf.Fields(data, 0, func(number int, _ uint64, data []byte, at int) error {
		switch number {
		case 1: // pieces
			text, score, typ := "", float32(0), uint64(tokenNormal)
			err := protobuf.Fields(data, at, func(number int, value uint64, data []byte, _ int) error {
				switch number {
				case 1:
					text = string(data)
				case 2:
					score = math.Float32frombits(uint32(value))
				case 3:
					typ = value
				}
				return nil
			})
			if typ < tokenNormal || typ > tokenByte {
				return fmt.Errorf("piece %d has type %d", len(v.tokens), typ)
			}
			v.tokens, v.scores, v.types = append(v.tokens, text), append(v.scores, score), append(v.types, int32(typ))
			return err
		case 2: // trainer_spec
			return protobuf.Fields(data, at, func(number int, value uint64, _ []byte, _ int) error {
				switch number {
				case 3:
					modelType = value
				case 40:
					v.unk = int(int32(value))
				case 41:
					v.bos = int(int32(value))
				case 42:
					v.eos = int(int32(value))
				case 43:
					v.pad = int(int32(value))
				}
				return nil
			})
		case 3: // normalizer_spec
			return protobuf.Fields(data, at, func(number int, value uint64, data []byte, _ int) error {
				switch number {
				case 2:
					v.charsmap = data
				case 3:
					v.dummyPrefix = value != 0
				case 4:
					v.removeExtra = value != 0
				}
				return nil
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(v.tokens) == 0:
		return nil, fmt.Errorf("no pieces: not a SentencePiece model")
	case modelType != 2:
		return nil, fmt.Errorf("a SentencePiece model of type %d; GGUF's llama vocabulary takes type 2 (BPE)", modelType)
	}
	for _, id := range []*int{&v.bos, &v.eos, &v.unk, &v.pad} {
		if *id >= len(v.tokens) {
			*id = -1
		}
	}
	return v, nil
}

// sentencePieceModel writes a tokenizer.model.
func (v *rawVocab) sentencePieceModel() []byte {
	var out []byte
	fallback := false
	for i, text := range v.tokens {
		p := protobuf.AppendBytes(nil, 1, text)
		p = protobuf.AppendFloat(p, 2, v.scores[i])
		if v.types[i] != tokenNormal {
			p = protobuf.AppendVarint(p, 3, int64(v.types[i]))
		}
		fallback = fallback || v.types[i] == tokenByte
		out = protobuf.AppendBytes(out, 1, p)
	}
	spec := protobuf.AppendVarint(nil, 3, 2) // BPE
	spec = protobuf.AppendVarint(spec, 4, int64(len(v.tokens)))
	spec = protobuf.AppendBool(spec, 35, fallback)
	for i, id := range []int{v.unk, v.bos, v.eos, v.pad} {
		spec = protobuf.AppendVarint(spec, 40+i, int64(id))
	}
	out = protobuf.AppendBytes(out, 2, spec)
	norm := protobuf.AppendBytes(nil, 1, "identity")
	norm = protobuf.AppendBytes(norm, 2, v.charsmap)
	norm = protobuf.AppendBool(norm, 3, v.dummyPrefix)
	norm = protobuf.AppendBool(norm, 4, v.removeExtra)
	norm = protobuf.AppendBool(norm, 5, true)
	return protobuf.AppendBytes(out, 3, norm)
}
