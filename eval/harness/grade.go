package harness

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dlclark/regexp2"

	"leolm/eval"
)

// metricFunc is a metric of a task file.
type metricFunc struct {
	Metric
	config MetricConfig
	ignore []*regexp2.Regexp
	filter *filter // of generated answers
}

// knownMetric is a metric that a kind of task has.
type knownMetric struct {
	name  string
	agg   Aggregation
	lower bool
	usual bool // without metric_list
}

// known are the metrics of each kind of task, with their aggregations.
var known = map[string][]knownMetric{
	"multiple_choice": {
		{"acc", Mean, false, true}, {"acc_norm", Mean, false, true}, {"acc_bytes", Mean, false, false},
		{"acc_mutual_info", Mean, false, false}, {"exact_match", Mean, false, false}, {"brier_score", Mean, true, false},
	},
	"loglikelihood":         {{"perplexity", Perplexity, true, true}, {"acc", Mean, false, true}},
	"loglikelihood_rolling": {{"word_perplexity", WeightedPerplexity, true, true}, {"byte_perplexity", WeightedPerplexity, true, true}, {"bits_per_byte", BitsPerByte, true, true}},
	"generate_until":        {{"exact_match", Mean, false, true}},
}

// chooseMetrics settles which numbers are computed.
func (b *builder) chooseMetrics() error {
	c := b.c
	kinds := known[c.OutputType]
	list := c.Metrics
	if len(list) == 0 {
		for _, k := range kinds {
			if k.usual {
				list = append(list, MetricConfig{Name: k.name})
			}
		}
	}
	for _, mc := range list {
		i := slices.IndexFunc(kinds, func(k knownMetric) bool { return k.name == mc.Name })
		if i < 0 {
			var names []string
			for _, k := range kinds {
				names = append(names, k.name)
			}
			return &ConfigError{File: c.Path, Line: mc.Line, Key: "metric_list", Why: fmt.Sprintf("%s has no metric %q; it has %s", c.OutputType, mc.Name, strings.Join(names, ", "))}
		}
		m := metricFunc{Metric: Metric{Name: mc.Name, Aggregation: kinds[i].agg, Lower: kinds[i].lower}, config: mc}
		if err := m.configure(c); err != nil {
			return err
		}
		if c.OutputType != "generate_until" {
			b.add(m)
			continue
		}
		for _, f := range b.filters {
			m := m
			if m.filter = f; len(b.filters) > 1 || f.name != "none" {
				m.Name += "," + f.name
			}
			b.add(m)
		}
	}
	return nil
}

func (b *builder) add(m metricFunc) {
	b.metrics, b.task.Metrics = append(b.metrics, m), append(b.task.Metrics, m.Metric)
}

// configure applies the entry of metric_list.
func (m *metricFunc) configure(c *Config) error {
	fail := func(err error) error {
		return &ConfigError{File: c.Path, Line: m.config.Line, Key: "metric_list", Why: err.Error()}
	}
	switch m.config.Aggregation {
	case "":
	case "nanmean", "brier_score":
		m.Aggregation = Mean
	default:
		agg, err := ParseAggregation(m.config.Aggregation)
		if err != nil {
			return fail(err)
		}
		if weighted := m.Aggregation == WeightedPerplexity || m.Aggregation == BitsPerByte; weighted != (agg == WeightedPerplexity || agg == BitsPerByte) {
			return fail(fmt.Errorf("the aggregation of %s cannot be %s", m.Name, agg))
		}
		m.Aggregation = agg
	}
	if m.config.Lower != nil {
		m.Lower = *m.config.Lower
	}
	for _, pattern := range m.config.RegexesToIgnore {
		re, err := regexp2.Compile(pattern, regexp2.RE2)
		if err != nil {
			return fail(err)
		}
		re.MatchTimeout = matchTime
		m.ignore = append(m.ignore, re)
	}
	return nil
}

// has reports whether a metric is wanted.
func (b *builder) has(name string) bool {
	return slices.ContainsFunc(b.metrics, func(m metricFunc) bool { return m.config.Name == name })
}

