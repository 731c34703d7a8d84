package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"leolm/chat"
	"leolm/converse"
	"leolm/internal/durable"
	"leolm/open"
	"leolm/sample"
)

// settable are the sampling flags that /set knows. The others are lists and can only be given at the start.
var settable = []string{
	"temperature", "top-k", "top-p", "min-p", "typical-p", "repetition-penalty", "presence-penalty", "frequency-penalty", "penalty-window",
	"dry-multiplier", "no-repeat-ngram", "mirostat-tau", "seed", "max-new-tokens", "min-new-tokens", "stop", "preset",
}

// setAliases maps names that other programs use.
var setAliases = map[string]string{
	"num-predict": "max-new-tokens", "n-predict": "max-new-tokens", "repeat-penalty": "repetition-penalty", "repeat-last-n": "penalty-window", "temp": "temperature",
}

const setHelp = `
/set NAME VALUE        one of the above, such as /set temperature 0.2
/set system TEXT       the system message
/set history, /set nohistory
/set wordwrap, /set nowordwrap
/set format json, /set noformat
/set verbose, /set quiet`

// set changes the settings of later answers. The word "parameter" before a name, as in ollama, is ignored.
func (t *terminal) set(arg string) error {
	name, value, _ := strings.Cut(arg, " ")
	if name == "parameter" || name == "parameters" {
		name, value, _ = strings.Cut(strings.TrimSpace(value), " ")
	}
	value = strings.TrimSpace(value)
	switch name {
	case "":
		return t.showSettings()
	case "system":
		t.system(unquotedValue(value))
		return nil
	case "history", "nohistory":
		t.history.off = name == "nohistory"
		return nil
	case "wordwrap", "nowordwrap":
		t.f.wrap = name == "wordwrap"
		return nil
	case "verbose", "quiet":
		t.f.stats = name == "verbose"
		return nil
	case "format", "noformat":
		return t.setFormat(name == "format", value)
	}
	name = strings.ReplaceAll(strings.TrimLeft(name, "-"), "_", "-")
	if own, ok := setAliases[name]; ok {
		name = own
	}
	switch {
	case name == "num-ctx" || name == "context":
		return errors.New("the size of the context is fixed at the start: leave, and start again with --context")
	case !slices.Contains(settable, name):
		return fmt.Errorf("unknown setting %s%s; /set lists them", name, didYouMean(name, "", settable))
	case value == "":
		return fmt.Errorf("name a value: /set %s VALUE", name)
	}
	return t.setFlag(name, unquotedValue(value))
}

// setFlag sets a sampling flag as the command line would.
func (t *terminal) setFlag(name, value string) error {
	flag := t.f.cmd.Flags().Lookup(name)
	before, changed := t.f.samplingFlags, flag.Changed
	err := t.f.setSampling(name, value)
	if err == nil {
		var p sample.Preset
		if p, err = t.f.resolve(t.l.Sampling); err == nil {
			t.req = t.f.request(&p)
			return nil
		}
	}
	t.f.samplingFlags, flag.Changed = before, changed
	return err
}

// setSampling sets a flag; a new stop replaces all earlier ones.
func (f *samplingFlags) setSampling(name, value string) error {
	if name == "stop" {
		f.stops = []string{value}
		return nil
	}
	return f.cmd.Flags().Set(name, value)
}

func (t *terminal) setFormat(on bool, value string) error {
	if on && value != "json" {
		return fmt.Errorf("json is the only format")
	}
	f := constraintFlags{json: on}
	c, err := f.build(context.Background(), t.l.Tokenizer, t.l.StopIDs) // without a file, nothing to cancel
	if err == nil {
		t.f.constraintFlags, t.constraint = f, c
	}
	return err
}

func (t *terminal) showSettings() error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	p := &t.req.Params
	rows := []struct {
		name  string
		value any
	}{
		{"temperature", p.Temperature}, {"top-k", p.TopK}, {"top-p", p.TopP}, {"min-p", p.MinP}, {"typical-p", p.TypicalP},
		{"repetition-penalty", p.RepetitionPenalty}, {"presence-penalty", p.PresencePenalty}, {"frequency-penalty", p.FrequencyPenalty}, {"penalty-window", p.PenaltyWindow},
		{"dry-multiplier", p.DRY.Multiplier}, {"no-repeat-ngram", p.NoRepeatNGram}, {"mirostat-tau", p.MirostatTau}, {"seed", p.Seed},
		{"max-new-tokens", t.req.MaxNewTokens}, {"min-new-tokens", p.MinNewTokens}, {"stop", fmt.Sprintf("%q", t.req.Stops)},
		{"preset", t.f.preset},
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%v\n", r.name, r.value)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(t.out, setHelp)
	return err
}

