package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// readTokenizerFiles takes the chat template and the special tokens' ids from
// the files beside config.json.
func (c *Checkpoint) readTokenizerFiles(dir string) error {
	files, err := tokenizerFolder(dir)
	if err != nil {
		return err
	}
	t := namedTokens{ids: map[string][]int{}}
	if err := files.parse(dir, fileConfig, t.readConfig); err != nil {
		return err
	}
	if err := c.readTemplates(files); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if c.TokenizerFingerprint, err = files.Fingerprint(); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := files.parse(dir, fileSpecialMap, t.readSpecialMap); err != nil {
		return err
	}
	if err := files.parse(dir, fileAddedTokens, func(data []byte) error { return t.readAdded(data, c.note) }); err != nil {
		return err
	}
	if len(t.ids) == 0 {
		if err := files.parse(dir, fileTokenizerJSON, t.readTokenizerJSON); err != nil {
			return err
		}
	}
	for text := range t.ids {
		sort.Ints(t.ids[text])
		t.ids[text] = slices.Compact(t.ids[text])
	}
	c.takeSpecial(&t)
	return nil
}

// parse hands one of the files to read, if it is there; an error names the file in dir.
func (f TokenizerFiles) parse(dir, name string, read func([]byte) error) error {
	data, ok := f[name]
	if !ok {
		return nil
	}
	if err := read(data); err != nil {
		return jsonError(filepath.Join(dir, name), data, err)
	}
	return nil
}

// namedTokens are the added tokens that the tokenizer files of a folder name.
type namedTokens struct {
	ids      map[string][]int // of a token's text
	bos, eos string
}

func (t *namedTokens) readConfig(data []byte) error {
	o, err := parseObject(data)
	if err != nil {
		return err
	}
	var added map[string]struct {
		Content string `json:"content"`
	}
	o.get("added_tokens_decoder", "a map of ids", &added)
	for key, a := range added {
		if id, err := strconv.Atoi(key); err == nil {
			t.ids[a.Content] = append(t.ids[a.Content], id)
		}
	}
	t.bos, t.eos = tokenText(o, "bos_token"), tokenText(o, "eos_token")
	return o.err
}

// readSpecialMap takes what tokenizer_config.json leaves open.
func (t *namedTokens) readSpecialMap(data []byte) error {
	o, err := parseObject(data)
	if err != nil {
		return err
	}
	t.bos = cmp.Or(t.bos, tokenText(o, "bos_token"))
	t.eos = cmp.Or(t.eos, tokenText(o, "eos_token"))
	return nil
}

// readAdded reads added_tokens.json. What tokenizer_config.json names has the id that it says, as transformers reads it.
func (t *namedTokens) readAdded(data []byte, note func(format string, args ...any)) error {
	more := map[string][]int{}
	if err := addedTokens(data, more); err != nil {
		return err
	}
	for _, text := range sortedKeys(more) {
		list := more[text]
		if _, known := t.ids[text]; !known {
			t.ids[text] = list
		} else if !slices.Equal(t.ids[text], slices.Compact(slices.Sorted(slices.Values(list)))) {
			note("%s gives %q the ids %v, tokenizer_config.json %v: the second counts.", fileAddedTokens, text, list, t.ids[text])
		}
	}
	return nil
}

func (t *namedTokens) readTokenizerJSON(data []byte) error {
	var file struct {
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	for _, a := range file.Added {
		t.ids[a.Content] = append(t.ids[a.Content], a.ID)
	}
	return nil
}

// takeSpecial lets the ends of a turn that the tokenizer names stop an answer too, and reports what is LeoLM's own.
func (c *Checkpoint) takeSpecial(t *namedTokens) {
	if n := len(t.ids["<EOD>"]); n > 1 {
		c.note("The tokenizer files name <EOD> %d times (ids %v): the first stands where LeoLM's <SEP> belongs.", n, t.ids["<EOD>"])
	}
	stops := endOfTurn
	if t.eos != "" {
		stops = append([]string{t.eos}, stops...)
	}
	for _, s := range stops {
		for _, id := range t.ids[s] {
			before := c.StopIDs()
			if slices.Contains(before, id) {
				continue
			}
			c.Config.EOS = addIDs(c.Config.EOS, id)
			c.note("config.json's end of sequence %v is not the end of a turn: %s (%d) stops an answer too.", before, s, id)
		}
	}
	if t.bos == "<|im_start|>" {
		c.note("The tokenizer calls <|im_start|> its beginning of sequence: it opens turns and is never put before a whole prompt.")
	}
}

// tokenText reads a special token that is a text or an object with "content".
func tokenText(o *jsonObject, key string) string {
	if !o.has(key) {
		return ""
	}
	var s string
	if json.Unmarshal(o.m[key], &s) == nil {
		return s
	}
	var t struct {
		Content string `json:"content"`
	}
	o.get(key, "a text or a token", &t)
	return t.Content
}

// addedTokens reads added_tokens.json, in which LeoLM's 70B names one key twice.
func addedTokens(data []byte, ids map[string][]int) error {
	if !json.Valid(data) {
		return json.Unmarshal(data, new(map[string]int)) // says where
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("not a JSON object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var id int
		if err := dec.Decode(&id); err != nil {
			return err
		}
		if text, ok := key.(string); ok {
			ids[text] = append(ids[text], id)
		}
	}
	_, err = dec.Token()
	return err
}

func (c *Checkpoint) addTemplate(name, text string) {
	if name == "default" {
		c.ChatTemplate = text
		return
	}
	if c.ChatTemplates == nil {
		c.ChatTemplates = map[string]string{}
	}
	c.ChatTemplates[name] = text
}

// moreTemplates is the folder of further templates beside chat_template.jinja.
const moreTemplates = "additional_chat_templates"

// readTemplates reads the chat templates: those of tokenizer_config.json, then chat_template.jinja and
// additional_chat_templates/NAME.jinja, which outrank them.
func (c *Checkpoint) readTemplates(f TokenizerFiles) error {
	o, err := parseObject(f.object(fileConfig))
	if err != nil {
		return jsonError(fileConfig, f[fileConfig], err)
	}
	if o.has("chat_template") && bytes.HasPrefix(bytes.TrimSpace(o.m["chat_template"]), []byte("[")) {
		var named []struct{ Name, Template string }
		o.get("chat_template", "a list of named templates", &named)
		for _, t := range named {
			c.addTemplate(t.Name, t.Template)
		}
	} else {
		c.ChatTemplate = o.string("chat_template")
	}
	if o.err != nil {
		return jsonError(fileConfig, f[fileConfig], o.err)
	}
	if t := f[fileChatTemplate]; t != nil {
		c.ChatTemplate = string(t)
	}
	for _, name := range sortedKeys(f) {
		if base, ok := strings.CutPrefix(name, moreTemplates+"/"); ok {
			c.addTemplate(strings.TrimSuffix(base, ".jinja"), string(f[name]))
		}
	}
	return nil
}
