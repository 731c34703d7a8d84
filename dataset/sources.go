package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"leolm/chat"
	"leolm/dataset/rows"
)

// A reader makes dialogues of the rows of a source. Convert may be called
// from several goroutines.
type reader struct {
	// about is one line of documentation.
	about string
	// columns are the names the reader looks for, by what they mean, with the
	// defaults; a source may rename them.
	columns map[string]string
	// path is where the rows are in a file of one object.
	path string
	// convert makes the dialogues of a row.
	convert func(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error)
	// whole readers see all rows of the source at once.
	whole func(s *sourceReader, all []readRow) ([]placed, error)
	// original is the name of the reader in Open-Assistant's pretokenizer,
	// which kept one validation set per name.
	original string
}

type readRow struct {
	row   *rows.Row
	value rows.Value
}

// placed is a dialogue with the row it came from.
type placed struct {
	row *rows.Row
	dlg Dialogue
}

// readers are the built-in sources.
var readers map[string]*reader

func init() { // breaks the initialization cycle through methods
	readers = map[string]*reader{
		"oasst_de": {
			about:    "list `conversation` of {role, text}, prompts and replies in turn (OpenAssistant/OASST-DE)",
			columns:  map[string]string{"turns": "conversation", "role": "role", "text": "text"},
			convert:  convertTurns,
			original: "oasst_de",
		},
		"sharegpt": {
			about:    "list `conversations` of {from, value}, with `system`, `tools` if there (ShareGPT, evol-instruct-deutsch, alpaca-gpt4-deutsch)",
			columns:  map[string]string{"turns": "conversations", "role": "from", "text": "value", "weight": "weight", "system": "system", "tools": "tools"},
			convert:  convertTurns,
			original: "sharegpt",
		},
		"messages": {
			about:   "list `messages` of {role, content, tool_calls, weight …}, with `tools` (OpenAI)",
			columns: map[string]string{"turns": "messages", "role": "role", "text": "content", "weight": "weight", "system": "system", "tools": "tools"},
			convert: convertTurns,
		},
		"openschnabeltier": {
			about:    "`instruction_de`, `output_de` (LeoLM/OpenSchnabeltier)",
			columns:  map[string]string{"question": "instruction_de", "answer": "output_de", "system": "", "context": ""},
			convert:  convertQA,
			original: "openplatypus",
		},
		"german_poems": {
			about:    "`prompt`, `poem` (LeoLM/German_Poems)",
			columns:  map[string]string{"question": "prompt", "answer": "poem", "system": "", "context": ""},
			convert:  convertQA,
			original: "openplatypus",
		},
		"german_songs": {
			about:    "`prompt`, `song`, `analysis_prompt`, `analysis`: two exchanges (LeoLM/German_Songs)",
			columns:  map[string]string{"question": "prompt", "answer": "song", "question2": "analysis_prompt", "answer2": "analysis"},
			convert:  convertTwoExchanges,
			original: "oasst_de",
		},
		"qa": {
			about:   "`question`, `answer`, optionally `system` and `context`: any columns, named in the mix",
			columns: map[string]string{"question": "question", "answer": "answer", "system": "", "context": ""},
			convert: convertQA,
		},
		"alpaca": {
			about:   "`instruction`, `input`, `output`: the input below the instruction; `system`, `history` if there (Alpaca)",
			columns: map[string]string{"question": "instruction", "input": "input", "answer": "output", "system": "system", "history": "history"},
			convert: convertQA,
		},
		"pairs": {
			about:   "rows that are lists of texts, user and assistant in turn (ChatterBot's `conversations`)",
			path:    "conversations",
			columns: map[string]string{"turns": ""},
			convert: convertPairs,
		},
		"squad": {
			about:   "articles with `paragraphs` of `context` and `qas` (SQuAD, XQuAD)",
			path:    "data",
			columns: map[string]string{"question": "question", "answer": "answers", "context": "context"},
			convert: convertSQuAD,
		},
		"choices": {
			about:   "`question` with options `a` to `d` and `solution`; explanations by `num` from another file (Leben in Deutschland)",
			columns: map[string]string{"question": "question", "id": "num", "answer": "solution"},
			convert: convertChoices,
		},
		"oasst": {
			about:   "OASST messages with parents, or nested trees: best path or all paths",
			columns: map[string]string{"id": "", "parent": "", "text": "text", "role": "role", "rank": "rank", "lang": "lang"},
			whole:   convertTrees,
		},
	}
}

