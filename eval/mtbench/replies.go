package mtbench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"leolm/internal/pyjson"
)

// Reply is a judge's reply to one turn of an answer.
type Reply struct {
	Row      int    // in its file, from 1
	Question string // id
	Choice   int    // from 0
	Turn     int    // 1 or 2
	Text     string
	// Missing says why there is no text; "" if there is one.
	Missing string
}

// ReplyError says that an entry of a file of replies cannot be used.
type ReplyError struct {
	Name string
	Row  int // from 1
	Err  error
}

func (e *ReplyError) Error() string { return fmt.Sprintf("%s: entry %d: %v", e.Name, e.Row, e.Err) }

// Unwrap returns what is wrong with the entry.
func (e *ReplyError) Unwrap() error { return e.Err }

// layoutReply is a reply in FastEval's layout or FastChat's.
type layoutReply struct {
	ID json.RawMessage `json:"question_id"`
	// FastEval:
	TurnNumber json.RawMessage `json:"turn_number"`
	JudgeReply json.RawMessage `json:"judge_reply"`
	// FastChat:
	Turn     json.RawMessage `json:"turn"`
	Judgment json.RawMessage `json:"judgment"`
}

func (l *layoutReply) reply() (Reply, error) {
	if len(l.ID) == 0 {
		return Reply{}, fmt.Errorf("it has no question_id")
	}
	id, err := idText(l.ID)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{Question: id, Turn: 2}
	turn, text := l.TurnNumber, l.JudgeReply
	if len(turn) == 0 {
		turn, text = l.Turn, l.Judgment
	}
	if len(turn) == 0 {
		return Reply{}, fmt.Errorf("it has neither turn_number nor turn")
	}
	if len(text) == 0 {
		return Reply{}, fmt.Errorf("it has neither judge_reply nor judgment")
	}
	// FastEval asks whether the number is Python's 0; whatever else there is counts for the second turn.
	first := []string{"0", "false"}
	if len(l.TurnNumber) == 0 {
		first = []string{"1", "true"}
	}
	var n float64
	isNumber := json.Unmarshal(turn, &n) == nil && string(turn) != "null"
	if slices.Contains(first, string(turn)) || isNumber && (n == 0) == (len(l.TurnNumber) > 0) && (n == 1) == (len(l.TurnNumber) == 0) {
		r.Turn = 1
	}
	if err := json.Unmarshal(text, &r.Text); err != nil || string(text) == "null" {
		r.Text, r.Missing = "", fmt.Sprintf("the reply is not a text: %.40s", text)
	}
	return r, nil
}

// ParseReplies reads replies in FastEval's layout (a list with question_id, turn_number, judge_reply) or FastChat's (a line
// each with question_id, turn, judgment). An entry that names no question or no turn is a *ReplyError.
func ParseReplies(name string, data []byte) ([]Reply, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: %w", name, pyjson.ErrNotUTF8)
	}
	data = bytes.TrimPrefix(pyjson.Standard(data), []byte("\ufeff"))
	var out []Reply
	add := func(raw []byte) error {
		var l layoutReply
		err := json.Unmarshal(raw, &l)
		if err == nil {
			var r Reply
			if r, err = l.reply(); err == nil {
				r.Row = len(out) + 1
				out = append(out, r)
				return nil
			}
		}
		return &ReplyError{name, len(out) + 1, err}
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if err := eachLine(data, add); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return out, nil
	}
	list, err := jsonList(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, raw := range list {
		if err := add(raw); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func jsonList(data []byte) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, fmt.Errorf("want a list, found null")
	}
	return list, nil
}
