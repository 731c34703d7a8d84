package checkpoint

import (
	"errors"
	"fmt"
	"leolm/tokenizer"
	"slices"
	"strconv"
	"strings"
)

// Converting a model takes its vocabulary along: a folder's tokenizer.model or
// tokenizer.json becomes GGUF metadata, and GGUF metadata becomes these files.
// What texts mean in them is package tokenizer's; here they are only moved.

// Token types, equal in SentencePiece and GGUF.
const (
	tokenNormal      = 1
	tokenUnknown     = 2
	tokenControl     = 3
	tokenUserDefined = 4
	tokenUnused      = 5
	tokenByte        = 6
)

// rawVocab is a vocabulary on its way between formats.
type rawVocab struct {
	model, pre    string // as GGUF names them
	tokens        []string
	scores        []float32
	types         []int32
	merges        []string
	bos, eos, unk int
	pad           int
	dummyPrefix   bool
	removeExtra   bool
	charsmap      []byte
	firstOnly     bool            // of tokenizer.json: only the beginning of the whole text gets a "▁"
	beyond        []string        // tokens left out for want of rows
	decoded       map[string]bool // tokens that tokenizer_config.json names
}

// TokenizerMetadata returns the tokenizer.* entries of GGUF for the
// checkpoint's vocabulary, which may be a folder's tokenizer.model or
// tokenizer.json or already GGUF's own, with as many tokens as the model has
// rows. The notes say what GGUF can't hold.
func (c *Checkpoint) TokenizerMetadata() (kv []KV, notes []string, err error) {
	if c.GGUF != nil {
		for _, e := range c.GGUF.KV {
			if strings.HasPrefix(e.Key, "tokenizer.") {
				kv = append(kv, e)
			}
		}
		return padVocab(kv, c.Config.VocabSize), nil, nil
	}
	f, err := tokenizerFolder(c.TokenizerDir)
	if err != nil {
		return nil, nil, err
	}
	kv, notes, err = f.Metadata(&c.Config)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.TokenizerDir, err)
	}
	return kv, notes, err
}

// fingerprintOf is the fingerprint of the tokenizer that Leo reads from the entries of a GGUF file.
func fingerprintOf(kv []KV) (string, error) {
	g := &GGUF{KV: kv, byKey: map[string]int{}}
	for i, e := range kv {
		g.byKey[e.Key] = i
	}
	v, err := g.vocab()
	if err != nil {
		return "", err
	}
	t, err := tokenizer.FromGGUF(*v, tokenizer.Options{})
	if err != nil {
		return "", err
	}
	return t.Fingerprint(), nil
}

var errNoTokenizer = errors.New("neither tokenizer.model nor tokenizer.json: the model has no tokenizer")

// padVocab fills a vocabulary in GGUF metadata up to rows with tokens that no text becomes: llama.cpp refuses a file
// whose embedding has more rows than there are tokens.
func padVocab(kv []KV, rows int) []KV {
	out := slices.Clone(kv)
	for i, e := range out {
		switch v := e.Value.(type) {
		case []string:
			if e.Key == "tokenizer.ggml.tokens" && len(v) > 0 {
				v = slices.Clone(v)
				for len(v) < rows {
					v = append(v, padName(len(v)))
				}
				out[i].Value = v
			}
		case []float32:
			if e.Key == "tokenizer.ggml.scores" {
				out[i].Value = append(slices.Clone(v), make([]float32, max(rows-len(v), 0))...)
			}
		case []int32:
			if e.Key == "tokenizer.ggml.token_type" {
				out[i].Value = append(slices.Clone(v), slices.Repeat([]int32{tokenUnused}, max(rows-len(v), 0))...)
			}
		}
	}
	return out
}

// padName names a row without a token, as llama.cpp's converter does.
func padName(id int) string { return fmt.Sprintf("[PAD%d]", id) }

// keyLegacy is Leo's own entry for vocabularies whose text gets a "▁" at the very beginning only.
const keyLegacy = "tokenizer.leo.legacy"