// ReaderNames lists the built-in sources, sorted, with a line about each.
func ReaderNames() (names, about []string) {
	for name := range readers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, n := range names {
		about = append(about, readers[n].about)
	}
	return names, about
}

// sourceReader is a source of a mix, ready to read.
type sourceReader struct {
	*reader
	src     *Source
	columns map[string]string
	// byPosition takes roles from the position of a turn, not from its label.
	byPosition   bool
	explanations map[string]string
	named        *namedColumns
}

func (s *sourceReader) column(meaning string) string { return s.columns[meaning] }

// text is a field that must be text.
func (s *sourceReader) text(row *rows.Row, v *rows.Value, meaning string) (string, error) {
	name := s.column(meaning)
	f, ok := v.Get(name)
	if !ok {
		return "", row.Errorf(name, "the column is missing; there are %s (name another with columns: {%s: …})", strings.Join(v.Names, ", "), meaning)
	}
	return asText(row, name, f)
}

// optional is a field that may be missing, null or not asked for.
func (s *sourceReader) optional(row *rows.Row, v *rows.Value, meaning string) (string, error) {
	f, ok := s.find(v, meaning)
	if !ok || f.Kind == rows.Null {
		return "", nil
	}
	return asText(row, s.column(meaning), f)
}

// find is a field that need not be there.
func (s *sourceReader) find(v *rows.Value, meaning string) (*rows.Value, bool) {
	name := s.column(meaning)
	if name == "" {
		return nil, false
	}
	f, ok := v.Get(name)
	s.named.look(meaning, ok, v.Names)
	return f, ok
}

// namedColumns watches over columns that the mix names and a row may lack: one
// that no row has is a misspelt name. Safe for concurrent use.
type namedColumns struct {
	mu      sync.Mutex
	open    map[string]bool // meanings whose column was looked for and not found yet
	found   map[string]bool
	there   map[string]bool // names seen instead
	reading map[string]string
}

// newNamedColumns watches the columns of a mix, meaning to name.
func newNamedColumns(columns map[string]string) *namedColumns {
	return &namedColumns{open: map[string]bool{}, found: map[string]bool{}, there: map[string]bool{}, reading: columns}
}

func (c *namedColumns) look(meaning string, found bool, names []string) {
	if c.reading[meaning] == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.found[meaning]:
	case found:
		c.found[meaning] = true
		delete(c.open, meaning)
	default:
		c.open[meaning] = true
		for _, n := range names {
			if len(c.there) < 100 {
				c.there[n] = true
			}
		}
	}
}

// missing is the error about columns that no row had.
func (c *namedColumns) missing() error {
	for _, meaning := range slices.Sorted(maps.Keys(c.open)) {
		return fmt.Errorf("columns: {%s: %s}: no row has a column %q; there are %s", meaning, c.reading[meaning], c.reading[meaning],
			strings.Join(slices.Sorted(maps.Keys(c.there)), ", "))
	}
	return nil
}

func asText(row *rows.Row, column string, v *rows.Value) (string, error) {
	text, ok := v.AsText()
	if !ok {
		return "", row.Errorf(column, "want text, found %s", v.Kind)
	}
	return text, nil
}

