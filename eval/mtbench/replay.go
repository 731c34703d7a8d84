package mtbench

import (
	"context"
	"fmt"

	"leolm/eval"
)

// Replay answers with what a file has: the replies of a judge that was asked elsewhere, or before.
type Replay struct {
	name, hash string
	texts      map[string]string // by request id
	missing    map[string]string
}

// NewReplay makes a judge of replies. name is where they came from. Of two replies to the same turn the last counts.
func NewReplay(name string, replies []Reply) *Replay {
	r := &Replay{name: name, hash: eval.HashOf(replies), texts: map[string]string{}, missing: map[string]string{}}
	for _, reply := range replies {
		id := Place{reply.Question, reply.Choice, reply.Turn}.String()
		if reply.Missing != "" {
			r.missing[id] = reply.Missing
			continue
		}
		r.texts[id] = reply.Text
	}
	return r
}

// Identity implements eval.Generator.
func (r *Replay) Identity() eval.Identity {
	return eval.Identity{Name: "replay", Kind: "replay", URL: r.name, Hash: r.hash}
}

// Generate implements eval.Generator: a request is found by its ID. What the file lacks fails.
func (r *Replay) Generate(ctx context.Context, reqs []eval.Request, done func(i int, a eval.Answer) error) error {
	for i, req := range reqs {
		if err := ctx.Err(); err != nil {
			return err
		}
		a := eval.Answer{Finish: "stop"}
		text, ok := r.texts[req.ID]
		switch why := r.missing[req.ID]; {
		case ok:
			a.Text = text
		case why != "":
			a.Err = fmt.Errorf("%s: %s", r.name, why)
		default:
			a.Err = fmt.Errorf("%s has no reply to %s", r.name, req.ID)
		}
		if err := done(i, a); err != nil {
			return err
		}
	}
	return nil
}