// Metadata returns the tokenizer.* entries of a GGUF file for a model of configuration cfg, which gives the number of
// rows and the special ids that the files leave out. The notes say what GGUF can't hold.
func (f TokenizerFiles) Metadata(cfg *Config) (kv []KV, notes []string, err error) {
	v, file, err := f.readVocab(cfg.VocabSize)
	if errors.Is(err, errNoTokenizer) {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, &FormatError{File: file, Offset: -1, Err: err}
	}
	special, err := f.addTokens(v)
	if err != nil {
		return nil, nil, &FormatError{File: file, Offset: -1, Err: err}
	}
	if v.model == "llama" && special.noPrefix {
		v.dummyPrefix = false
	}
	kv = []KV{{"tokenizer.ggml.model", v.model}, {"tokenizer.ggml.pre", v.pre}, {"tokenizer.ggml.tokens", v.tokens}}
	if v.model == "llama" {
		kv = append(kv, KV{"tokenizer.ggml.scores", v.scores})
	}
	kv = append(kv, KV{"tokenizer.ggml.token_type", v.types})
	if v.merges != nil {
		kv = append(kv, KV{"tokenizer.ggml.merges", v.merges})
	}
	kv = append(kv, v.specialIDs(cfg, special)...)
	kv = append(kv, KV{"tokenizer.ggml.add_space_prefix", v.dummyPrefix})
	if v.model == "llama" && v.removeExtra {
		kv = append(kv, KV{"tokenizer.ggml.remove_extra_whitespaces", true})
	}
	if len(v.charsmap) > 0 {
		kv = append(kv, KV{"tokenizer.ggml.precompiled_charsmap", v.charsmap})
	}
	if len(v.beyond) > 0 {
		notes = append(notes, fmt.Sprintf("The tokenizer's %s left out: the model has %d rows, none for them.", listed(v.beyond), cfg.VocabSize))
	}
	if v.model == "llama" && v.dummyPrefix && (special.legacy != nil && !*special.legacy || v.firstOnly) {
		kv = append(kv, KV{keyLegacy, false})
		notes = append(notes, `The tokenizer puts its "▁" before the very first text only (legacy: false). GGUF has no entry for that: Leo keeps it in one of its own, `+
			`llama.cpp gives every text after a control token a "▁", so that its ids of chat prompts differ.`)
	}
	if want, err := f.Fingerprint(); err != nil {
		return nil, nil, err
	} else if want != "" {
		got, err := fingerprintOf(kv)
		if err != nil {
			return nil, nil, err
		}
		if kv = append(kv, KV{keyFingerprint, got}); got != want {
			notes = append(notes, "As GGUF, the vocabulary gives some texts other ids, such as runs of blanks: merges became scores.")
		}
	}
	if names := f.flagged(); len(names) > 0 {
		notes = append(notes, fmt.Sprintf("GGUF has no entry for what the tokenizer says of %s: that it takes the blanks beside it (lstrip, rstrip), stands for whole words only "+
			"(single_word) or is looked for in normalized text. Texts with blanks or letters beside it get other ids.", strings.Join(names, ", ")))
	}
	templates, err := f.templates()
	return append(kv, templates...), notes, err
}

// templates are the entries of the chat templates.
func (f TokenizerFiles) templates() ([]KV, error) {
	c := Checkpoint{}
	if err := c.readTemplates(f); err != nil {
		return nil, err
	}
	var kv []KV
	if c.ChatTemplate != "" {
		kv = append(kv, KV{"tokenizer.chat_template", c.ChatTemplate})
	}
	for _, name := range sortedKeys(c.ChatTemplates) {
		kv = append(kv, KV{"tokenizer.chat_template." + name, c.ChatTemplates[name]})
	}
	return kv, nil
}

// readVocab reads the folder's tokenizer.model, else its tokenizer.json.
func (f TokenizerFiles) readVocab(size int) (*rawVocab, string, error) {
	file := fileSentencePiece
	if data := f[file]; data != nil {
		v, err := sentencePiece(data)
		if err != nil {
			return nil, file, err
		}
		v.dropBeyond(size)
		if len(v.tokens) > size {
			return nil, file, fmt.Errorf("%d pieces for the model's %d rows", len(v.tokens), size)
		}
		for len(v.tokens) < size {
			v.tokens, v.scores, v.types = append(v.tokens, ""), append(v.scores, 0), append(v.types, tokenUnused)
		}
		return v, file, nil
	}
	file = fileTokenizerJSON
	if f[file] == nil {
		return nil, "", errNoTokenizer
	}
	v, err := tokenizerJSON(f[file], size)
	return v, file, err
}

// dropBeyond leaves out control tokens at the end that the model has no rows for, as a <pad> that was added to the
// tokenizer alone: nothing leads to them, and GGUF wants as many tokens as rows.
func (v *rawVocab) dropBeyond(size int) {
	for n := len(v.tokens); n > size && (v.types[n-1] == tokenControl || v.types[n-1] == tokenUserDefined || v.types[n-1] == tokenUnused); n = len(v.tokens) {
		v.beyond = append(v.beyond, v.tokens[n-1])
		v.tokens, v.scores, v.types = v.tokens[:n-1], v.scores[:n-1], v.types[:n-1]
	}
}

