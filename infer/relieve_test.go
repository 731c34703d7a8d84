package infer

import (
	"context"
	"errors"
	"slices"
	"testing"

	"leolm/device"
	"leolm/tensor"
)

// short is a device without memory for passes of more than most tokens.
type short struct {
	device.Runner
	most  int
	fails int
	err   error
}

func (d *short) Embed(table device.Weight, ids []int32) *device.Tensor {
	if len(ids) > d.most {
		d.err = &device.MemoryError{What: "activations", Needed: 2, Available: 1}
		d.fails++
	}
	return d.Runner.Embed(table, ids)
}

func (d *short) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(d, x)
}

func (d *short) Sync() error {
	err := d.err
	d.err = nil
	return errors.Join(err, d.Runner.Sync())
}

// TestPassesThatDoNotFit: passes that the device has no memory for are taken back and become smaller, and answers are as
// if nothing had happened; what does not fit alone ends with the error, and the others go on.
func TestPassesThatDoNotFit(t *testing.T) {
	long, brief := tokens(300, 3), tokens(2, 4)
	want := func(prompt []int32) []int32 {
		return generate(t, testEngine(t, 1, tensor.F32, tensor.F32), &Request{Prompt: prompt, MaxNewTokens: 5, TopLogProbs: -1}).IDs
	}
	for most, fits := range map[int]bool{100: true, 1: false} {
		e := testEngine(t, 1, tensor.F32, tensor.F32)
		d := &short{Runner: e.dev, most: most}
		e.dev = d
		s := NewScheduler(e, SchedulerOptions{MaxTokens: 256})
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		var tickets []*Ticket
		for _, p := range [][]int32{long, brief} {
			ts, err := s.Submit(ctx, func() Text { return plain{} }, &Request{Prompt: p, MaxNewTokens: 5, TopLogProbs: -1})
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, ts...)
		}
		for i, p := range [][]int32{long, brief} {
			r, err := tickets[i].Result()
			var full *device.MemoryError
			if fits && (err != nil || !slices.Equal(r.IDs, want(p))) || !fits && !errors.As(err, &full) {
				t.Errorf("%d tokens of %d at a time: %v, %v", most, len(p), r.IDs, err)
			}
		}
		if d.fails == 0 {
			t.Error("no pass was too large")
		}
		ts, err := s.Submit(ctx, func() Text { return plain{} }, &Request{Prompt: brief[:1], MaxNewTokens: 3, TopLogProbs: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ts[0].Result(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		stop()
		<-ended
	}
}
