package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"leolm/internal/durable"
)

// stat is the median over the rounds, with the smallest and largest value.
type stat struct {
	median, low, high float64
	n                 int
}

func statOfValues(v []float64) stat {
	if len(v) == 0 {
		return stat{}
	}
	return stat{median(v), slices.Min(v), slices.Max(v), len(v)}
}

// statOf collects a value of one program.
func statOf(rounds []round, name, value string) stat {
	var v []float64
	for _, r := range rounds {
		if x, ok := r[name][value]; ok {
			v = append(v, x)
		}
	}
	return statOfValues(v)
}

// ratioOf is Leo over llama-server, round by round.
func ratioOf(rounds []round, value string) stat {
	var v []float64
	for _, r := range rounds {
		a, ok := r[leoName][value]
		b := r[peerName][value]
		if ok && b != 0 {
			v = append(v, a/b)
		}
	}
	return statOfValues(v)
}

// format prints median and spread; scale turns the value into the unit of its row.
func (s stat) format(scale float64) string {
	if s.n == 0 {
		return "–"
	}
	if s.n == 1 {
		return short(s.median * scale)
	}
	return fmt.Sprintf("%s (%s–%s)", short(s.median*scale), short(s.low*scale), short(s.high*scale))
}

// short prints three significant digits, or all digits before the point.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// line is a row of the table.
type line struct {
	cell, value, about string
	scale              float64
	target             string // what Leo is to reach
}

var lines = []line{
	{"chats-8", "tokens_per_second", "8 chats at once, tokens/s of all", 1, "≥ 2 ×"},
	{"chats-8", "writing_tokens_per_second", "the same while all write", 1, ""},
	{"chats-8", "first_token_p95", "95 % have their first token after, s", 1, ""},
	{"chats-32", "tokens_per_second", "32 chats at once, tokens/s of all", 1, "≥ 2 ×"},
	{"chats-32", "writing_tokens_per_second", "the same while all write", 1, ""},
	{"chats-32", "first_token_median", "half of them have their first token after, s", 1, ""},
	{"chats-32", "first_token_p95", "95 % have their first token after, s", 1, "≤ 0.6 ×"},
	{"chats-32", "gap_p99", "99 % of pauses between tokens are shorter than, s", 1, ""},
	{"arrivals", "rate", "random arrivals, per s", 1, ""},
	{"arrivals", "first_token_median", "half of them have their first token after, s", 1, ""},
	{"arrivals", "first_token_p95", "95 % have their first token after, s", 1, "≤ 0.6 ×"},
	{"arrivals", "gap_p99", "99 % of pauses between tokens are shorter than, s", 1, ""},
	{"second-turn", "first_turn", "first token of 2000, s", 1, ""},
	{"second-turn", "second_turn", "first token of the second turn, s", 1, ""},
	{"second-turn", "second_over_first", "second turn / first turn", 1, "Leo ≤ 0.125"},
	{"long-prompt", "gap_before", "4 streams, pause between tokens, ms", 1000, ""},
	{"long-prompt", "gap_after", "the same behind the long prompt, their texts being longer, ms", 1000, ""},
	{"long-prompt", "median_gap_over_usual", "median pause while 4096 are read, in median pauses (2)", 1, "Leo ≤ 3"},
	{"long-prompt", "p99_gap_over_usual", "99th percentile of the pauses, in 99th percentiles (2)", 1, "Leo ≤ 3"},
	{"long-prompt", "largest_gap_over_usual", "largest pause, in median pauses (2)", 1, ""},
	{"long-prompt", "long_first_token", "first token of the 4096, s", 1, ""},
	{"single", "tokens_per_second", "one stream, tokens/s", 1, ""},
	{"single", "over_inside", "of decoding without a server (1), %", 100, "Leo ≥ 97"},
	{"eight", "tokens_per_second", "eight streams, tokens/s", 1, ""},
	{"eight", "over_inside", "of decoding without a server (1), %", 100, "Leo ≥ 97"},
	{"memory", "bytes", "resident after the first answer, MiB", 1.0 / (1 << 20), ""},
	{"memory", "bytes_per_connection", "for an idle connection, KiB", 1.0 / (1 << 10), ""},
	{"memory", "bytes_per_chat", "for a chat of 576 tokens, MiB", 1.0 / (1 << 20), ""},
}

// writeTable writes OUT/MODEL.md from all results of the model in OUT.
func (b *bench) writeTable() error {
	results := map[string]*result{}
	for i := range cells {
		r, err := b.read(cells[i].name)
		if err != nil {
			return err
		}
		results[r.Cell] = r
	}
	name := strings.TrimSuffix(filepath.Base(b.model), ".gguf")
	return durable.WriteFile(filepath.Join(b.out, name+".md"), []byte(table(name, results)))
}

func table(name string, results map[string]*result) string {
	var t strings.Builder
	heads := []string{name, "Leo", "llama-server", "Leo / llama-server, of the rounds", "to reach", "rounds",
		"llama-server's best settings"}
	fmt.Fprintf(&t, "| %s |\n%s|\n", strings.Join(heads, " | "), strings.Repeat("|---", len(heads)))
	for _, l := range lines {
		r := results[l.cell]
		own, peer := statOf(r.Rounds, leoName, l.value), statOf(r.Rounds, peerName, l.value)
		if own.n+peer.n == 0 {
			continue
		}
		best := ""
		if len(r.Tried) > 0 {
			best = r.Tried[0].Settings.String()
		}
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %d | %s |\n", l.about, own.format(l.scale), peer.format(l.scale),
			ratioOf(r.Rounds, l.value).format(1), l.target, len(r.Rounds), best)
	}
	busiest := 0.0
	for _, r := range results {
		busiest = max(busiest, statOf(r.Rounds, leoName, "others").high, statOf(r.Rounds, peerName, "others").high)
	}
	fmt.Fprintf(&t, "\nOther programs kept at most %.2f processors busy during a round.\n", busiest)
	t.WriteString("\n(1) Leo: the same passes without a server, in turn with it; llama-server: what it measures itself of one stream.\n")
	t.WriteString("(2) Of pauses without a long prompt, at the same length of the streams: between those before and after it.\n")
	return t.String()
}
