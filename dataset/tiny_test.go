package dataset

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// tinyModel is a SentencePiece model (a protobuf) with bytes, a few letters
// and German words, laid out like Llama's: <unk>, <s>, </s>, 256 bytes, then
// pieces. Enough for tests that must run without Llama-2's vocabulary.
func tinyModel() []byte {
	field := func(b []byte, num int, wire byte) []byte { return binary.AppendUvarint(b, uint64(num)<<3|uint64(wire)) }
	bytesField := func(b []byte, num int, data []byte) []byte {
		b = binary.AppendUvarint(field(b, num, 2), uint64(len(data)))
		return append(b, data...)
	}
	varint := func(b []byte, num int, x uint64) []byte { return binary.AppendUvarint(field(b, num, 0), x) }
	piece := func(text string, score float32, kind uint64) []byte {
		p := bytesField(nil, 1, []byte(text))
		p = binary.LittleEndian.AppendUint32(field(p, 2, 5), math.Float32bits(score))
		return varint(p, 3, kind)
	}
	m := bytesField(nil, 1, piece("<unk>", 0, 2))
	m = bytesField(m, 1, piece("<s>", 0, 3))
	m = bytesField(m, 1, piece("</s>", 0, 3))
	for b := range 256 {
		m = bytesField(m, 1, piece(fmt.Sprintf("<0x%02X>", b), 0, 6))
	}
	score := float32(-1)
	for _, p := range []string{"▁u", "er", "us", "▁us", "▁user", "▁a", "ss", "▁", "e", "n", "i", "r", "s", "t", "a", "u", "d", "h", "l", "W", "J", "?", "."} {
		m = bytesField(m, 1, piece(p, score, 1))
		score--
	}
	trainer := varint(nil, 3, 2) // BPE
	trainer = varint(trainer, 35, 1)
	for i, num := range []int{40, 41, 42} {
		trainer = varint(trainer, num, uint64(i))
	}
	trainer = varint(trainer, 43, math.MaxUint64) // no pad
	m = bytesField(m, 2, trainer)
	norm := bytesField(nil, 1, []byte("identity"))
	norm = varint(norm, 3, 1)
	norm = varint(norm, 4, 0)
	norm = varint(norm, 5, 1)
	return bytesField(m, 3, norm)
}

// writeMix puts a mix and the files beside it into a new folder, with the
// tiny tokenizer, and loads it.
func writeMix(t *testing.T, mix string, files map[string]string) *Mix {
	t.Helper()
	dir := t.TempDir()
	files["mix.yaml"] = "prefix: x\ntokenizer: tiny.model\n" + mix
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tiny.model"), tinyModel(), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := LoadMix(filepath.Join(dir, "mix.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
