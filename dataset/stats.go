package dataset

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"leolm/internal/pynum"
)

// Stats counts the samples and tokens of one dataset, as the model card's
// block shows them, and what more Leo knows.
type Stats struct {
	Name     string  `json:"name"`
	Samples  int     `json:"samples"`  // after sampling, before skipping
	Fraction float64 `json:"fraction"` // configured share of the split

	Accepted int   `json:"accepted"`
	Tokens   int64 `json:"accepted_tokens"`
	Skipped  int   `json:"skipped"`
	Min      int   `json:"min_tokens"` // 0 if nothing was accepted
	Max      int   `json:"max_tokens"`

	// SkippedFor counts skipped samples by reason.
	SkippedFor map[Reason]int `json:"skipped_for,omitempty"`
	// RoleTokens counts tokens by role word.
	RoleTokens map[string]int64 `json:"role_tokens,omitempty"`
	// Turns counts accepted samples by their number of turns.
	Turns map[int]int `json:"turns,omitempty"`
	// Lengths counts accepted samples by tokens, exactly.
	Lengths Lengths `json:"lengths,omitempty"`
}

// Lengths counts samples by their number of tokens.
type Lengths map[int]int

// NewStats starts the statistics of a dataset.
func NewStats(name string, samples int, fraction float64) *Stats {
	return &Stats{Name: name, Samples: samples, Fraction: fraction, SkippedFor: map[Reason]int{},
		RoleTokens: map[string]int64{}, Turns: map[int]int{}, Lengths: Lengths{}}
}

// Add counts an accepted sample of so many tokens.
func (s *Stats) Add(tokens int) {
	if s.Accepted == 0 || tokens < s.Min {
		s.Min = tokens
	}
	s.Max = max(s.Max, tokens)
	s.Accepted++
	s.Tokens += int64(tokens)
	s.Lengths[tokens]++
}

// Skip counts a skipped sample.
func (s *Stats) Skip(why Reason) {
	s.Skipped++
	s.SkippedFor[why]++
}

// Processed is the number of samples looked at.
func (s *Stats) Processed() int { return s.Accepted + s.Skipped }

// Mean is the average of tokens per accepted sample, 0 if there is none.
func (s *Stats) Mean() float64 {
	if s.Accepted == 0 {
		return 0
	}
	return float64(s.Tokens) / float64(s.Accepted)
}

// Total adds datasets up, as the block's last row: its fraction is 1.
func Total(parts []*Stats) *Stats {
	t := NewStats("total", 0, 1)
	for _, p := range parts {
		if p.Accepted > 0 && (t.Accepted == 0 || p.Min < t.Min) {
			t.Min = p.Min
		}
		t.Max = max(t.Max, p.Max)
		t.Samples += p.Samples
		t.Accepted += p.Accepted
		t.Tokens += p.Tokens
		t.Skipped += p.Skipped
		for k, n := range p.SkippedFor {
			t.SkippedFor[k] += n
		}
		for k, n := range p.RoleTokens {
			t.RoleTokens[k] += n
		}
		for k, n := range p.Turns {
			t.Turns[k] += n
		}
		for k, n := range p.Lengths {
			t.Lengths[k] += n
		}
	}
	return t
}

// Quantile is the length that a share q of the samples does not exceed.
func (l Lengths) Quantile(q float64) int {
	total := 0
	lengths := make([]int, 0, len(l))
	for n, count := range l {
		lengths = append(lengths, n)
		total += count
	}
	slices.Sort(lengths)
	seen := 0
	for _, n := range lengths {
		if seen += l[n]; float64(seen) >= q*float64(total) {
			return n
		}
	}
	return 0
}

// Bins groups lengths into equal intervals of a round width: at most n of
// them, each [i*width, (i+1)*width).
func (l Lengths) Bins(n int) (width int, counts []int) {
	longest := 0
	for k := range l {
		longest = max(longest, k)
	}
	width = 1
	for i := 0; longest/width >= n; i++ {
		width = width * [...]int{2, 5, 10}[i%3] / [...]int{1, 2, 5}[i%3]
	}
	counts = make([]int, longest/width+1)
	for k, c := range l {
		counts[k/width] += c
	}
	return width, counts
}

const rule = "-----------------"

// WriteBlock prints the statistics block of Open-Assistant's pretokenizer,
// which LeoLM's model card shows, character for character (docs/leolm.md#statistics-block).
// Where the original divides by zero, because nothing was processed or
// accepted, it prints 0.
func WriteBlock(w io.Writer, prefix string, parts []*Stats) error {
	_, err := w.Write(append(fmt.Appendf(nil, "\n# Stats for %s*\n\n", prefix), AppendBlock(nil, parts)...))
	return err
}

// AppendBlock appends the block without its heading, as model cards show it.
func AppendBlock(b []byte, parts []*Stats) []byte {
	ratio := func(a, n int) string {
		if n == 0 {
			return pynum.Percent(0)
		}
		return pynum.Percent(float64(a) / float64(n))
	}
	for _, s := range append(slices.Clip(slices.Clone(parts)), Total(parts)) {
		shortest := "None"
		if s.Accepted > 0 {
			shortest = strconv.Itoa(s.Min)
		}
		b = fmt.Appendf(b, "## Stats for '%s' (%d samples (%s))\n%s\n", s.Name, s.Samples, pynum.Percent(s.Fraction), rule)
		b = fmt.Appendf(b, "  Accepted: %d/%d (%s)\n", s.Accepted, s.Processed(), ratio(s.Accepted, s.Processed()))
		b = fmt.Appendf(b, "  Accepted tokens: %d\n", s.Tokens)
		b = fmt.Appendf(b, "  Skipped: %d (%s)\n", s.Skipped, ratio(s.Skipped, s.Processed()))
		b = fmt.Appendf(b, "  Min tokens per sample: %s\n", shortest)
		b = fmt.Appendf(b, "  Max tokens per sample: %d\n", s.Max)
		b = fmt.Appendf(b, "  Avg tokens per sample: %s\n", pynum.FloatRepr(s.Mean()))
		b = fmt.Appendf(b, "%s\n\n", rule)
	}
	return b
}
