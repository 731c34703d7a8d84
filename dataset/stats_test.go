package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/dataset/shard"
)

// cardRow is a row of the model card's table (docs/leolm.md#statistics-block).
type cardRow struct {
	name          string
	samples       int
	tokens        int64
	shortest, max int
	avg           string
}

var card = []cardRow{
	{"Subset of OpenAssistant/OASST-DE", 3534, 2259302, 29, 2484, "639.3044708545557"},
	{"Subset of FreedomIntelligence/evol-instruct-deutsch", 57841, 42958192, 33, 5507, "742.6944900675991"},
	{"Subset of FreedomIntelligence/alpaca-gpt4-deutsch", 48969, 13372005, 19, 1359, "273.07082031489307"},
	{"Subset of LeoLM/OpenSchnabeltier", 21314, 8134690, 25, 1202, "381.65947264708643"},
	{"Subset of LeoLM/German_Poems", 490, 618642, 747, 1678, "1262.534693877551"},
	{"Subset of LeoLM/German_Songs", 392, 187897, 231, 826, "479.3290816326531"},
}

// lengths makes a list of lengths with the row's count, sum, minimum and
// maximum.
func (r *cardRow) lengths() []int {
	out := make([]int, r.samples)
	rest := r.tokens - int64(r.shortest) - int64(r.max)
	out[0], out[1] = r.shortest, r.max
	for i := 2; i < r.samples; i++ {
		left := int64(r.samples - i)
		out[i] = int(rest / left)
		if i%3 != 0 && left > 1 { // spread around the mean, in bounds
			d := min(out[i]-r.shortest, r.max-out[i]) * (i % 7) / 16
			if i%2 == 0 {
				d = -d
			}
			out[i] += d
		}
		rest -= int64(out[i])
	}
	return out
}

// TestCardBlock: six lists of lengths with the card's counts, sums, minima
// and maxima print as the card's table, character for character.
func TestCardBlock(t *testing.T) {
	var parts []*Stats
	for i := range card {
		r := &card[i]
		s := NewStats(r.name, r.samples, 1)
		l := r.lengths()
		if slices.Min(l) != r.shortest || slices.Max(l) != r.max {
			t.Fatalf("%s: synthetic lengths from %d to %d", r.name, slices.Min(l), slices.Max(l))
		}
		for _, n := range l {
			s.Add(n)
		}
		parts = append(parts, s)
	}
	var got bytes.Buffer
	if err := WriteBlock(&got, "german", parts); err != nil {
		t.Fatal(err)
	}
	want := "\n# Stats for german*\n\n"
	for _, r := range append(slices.Clone(card), cardRow{"total", 132540, 67530728, 19, 5507, "509.51205673758864"}) {
		want += fmt.Sprintf("## Stats for '%s' (%d samples (100.0%%))\n-----------------\n  Accepted: %d/%d (100.0%%)\n  Accepted tokens: %d\n  Skipped: 0 (0.0%%)\n"+
			"  Min tokens per sample: %d\n  Max tokens per sample: %d\n  Avg tokens per sample: %s\n-----------------\n\n",
			r.name, r.samples, r.samples, r.samples, r.tokens, r.shortest, r.max, r.avg)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}

	page := string(StatsPage("german", parts))
	for _, want := range []string{"<td>132540<td>0<td>67530728<td>19<td>", "<h2>Subset of LeoLM/OpenSchnabeltier</h2>", "<svg ", "5500 to 5599 tokens: 1 samples"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "http") {
		t.Error("the page needs the network")
	}
}

func TestBlockOfNothing(t *testing.T) {
	skipped := NewStats("a<b", 2, 0.333)
	skipped.Skip(ReasonEmpty)
	skipped.Skip(ReasonLong)
	var b bytes.Buffer
	if err := WriteBlock(&b, "p", []*Stats{NewStats("none", 0, 1), skipped}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Stats for 'none' (0 samples (100.0%))\n-----------------\n  Accepted: 0/0 (0.0%)\n  Accepted tokens: 0\n  Skipped: 0 (0.0%)\n  Min tokens per sample: None\n  Max tokens per sample: 0\n  Avg tokens per sample: 0.0\n",
		"## Stats for 'a<b' (2 samples (33.3%))\n-----------------\n  Accepted: 0/2 (0.0%)\n  Accepted tokens: 0\n  Skipped: 2 (100.0%)\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q in\n%s", want, b.String())
		}
	}
	if page := string(StatsPage("p", []*Stats{skipped})); strings.Contains(page, "a<b") || !strings.Contains(page, "Skipped: empty: 1, too long: 1.") {
		t.Errorf("page: %s", page)
	}
}

func TestQuantilesAndBins(t *testing.T) {
	l := Lengths{1: 50, 10: 40, 99: 9, 1000: 1}
	for q, want := range map[float64]int{0: 1, .5: 1, .51: 10, .9: 10, .99: 99, 1: 1000} {
		if got := l.Quantile(q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	for _, c := range []struct{ longest, n, width int }{{5, 10, 1}, {10, 10, 2}, {60, 60, 2}, {119, 60, 2}, {120, 60, 5}, {5507, 60, 100}, {1 << 40, 10, 200000000000}} {
		if w, counts := (Lengths{c.longest: 3}).Bins(c.n); w != c.width || len(counts) > c.n || counts[len(counts)-1] != 3 {
			t.Errorf("longest %d in %d bins: width %d, %d bins", c.longest, c.n, w, len(counts))
		}
	}
}

func TestReadStats(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x-train")
	w, err := shard.NewWriter(prefix, shard.Record{Vocab: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{4, 2, 9} {
		if err := w.Add(shard.Sample{IDs: make([]int32, n), Roles: make([]uint8, n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadStats(prefix)
	if err != nil || len(got) != 1 || got[0].Accepted != 3 || got[0].Tokens != 15 || got[0].Min != 2 || got[0].Max != 9 {
		t.Errorf("foreign shards: %+v, %v", got, err)
	}
	s := NewStats("a", 2, 1)
	s.Add(4)
	data, _ := json.Marshal(statsFile{Datasets: []*Stats{s}})
	os.WriteFile(prefix+"_stats.json", data, 0o644)
	if _, err := ReadStats(prefix); err == nil || !strings.Contains(err.Error(), "statistics of 1 samples, the shards hold 3") {
		t.Errorf("foreign statistics: %v", err)
	}
}
