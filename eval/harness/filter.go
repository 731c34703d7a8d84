package harness

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// matchTime bounds one match: expressions of task files may backtrack for ever.
const matchTime = 2 * time.Second

// filter makes an answer of a text.
type filter struct {
	name  string
	steps []func(s string) (out string, found bool, err error)
}

// apply runs the steps. found is false if one of them found nothing.
func (f *filter) apply(s string) (out string, found bool, err error) {
	found = true
	for _, step := range f.steps {
		var ok bool
		if s, ok, err = step(s); err != nil {
			return s, false, fmt.Errorf("filter %s: %w", f.name, err)
		}
		found = found && ok
	}
	return s, found, nil
}

// filters makes the filters of a task; without any, one that changes nothing.
func (c *Config) filters() ([]*filter, error) {
	if len(c.Filters) == 0 {
		return []*filter{{name: "none"}}, nil
	}
	var out []*filter
	for _, fc := range c.Filters {
		f := &filter{name: fc.Name}
		for _, s := range fc.Steps {
			step, err := s.compile()
			if err != nil {
				return nil, &ConfigError{File: c.Path, Line: s.Line, Key: "filter_list", Why: err.Error()}
			}
			if step != nil {
				f.steps = append(f.steps, step)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// compile makes the function of a step; nil if it changes nothing.
func (s *FilterStep) compile() (func(string) (string, bool, error), error) {
	simple := func(f func(string) string) func(string) (string, bool, error) {
		return func(x string) (string, bool, error) { return f(x), true, nil }
	}
	switch s.Function {
	case "take_first":
		return nil, nil
	case "remove_whitespace":
		return simple(func(x string) string { return strings.Trim(x, pythonSpace) }), nil
	case "lowercase":
		return simple(strings.ToLower), nil
	case "uppercase":
		return simple(strings.ToUpper), nil
	case "map":
		return func(x string) (string, bool, error) {
			if to, ok := s.Mapping[x]; ok {
				return to, true, nil
			}
			if s.Default != nil {
				return *s.Default, true, nil
			}
			return "", false, nil
		}, nil
	case "regex":
		re, err := regexp2.Compile(s.Pattern, regexp2.RE2)
		if err != nil {
			return nil, fmt.Errorf("regex_pattern: %w", err)
		}
		re.MatchTimeout = matchTime
		return func(x string) (string, bool, error) { return s.find(re, x) }, nil
	}
	return nil, fmt.Errorf("function %q: there are regex, take_first, remove_whitespace, lowercase, uppercase and map", s.Function)
}

// find is the match with the number GroupSelect, or from the end if that is negative: its first group that is not empty, or
// without groups the whole.
func (s *FilterStep) find(re *regexp2.Regexp, x string) (string, bool, error) {
	var all []*regexp2.Match
	m, err := re.FindStringMatch(x)
	for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
		all = append(all, m)
	}
	if err != nil {
		return "", false, err
	}
	i := s.GroupSelect
	if i < 0 {
		i += len(all)
	}
	if i < 0 || i >= len(all) {
		return s.Fallback, false, nil
	}
	groups := all[i].Groups()
	if len(groups) == 1 {
		return strings.Trim(all[i].String(), pythonSpace), true, nil
	}
	for _, g := range groups[1:] {
		if g.String() != "" {
			return strings.Trim(g.String(), pythonSpace), true, nil
		}
	}
	if len(groups) == 2 {
		return "", true, nil // one group is no tuple: an empty match is one
	}
	return s.Fallback, false, nil
}

// pythonSpace is what Python's strip takes away.
const pythonSpace = " \t\n\v\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
