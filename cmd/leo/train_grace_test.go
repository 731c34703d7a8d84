package main

import (
	"strings"
	"testing"
	"time"

	"leolm/train"
)

// A job that leaves less than twice the time of a step and a checkpoint is told so, once.
func TestGraceIsMeasured(t *testing.T) {
	for _, c := range []struct {
		grace time.Duration
		want  string
	}{
		{0, ""},
		{time.Hour, ""},
		{200 * time.Second, "a step took up to 30 s, this checkpoint 80 s, and the job leaves 200 s for both: let it leave 220 or more (--grace, where the job was emitted)\n"},
	} {
		var said strings.Builder
		l := &trainLog{w: &said, grace: c.grace}
		for _, seconds := range []float64{2, 30, 3} {
			l.step(train.Step{Step: 1, Total: 9, Seconds: seconds})
		}
		said.Reset()
		for _, took := range []time.Duration{10 * time.Second, 80 * time.Second, 90 * time.Second} {
			l.saved(took)
		}
		if said.String() != c.want {
			t.Errorf("grace %v: said %q, want %q", c.grace, said.String(), c.want)
		}
	}
}
