package train

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"leolm/catalog"
	"leolm/chat"
	"leolm/checkpoint"
	"leolm/dataset/shard"
	"leolm/tokenizer"
)

// vocabulary is what the trained model's ids mean and how it is talked to: the tokenizer of the base or the recipe, grown
// by what the data need, and the chat template. It is found before the first step, and it is what every export writes.
type vocabulary struct {
	files       checkpoint.TokenizerFiles
	tok         *tokenizer.Tokenizer
	fingerprint string
	template    *chat.Template
	// write says that template is written with the model; not so where nothing says how a plain model is talked to.
	write bool
	added []string // tokens that the base's or the recipe's tokenizer lacks
	rows  int      // of embedding and LM head
	notes []string
}

// rowMultiple is what rows are rounded up to where the vocabulary grows and the recipe says nothing: Megatron's default,
// and so LeoLM's (32007 ids, 32128 rows).
const rowMultiple = 128

// MismatchError says that data, model and recipe don't belong together: their ids or their templates differ.
type MismatchError struct {
	Key    string // of the recipe
	What   string // both sides
	Advice string
}

func (e *MismatchError) Error() string { return fmt.Sprintf("%s: %s; %s", e.Key, e.What, e.Advice) }

func (v *vocabulary) note(format string, args ...any) {
	v.notes = append(v.notes, fmt.Sprintf(format, args...))
}

