package jinja

import (
	"fmt"
)

// Limits bound the work of one rendering, because templates come from
// strangers.
type Limits struct {
	Steps  int // evaluated nodes, items and bytes worked on
	Output int // bytes of output
	Calls  int // nested macro calls
}

// DefaultLimits are far beyond what a chat template needs, and stop a hostile
// one after about a second and at most a few hundred megabytes.
var DefaultLimits = Limits{Steps: 4 << 20, Output: 16 << 20, Calls: 100}

// maxRange is the longest range(), as in Jinja's sandbox.
const maxRange = 100000

// Error is a fault of a template, or of what it was given.
type Error struct {
	Line int
	Msg  string
	// Raised is set if the template itself called raise_exception.
	Raised bool
}

func (e *Error) Error() string {
	if e.Raised {
		return e.Msg
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
}

func errorf(line int, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...)}
}

// fail gives up; Render recovers it.
func (ev *evaluator) fail(line int, format string, args ...any) {
	panic(errorf(line, format, args...))
}

// work counts n units against the limit.
func (ev *evaluator) work(line, n int) {
	if line > 0 {
		ev.line = line
	}
	ev.steps += n
	if ev.steps > ev.limits.Steps || ev.steps < 0 {
		ev.fail(line, "the template does more than %d steps of work", ev.limits.Steps)
	}
}

// grown counts a string of n bytes that was, or will be, made.
func (ev *evaluator) grown(line, n int) {
	ev.work(line, n/32)
	if n > ev.limits.Output {
		ev.fail(line, "a string is longer than %d bytes", ev.limits.Output)
	}
}

// added counts n bytes put to a string that is now total bytes long.
func (ev *evaluator) added(line, n, total int) {
	ev.bytes += n
	ev.work(line, ev.bytes/32)
	ev.bytes %= 32
	if total > ev.limits.Output {
		ev.fail(line, "a string or the output is longer than %d bytes", ev.limits.Output)
	}
}

// maxEval bounds the depth of evaluation and of nested values: a Go stack may
// not overflow.
const maxEval = 5000

func (ev *evaluator) deeper(line int) {
	ev.depth++
	if ev.depth > maxEval {
		ev.fail(line, "nested deeper than %d levels", maxEval)
	}
}

// enterCall counts a nested call of a macro or a recursive loop.
func (ev *evaluator) enterCall(line int) {
	ev.calls++
	if ev.calls > ev.limits.Calls {
		ev.fail(line, "macros or recursive loops call each other deeper than %d levels", ev.limits.Calls)
	}
}