// multipleChoice makes the requests of a choice.
func (b *builder) multipleChoice(it *Item, context string, choices []string, want *target) error {
	gold, err := want.gold(choices)
	if err != nil {
		return err
	}
	for _, c := range choices {
		it.Scores = append(it.Scores, eval.ScoreRequest{Context: context, Continuation: b.c.TargetDelimiter + c})
	}
	mutual := b.has("acc_mutual_info")
	if mutual {
		for _, c := range choices {
			it.Scores = append(it.Scores, eval.ScoreRequest{Continuation: b.c.TargetDelimiter + c})
		}
	}
	if it.Gold = any(gold); len(gold) == 1 {
		it.Gold = gold[0]
	}
	n := len(choices)
	it.Choices = choices
	it.Grade = func(o *Outcome) (Grade, error) {
		all := o.LogProbs()
		lls := all[:n]
		g := (&Choice{Texts: choices, Gold: gold}).Grade(lls)
		if mutual {
			gain := make([]float64, n)
			for i := range gain {
				gain[i] = lls[i] - all[n+i]
			}
			g.Values["acc_mutual_info"] = yes(slices.Contains(gold, ArgMax(gain)))
		}
		g.Values["exact_match"] = yes(slices.ContainsFunc(gold, func(i int) bool { return o.Scores[i].Greedy }))
		g.Values["brier_score"] = Value{brier(lls, gold), 1}
		return g, nil
	}
	return nil
}

func yes(is bool) Value {
	if is {
		return Value{1, 1}
	}
	return Value{0, 1}
}

// brier is the squared distance between the probabilities of the choices and the right one.
func brier(lls []float64, gold []int) float64 {
	top, sum := slices.Max(lls), 0.0
	for _, ll := range lls {
		sum += math.Exp(ll - top)
	}
	score := 0.0
	for i, ll := range lls {
		d := math.Exp(ll-top) / sum
		if slices.Contains(gold, i) {
			d--
		}
		score += d * d
	}
	return score
}

// likelihood makes the request of a text behind its context.
func (b *builder) likelihood(it *Item, context string, want *target) error {
	text, err := want.answer(nil)
	if err != nil {
		return err
	}
	if text == "" {
		return errors.New("doc_to_target: is empty")
	}
	it.Gold = text
	it.Scores = []eval.ScoreRequest{{Context: context, Continuation: text}}
	it.Grade = func(o *Outcome) (Grade, error) {
		s := o.Scores[0]
		return Grade{Values: map[string]Value{"perplexity": {s.LogProb, 1}, "acc": yes(s.Greedy)}}, nil
	}
	return nil
}

// rolling makes the request of a whole text.
func (b *builder) rolling(it *Item, want *target) error {
	text, err := want.answer(nil)
	if err != nil {
		return err
	}
	if strings.Trim(text, pythonSpace) == "" {
		return errors.New("the text is empty")
	}
	it.Rolling = []string{text}
	nwords, nbytes := float64(countWords(text)), float64(len(text))
	it.Grade = func(o *Outcome) (Grade, error) {
		ll := o.Rolling[0].LogProb
		return Grade{Values: map[string]Value{"word_perplexity": {ll, nwords}, "byte_perplexity": {ll, nbytes}, "bits_per_byte": {ll, nbytes}}}, nil
	}
	return nil
}

// generate makes the request of an answer.
func (b *builder) generate(it *Item, context string, choices []string, want *target) error {
	gold := want.texts
	if choices != nil {
		indexes, err := want.gold(choices)
		if err != nil {
			return err
		}
		gold = nil
		for _, i := range indexes {
			gold = append(gold, choices[i])
		}
	}
	if it.Gold = any(gold); len(gold) == 1 {
		it.Gold = gold[0]
	}
	it.Ask = b.c.ask(context, it.Doc)
	metrics := b.metrics
	it.Grade = func(o *Outcome) (Grade, error) {
		g := Grade{Values: map[string]Value{}}
		for i := range metrics {
			m := &metrics[i]
			answer, found, err := m.filter.apply(o.Answer.Text)
			if err != nil {
				return g, err
			}
			if g.Picked == nil {
				g.Picked = answer
			}
			g.Unmatched = g.Unmatched || !found
			right := false
			for _, want := range gold {
				same, err := m.equal(answer, want)
				if err != nil {
					return g, err
				}
				right = right || same
			}
			g.Values[m.Name] = yes(right)
		}
		return g, nil
	}
	return nil
}

// punctuation is string.punctuation of Python.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// equal compares as exact_match does: what is to be ignored goes, then case, punctuation and numbers.
func (m *metricFunc) equal(a, b string) (bool, error) {
	for _, s := range []*string{&a, &b} {
		for _, re := range m.ignore {
			out, err := re.Replace(*s, "", -1, -1)
			if err != nil {
				return false, err
			}
			*s = out
		}
		if m.config.IgnoreCase {
			*s = strings.ToLower(*s)
		}
		drop := ""
		if m.config.IgnorePunctuation {
			drop += punctuation
		}
		if m.config.IgnoreNumbers {
			drop += "0123456789"
		}
		if drop != "" {
			*s = strings.Map(func(r rune) rune {
				if strings.ContainsRune(drop, r) {
					return -1
				}
				return r
			}, *s)
		}
	}
	return a == b, nil
}