// findVocabulary holds recipe, base (nil for a model from scratch, which has rows as the shape says) and data against
// each other.
func findVocabulary(c *Config, base *catalog.Model, rows int, data *feed) (*vocabulary, error) {
	v := &vocabulary{rows: rows}
	name := c.Model.Tokenizer
	var err error
	if name != "" {
		if v.files, err = checkpoint.ReadTokenizerFiles(name); err == nil && base == nil && isFile(name) {
			// A lone file says nothing of BOS and EOS in prompts; the data say what belongs to a document.
			v.files, err = v.files.WithoutBOS()
		}
	} else {
		name = base.Name
		v.files, err = base.Checkpoint.TokenizerFiles()
	}
	if err != nil {
		return nil, fmt.Errorf("model.tokenizer: %w", err)
	}
	if v.tok, err = v.files.Open(name, tokenizer.Options{}); err != nil {
		return nil, fmt.Errorf("model.tokenizer: %w", err)
	}
	if err := v.fitsBase(c, base); err != nil {
		return nil, err
	}
	if err := v.chooseTemplate(c, base, data); err != nil {
		return nil, err
	}
	if err := v.grow(name, data); err != nil {
		return nil, err
	}
	v.fingerprint = v.tok.Fingerprint()
	if err := v.fitsData(data); err != nil {
		return nil, err
	}
	stored := v.rows
	if err := v.chooseRows(c, base); err != nil {
		return nil, err
	}
	if err := v.checkTrained(c, base, stored); err != nil {
		return nil, err
	}
	if err := data.each(v.fitsRows); err != nil {
		return nil, err
	}
	if v.write {
		if v.files, err = v.files.WithTemplate(v.template.Source()); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// fitsBase checks a tokenizer that the recipe names in place of the base's own.
func (v *vocabulary) fitsBase(c *Config, base *catalog.Model) error {
	if base == nil || c.Model.Tokenizer == "" || base.OwnTokenizer == nil {
		return nil
	}
	if ok, why := v.tok.Extends(base.OwnTokenizer); !ok {
		return &MismatchError{"model.tokenizer", fmt.Sprintf("%s and the tokenizer of %s give different ids: %s", c.Model.Tokenizer, base.Name, why),
			"the base's rows would stand for other text; leave model.tokenizer out"}
	}
	return nil
}

// chooseTemplate takes the recipe's template, else the base's, else the one that wrote the dialogues.
func (v *vocabulary) chooseTemplate(c *Config, base *catalog.Model, data *feed) error {
	var err error
	switch {
	case c.Model.ChatTemplate != "":
		v.write = true
		if v.template, err = catalog.OpenTemplate(c.Model.ChatTemplate, v.tok); err != nil {
			return fmt.Errorf("model.chat_template: %w", err)
		}
	case base != nil && base.Checkpoint.ChatTemplate != "":
		v.template = base.Template
	default:
		record := data.template()
		if record == nil {
			v.template, v.write = chat.Default(), c.demand().file != ""
			return nil
		}
		v.write = true
		if v.template, err = forChat(record, v.tok); err != nil {
			return fmt.Errorf("data.train: the template of the dialogues: %w", err)
		}
	}
	return nil
}

// forChat is the template that a model trained on dialogues of r is talked to with: r's own, or for LeoLM's training
// data, which has no prompt for an answer, the one of its model card, which writes the same.
func forChat(r *shard.Record, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	if r.TemplateName == "training" {
		return chat.Default(), nil
	}
	return catalog.ParseTemplate(r.Template, tok)
}

// grow adds the tokens that the data or the template need: those of LeoLM's ChatML, or the ones that the shards'
// tokenizer has and the model's lacks.
func (v *vocabulary) grow(name string, data *feed) error {
	own := v.tok.Fingerprint()
	known := map[string]bool{own: true}
	grown, added, err := v.files.WithChatTokens(name)
	if err != nil {
		return err
	}
	var chatTok *tokenizer.Tokenizer
	var chatPrint string
	if len(added) > 0 {
		if chatTok, err = grown.Open(name, tokenizer.Options{}); err != nil {
			return err
		}
		chatPrint = chatTok.Fingerprint()
	}
	use := func() {
		v.files, v.tok, v.added = grown, chatTok, added
		known[chatPrint] = true
	}
	if len(added) > 0 && v.write && v.template.ChatML() {
		use()
	}
	return data.each(func(key string, s *shard.Shards) error {
		r := s.Record()
		switch {
		case r == nil:
			// Shards of Open-Assistant's pretokenizer or an older Leo: their ids tell which tokenizer it was.
			if len(v.added) == 0 && len(added) > 0 && s.HasRoles() && int(s.MaxID()) >= v.tok.Vocab() && int(s.MaxID()) < chatTok.Vocab() {
				use()
			}
		case known[r.Tokenizer]:
		case r.Tokenizer == chatPrint:
			use()
		default:
			return v.adopt(key, r, known)
		}
		return nil
	})
}

// adopt takes the tokenizer of shards that extends the model's.
func (v *vocabulary) adopt(key string, r *shard.Record, known map[string]bool) error {
	if r.TokenizerDir == "" {
		return v.otherTokenizer(key, r, "")
	}
	files, err := checkpoint.ReadTokenizerFiles(r.TokenizerDir)
	if err != nil {
		return v.otherTokenizer(key, r, err.Error())
	}
	tok, err := files.Open(r.TokenizerDir, tokenizer.Options{})
	if err != nil {
		return v.otherTokenizer(key, r, err.Error())
	}
	if got := tok.Fingerprint(); got != r.Tokenizer {
		return v.otherTokenizer(key, r, fmt.Sprintf("and %s has changed since: its fingerprint is %s", r.TokenizerDir, got))
	}
	ok, why := tok.Extends(v.tok)
	switch {
	case ok:
		for id := v.tok.Vocab(); id < tok.Vocab(); id++ {
			v.added = append(v.added, tok.Piece(int32(id)))
		}
		v.files, v.tok = files, tok
		known[r.Tokenizer] = true
		v.note("%s: the shards' tokenizer has the model's ids and %d more; the trained model gets it", key, len(v.added))
	default:
		if ok, _ := v.tok.Extends(tok); !ok {
			return v.otherTokenizer(key, r, why)
		}
		known[r.Tokenizer] = true
		v.note("%s: the shards' tokenizer is another, but every id of it means the same in the model's", key)
	}
	return nil
}

func (v *vocabulary) otherTokenizer(key string, r *shard.Record, why string) error {
	what := fmt.Sprintf("the shards were made with another tokenizer (%d ids, fingerprint %s) than the model's (%d ids, %s)", r.Vocab, r.Tokenizer, v.tok.Vocab(), v.tok.Fingerprint())
	if why != "" {
		what += ": " + why
	}
	return &MismatchError{key, what, "prepare the data again with the model's tokenizer"}
}

// fitsData compares the template with those that wrote the shards.
func (v *vocabulary) fitsData(data *feed) error {
	said := map[string]bool{}
	return data.each(func(key string, s *shard.Shards) error {
		r := s.Record()
		switch {
		case r == nil:
			if !said["unknown"] {
				v.note("%s: nothing says which tokenizer made these shards; only their largest id was checked", key)
			}
			said["unknown"] = true
			return nil
		case r.Template == "" || said[r.Template]:
			return nil
		}
		said[r.Template] = true
		wrote, err := catalog.ParseTemplate(r.Template, v.tok)
		if err != nil {
			return fmt.Errorf("%s: the template of the dialogues: %w", key, err)
		}
		name := r.TemplateName
		if name == "" || name == "jinja" {
			name = "a template of its own"
		}
		if a, b, ok := sameTurns(wrote, v.template, turns); !ok {
			return &MismatchError{key, fmt.Sprintf("the dialogues were written with %s, the model will be talked to with %s: the same turns read %q and %q", name, v.template.Name(), a, b),
				"set model.chat_template to the data's template, or prepare the data again with the model's"}
		}
		if a, b, ok := sameTurns(wrote, v.template, systemTurns); !ok {
			v.note("%s: the dialogues' template (%s) and the model's (%s) write a system message differently: %q and %q", key, name, v.template.Name(), a, b)
		}
		return nil
	})
}

// turns and systemTurns are conversations that templates are compared by.
var (
	turns = []chat.Message{{Role: chat.User, Content: "Hallo"}, {Role: chat.Assistant, Content: "Guten Tag."},
		{Role: chat.User, Content: "Wie?"}, {Role: chat.Assistant, Content: "So."}}
	systemTurns = append([]chat.Message{{Role: chat.System, Content: "Sei nett."}}, turns...)
)

// sameTurns renders msgs with both templates; a template that has no place for such messages is not compared.
func sameTurns(a, b *chat.Template, msgs []chat.Message) (string, string, bool) {
	x, err := a.Render(msgs, chat.Options{})
	if err != nil {
		return "", "", true
	}
	y, err := b.Render(msgs, chat.Options{})
	if err != nil {
		return "", "", true
	}
	p, q := strings.TrimRight(x.Text, " \n"), strings.TrimRight(y.Text, " \n")
	return p, q, p == q
}

// chooseRows finds the number of rows: what the base or the shape has, or what the recipe asks for, or as many as the
// tokens that were added need.
func (v *vocabulary) chooseRows(c *Config, base *catalog.Model) error {
	ids := v.tok.Used()
	if base == nil {
		if ids > v.rows {
			return &MismatchError{"model.shape.vocab_size", fmt.Sprintf("%d rows are too few for the %d ids of the tokenizer%s", v.rows, ids, v.with()),
				fmt.Sprintf("set it to %d or more", roundUp(ids, rowMultiple))}
		}
		return nil
	}
	asked := c.Model.VocabSize
	v.rows = max(v.rows, asked)
	if ids <= v.rows {
		return nil
	}
	if asked > 0 {
		return &MismatchError{"model.vocab_size", fmt.Sprintf("%d rows are too few for the %d ids of the tokenizer%s", v.rows, ids, v.with()),
			fmt.Sprintf("set it to %d or more, or leave it out", roundUp(ids, rowMultiple))}
	}
	if len(v.added) == 0 {
		return nil // control tokens of the base itself that have no rows; catalog says so
	}
	v.note("%s has %d rows; %d tokens are added (%s), so that it grows to %d", base.Name, v.rows, len(v.added), strings.Join(v.added, " "), roundUp(ids, rowMultiple))
	v.rows = roundUp(ids, rowMultiple)
	return nil
}

// checkTrained holds what the recipe trains against the rows that are added, and its sequences against the positions that
// the base knows.
func (v *vocabulary) checkTrained(c *Config, base *catalog.Model, stored int) error {
	if base == nil {
		return nil
	}
	trainsRows := slices.Contains(c.Model.Train, newRows)
	if trainsRows && v.rows <= stored {
		return fmt.Errorf("model.train: new_rows, but the base has %d rows and none are added: its tokenizer has all tokens that the data need; leave new_rows out, or set model.vocab_size", stored)
	}
	if c.LoRA != nil && len(v.added) > 0 && v.rows > stored && len(c.Model.Train) == 0 {
		v.note("the rows of the added tokens (%s) are not trained: they stay the mean of all others; add new_rows to model.train to train them", strings.Join(v.added, " "))
	}
	if made := base.Checkpoint.Config.MaxPositions; c.Data.SequenceLength > made && c.Model.MaxPositions == 0 && c.Model.RopeLinear == 0 {
		v.note("data.sequence_length %d is more than the %d positions that %s knows; model.max_positions and model.rope_linear lengthen it", c.Data.SequenceLength, made, base.Name)
	}
	return nil
}

func (v *vocabulary) with() string {
	if len(v.added) == 0 {
		return ""
	}
	return fmt.Sprintf(" with the %d added for the dialogues", len(v.added))
}

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// fitsRows checks the largest id of shards.
func (v *vocabulary) fitsRows(key string, s *shard.Shards) error {
	if r := s.Record(); r != nil && r.Vocab <= v.rows {
		return nil
	}
	id := int(s.MaxID())
	if id < v.rows {
		return nil
	}
	return &MismatchError{key, fmt.Sprintf("the shards hold the id %d, the model has %d rows", id, v.rows),
		"they were made with another tokenizer, or model.vocab_size is missing"}
}

// stops are the ids that end an answer of the trained model.
func (v *vocabulary) stops(base *catalog.Model) []int32 {
	var ids []int32
	if base != nil {
		ids = slices.Clone(base.StopIDs)
	}
	for _, id := range v.template.StopIDs(v.tok) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
