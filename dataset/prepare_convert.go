package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"leolm/dataset/rows"
	"leolm/internal/textcheck"
)

// outcome is what a worker made of one dialogue, or of a row without any.
type outcome struct {
	row      *rows.Row
	ids      int // where its ids and roles end in the job's arrays
	turns    int
	answer   int // tokens of assistant turns
	text     string
	why      Reason
	detail   string
	repaired bool
	unwanted bool
	dup      fingerprint
	err      error
}

// job is a batch of rows on its way through the workers.
type job struct {
	rows  []rows.Row
	ready []placed // instead of rows: dialogues of a whole reader
	done  chan struct{}

	out   []outcome
	ids   []int32
	roles []uint8
	fail  error
}

// jobRows is the number of rows in a job.
const jobRows = 64

// run converts, checks and tokenizes the rows of a job.
func (p *preparation) run(j *job, reader *sourceReader, hasher *textcheck.Hasher) {
	for i := range j.ready {
		p.dialogue(j, j.ready[i].row, &j.ready[i].dlg, hasher)
	}
	for i := range j.rows {
		row := &j.rows[i]
		v, err := row.Value()
		var dialogues []Dialogue
		wanted := true
		if err == nil {
			wanted, err = reader.matches(row, &v)
		}
		if err == nil && wanted {
			dialogues, err = reader.convert(reader, row, &v)
		}
		if err != nil {
			j.out = append(j.out, outcome{row: row, err: err, ids: len(j.ids)})
			continue
		}
		if p.mix.Preset == presetLeoLM {
			// LeoLM's readers dropped dialogues of odd length.
			dialogues = slices.DeleteFunc(dialogues, func(d Dialogue) bool { return len(d.Turns)%2 != 0 })
		}
		if len(dialogues) == 0 {
			j.out = append(j.out, outcome{row: row, unwanted: true, ids: len(j.ids)})
		}
		for k := range dialogues {
			p.dialogue(j, row, &dialogues[k], hasher)
		}
	}
}

func (p *preparation) dialogue(j *job, row *rows.Row, d *Dialogue, hasher *textcheck.Hasher) {
	o := outcome{row: row, turns: len(d.Turns)}
	if d.System == "" {
		d.System = p.mix.System
	}
	o.why, o.detail, o.repaired = p.check.check(d)
	if o.why == "" {
		from := len(j.ids)
		var err error
		if j.ids, j.roles, o.text, err = p.enc.encode(d, j.ids, j.roles); err != nil {
			e := row.Errorf("", "cannot be encoded")
			e.Err = err
			o.err = e
		}
		for _, r := range j.roles[from:] {
			if r == roleAssistant {
				o.answer++
			}
		}
		f, n := &p.mix.Filters, len(j.ids)-from
		switch {
		case n < f.MinTokens:
			o.why, o.detail = ReasonShort, fmt.Sprintf("%d tokens, the bound is %d", n, f.MinTokens)
		case f.MaxTokens > 0 && n > f.MaxTokens:
			o.why, o.detail = ReasonLong, fmt.Sprintf("%d tokens, the bound is %d", n, f.MaxTokens)
		case o.answer < p.mix.MinAssistantTokens:
			o.why, o.detail = ReasonAnswer, fmt.Sprintf("%d assistant tokens, the bound is %d", o.answer, p.mix.MinAssistantTokens)
		}
		if hasher != nil {
			if p.dups.bands != nil {
				o.dup.exact, o.dup.bands, o.dup.ok = hasher.Keys(nil, d.Text())
			} else {
				o.dup.exact, o.dup.ok = hasher.Exact(d.Text())
			}
		}
		if !p.mix.JSONL {
			o.text = ""
		}
	}
	o.ids = len(j.ids)
	j.out = append(j.out, o)
}

// collect takes a finished job, in order.
func (p *preparation) collect(index int, pt *part, j *job, intake *Intake) error {
	from := 0
	for i := range j.out {
		o := &j.out[i]
		ids, roles := j.ids[from:o.ids], j.roles[from:o.ids]
		from = o.ids
		if i == 0 || o.row != j.out[i-1].row {
			intake.Rows++
		}
		if o.unwanted {
			intake.Unwanted++
			continue
		}
		if o.err != nil {
			var bad *rows.Error
			if p.mix.OnError != "skip" || !errors.As(o.err, &bad) {
				return fmt.Errorf("%w (on_error: skip leaves such rows out and lists them)", o.err)
			}
			o.why, o.detail = ReasonUnreadable, o.err.Error()
		}
		if o.repaired {
			intake.Repaired++
		}
		if o.why == "" && p.dups != nil {
			of, why := p.dups.add(o.dup, sampleRef{int32(index), o.row.Number})
			if why != "" {
				o.why, o.detail = why, fmt.Sprintf("of row %d of %s", of.row, p.mix.Sources[of.source].Name)
			}
		}
		info := sampleInfo{skip: o.why, turns: int32(o.turns)}
		if o.why != "" {
			if err := p.listSkip(pt.src, o); err != nil {
				return err
			}
		} else {
			info.tokens = int32(len(ids))
			var err error
			if info.at, err = pt.spill.add(ids, roles, o.text); err != nil {
				return err
			}
		}
		pt.samples = append(pt.samples, info)
	}
	return nil
}

// listSkip writes a line about a skipped sample.
func (p *preparation) listSkip(src *Source, o *outcome) error {
	if p.firstSkip == "" {
		p.firstSkip = fmt.Sprintf("%s: row %d: %s", o.row.File, o.row.Number, o.why)
		if o.detail != "" {
			p.firstSkip += " (" + o.detail + ")"
		}
	}
	line, err := json.Marshal(struct {
		Source string `json:"source"`
		File   string `json:"file"`
		Row    int64  `json:"row"`
		Line   int64  `json:"line,omitempty"`
		Reason Reason `json:"reason"`
		Detail string `json:"detail,omitempty"`
	}{src.Name, o.row.File, o.row.Number, o.row.Line, o.why, o.detail})
	if err != nil {
		return err
	}
	_, err = p.list.Write(append(line, '\n'))
	return err
}
