package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"
)

// readGGUFVocab reads the tokenizer keys of a GGUF file: enough for tests, on
// files that we trust.
func readGGUFVocab(t testing.TB, path string) GGUFVocab {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no real vocabulary: %v", err)
	}
	at := 8
	u32 := func() uint32 { at += 4; return binary.LittleEndian.Uint32(data[at-4:]) }
	u64 := func() uint64 { at += 8; return binary.LittleEndian.Uint64(data[at-8:]) }
	str := func() string { n := int(u64()); at += n; return string(data[at-n : at]) }
	var value func(kind uint32) any
	value = func(kind uint32) any {
		switch kind {
		case 0, 1, 7:
			at++
			return int(data[at-1])
		case 2, 3:
			at += 2
			return int(binary.LittleEndian.Uint16(data[at-2:]))
		case 4:
			return int(u32())
		case 5:
			return int(int32(u32()))
		case 6:
			return math.Float32frombits(u32())
		case 8:
			return str()
		case 9:
			k, n := u32(), int(u64())
			list := make([]any, n)
			for i := range list {
				list[i] = value(k)
			}
			return list
		case 10, 11:
			return int(u64())
		case 12:
			return math.Float64frombits(u64())
		}
		panic(fmt.Sprint("kind ", kind))
	}
	u64() // tensors
	v := GGUFVocab{BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	set := map[string]any{}
	for range u64() {
		key := str()
		set[key] = value(u32())
	}
	v.Model, _ = set["tokenizer.ggml.model"].(string)
	v.Pre, _ = set["tokenizer.ggml.pre"].(string)
	for _, x := range set["tokenizer.ggml.tokens"].([]any) {
		v.Tokens = append(v.Tokens, x.(string))
	}
	if l, ok := set["tokenizer.ggml.scores"].([]any); ok {
		for _, x := range l {
			v.Scores = append(v.Scores, x.(float32))
		}
	}
	if l, ok := set["tokenizer.ggml.token_type"].([]any); ok {
		for _, x := range l {
			v.Types = append(v.Types, int32(x.(int)))
		}
	}
	if l, ok := set["tokenizer.ggml.merges"].([]any); ok {
		for _, x := range l {
			v.Merges = append(v.Merges, x.(string))
		}
	}
	for key, p := range map[string]*int{"bos": &v.BOS, "eos": &v.EOS, "unknown": &v.UNK, "padding": &v.PAD} {
		if x, ok := set["tokenizer.ggml."+key+"_token_id"].(int); ok {
			*p = x
		}
	}
	llama := v.Model == "llama"
	v.AddBOS, v.AddSpacePrefix = llama, llama
	for key, p := range map[string]*bool{"add_bos_token": &v.AddBOS, "add_eos_token": &v.AddEOS, "add_space_prefix": &v.AddSpacePrefix} {
		if x, ok := set["tokenizer.ggml."+key].(int); ok {
			*p = x != 0
		}
	}
	return v
}
