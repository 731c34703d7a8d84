package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"leolm/internal/protobuf"
	"leolm/tokenizer"
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
	firstOnly     bool     // of tokenizer.json: only the beginning of the whole text gets a "▁"
	beyond        []string // tokens left out for want of rows
}

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

// hfTokenizer is the part of tokenizer.json that a vocabulary is made of.
type hfTokenizer struct {
	Added []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
		Special bool   `json:"special"`
	} `json:"added_tokens"`
	Normalizer   json.RawMessage `json:"normalizer"`
	PreTokenizer json.RawMessage `json:"pre_tokenizer"`
	Model        struct {
		Type         string            `json:"type"`
		Vocab        map[string]int    `json:"vocab"`
		Merges       []json.RawMessage `json:"merges"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
	} `json:"model"`
}

func tokenizerJSON(data []byte, size int) (*rawVocab, error) {
	var t hfTokenizer
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, err
	}
	if t.Model.Type != "BPE" {
		return nil, fmt.Errorf("a tokenizer of type %q; GGUF takes BPE", t.Model.Type)
	}
	for text, id := range t.Model.Vocab {
		if id < 0 || id >= size {
			return nil, fmt.Errorf("token %q has id %d, the model has %d rows", text, id, size)
		}
	}
	v := &rawVocab{bos: -1, eos: -1, unk: -1, pad: -1, tokens: make([]string, size), types: make([]int32, size), scores: make([]float32, size)}
	for i := range v.types {
		v.types[i] = tokenUnused
	}
	for text, id := range t.Model.Vocab {
		v.tokens[id], v.types[id] = text, tokenNormal
	}
	for _, m := range t.Model.Merges {
		var pair []string
		var line string
		switch {
		case json.Unmarshal(m, &line) == nil:
		case json.Unmarshal(m, &pair) == nil && len(pair) == 2:
			line = pair[0] + " " + pair[1]
		default:
			return nil, fmt.Errorf("merge %s is no pair", abbreviate(m))
		}
		v.merges = append(v.merges, line)
	}
	for _, a := range t.Added {
		if a.ID < 0 {
			return nil, fmt.Errorf("added token %q has id %d", a.Content, a.ID)
		}
		if a.ID >= size {
			v.beyond = append(v.beyond, a.Content)
			continue
		}
		v.tokens[a.ID], v.types[a.ID] = a.Content, tokenUserDefined
		if a.Special {
			v.types[a.ID] = tokenControl
		}
	}
	switch {
	case t.Model.ByteFallback:
		v.likeSentencePiece(&t)
	case bytes.Contains(t.PreTokenizer, []byte(`"ByteLevel"`)):
		pre, prefix, err := tokenizer.PreTokenizerByJSON(t.PreTokenizer, t.Model.IgnoreMerges)
		if err != nil {
			return nil, fmt.Errorf("its pre-tokenizer (%s): %w", abbreviate(t.PreTokenizer), err)
		}
		v.model, v.pre, v.dummyPrefix = "gpt2", pre.Names[0], prefix
	default:
		return nil, fmt.Errorf("neither byte fallback nor byte-level: GGUF has no such vocabulary")
	}
	return v, nil
}

var byteToken = regexp.MustCompile(`^<0x[0-9A-F]{2}>$`)

// likeSentencePiece makes a llama vocabulary of a tokenizer.json that was
// converted from a SentencePiece BPE model: the earlier a merge, the higher the
// score of what it makes.
func (v *rawVocab) likeSentencePiece(t *hfTokenizer) {
	v.model, v.pre = "llama", "default"
	norm, pre := string(t.Normalizer), string(t.PreTokenizer)
	v.dummyPrefix = strings.Contains(norm, `"Prepend"`) || strings.Contains(pre, `"Metaspace"`) && !strings.Contains(pre, `"never"`)
	v.firstOnly = strings.Contains(pre, `"Metaspace"`) && strings.Contains(pre, `"first"`)
	rank := make(map[string]int, len(v.merges))
	for i, m := range v.merges {
		l, r, _ := strings.Cut(m, " ")
		if _, ok := rank[l+r]; !ok {
			rank[l+r] = i
		}
	}
	v.merges = nil
	for i, text := range v.tokens {
		switch {
		case v.types[i] == tokenUnused:
		case byteToken.MatchString(text):
			v.types[i] = tokenByte
		case text == "<unk>":
			v.types[i], v.unk = tokenUnknown, i
		case v.types[i] == tokenNormal:
			v.scores[i] = -float32(len(rank)) - float32(i)
			if r, ok := rank[text]; ok {
				v.scores[i] = -float32(r)
			}
		}
	}
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
	if fp, err := f.Fingerprint(); err != nil {
		return nil, nil, err
	} else if fp != "" {
		kv = append(kv, KV{keyFingerprint, fp})
	}
	if names := f.flagged(); len(names) > 0 {
		notes = append(notes, fmt.Sprintf("GGUF has no entry for what the tokenizer says of %s: that it takes the blanks beside it (lstrip, rstrip), stands for whole words only "+
			"(single_word) or is looked for in normalized text. Texts with blanks or letters beside it get other ids.", strings.Join(names, ", ")))
	}
	templates, err := f.templates()
	return append(kv, templates...), notes, err
}

// flagged lists the added tokens with flags that GGUF can't hold.
func (f TokenizerFiles) flagged() []string {
	type flags struct {
		Content    string `json:"content"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		SingleWord bool   `json:"single_word"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	}
	var whole struct {
		Added []flags `json:"added_tokens"`
	}
	var config struct {
		Decoder map[string]flags `json:"added_tokens_decoder"`
	}
	if f[fileTokenizerJSON] != nil && json.Unmarshal(f[fileTokenizerJSON], &whole) != nil || json.Unmarshal(f.object(fileConfig), &config) != nil {
		return nil // read and reported elsewhere
	}
	list := whole.Added
	if f[fileTokenizerJSON] == nil {
		for _, key := range sortedKeys(config.Decoder) {
			list = append(list, config.Decoder[key])
		}
	}
	var names []string
	for _, a := range list {
		if a.LStrip || a.RStrip || a.SingleWord || a.Normalized && !a.Special {
			names = append(names, a.Content)
		}
	}
	return names
}

// listed writes names for a sentence.
func listed(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("token %q is", names[0])
	}
	return fmt.Sprintf("%d tokens from %q to %q are", len(names), names[0], names[len(names)-1])
}

// specialIDs are the entries that name single tokens and say which of them texts get.
func (v *rawVocab) specialIDs(cfg *Config, special specialTokens) []KV {
	var kv []KV
	find := func(text string, otherwise int) int {
		if i := slices.Index(v.tokens, text); text != "" && i >= 0 {
			return i
		}
		return otherwise
	}
	stop := -1 // the token that ends a turn, if there is one
	for _, e := range endOfTurn {
		if i := slices.Index(v.tokens, e); i >= 0 && stop < 0 {
			stop = i
		}
	}
	bos, eos := cfg.BOS, -1
	if len(cfg.EOS) > 0 {
		eos = cfg.EOS[0]
	}
	eos = find(special.eos, eos)
	// LeoLM calls the opening of a turn its beginning of sequence; it must not open the prompt twice.
	turn := special.bos == ChatMarkers[0]
	if !turn {
		bos = find(special.bos, bos)
	}
	pad := cfg.PAD
	if pad < 0 {
		pad = find(special.pad, -1)
	}
	for _, e := range []struct {
		key string
		id  int
	}{{"bos", bos}, {"eos", eos}, {"unknown", v.unk}, {"padding", pad}} {
		if e.id >= 0 && e.id < len(v.tokens) {
			kv = append(kv, KV{"tokenizer.ggml." + e.key + "_token_id", uint32(e.id)})
		}
	}
	if stop >= 0 && stop != eos {
		kv = append(kv, KV{"tokenizer.ggml.eot_token_id", uint32(stop)})
	}
	addBOS := v.model == "llama"
	if special.addBOS != nil {
		addBOS = *special.addBOS
	}
	kv = append(kv, KV{"tokenizer.ggml.add_bos_token", addBOS && !turn})
	if special.addEOS != nil {
		kv = append(kv, KV{"tokenizer.ggml.add_eos_token", *special.addEOS})
	}
	return kv
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
		return nil, "", fmt.Errorf("neither tokenizer.model nor tokenizer.json: the model has no tokenizer")
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

// specialTokens are what the configuration files say of a tokenizer.
type specialTokens struct {
	bos, eos, pad  string
	addBOS, addEOS *bool
	legacy         *bool
	noPrefix       bool // text gets no space in front, whatever the vocabulary's own file says
}

// addTokens adds the tokens of added_tokens.json and tokenizer_config.json and
// gives rows without a token a name of their own.
func (f TokenizerFiles) addTokens(v *rawVocab) (specialTokens, error) {
	var s specialTokens
	control := map[string]bool{}
	set := func(id int, text string, special bool) error {
		if id < 0 {
			return fmt.Errorf("added token %q has id %d", text, id)
		}
		if id >= len(v.tokens) {
			if !slices.Contains(v.beyond, text) {
				v.beyond = append(v.beyond, text)
			}
			return nil
		}
		if v.types[id] == tokenByte || v.types[id] == tokenUnknown || v.tokens[id] == text && v.types[id] == tokenControl {
			return nil
		}
		v.tokens[id], v.types[id] = text, tokenUserDefined
		if special || control[text] || strings.HasPrefix(text, "<|") && strings.HasSuffix(text, "|>") {
			v.types[id] = tokenControl
		}
		return nil
	}
	for _, file := range []string{fileSpecialMap, fileConfig} {
		data := f[file]
		if data == nil {
			continue
		}
		o, err := parseObject(data)
		if err != nil {
			return s, fmt.Errorf("%s: %w", file, err)
		}
		for _, key := range []string{"bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token"} {
			if t := tokenText(o, key); t != "" {
				control[t] = true
			}
		}
		if t := tokenText(o, "bos_token"); t != "" {
			s.bos = t
		}
		if t := tokenText(o, "eos_token"); t != "" {
			s.eos = t
		}
		if t := tokenText(o, "pad_token"); t != "" {
			s.pad = t
		}
		for key, dst := range map[string]**bool{"add_bos_token": &s.addBOS, "add_eos_token": &s.addEOS, "legacy": &s.legacy} {
			if o.has(key) {
				b := o.bool(key)
				*dst = &b
			}
		}
		// As in Hugging Face's class for Llama; others take what tokenizer.json says.
		if class := o.string("tokenizer_class"); o.has("add_prefix_space") && (class == "" || strings.Contains(class, "Llama")) {
			s.noPrefix = !o.bool("add_prefix_space")
		}
		var decoder map[string]struct {
			Content string `json:"content"`
			Special bool   `json:"special"`
		}
		o.get("added_tokens_decoder", "a map of ids", &decoder)
		if o.err != nil {
			return s, fmt.Errorf("%s: %w", file, o.err)
		}
		for _, key := range sortedKeys(decoder) {
			id, err := strconv.Atoi(key)
			if err != nil {
				return s, fmt.Errorf("%s: id %q is no number", file, key)
			}
			if err := set(id, decoder[key].Content, decoder[key].Special); err != nil {
				return s, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	if data := f[fileAddedTokens]; data != nil {
		ids := map[string][]int{}
		if err := addedTokens(data, ids); err != nil {
			return s, fmt.Errorf("added_tokens.json: %w", err)
		}
		for _, text := range sortedKeys(ids) {
			list := ids[text]
			slices.Sort(list)
			for i, id := range slices.Compact(list) {
				name := text
				if text == "<EOD>" && len(list) > 1 && i == 0 {
					name = "<SEP>" // LeoLM's 70B, see Notes
				}
				if err := set(id, name, false); err != nil {
					return s, fmt.Errorf("added_tokens.json: %w", err)
				}
			}
		}
	}
	for i, text := range v.tokens {
		if text == "" {
			v.tokens[i], v.types[i] = padName(i), tokenUnused
		}
	}
	return s, nil
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
	decoder := map[string]any{}
	for i, text := range tokens {
		if t := types[i]; t == tokenControl || t == tokenUserDefined || t == tokenUnknown {
			decoder[strconv.Itoa(i)] = map[string]any{"content": text, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false, "special": t != tokenUserDefined}
		}
	}
	config["added_tokens_decoder"] = decoder
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

// byteLevelJSON writes the tokenizer.json of a byte-level vocabulary.
func byteLevelJSON(tokens []string, types []int32, merges []string, pre string, prefix bool) ([]byte, error) {
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true}
	rule, err := tokenizer.PreTokenizerByName(pre)
	if err != nil {
		return nil, err
	}
	if prefix {
		if rule, err = rule.WithPrefix(); err != nil {
			return nil, err
		}
	}
	vocab := make(map[string]int, len(tokens))
	var added []any
	for i, text := range tokens {
		if t := types[i]; t == tokenControl || t == tokenUserDefined || t == tokenUnknown {
			added = append(added, map[string]any{"id": i, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": t != tokenUserDefined})
		}
		if _, dup := vocab[text]; dup {
			return nil, fmt.Errorf("two tokens are called %q", text)
		}
		vocab[text] = i
	}
	pairs := make([][2]string, len(merges))
	for i, m := range merges {
		l, r, ok := strings.Cut(m, " ")
		if !ok {
			return nil, fmt.Errorf("merge %d (%q) is no pair", i, m)
		}
		pairs[i] = [2]string{l, r}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err = e.Encode(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "pre_tokenizer": rule.JSON, "post_processor": nil,
		"decoder": byteLevel,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": rule.IgnoreMerges, "vocab": vocab, "merges": pairs},
	})
	return b.Bytes(), err
}