func convertQA(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error) {
	if err := row.Object(v); err != nil {
		return nil, err
	}
	question, err := s.text(row, v, "question")
	if err != nil {
		return nil, err
	}
	answer, err := s.text(row, v, "answer")
	if err != nil {
		return nil, err
	}
	input, err := s.optional(row, v, "input")
	if err != nil {
		return nil, err
	}
	if input != "" {
		question += "\n" + input
	}
	system, err := s.optional(row, v, "system")
	if err != nil {
		return nil, err
	}
	context, err := s.optional(row, v, "context")
	if err != nil {
		return nil, err
	}
	turns, err := s.history(row, v)
	if err != nil {
		return nil, err
	}
	turns = append(turns, Turn{Role: chat.User, Text: question}, Turn{Role: chat.Assistant, Text: answer, Context: context})
	return []Dialogue{{System: system, Turns: turns}}, nil
}

// history are the exchanges before the question: a list of [question, answer].
func (s *sourceReader) history(row *rows.Row, v *rows.Value) ([]Turn, error) {
	list, ok := s.find(v, "history")
	if !ok || list.Kind == rows.Null {
		return nil, nil
	}
	column := s.column("history")
	if list.Kind != rows.List {
		return nil, row.Errorf(column, "want a list of [question, answer], found %s", list.Kind)
	}
	var turns []Turn
	for i := range list.Items {
		pair := &list.Items[i]
		at := fmt.Sprintf("%s[%d]", column, i)
		if pair.Kind != rows.List || len(pair.Items) != 2 {
			return nil, row.Errorf(at, "want a list of a question and its answer")
		}
		for k, role := range [...]chat.Role{chat.User, chat.Assistant} {
			text, err := asText(row, fmt.Sprintf("%s[%d]", at, k), &pair.Items[k])
			if err != nil {
				return nil, err
			}
			turns = append(turns, Turn{Role: role, Text: text})
		}
	}
	return turns, nil
}

func convertTwoExchanges(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error) {
	if err := row.Object(v); err != nil {
		return nil, err
	}
	var d Dialogue
	for i, meaning := range [...]string{"question", "answer", "question2", "answer2"} {
		text, err := s.text(row, v, meaning)
		if err != nil {
			return nil, err
		}
		d.Turns = append(d.Turns, Turn{Role: chat.User + chat.Role(i%2), Text: text})
	}
	return []Dialogue{d}, nil
}

func convertPairs(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error) {
	column := s.column("turns")
	list := v
	if column != "" {
		if err := row.Object(v); err != nil {
			return nil, err
		}
		f, ok := v.Get(column)
		if !ok {
			return nil, row.Errorf(column, "the column is missing; there are %s", strings.Join(v.Names, ", "))
		}
		list = f
	}
	if list.Kind != rows.List {
		return nil, row.Errorf(column, "want a list of texts, found %s", list.Kind)
	}
	var d Dialogue
	for i := range list.Items {
		item := &list.Items[i]
		if item.Kind != rows.String && item.Kind != rows.Number && item.Kind != rows.Bool && !item.Plain {
			return nil, row.Errorf(fmt.Sprintf("%s[%d]", column, i), "want text, found %s", item.Kind)
		}
		d.Turns = append(d.Turns, Turn{Role: chat.User + chat.Role(i%2), Text: item.Text})
	}
	// Small talk may end with the user's last word; the reply is what counts.
	if n := len(d.Turns); n > 1 && n%2 == 1 && !s.byPosition {
		d.Turns = d.Turns[:n-1]
	}
	return []Dialogue{d}, nil
}

