package jinja

import (
	"regexp"
	"time"

	"github.com/dlclark/regexp2"
)

// regexTime bounds one match: expressions of strangers may backtrack for ever.
const regexTime = time.Second

var groupReference = regexp.MustCompile(`\\g<([A-Za-z0-9_]+)>|\\([0-9]{1,2})`)

// filterRegexReplace is re.sub(pattern, repl, string, count) of Python.
func filterRegexReplace(ev *evaluator, x Value, a *callArgs, line int) Value {
	s := ev.toStr(x)
	pattern, repl := ev.argStr(a, 0, "pattern", line), ev.argStr(a, 1, "repl", line)
	count := -1
	if v, ok := a.get(2, "count"); ok {
		if n, ok := v.(int64); ok && n > 0 {
			count = int(n)
		}
	}
	re, err := regexp2.Compile(pattern.S, regexp2.RE2)
	if err != nil {
		ev.fail(line, "regex_replace: %v", err)
	}
	re.MatchTimeout = regexTime
	ev.grown(line, len(s.S))
	// Python writes groups with a backslash, .NET with a dollar.
	to := groupReference.ReplaceAllString(regexp.MustCompile(`\$`).ReplaceAllString(repl.S, "$$$$"), "$${$1$2}")
	out, err := re.Replace(s.S, to, -1, count)
	if err != nil {
		ev.fail(line, "regex_replace: %v", err)
	}
	ev.grown(line, len(out))
	return String(out, 0)
}
