package harness

import "leolm/eval"

// Report is results in the shape that lm-evaluation-harness prints them in, with what it does not say beside.
type Report struct {
	// Results have by task each metric and NAME_stderr; null where there is none.
	Results  map[string]map[string]*float64 `json:"results"`
	Versions map[string]string              `json:"versions"`
	Shots    map[string]int                 `json:"n-shot"`
	Samples  map[string]Samples             `json:"n-samples"`
	// Better says of each metric whether higher is better.
	Better map[string]map[string]bool `json:"higher_is_better"`
	Counts map[string]map[string]int  `json:"counts"`
	Faults map[string][]Fault         `json:"faulty_rows,omitempty"`
	Groups map[string][]string        `json:"group_subtasks,omitempty"`
	Config map[string]any             `json:"config"`
	Model  eval.Identity              `json:"model"`
}

// Samples are the numbers of documents.
type Samples struct {
	Original  int `json:"original"`  // rows
	Effective int `json:"effective"` // scored
}

// NewReport makes a report.
func NewReport(results []*Result, id eval.Identity, opt *Options) *Report {
	r := &Report{
		Results: map[string]map[string]*float64{}, Versions: map[string]string{}, Shots: map[string]int{}, Samples: map[string]Samples{},
		Better: map[string]map[string]bool{}, Counts: map[string]map[string]int{}, Faults: map[string][]Fault{}, Groups: map[string][]string{},
		Config: opt.Config, Model: id,
	}
	add := func(name string, ns []Number, p *Result) {
		r.Results[name], r.Better[name] = map[string]*float64{}, map[string]bool{}
		for _, n := range ns {
			r.Results[name][n.Name], r.Results[name][n.Name+"_stderr"], r.Better[name][n.Name] = n.Value, n.StdErr, !n.Lower
		}
		r.Versions[name], r.Shots[name] = p.Task.Version, p.Task.Shots
	}
	for _, p := range results {
		name := p.Task.Name
		add(name, p.Numbers, p)
		r.Samples[name], r.Counts[name] = Samples{p.Task.Rows, p.Counts.Documents}, p.Counts.asMap()
		if len(p.Task.Faults) > 0 {
			r.Faults[name] = p.Task.Faults
		}
	}
	for _, g := range Groups(results, opt.MeanOfErrors) {
		add(g.Name, g.Numbers, g.Parts[0])
		for _, p := range g.Parts {
			r.Groups[g.Name] = append(r.Groups[g.Name], p.Task.Name)
		}
	}
	return r
}
