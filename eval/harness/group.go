package harness

import (
	"slices"

	"leolm/eval"
)

// Group is a task that is made of others.
type Group struct {
	Name    string
	Numbers []Number
	Parts   []*Result
}

// Groups makes the groups of results, in the order in which they begin.
func Groups(results []*Result, meanOfErrors bool) []*Group {
	var out []*Group
	for _, r := range results {
		if r.Task.Group == "" {
			continue
		}
		i := slices.IndexFunc(out, func(g *Group) bool { return g.Name == r.Task.Group })
		if i < 0 {
			i = len(out)
			out = append(out, &Group{Name: r.Task.Group})
		}
		out[i].Parts = append(out[i].Parts, r)
	}
	for _, g := range out {
		for _, m := range g.Parts[0].Task.Metrics {
			var parts []Number
			for _, r := range g.Parts {
				if n, ok := r.Number(m.Name); ok {
					parts = append(parts, n)
				}
			}
			if len(parts) == len(g.Parts) {
				g.Numbers = append(g.Numbers, GroupMean(m, parts, meanOfErrors))
			}
		}
	}
	return out
}

// artifact makes the artifact of a group.
func (g *Group) artifact(id eval.Identity, opt *Options) (*eval.Artifact, error) {
	a := eval.NewArtifact(g.Name, id, opt.Leo)
	a.Config, a.Complete, a.Counts = opt.Config, true, map[string]int{}
	d := Details{Shots: g.Parts[0].Task.Shots}
	var digests []string
	for _, r := range g.Parts {
		a.TaskVersion, a.Complete, a.Seconds = r.Task.Version, a.Complete && r.Complete(), r.Seconds
		a.Inputs = append(a.Inputs, r.Task.Inputs...)
		for k, n := range r.Counts.asMap() {
			a.Counts[k] += n
		}
		d.Rows += r.Task.Rows
		d.Parts = append(d.Parts, r.Task.Name)
		d.Faults = append(d.Faults, r.Task.Faults...)
		digests = append(digests, r.Task.Digest())
	}
	d.Digest = eval.HashOf(digests)
	for _, n := range g.Numbers {
		a.Add(n.metric("", d.Rows-len(d.Faults)))
	}
	for _, r := range g.Parts {
		for _, n := range r.Numbers {
			a.Add(n.metric(r.Task.Name, r.Task.Rows-len(r.Task.Faults)))
		}
	}
	return a, setDetails(a, d)
}
