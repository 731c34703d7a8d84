package sample

import (
	"slices"
	"strings"
)

// StopMatcher looks for stop strings in text that arrives in pieces. It holds
// back what could still become one, so that no part of a stop string is ever
// shown. Its output does not depend on how the text is cut into pieces.
type StopMatcher struct {
	stops   []string
	pending string
	matched string
	stopped bool
}

// NewStopMatcher looks for any of stops; empty ones are ignored.
func NewStopMatcher(stops []string) *StopMatcher {
	m := &StopMatcher{}
	for _, s := range stops {
		if s != "" && !slices.Contains(m.stops, s) {
			m.stops = append(m.stops, s)
		}
	}
	return m
}

// Push takes the next piece and returns the text that is safe to show. The
// text ends before the stop string that is completed first; from then on Push
// returns nothing.
func (m *StopMatcher) Push(text string) (emit string, stopped bool) {
	if m.stopped || len(m.stops) == 0 {
		if m.stopped {
			text = ""
		}
		return text, m.stopped
	}
	buf := m.pending + text
	end, start := len(buf)+1, 0
	for _, s := range m.stops {
		// Of those that end first, the longest wins.
		if at := strings.Index(buf, s); at >= 0 {
			if e := at + len(s); e < end || e == end && at < start {
				end, start, m.matched = e, at, s
			}
		}
	}
	if end <= len(buf) {
		m.stopped, m.pending = true, ""
		return buf[:start], true
	}
	hold := 0
	for _, s := range m.stops {
		for n := min(len(s)-1, len(buf)); n > hold; n-- {
			if strings.HasSuffix(buf, s[:n]) {
				hold = n
				break
			}
		}
	}
	m.pending = buf[len(buf)-hold:]
	return buf[:len(buf)-hold], false
}

// Flush returns the text held back, when the text ends without a stop string.
func (m *StopMatcher) Flush() string {
	s := m.pending
	m.pending = ""
	return s
}

// Matched returns the stop string that ended the text, or "".
func (m *StopMatcher) Matched() string { return m.matched }
