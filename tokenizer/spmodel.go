package tokenizer

import (
	"errors"
	"fmt"
	"math"

	"leolm/internal/protobuf"
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

// parseSPModel reads a SentencePiece model file. Unknown fields are skipped,
// as protobuf requires.
func parseSPModel(data []byte) (*spModel, error) {
	m := &spModel{
		modelType: modelUnigram, unkSurface: " \u2047 ",
		bosPiece: "<s>", eosPiece: "</s>", padPiece: "<pad>", unkPiece: "<unk>",
		dummyPrefix: true, removeExtra: true, escape: true,
	}
	err := protobuf.Fields(data, 0, func(num int, v uint64, b []byte, at int) error {
		switch num {
		case 1:
			return m.readPiece(b, at)
		case 2:
			return m.readTrainer(b, at)
		case 3:
			return m.readNormalizer(b, at)
		case 5:
			return protobuf.Fields(b, at, func(num int, v uint64, b []byte, at int) error {
				if num == 2 {
					m.denormMap = b
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

// readPiece reads a message SentencePiece, which is at byte at.
func (m *spModel) readPiece(b []byte, at int) error {
	if len(m.pieces) == maxPieces {
		return fmt.Errorf("byte %d: more than %d pieces", at, maxPieces)
	}
	p := spPiece{kind: Normal}
	err := protobuf.Fields(b, at, func(num int, v uint64, b []byte, at int) error {
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
	return nil
}

// readTrainer reads a message TrainerSpec.
func (m *spModel) readTrainer(b []byte, at int) error {
	return protobuf.Fields(b, at, func(num int, v uint64, b []byte, at int) error {
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
}

// readNormalizer reads a message NormalizerSpec.
func (m *spModel) readNormalizer(b []byte, at int) error {
	return protobuf.Fields(b, at, func(num int, v uint64, b []byte, at int) error {
		switch num {
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
