package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
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
}

// pbFields walks the fields of a protocol buffer message: field number, and
// either a number (varint and fixed32) or bytes.
func pbFields(b []byte, field func(number int, value uint64, data []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return fmt.Errorf("damaged at a field's tag")
		}
		b = b[n:]
		var value uint64
		var data []byte
		switch tag & 7 {
		case 0:
			if value, n = binary.Uvarint(b); n <= 0 {
				return fmt.Errorf("damaged at a number")
			}
		case 1:
			if n = 8; len(b) < n {
				return fmt.Errorf("truncated")
			}
			value = binary.LittleEndian.Uint64(b)
		case 2:
			size, m := binary.Uvarint(b)
			if m <= 0 || size > uint64(len(b)-m) {
				return fmt.Errorf("truncated: a field of %d bytes where %d are left", size, len(b))
			}
			data = b[m : m+int(size)]
			n = m + int(size)
		case 5:
			if n = 4; len(b) < n {
				return fmt.Errorf("truncated")
			}
			value = uint64(binary.LittleEndian.Uint32(b))
		default:
			return fmt.Errorf("damaged: wire type %d", tag&7)
		}
		if err := field(int(tag>>3), value, data); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// sentencePiece reads a tokenizer.model (sentencepiece_model.proto).
func sentencePiece(data []byte) (*rawVocab, error) {
	v := &rawVocab{model: "llama", pre: "default", bos: 1, eos: 2, unk: 0, pad: -1, dummyPrefix: true, removeExtra: true}
	modelType := uint64(1)
	err := pbFields(data, func(number int, _ uint64, data []byte) error {
		switch number {
		case 1: // pieces
			text, score, typ := "", float32(0), uint64(tokenNormal)
			err := pbFields(data, func(number int, value uint64, data []byte) error {
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
			return pbFields(data, func(number int, value uint64, _ []byte) error {
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
			return pbFields(data, func(number int, value uint64, data []byte) error {
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

// appendField appends a length-delimited protocol buffer field.
func appendField(b []byte, number int, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

func appendNumber(b []byte, number int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(number)<<3), value)
}

// sentencePieceModel writes a tokenizer.model.
func (v *rawVocab) sentencePieceModel() []byte {
	var out []byte
	fallback := false
	for i, text := range v.tokens {
		p := appendField(nil, 1, []byte(text))
		p = append(binary.AppendUvarint(p, 2<<3|5), 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(p[len(p)-4:], math.Float32bits(v.scores[i]))
		if v.types[i] != tokenNormal {
			p = appendNumber(p, 3, uint64(v.types[i]))
		}
		fallback = fallback || v.types[i] == tokenByte
		out = appendField(out, 1, p)
	}
	flag := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	spec := appendNumber(nil, 3, 2) // BPE
	spec = appendNumber(spec, 4, uint64(len(v.tokens)))
	spec = appendNumber(spec, 35, flag(fallback))
	for i, id := range []int{v.unk, v.bos, v.eos, v.pad} {
		spec = appendNumber(spec, 40+i, uint64(int64(id)))
	}
	out = appendField(out, 2, spec)
	norm := appendField(nil, 1, []byte("identity"))
	norm = appendField(norm, 2, v.charsmap)
	norm = appendNumber(norm, 3, flag(v.dummyPrefix))
	norm = appendNumber(norm, 4, flag(v.removeExtra))
	norm = appendNumber(norm, 5, 1)
	return appendField(out, 3, norm)
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
	} `json:"model"`
}

// preTokenizers are the splitting rules that GGUF has names for, by a part of
// tokenizer.json that only they contain.
var preTokenizers = []struct{ part, name string }{
	{`|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|`, "llama-bpe"},
	{`|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|`, "qwen2"},
	{`"Digits"`, "smollm"},
}

const gpt2Rule = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

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
		if a.ID < 0 || a.ID >= size {
			return nil, fmt.Errorf("added token %q has id %d, the model has %d rows", a.Content, a.ID, size)
		}
		v.tokens[a.ID], v.types[a.ID] = a.Content, tokenUserDefined
		if a.Special {
			v.types[a.ID] = tokenControl
		}
	}
	pre := unescape(t.PreTokenizer)
	switch {
	case t.Model.ByteFallback:
		v.likeSentencePiece(&t)
	case strings.Contains(pre, `"ByteLevel"`):
		v.model = "gpt2"
		for _, p := range preTokenizers {
			if strings.Contains(pre, p.part) {
				v.pre = p.name
				break
			}
		}
		if v.pre == "" && (!strings.Contains(pre, `"Split"`) || strings.Contains(pre, gpt2Rule)) {
			v.pre = "gpt-2"
		}
		if v.pre == "" {
			return nil, fmt.Errorf("its pre-tokenizer has no name in GGUF: %s", abbreviate(t.PreTokenizer))
		}
	default:
		return nil, fmt.Errorf("neither byte fallback nor byte-level: GGUF has no such vocabulary")
	}
	return v, nil
}

// unescape undoes JSON's escapes well enough to search in it.
func unescape(b []byte) string { return strings.ReplaceAll(string(b), `\\`, `\`) }

var byteToken = regexp.MustCompile(`^<0x[0-9A-F]{2}>$`)

// likeSentencePiece makes a llama vocabulary of a tokenizer.json that was
// converted from a SentencePiece BPE model: the earlier a merge, the higher the
// score of what it makes.
func (v *rawVocab) likeSentencePiece(t *hfTokenizer) {
	v.model, v.pre = "llama", "default"
	norm, pre := string(t.Normalizer), string(t.PreTokenizer)
	v.dummyPrefix = strings.Contains(norm, `"Prepend"`) || strings.Contains(pre, `"Metaspace"`) && !strings.Contains(pre, `"never"`)
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
// tokenizer.json or already GGUF's own.
func (c *Checkpoint) TokenizerMetadata() ([]KV, error) {
	if c.GGUF != nil {
		var kv []KV
		for _, e := range c.GGUF.KV {
			if strings.HasPrefix(e.Key, "tokenizer.") {
				kv = append(kv, e)
			}
		}
		return kv, nil
	}
	v, file, err := c.readVocab()
	if err != nil {
		return nil, &FormatError{File: file, Offset: -1, Err: err}
	}
	special, err := c.addTokens(v)
	if err != nil {
		return nil, &FormatError{File: file, Offset: -1, Err: err}
	}
	kv := []KV{{"tokenizer.ggml.model", v.model}, {"tokenizer.ggml.pre", v.pre}, {"tokenizer.ggml.tokens", v.tokens}}
	if v.model == "llama" {
		kv = append(kv, KV{"tokenizer.ggml.scores", v.scores})
	}
	kv = append(kv, KV{"tokenizer.ggml.token_type", v.types})
	if v.merges != nil {
		kv = append(kv, KV{"tokenizer.ggml.merges", v.merges})
	}
	id := func(key string, n int) {
		if n >= 0 && n < len(v.tokens) {
			kv = append(kv, KV{"tokenizer.ggml." + key + "_token_id", uint32(n)})
		}
	}
	stop := -1 // the token that ends a turn, if there is one
	for _, e := range endOfTurn {
		if i := slices.Index(v.tokens, e); i >= 0 && stop < 0 {
			stop = i
		}
	}
	bos, eos := c.Config.BOS, -1
	if len(c.Config.EOS) > 0 {
		eos = c.Config.EOS[0]
	}
	if special.eos != "" {
		if i := slices.Index(v.tokens, special.eos); i >= 0 {
			eos = i
		}
	}
	if special.bos != "" && special.bos != "<|im_start|>" {
		if i := slices.Index(v.tokens, special.bos); i >= 0 {
			bos = i
		}
	}
	id("bos", bos)
	id("eos", eos)
	id("unknown", v.unk)
	id("padding", c.Config.PAD)
	if stop >= 0 && stop != eos {
		id("eot", stop)
	}
	addBOS := v.model == "llama"
	if special.addBOS != nil {
		addBOS = *special.addBOS
	}
	if special.bos == "<|im_start|>" {
		// LeoLM names the opening of a turn so; it must not open the prompt twice.
		addBOS = false
	}
	kv = append(kv, KV{"tokenizer.ggml.add_bos_token", addBOS})
	if special.addEOS != nil {
		kv = append(kv, KV{"tokenizer.ggml.add_eos_token", *special.addEOS})
	}
	kv = append(kv, KV{"tokenizer.ggml.add_space_prefix", v.dummyPrefix})
	if len(v.charsmap) > 0 {
		kv = append(kv, KV{"tokenizer.ggml.precompiled_charsmap", v.charsmap})
	}
	if c.ChatTemplate != "" {
		kv = append(kv, KV{"tokenizer.chat_template", c.ChatTemplate})
	}
	for _, name := range sortedKeys(c.ChatTemplates) {
		kv = append(kv, KV{"tokenizer.chat_template." + name, c.ChatTemplates[name]})
	}
	return kv, nil
}

// readVocab reads the folder's tokenizer.model, else its tokenizer.json.
func (c *Checkpoint) readVocab() (*rawVocab, string, error) {
	size := c.Config.VocabSize
	file := filepath.Join(c.TokenizerDir, "tokenizer.model")
	data, err := readOptional(file)
	if err != nil {
		return nil, file, err
	}
	if data != nil {
		v, err := sentencePiece(data)
		if err != nil {
			return nil, file, err
		}
		if len(v.tokens) > size {
			return nil, file, fmt.Errorf("%d pieces for the model's %d rows", len(v.tokens), size)
		}
		for len(v.tokens) < size {
			v.tokens, v.scores, v.types = append(v.tokens, ""), append(v.scores, 0), append(v.types, tokenUnused)
		}
		return v, file, nil
	}
	file = filepath.Join(c.TokenizerDir, "tokenizer.json")
	if data, err = readOptional(file); err != nil {
		return nil, file, err
	}
	if data == nil {
		return nil, c.TokenizerDir, fmt.Errorf("neither tokenizer.model nor tokenizer.json: the model has no tokenizer")
	}
	v, err := tokenizerJSON(data, size)
	return v, file, err
}

// specialTokens are what the configuration files say of a tokenizer.
type specialTokens struct {
	bos, eos       string
	addBOS, addEOS *bool
}

// addTokens adds the tokens of added_tokens.json and tokenizer_config.json and
// gives rows without a token a name of their own.
func (c *Checkpoint) addTokens(v *rawVocab) (specialTokens, error) {
	var s specialTokens
	control := map[string]bool{}
	set := func(id int, text string, special bool) error {
		if id < 0 || id >= len(v.tokens) {
			return fmt.Errorf("added token %q has id %d, the model has %d rows", text, id, len(v.tokens))
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
	for _, file := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		data, err := readOptional(filepath.Join(c.TokenizerDir, file))
		if err != nil {
			return s, err
		}
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
		for key, dst := range map[string]**bool{"add_bos_token": &s.addBOS, "add_eos_token": &s.addEOS} {
			if o.has(key) {
				b := o.bool(key)
				*dst = &b
			}
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
	data, err := readOptional(filepath.Join(c.TokenizerDir, "added_tokens.json"))
	if err != nil {
		return s, err
	}
	if data != nil {
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
			v.tokens[i], v.types[i] = fmt.Sprintf("[PAD%d]", i), tokenUnused
		}
	}
	return s, nil
}

// TokenizerFiles returns the tokenizer files of a Hugging Face folder for the
// checkpoint's vocabulary: copies for a folder, conversions for GGUF.
func (c *Checkpoint) TokenizerFiles() (map[string][]byte, error) {
	out := map[string][]byte{}
	if c.GGUF == nil {
		for _, name := range []string{"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"} {
			data, err := readOptional(filepath.Join(c.TokenizerDir, name))
			if err != nil {
				return nil, err
			}
			if data != nil {
				out[name] = data
			}
		}
		more, err := filepath.Glob(filepath.Join(c.TokenizerDir, moreTemplates, "*.jinja"))
		if err != nil {
			more = nil // the folder's own name holds a bad pattern; reading found none there either
		}
		for _, path := range more {
			data, err := readSmall(path, maxJSON)
			if err != nil {
				return nil, err
			}
			out[moreTemplates+"/"+filepath.Base(path)] = data
		}
		return out, nil
	}
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
		config["tokenizer_class"], config["legacy"] = "LlamaTokenizer", false
		v := &rawVocab{tokens: tokens, types: types, scores: g.Scores, bos: g.BOS, eos: g.EOS, unk: g.UNK, pad: g.PAD, dummyPrefix: g.AddSpacePrefix, removeExtra: g.RemoveExtra, charsmap: g.Charsmap}
		if v.scores == nil {
			return nil, fmt.Errorf("%s: the vocabulary has no scores", c.Path)
		}
		out["tokenizer.model"] = v.sentencePieceModel()
	case "gpt2":
		config["tokenizer_class"] = "PreTrainedTokenizerFast"
		data, err := byteLevelJSON(tokens, types, g.Merges, g.Pre)
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
	return out, nil
}

// byteLevelJSON writes the tokenizer.json of a byte-level vocabulary.
func byteLevelJSON(tokens []string, types []int32, merges []string, pre string) ([]byte, error) {
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	plain := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	split := func(rule string) map[string]any {
		return map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": rule}, "behavior": "Isolated", "invert": false}, plain}}
	}
	var preTokenizer any
	ignoreMerges := false
	switch pre {
	case "", "default", "gpt-2":
		preTokenizer = byteLevel
	case "smollm", "starcoder", "refact", "command-r":
		preTokenizer = map[string]any{"type": "Sequence", "pretokenizers": []any{map[string]any{"type": "Digits", "individual_digits": true}, byteLevel}}
	case "llama-bpe", "llama3", "llama-v3":
		ignoreMerges = true
		preTokenizer = split(`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)
	case "qwen2":
		preTokenizer = split(`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)
	default:
		return nil, fmt.Errorf("the pre-tokenizer %q has no known form in tokenizer.json", pre)
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
	err := e.Encode(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "pre_tokenizer": preTokenizer, "post_processor": nil,
		"decoder": byteLevel,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": ignoreMerges, "vocab": vocab, "merges": pairs},
	})
	return b.Bytes(), err
}