// TokenizerFiles returns the tokenizer files of a Hugging Face folder for the
// checkpoint's vocabulary: copies for a folder, conversions for GGUF.
func (c *Checkpoint) TokenizerFiles() (TokenizerFiles, error) {
	if c.GGUF == nil {
		return tokenizerFolder(c.TokenizerDir)
	}
	out := TokenizerFiles{}
	g := c.Vocab
	if len(g.Tokens) == 0 {
		return out, nil
	}
	tokens, types := slices.Clone(g.Tokens), slices.Clone(g.Types)
	if types == nil {
		types = make([]int32, len(tokens))
		for i := range types {
			types[i] = tokenNormal
		}
	}
	for i, name := range []string{"<|im_start|>", "<|im_end|>"} {
		if id := 32005 + i; id < len(tokens) && tokens[id] == fmt.Sprintf("<dummy%d>", id) {
			tokens[id], types[id] = name, tokenControl
		}
	}
	n := len(tokens)
	for n > 0 && types[n-1] == tokenUnused && tokens[n-1] == padName(n-1) {
		n-- // fills the embedding's rows up: no token of the tokenizer's
	}
	tokens, types = tokens[:n], types[:n]
	name := func(id int) any {
		if id >= 0 && id < len(tokens) {
			return tokens[id]
		}
		return nil
	}
	config := map[string]any{
		"bos_token": name(g.BOS), "eos_token": name(g.EOS), "unk_token": name(g.UNK), "pad_token": name(g.PAD),
		"add_bos_token": g.AddBOS, "add_eos_token": g.AddEOS, "clean_up_tokenization_spaces": false,
		"model_max_length": c.Config.MaxPositions,
	}
	config["added_tokens_decoder"] = addedTokensDecoder(tokens, types)
	c.writeTemplates(config)
	switch g.Model {
	case "llama":
		// GGUF's readers give every text between control tokens a "▁" of its own, unless the file says otherwise.
		config["tokenizer_class"], config["legacy"] = "LlamaTokenizer", !g.FirstOnly
		v := &rawVocab{tokens: tokens, types: types, scores: g.Scores[:min(n, len(g.Scores))], bos: g.BOS, eos: g.EOS, unk: g.UNK, pad: g.PAD, dummyPrefix: g.AddSpacePrefix, removeExtra: g.RemoveExtra, charsmap: g.Charsmap}
		if len(v.scores) != n {
			return nil, fmt.Errorf("%s: the vocabulary has no scores", c.Path)
		}
		out["tokenizer.model"] = v.sentencePieceModel()
		if !g.AddSpacePrefix {
			config["add_prefix_space"] = false // transformers 5 asks nothing else
		}
	case "gpt2":
		config["tokenizer_class"] = "PreTrainedTokenizerFast"
		data, err := byteLevelJSON(tokens, types, g.Merges, g.Pre, g.AddSpacePrefix)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
		}
		out["tokenizer.json"] = data
	default:
		return nil, fmt.Errorf("%s: a vocabulary of model %q can't become Hugging Face files", c.Path, g.Model)
	}
	data, err := indentJSON(config)
	if err != nil {
		return nil, err
	}
	out["tokenizer_config.json"] = data
	if fp, _ := c.GGUF.Get(keyFingerprint).(string); fp != "" {
		return out.WithFingerprint(fp)
	}
	return out, nil
}

// addedTokensDecoder lists the tokens that stand for themselves, as tokenizer_config.json does.
func addedTokensDecoder(tokens []string, types []int32) map[string]any {
	decoder := map[string]any{}
	for i, text := range tokens {
		if t := types[i]; t == tokenControl || t == tokenUserDefined || t == tokenUnknown {
			decoder[strconv.Itoa(i)] = map[string]any{"content": text, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false, "special": t != tokenUserDefined}
		}
	}
	return decoder
}

// writeTemplates adds the chat templates to a tokenizer_config.json.
func (c *Checkpoint) writeTemplates(config map[string]any) {
	switch {
	case len(c.ChatTemplates) > 0:
		var named []map[string]string
		if c.ChatTemplate != "" {
			named = append(named, map[string]string{"name": "default", "template": c.ChatTemplate})
		}
		for _, n := range sortedKeys(c.ChatTemplates) {
			named = append(named, map[string]string{"name": n, "template": c.ChatTemplates[n]})
		}
		config["chat_template"] = named
	case c.ChatTemplate != "":
		config["chat_template"] = c.ChatTemplate
	}
}
