package harness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Aggregation makes one number of a metric's values.
type Aggregation uint8

// The aggregations, as lm-evaluation-harness names them.
const (
	Mean               Aggregation = iota
	Perplexity                     // exp of the negative mean
	WeightedPerplexity             // exp of the negative sum over the sum of weights
	BitsPerByte                    // negative sum over the sum of weights, in bits
	Median
)

var aggregationNames = [...]string{"mean", "perplexity", "weighted_perplexity", "bits_per_byte", "median"}

// String is the aggregation's name in task files.
func (a Aggregation) String() string { return aggregationNames[a] }

// ParseAggregation finds an aggregation by its name.
func ParseAggregation(name string) (Aggregation, error) {
	if i := slices.Index(aggregationNames[:], name); i >= 0 {
		return Aggregation(i), nil
	}
	return 0, fmt.Errorf("unknown aggregation %q: there are mean, median, perplexity, weighted_perplexity and bits_per_byte", name)
}

// Number is an aggregated metric. Value and StdErr are nil where they cannot be said.
type Number struct {
	Metric
	Value, StdErr *float64
	N             int
	// Note says what a standard error is, where it is not the usual one.
	Note string
}

// resamples is how often a median is drawn anew for its standard error.
const resamples = 1000

// Aggregate makes one number of the values of all documents, in their order.
func (m Metric) Aggregate(vs []Value) Number {
	out := Number{Metric: m, N: len(vs)}
	if len(vs) == 0 {
		return out
	}
	xs := make([]float64, len(vs))
	num, den := 0.0, 0.0
	for i, v := range vs {
		xs[i] = v.Num
		num += v.Num
		den += v.Den
	}
	var x float64
	switch m.Aggregation {
	case Mean:
		x = mean(xs)
		out.StdErr = MeanStdErr(xs)
	case Median:
		x = median(xs)
		out.StdErr = medianStdErr(xs)
	case Perplexity:
		x = math.Exp(-mean(xs))
		if se := MeanStdErr(xs); se != nil { // by the delta method
			*se *= x
			out.StdErr = se
		}
	case WeightedPerplexity, BitsPerByte:
		if den == 0 {
			return out
		}
		if x = -num / den; m.Aggregation == WeightedPerplexity {
			x = math.Exp(x)
		} else {
			x /= math.Ln2
		}
	}
	out.Value = finite(x)
	return out
}

// finite is a number that can be printed and stored; nil for others.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// mean is the sum in order over the number, as lm-evaluation-harness computes it.
func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// MeanStdErr is the standard error of a mean: the standard deviation with n−1 over √n. One value has none.
func MeanStdErr(xs []float64) *float64 {
	n := float64(len(xs))
	if n < 2 {
		return nil
	}
	mu, sum := mean(xs), 0.0
	for _, x := range xs {
		sum += (x - mu) * (x - mu)
	}
	return finite(math.Sqrt(sum/(n-1)) / math.Sqrt(n))
}

// median is the upper one of two in the middle.
func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	return s[len(s)/2]
}

func medianStdErr(xs []float64) *float64 {
	if len(xs) < 2 {
		return nil
	}
	r := rand.New(rand.NewPCG(1, 0)) // the same error for the same values
	drawn, ms := make([]float64, len(xs)), make([]float64, resamples)
	for i := range ms {
		for k := range drawn {
			drawn[k] = xs[r.IntN(len(xs))]
		}
		ms[i] = median(drawn)
	}
	mu, sum := mean(ms), 0.0
	for _, m := range ms {
		sum += (m - mu) * (m - mu)
	}
	return finite(math.Sqrt(sum / (resamples - 1)))
}

// GroupMean is the unweighted mean of the parts of a group. Its standard error is that of such a mean, √(Σse²)/k, or with
// meanOfErrors the mean of the parts' errors, which is what the German harness prints. Parts without a value make none.
func GroupMean(m Metric, parts []Number, meanOfErrors bool) Number {
	out := Number{Metric: m}
	if m.Aggregation != Mean || len(parts) == 0 {
		return out // the perplexity of two texts is not the mean of theirs
	}
	var xs, ses []float64
	for _, p := range parts {
		out.N += p.N
		if p.Value == nil {
			return Number{Metric: m, N: out.N, Note: "a part has no value"}
		}
		xs = append(xs, *p.Value)
		if p.StdErr != nil {
			ses = append(ses, *p.StdErr)
		}
	}
	out.Value = finite(numpySum(xs) / float64(len(xs)))
	if len(ses) < len(xs) {
		return out
	}
	if meanOfErrors {
		out.StdErr = finite(numpySum(ses) / float64(len(ses)))
		out.Note = "the mean of the parts' standard errors"
		return out
	}
	sum := 0.0
	for _, se := range ses {
		sum += se * se
	}
	out.StdErr = finite(math.Sqrt(sum) / float64(len(ses)))
	return out
}

// numpySum adds up to 128 numbers in the order of NumPy: eight sums beside each other, then the rest. Its last bits are
// those that the harness prints.
func numpySum(xs []float64) float64 {
	if len(xs) < 8 || len(xs) > 128 {
		sum := 0.0
		for _, x := range xs {
			sum += x
		}
		return sum
	}
	var r [8]float64
	copy(r[:], xs)
	i := 8
	for ; i+8 <= len(xs); i += 8 {
		for k := range r {
			r[k] += xs[i+k]
		}
	}
	sum := ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
	for ; i < len(xs); i++ {
		sum += xs[i]
	}
	return sum
}
