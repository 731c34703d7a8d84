package mtbench

import (
	"math"
	"slices"
	"strings"
	"unicode"

	"leolm/eval"
	"leolm/internal/pynum"
)

const (
	resamples     = 2000
	bootstrapSeed = 42
)

// bootstrapScores are 95 % intervals of the means, by name and group as in an artifact: questions are drawn again with all
// their ratings, as many of each category as it has. The judge is taken as it is.
func bootstrapScores(rated []Rated) map[string][2]float64 {
	type question struct{ ratings [2][]float64 } // by turn
	byCategory := map[string][]*question{}
	var categories []string
	at := map[string]*question{}
	for _, r := range rated {
		q := at[r.Question]
		if q == nil {
			q = &question{}
			at[r.Question] = q
			if byCategory[r.Category] == nil {
				categories = append(categories, r.Category)
			}
			byCategory[r.Category] = append(byCategory[r.Category], q)
		}
		q.ratings[r.Turn-1] = append(q.ratings[r.Turn-1], r.Float64())
	}
	random := pynum.NewRandom(bootstrapSeed)
	values := map[string][]float64{}
	put := func(name string, sum float64, n int) {
		if n > 0 {
			values[name] = append(values[name], sum/float64(n))
		}
	}
	for range resamples {
		var sum [2]float64
		var n [2]int
		for _, c := range categories {
			qs := byCategory[c]
			total, count := 0.0, 0
			for range qs {
				for turn, ratings := range qs[random.Below(len(qs))].ratings {
					for _, x := range ratings {
						sum[turn] += x
						total += x
					}
					n[turn] += len(ratings)
					count += len(ratings)
				}
			}
			put("rating/"+c, total, count)
		}
		put("first_turn/", sum[0], n[0])
		put("second_turn/", sum[1], n[1])
		if n[0] > 0 && n[1] > 0 {
			put("average/", sum[0]/float64(n[0])+sum[1]/float64(n[1]), 2)
		}
	}
	out := map[string][2]float64{}
	for name, v := range values {
		slices.Sort(v)
		out[name] = [2]float64{quantile(v, 0.025), quantile(v, 0.975)}
	}
	return out
}

// quantile interpolates between the sorted values, as NumPy does by default.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Agreement says how far two judges agree on the turns that both rated.
type Agreement struct {
	A, B      string
	N         int
	Equal     float64 // share of equal ratings
	WithinOne float64 // share of ratings that differ by at most 1
	// Kappa is Cohen's kappa of equal ratings; Weighted counts a difference by its square; Spearman is the correlation of
	// ranks, equal ratings sharing theirs. NaN where a judge gives the same rating everywhere.
	Kappa, Weighted, Spearman float64
	MeanA, MeanB              float64
}

// Agree compares the ratings of two judges.
func Agree(a, b string, x, y []PlacedRating) Agreement {
	byPlace := map[Place]float64{}
	for _, r := range y {
		byPlace[r.Place] = r.Rating
	}
	var xs, ys []float64
	for _, r := range x {
		if v, ok := byPlace[r.Place]; ok {
			xs, ys = append(xs, r.Rating), append(ys, v)
		}
	}
	g := Agreement{A: a, B: b, N: len(xs)}
	for i := range xs {
		if xs[i] == ys[i] {
			g.Equal++
		}
		if math.Abs(xs[i]-ys[i]) <= 1 {
			g.WithinOne++
		}
		g.MeanA += xs[i]
		g.MeanB += ys[i]
	}
	n := float64(len(xs))
	g.Equal, g.WithinOne, g.MeanA, g.MeanB = g.Equal/n, g.WithinOne/n, g.MeanA/n, g.MeanB/n
	g.Kappa = kappa(xs, ys, func(d float64) float64 {
		if d != 0 {
			return 1
		}
		return 0
	})
	g.Weighted = kappa(xs, ys, func(d float64) float64 { return d * d })
	g.Spearman = pearson(ranks(xs), ranks(ys))
	return g
}

// kappa is Cohen's kappa: 1 − the observed disagreement over the one of independent judges with the same habits.
func kappa(xs, ys []float64, weight func(difference float64) float64) float64 {
	observed, chance := 0.0, 0.0
	for i := range xs {
		observed += weight(xs[i] - ys[i])
		for j := range ys {
			chance += weight(xs[i] - ys[j])
		}
	}
	return 1 - observed*float64(len(xs))/chance
}

// ranks gives each value its place from 1, and equal values the mean of theirs.
func ranks(xs []float64) []float64 {
	order := make([]int, len(xs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case xs[a] < xs[b]:
			return -1
		case xs[a] > xs[b]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(xs))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && xs[order[j]] == xs[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			out[k] = float64(i+1+j) / 2
		}
		i = j
	}
	return out
}

func pearson(xs, ys []float64) float64 {
	n := float64(len(xs))
	mx, my := 0.0, 0.0
	for i := range xs {
		mx += xs[i] / n
		my += ys[i] / n
	}
	var xy, xx, yy float64
	for i := range xs {
		xy += (xs[i] - mx) * (ys[i] - my)
		xx += (xs[i] - mx) * (xs[i] - mx)
		yy += (ys[i] - my) * (ys[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

// kin warns of a judge that rates itself or its family: judges prefer answers like their own.
func kin(model, judge eval.Identity) []string {
	family := func(name string) string {
		name = strings.ToLower(name[strings.LastIndexAny(name, "/\\")+1:])
		return name[:len(name)-len(strings.TrimLeftFunc(name, unicode.IsLetter))]
	}
	switch {
	case judge.Kind == "replay":
		return nil
	case model.Weights != "" && model.Weights == judge.Weights, model.Kind == "endpoint" && model.Name == judge.Name && judge.Kind == "endpoint":
		return []string{"the judge is the model itself: judges prefer answers like their own"}
	case len(family(model.Name)) > 2 && family(model.Name) == family(judge.Name):
		return []string{"judge and model seem to be of one family (" + family(model.Name) + "): judges prefer answers like their own"}
	}
	return nil
}
