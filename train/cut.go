package train

import (
	"fmt"

	"leolm/chat"
	"leolm/dataset/shard"
)

// cutNotes say which training sets have samples that are longer than data.sequence_length, and what of them is cut off.
func (c *Config) cutNotes(data *feed) []string {
	var notes []string
	for _, o := range data.opened[:min(len(c.Data.Train), len(data.opened))] {
		n := countCut(o.Shards, c.Data.SequenceLength)
		if n.samples == 0 {
			continue
		}
		note := fmt.Sprintf("%s: %d of %d samples are longer than data.sequence_length %d, and their ends are cut off (%d tokens",
			o.key, n.samples, o.Len(), c.Data.SequenceLength, n.tokens)
		if o.HasRoles() {
			note += fmt.Sprintf("; %d samples lose tokens of answers", n.answers)
		}
		notes = append(notes, note+")")
	}
	return notes
}

// cutCount counts what does not fit a window.
type cutCount struct {
	samples int
	tokens  int64
	answers int // samples that lose tokens of the assistant
}

func countCut(s *shard.Shards, length int) cutCount {
	var n cutCount
	for i := range s.Len() {
		extra := s.Length(i) - 1 - length // a window of n positions holds n+1 tokens, the last one as a target
		if extra <= 0 {
			continue
		}
		n.samples++
		n.tokens += int64(extra)
		if !s.HasRoles() {
			continue
		}
		roles := s.Sample(i).Roles
		for _, r := range roles[len(roles)-extra:] {
			if shard.RoleOf(r) == chat.Assistant {
				n.answers++
				break
			}
		}
	}
	return n
}
