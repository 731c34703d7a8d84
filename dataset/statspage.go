package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"leolm/dataset/shard"
	"leolm/internal/bounded"
	"leolm/internal/pynum"
)

// statsFile is PREFIX_stats.json.
type statsFile struct {
	Preset    string   `json:"preset"`
	Tokenizer string   `json:"tokenizer"` // path when the shards were made
	Vocab     int      `json:"vocab"`
	Datasets  []*Stats `json:"datasets"`
}

// maxStats bounds a statistics file.
const maxStats = 64 << 20

// ShardTokenizer tells which tokenizer shards were made with, "" if they are
// not Leo's.
func ShardTokenizer(prefix string) (path string, vocab int) {
	var doc statsFile
	data, err := bounded.Regular(prefix+"_stats.json", maxStats)
	if err != nil || json.Unmarshal(data, &doc) != nil {
		return "", 0
	}
	return doc.Tokenizer, doc.Vocab
}

// ReadStats reads the statistics of finished shards: from PREFIX_stats.json,
// or, if another tool wrote the shards, from the lengths in their index.
func ReadStats(prefix string) ([]*Stats, error) {
	shards, err := shard.Open(prefix)
	if err != nil {
		return nil, err
	}
	defer shards.Close()
	file := prefix + "_stats.json"
	data, err := bounded.Regular(file, maxStats)
	if errors.Is(err, fs.ErrNotExist) {
		s := NewStats(filepath.Base(prefix), shards.Len(), 1)
		for i := range shards.Len() {
			s.Add(shards.Length(i))
		}
		return []*Stats{s}, nil
	}
	if err != nil {
		return nil, err
	}
	parts, err := parseStats(file, data)
	if err != nil {
		return nil, err
	}
	if samples := Total(parts).Accepted; samples != shards.Len() {
		return nil, fmt.Errorf("%s: statistics of %d samples, the shards hold %d: they do not belong together", file, samples, shards.Len())
	}
	return parts, nil
}

// ReadStatsFile reads a file PREFIX_stats.json alone, where the shards are no longer there.
func ReadStatsFile(path string) ([]*Stats, error) {
	data, err := bounded.Regular(path, maxStats)
	if err != nil {
		return nil, err
	}
	parts, err := parseStats(path, data)
	if err == nil && len(parts) == 0 {
		err = fmt.Errorf("%s: not statistics of prepared data: it lists no datasets", path)
	}
	return parts, err
}

func parseStats(file string, data []byte) ([]*Stats, error) {
	var doc statsFile
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: not statistics of prepared data: %w", file, err)
	}
	for i, s := range doc.Datasets {
		if s == nil {
			return nil, fmt.Errorf("%s: dataset %d is null", file, i)
		}
	}
	return doc.Datasets, nil
}

// WriteSkips prints how many samples of which dataset were skipped and why.
func WriteSkips(w io.Writer, parts []*Stats) error {
	var b strings.Builder
	for _, s := range append(parts[:len(parts):len(parts)], Total(parts)) {
		fmt.Fprintf(&b, "%s: %d skipped\n", s.Name, s.Skipped)
		for _, why := range Reasons() {
			if n := s.SkippedFor[why]; n > 0 {
				fmt.Fprintf(&b, "  %6d  %s\n", n, why)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// StatsPage is an HTML page with a histogram of lengths for each dataset and
// in total. It needs nothing from the network.
func StatsPage(prefix string, parts []*Stats) []byte {
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%s</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{font-size:1.1rem;margin:2rem 0 .3rem}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:right;font-variant-numeric:tabular-nums}
td:first-child,th:first-child{text-align:left}
svg{display:block;width:100%%;height:auto}text{font:11px system-ui,sans-serif;fill:#555}rect{fill:#3b6ea5}rect:hover{fill:#d9822b}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1a1a1a}text{fill:#aaa}rect{fill:#6fa3d8}}
</style></head><body>
<h1>Tokens per sample: %s</h1>
<p>%s. Bars: samples by their number of tokens; point at one for its numbers.</p>
<table><tr><th>dataset<th>samples<th>skipped<th>tokens<th>min<th>median<th>90 %%<th>99 %%<th>max<th>avg</tr>
`, e(filepath.Base(prefix)), e(filepath.Base(prefix)), e(prefix))
	all := append(parts[:len(parts):len(parts)], Total(parts))
	for _, s := range all {
		fmt.Fprintf(&b, "<tr><td>%s<td>%d<td>%d<td>%d<td>%d<td>%d<td>%d<td>%d<td>%d<td>%.1f</tr>\n", e(s.Name), s.Accepted, s.Skipped, s.Tokens,
			s.Min, s.Lengths.Quantile(.5), s.Lengths.Quantile(.9), s.Lengths.Quantile(.99), s.Max, s.Mean())
	}
	b.WriteString("</table>\n")
	for _, s := range all {
		fmt.Fprintf(&b, "<h2>%s</h2>\n", e(s.Name))
		var notes []string
		for _, why := range Reasons() {
			if n := s.SkippedFor[why]; n > 0 {
				notes = append(notes, fmt.Sprintf("%s: %d", why, n))
			}
		}
		if notes != nil {
			fmt.Fprintf(&b, "<p>Skipped: %s.</p>\n", e(strings.Join(notes, ", ")))
		}
		histogram(&b, s.Lengths)
		if s.Tokens > 0 && len(s.RoleTokens) > 0 {
			b.WriteString("<p>Tokens by role:")
			for _, role := range [...]string{"system", "user", "assistant", "context", "tool"} {
				if n := s.RoleTokens[role]; n > 0 {
					fmt.Fprintf(&b, " %s %s", role, pynum.Percent(float64(n)/float64(s.Tokens)))
				}
			}
			b.WriteString("</p>\n")
		}
	}
	b.WriteString("</body></html>\n")
	return []byte(b.String())
}

// histogram draws the lengths as bars of equal width.
func histogram(b *strings.Builder, l Lengths) {
	if len(l) == 0 {
		b.WriteString("<p>No samples.</p>\n")
		return
	}
	const width, height, left, bottom = 900, 220, 60, 24
	step, counts := l.Bins(60)
	top := 0
	for _, n := range counts {
		top = max(top, n)
	}
	bar := float64(width-left) / float64(len(counts))
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" role="img"><title>samples by tokens, %d tokens a bar</title>`+"\n", width, height+bottom, step)
	fmt.Fprintf(b, `<text x="%d" y="12" text-anchor="end">%d</text><text x="%d" y="%d" text-anchor="end">0</text>`+"\n", left-6, top, left-6, height)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		h := max(float64(n)/float64(top)*(height-8), 1)
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%d to %d tokens: %d samples</title></rect>`+"\n",
			float64(left)+bar*float64(i), float64(height)-h, max(bar-1, .5), h, i*step, (i+1)*step-1, n)
	}
	for at := 0; at <= len(counts)*step; at += tick(len(counts) * step) {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", float64(left)+bar*float64(at)/float64(step), height+16, at)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">tokens</text>`+"\n", left-6, height+16)
	b.WriteString("</svg>\n")
}

// tick is a round distance of at most eight marks on an axis of so many tokens.
func tick(tokens int) int {
	for d := 1; ; d *= 10 {
		for _, k := range [...]int{1, 2, 5} {
			if tokens <= 8*k*d {
				return k * d
			}
		}
	}
}