func convertSQuAD(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error) {
	if err := row.Object(v); err != nil {
		return nil, err
	}
	list, ok := v.Get("paragraphs")
	if !ok || list.Kind != rows.List {
		return nil, row.Errorf("paragraphs", "want a list of paragraphs")
	}
	var out []Dialogue
	for i := range list.Items {
		p := &list.Items[i]
		at := fmt.Sprintf("paragraphs[%d]", i)
		context, ok := p.Get(s.column("context"))
		if !ok {
			return nil, row.Errorf(at, "the field %q is missing", s.column("context"))
		}
		text, err := asText(row, at+"."+s.column("context"), context)
		if err != nil {
			return nil, err
		}
		qas, ok := p.Get("qas")
		if !ok || qas.Kind != rows.List {
			return nil, row.Errorf(at+".qas", "want a list of questions")
		}
		for k := range qas.Items {
			qa := &qas.Items[k]
			at := fmt.Sprintf("%s.qas[%d]", at, k)
			q, ok := qa.Get(s.column("question"))
			if !ok {
				return nil, row.Errorf(at, "the field %q is missing", s.column("question"))
			}
			question, err := asText(row, at+"."+s.column("question"), q)
			if err != nil {
				return nil, err
			}
			answers, ok := qa.Get(s.column("answer"))
			if !ok || answers.Kind != rows.List {
				return nil, row.Errorf(at+"."+s.column("answer"), "want a list of answers")
			}
			if len(answers.Items) == 0 {
				continue // SQuAD 2: a question without answer in the text
			}
			a, ok := answers.Items[0].Get("text")
			if !ok {
				return nil, row.Errorf(at+"."+s.column("answer")+"[0]", `the field "text" is missing`)
			}
			answer, err := asText(row, at+"."+s.column("answer")+"[0].text", a)
			if err != nil {
				return nil, err
			}
			out = append(out, Dialogue{Turns: []Turn{{Role: chat.User, Text: text + "\n\n" + question}, {Role: chat.Assistant, Text: answer}}})
		}
	}
	return out, nil
}

func convertChoices(s *sourceReader, row *rows.Row, v *rows.Value) ([]Dialogue, error) {
	if err := row.Object(v); err != nil {
		return nil, err
	}
	question, err := s.text(row, v, "question")
	if err != nil {
		return nil, err
	}
	solution, err := s.text(row, v, "answer")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(question)
	right := ""
	for c := 'a'; c <= 'z'; c++ {
		option, ok := v.Get(string(c))
		if !ok {
			break
		}
		text, err := asText(row, string(c), option)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n%c) %s", c, text)
		if string(c) == solution {
			right = fmt.Sprintf("%c) %s", c, text)
		}
	}
	if right == "" {
		return nil, row.Errorf(s.column("answer"), "the solution %q is none of the options", solution)
	}
	answer := right
	if s.explanations != nil {
		id, err := s.text(row, v, "id")
		if err != nil {
			return nil, err
		}
		if why := s.explanations[id]; why != "" {
			answer += "\n\n" + why
		}
	}
	return []Dialogue{{Turns: []Turn{{Role: chat.User, Text: b.String()}, {Role: chat.Assistant, Text: answer}}}}, nil
}

// matches reports whether a row fulfils the source's where clause: every column
// named matches one of its patterns (fnmatch; one that begins with "!" excludes).
func (s *sourceReader) matches(row *rows.Row, v *rows.Value) (bool, error) {
	for column, patterns := range s.src.Where {
		f, ok := v.Get(column)
		if !ok {
			return false, row.Errorf(column, "the column that where: asks for is missing; there are %s", strings.Join(v.Names, ", "))
		}
		if f.Kind == rows.List || f.Kind == rows.Object || f.Kind == rows.Binary {
			return false, row.Errorf(column, "where: compares texts and numbers, found %s", f.Kind)
		}
		wanted, found := false, false
		for _, p := range patterns {
			p, exclude := strings.CutPrefix(p, "!")
			hit := fnmatch(p, f.Text)
			if exclude && hit {
				return false, nil
			}
			if !exclude {
				wanted = true
				found = found || hit
			}
		}
		if wanted && !found {
			return false, nil
		}
	}
	return true, nil
}

// loadExplanations reads a file of one object, id → text.
func loadExplanations(file string) (map[string]string, error) {
	r, err := rows.Open(file, rows.Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var row rows.Row
	if err := r.Next(&row); err != nil {
		return nil, err
	}
	v, err := row.Value()
	if err != nil {
		return nil, err
	}
	if err := row.Object(&v); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(v.Names))
	for i, name := range v.Names {
		if out[name], err = asText(&row, name, &v.Items[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
