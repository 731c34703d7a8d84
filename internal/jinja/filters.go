package jinja

import (
	"sort"
	"strconv"
	"strings"
)

// sortBy sorts stably and counts the work.
func (ev *evaluator) sortBy(idx []int, cmp func(a, b int) int) {
	sort.SliceStable(idx, func(i, j int) bool { return cmp(idx[i], idx[j]) < 0 })
}

type filterFunc func(ev *evaluator, x Value, a *callArgs, line int) Value

var filters map[string]filterFunc

func (ev *evaluator) filter(name string, x Value, a *callArgs, line int) Value {
	f, ok := filters[name]
	if name == "regex_replace" && ev.strict {
		f, ok = filterRegexReplace, true
	}
	if !ok {
		ev.fail(line, "no filter named %q", name)
	}
	ev.work(line, 1)
	return f(ev, x, a, line)
}

// path reads the attribute argument of filters: "a.b" or a number.
func (ev *evaluator) path(x Value, attr Value, line int) Value {
	return ev.pathOr(x, attr, nil, line)
}

// pathOr takes def, if it is not nil, for what is undefined on the way.
func (ev *evaluator) pathOr(x Value, attr, def Value, line int) Value {
	switch p := attr.(type) {
	case Str:
		for part := range strings.SplitSeq(p.S, ".") {
			var key Value = Str{S: part}
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				key = n
			}
			x = ev.item(x, key, line)
			if _, undef := x.(undefined); undef && def != nil {
				x = def
			}
		}
		return x
	case nil:
		return x
	}
	return ev.item(x, attr, line)
}

// fold is the key of a case-insensitive comparison.
func (ev *evaluator) fold(v Value, sensitive bool) Value {
	if s, ok := v.(Str); ok && !sensitive {
		return Str{S: eachRune(lower)(ev, s).S}
	}
	return v
}

func (ev *evaluator) sorted(items []Value, key func(Value) Value, reverse bool, line int) []Value {
	ev.work(line, len(items))
	keys := make([]Value, len(items))
	idx := make([]int, len(items))
	for i, x := range items {
		keys[i], idx[i] = key(x), i
	}
	ev.sortBy(idx, func(a, b int) int {
		c := ev.order(keys[a], keys[b], line)
		if reverse {
			return -c
		}
		return c
	})
	out := make([]Value, len(items))
	for i, k := range idx {
		out[i] = items[k]
	}
	return out
}

// onStr is a filter that first makes a string of its value.
func onStr(f func(ev *evaluator, s Str) Str) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value { return f(ev, ev.toStr(x)) }
}

func init() {
	escape := onStr(func(ev *evaluator, s Str) Str { return ev.escape(s) })
	filters = map[string]filterFunc{
		"abs":         filterAbs,
		"attr":        filterAttr,
		"batch":       filterBatch,
		"capitalize":  onStr(capitalize),
		"center":      filterCenter,
		"count":       filterLength,
		"d":           filterDefault,
		"default":     filterDefault,
		"dictsort":    filterDictsort,
		"e":           escape,
		"escape":      escape,
		"forceescape": onStr(func(ev *evaluator, s Str) Str { return ev.escape(s.as(false)) }),
		"first":       ends(false),
		"float":       filterFloat,
		"format":      filterFormat,
		"groupby":     filterGroupBy,
		"indent":      filterIndent,
		"int":         filterInt,
		"items":       filterItems,
		"join":        filterJoin,
		"last":        ends(true),
		"length":      filterLength,
		"list":        filterList,
		"lower":       onStr(eachRune(lower)),
		"map":         filterMap,
		"max":         extreme(1),
		"min":         extreme(-1),
		"reject":      pick(false, false), "rejectattr": pick(true, false),
		"select": pick(false, true), "selectattr": pick(true, true),
		"replace":   filterReplace,
		"reverse":   filterReverse,
		"round":     filterRound,
		"safe":      onStr(func(_ *evaluator, s Str) Str { return s.as(true) }),
		"sort":      filterSort,
		"string":    func(ev *evaluator, x Value, a *callArgs, line int) Value { return ev.toStr(x) },
		"sum":       filterSum,
		"title":     onStr(filterTitle),
		"tojson":    filterToJSON,
		"trim":      filterTrim,
		"truncate":  filterTruncate,
		"unique":    filterUnique,
		"upper":     onStr(eachRune(upper)),
		"wordcount": filterWordcount,
		"slice":     filterSlice, "striptags": filterStripTags, "urlencode": filterURLEncode,
		"filesizeformat": filterFileSize, "xmlattr": filterXMLAttr,
	}
}