// unquotedValue removes the quotation marks that other programs want around values.
func unquotedValue(s string) string {
	for _, q := range []string{block, `"`} {
		if len(s) >= 2*len(q) && strings.HasPrefix(s, q) && strings.HasSuffix(s, q) {
			return s[len(q) : len(s)-len(q)]
		}
	}
	return s
}

// homePath expands a leading ~, which no shell has done here.
func homePath(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// conversationFile is what /save writes.
type conversationFile struct {
	Model    string         `json:"model"`
	Messages []chat.Message `json:"messages"`
}

// save writes the conversation as JSON.
func (t *terminal) save(path string) error {
	if path == "" {
		return errors.New("name a file: /save FILE")
	}
	var b bytes.Buffer
	if err := printJSON(&b, conversationFile{t.l.Name, t.c.Messages}); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	return durable.WriteFile(path, b.Bytes())
}

// load continues the conversation in a file that /save wrote, or switches to another model.
func (t *terminal) load(ctx context.Context, arg string) error {
	if arg == "" {
		return errors.New("name a file that /save wrote, or a model: /load FILE")
	}
	saved, err := readConversation(arg)
	if errors.Is(err, errNoConversation) {
		return t.loadModel(ctx, arg)
	}
	if err != nil {
		return err
	}
	t.c.Messages = saved.Messages
	fmt.Fprintf(t.out, "%d messages of a conversation with %s\n", len(saved.Messages), saved.Model)
	if n := len(saved.Messages); n > 0 && saved.Messages[n-1].Role == chat.User {
		fmt.Fprintln(t.out, "the last question has no answer; /retry asks it again")
	}
	return nil
}

var errNoConversation = errors.New("not a conversation")

// maxConversation bounds the files that /load reads.
const maxConversation = 64 << 20

// readConversation reads what /save writes, or a bare list of messages. It returns errNoConversation if the file does not
// exist or does not begin like one.
func readConversation(path string) (conversationFile, error) {
	var c conversationFile
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, errNoConversation // the id of a model, perhaps
	}
	if err != nil {
		return c, err
	}
	if !st.Mode().IsRegular() {
		return c, errNoConversation
	}
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return c, err
	}
	start := bytes.TrimSpace(head[:n])
	if len(start) == 0 || start[0] != '{' && start[0] != '[' {
		return c, errNoConversation
	}
	if st.Size() > maxConversation {
		return c, fmt.Errorf("%s has %s, more than any conversation (%s)", path, bytesText(st.Size()), bytesText(maxConversation))
	}
	rest, err := io.ReadAll(io.LimitReader(f, maxConversation))
	if err != nil {
		return c, err
	}
	data := append(head[:n], rest...)
	if start[0] == '[' {
		err = json.Unmarshal(data, &c.Messages)
	} else {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, fmt.Errorf("%s is not a conversation that /save wrote: %w", path, err)
	}
	if c.Messages == nil {
		return c, fmt.Errorf("%s has no messages: it is not a conversation that /save wrote", path)
	}
	if c.Model == "" {
		c.Model = "an unnamed model"
	}
	return c, nil
}

// loadModel switches to another model and keeps the conversation.
func (t *terminal) loadModel(ctx context.Context, arg string) error {
	f := t.f.modelFlags
	f.model, f.tokenizer, f.template, f.loras = arg, "", "", nil
	l, err := f.open(ctx, t.stderr, 1)
	if err != nil {
		return err
	}
	p, err := t.f.resolve(l.Sampling)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	constraint, err := t.f.build(context.Background(), l.Tokenizer, l.StopIDs)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	messages := t.c.Messages
	t.c.Close()
	// The previous model is no longer needed; but the very first one belongs to the caller.
	t.closeOpened()
	t.opened = []*open.Model{l}
	t.f.modelFlags = f
	t.l, t.c, t.req, t.constraint = l, converse.New(l.Model, l.Engine, ""), t.f.request(&p), constraint
	t.c.Messages = messages
	fmt.Fprintf(t.out, "%s · context %d\n", l.Name, l.Engine.Context())
	return nil
}
