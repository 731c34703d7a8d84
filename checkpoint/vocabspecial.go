package checkpoint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
	for _, file := range []string{fileSpecialMap, fileConfig} {
		if f[file] == nil {
			continue
		}
		if err := s.read(f[file], v, control); err != nil {
			return s, fmt.Errorf("%s: %w", file, err)
		}
	}
	if data := f[fileAddedTokens]; data != nil {
		if err := v.addListed(data, control); err != nil {
			return s, fmt.Errorf("added_tokens.json: %w", err)
		}
	}
	for i, text := range v.tokens {
		if text == "" {
			v.tokens[i], v.types[i] = padName(i), tokenUnused
		}
	}
	return s, nil
}

// read takes what a special_tokens_map.json or tokenizer_config.json says. Tokens that it names for a purpose are
// control tokens.
func (s *specialTokens) read(data []byte, v *rawVocab, control map[string]bool) error {
	o, err := parseObject(data)
	if err != nil {
		return err
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
		return o.err
	}
	for _, key := range sortedKeys(decoder) {
		id, err := strconv.Atoi(key)
		if err != nil {
			return fmt.Errorf("id %q is no number", key)
		}
		if v.decoded == nil {
			v.decoded = map[string]bool{}
		}
		v.decoded[decoder[key].Content] = true
		if err := v.add(id, decoder[key].Content, decoder[key].Special || control[decoder[key].Content]); err != nil {
			return err
		}
	}
	return nil
}

// addListed adds the tokens of an added_tokens.json.
func (v *rawVocab) addListed(data []byte, control map[string]bool) error {
	ids := map[string][]int{}
	if err := addedTokens(data, ids); err != nil {
		return err
	}
	for _, text := range sortedKeys(ids) {
		if v.decoded[text] {
			continue // tokenizer_config.json says which id counts
		}
		list := ids[text]
		slices.Sort(list)
		for i, id := range slices.Compact(list) {
			name := text
			if text == "<EOD>" && len(list) > 1 && i == 0 {
				name = "<SEP>" // LeoLM's 70B, see Notes
			}
			if err := v.add(id, name, control[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// add gives a row its token, unless it has one that says more. Rows that are not there are noted as beyond.
func (v *rawVocab) add(id int, text string, special bool) error {
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
	if special || strings.HasPrefix(text, "<|") && strings.HasSuffix(text, "|>") {
		v.types[id] = tokenControl
	}
	return nil
}
