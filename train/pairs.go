package train

import (
	"encoding/binary"
	"fmt"
	"hash"
	"reflect"

	"github.com/zeebo/xxh3"

	"leolm/chat"
	"leolm/dataset/loader"
	"leolm/dataset/rows"
)

// pair is a prompt with a better and a worse answer: [0] chosen, [1] rejected.
type pair [2]loader.Window

// readPairs reads rows with prompt, chosen and rejected.
func readPairs(t *Trainer, key, path string) (examples[pair], error) {
	e, err := readExamples(t, key, path, t.readPair)
	e.hash = identityOf(e.rows)
	return e, err
}

// readPair encodes a row.
func (t *Trainer) readPair(row *rows.Row) (one pair, err error) {
	v, err := row.Value()
	if err != nil {
		return one, err
	}
	prompt, answers, err := messagesOf(row, &v)
	if err != nil {
		return one, err
	}
	for i := range one {
		s, err := t.encodeAnswer(row, &v, prompt, answers[i])
		if err != nil {
			return one, err
		}
		if one[i], err = t.answerWindow(row, answerColumns[i], s); err != nil {
			return one, err
		}
	}
	return one, nil
}

var answerColumns = [2]string{"chosen", "rejected"}

// messagesOf reads a row in one of TRL's forms: prompt and answers as texts; as lists of messages; or two whole
// conversations, whose prompt (given beside them as text or not at all) is what they begin with in common.
func messagesOf(row *rows.Row, v *rows.Value) (prompt []chat.Message, answers [2][]chat.Message, err error) {
	prompt, promptList, err := readMessages(row, v, "prompt", chat.User)
	if err != nil {
		return nil, answers, err
	}
	var lists [2]bool
	for i, name := range answerColumns {
		if answers[i], lists[i], err = readMessages(row, v, name, chat.Assistant); err != nil {
			return nil, answers, err
		}
		if len(answers[i]) == 0 {
			return nil, answers, row.Errorf(name, "want an answer here, as in {\"prompt\": …, \"chosen\": …, \"rejected\": …}; each may be a text or a list of messages")
		}
	}
	switch {
	case lists[0] != lists[1]:
		return nil, answers, row.Errorf("", "chosen and rejected must both be texts or both lists of messages")
	case lists[0] && !promptList:
		n := common(answers)
		prompt, answers[0], answers[1] = answers[0][:n], answers[0][n:], answers[1][n:]
	case !lists[0] && prompt == nil:
		return nil, answers, row.Errorf("prompt", "want a text or a list of messages here, as in {\"prompt\": …, \"chosen\": …, \"rejected\": …}")
	}
	for i, name := range answerColumns {
		if err := checkTurns(row, prompt, name, answers[i]); err != nil {
			return nil, answers, err
		}
	}
	return prompt, answers, nil
}

// common is how many messages two conversations have in common at their beginning.
func common(answers [2][]chat.Message) int {
	n := 0
	for n < min(len(answers[0]), len(answers[1])) && reflect.DeepEqual(answers[0][n], answers[1][n]) {
		n++
	}
	return n
}

func identityOf(pairs []pair) string {
	h := xxh3.New()
	for i := range pairs {
		for j := range pairs[i] {
			hashWindow(h, &pairs[i][j])
		}
	}
	return hashText(h)
}

func hashWindow(h hash.Hash, w *loader.Window) {
	binary.Write(h, binary.LittleEndian, []int64{int64(len(w.IDs))})
	binary.Write(h, binary.LittleEndian, w.IDs)
	binary.Write(h, binary.LittleEndian, w.Targets)
	binary.Write(h, binary.LittleEndian, w.Weights)
}

func hashText(h *xxh3.Hasher) string { return fmt.Sprintf("x1-%x", h.Sum128().Bytes()) }
