package tokenizer

import (
	"os"
	"strings"
	"testing"
)

// add_prefix_space in tokenizer_config.json counts where transformers (5.24) lets it: for
// the classes of Llama and GPT-2. The ids are transformers'.
func TestAddPrefixSpace(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const (
		none  = "H a ll o ▁W el t | ▁H a ll o | <s> H a ll o"
		first = "▁H a ll o ▁W el t | ▁H a ll o | <s> H a ll o"
		each  = "▁H a ll o ▁W el t | ▁ ▁H a ll o | <s> ▁H a ll o"
	)
	for _, c := range []struct{ file, from, config, want string }{
		{"tokenizer.model", "bpe.model", `"tokenizer_class":"LlamaTokenizer","add_prefix_space":false`, none},
		{"tokenizer.model", "bpe.model", `"tokenizer_class":"LlamaTokenizerFast","add_prefix_space":false,"legacy":true`, none},
		{"tokenizer.model", "bpe.model", `"add_prefix_space":false,"legacy":false`, none},
		{"tokenizer.model", "bpe.model", `"add_prefix_space":true,"legacy":false`, first},
		{"tokenizer.model", "bpe.model", `"legacy":false`, first},
		{"tokenizer.json", "hf_llama_legacy.json", `"tokenizer_class":"LlamaTokenizer","add_prefix_space":false`, none},
		{"tokenizer.json", "hf_llama_legacy.json", `"tokenizer_class":"PreTrainedTokenizerFast","add_prefix_space":false`, each},
		{"tokenizer.json", "hf_llama_first.json", `"tokenizer_class":"LlamaTokenizerFast","add_prefix_space":false`, none},
		{"tokenizer.json", "hf_llama_first.json", `"tokenizer_class":"PreTrainedTokenizerFast","add_prefix_space":false`, first},
		{"tokenizer.json", "hf_gpt2.json", `"tokenizer_class":"GPT2Tokenizer","add_prefix_space":false`, "H a ll o ĠW el t | ĠH a ll o | < s > H a ll o"},
		{"tokenizer.json", "hf_gpt2.json", `"tokenizer_class":"GPT2TokenizerFast","add_prefix_space":true`, "ĠH a ll o ĠW el t | ĠH a ll o | Ġ < s > H a ll o"},
	} {
		tok, err := Open(folder(t, map[string]string{c.file: read(c.from), "tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>","unk_token":"<unk>",` + c.config + `}`}),
			Options{Specials: SpecialsAnywhere})
		if strings.Contains(c.from, "gpt2") {
			tok, err = Open(folder(t, map[string]string{c.file: read(c.from), "tokenizer_config.json": `{` + c.config + `}`}), Options{Specials: SpecialsAnywhere})
		}
		if err != nil {
			t.Errorf("%s, %s: %v", c.from, c.config, err)
			continue
		}
		var got []string
		for _, text := range []string{"Hallo Welt", " Hallo", "<s>Hallo"} {
			got = append(got, strings.Join(pieces(tok, tok.AppendTokens(nil, text)), " "))
		}
		if g := strings.Join(got, " | "); g != c.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.from, c.config, g, c.want)
		}
		want := "Hallo Welt"
		if strings.HasPrefix(c.want, "Ġ") {
			want = " Hallo Welt" // as Hugging Face's ByteLevel
		}
		if back := tok.Decode(tok.AppendTokens(nil, "Hallo Welt"), true); back != want {
			t.Errorf("%s, %s: decoded %q", c.from, c.config, back)
		}
	}
}
