package germanbench

import (
	"fmt"
	"strconv"
	"strings"

	"leolm/dataset/rows"
	"leolm/eval/harness"
)

// fields reads columns of a row; the first error stays.
type fields struct {
	row *harness.Row
	err error
}

func (f *fields) fail(column, format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("column %s: %s", column, fmt.Sprintf(format, args...))
	}
}

// get finds a column by a path of names.
func (f *fields) get(path ...string) *rows.Value {
	v := &f.row.Value
	for i, name := range path {
		w, ok := v.Get(name)
		if !ok || v.Kind != rows.Object {
			f.fail(strings.Join(path[:i+1], "."), "is missing")
			return &rows.Value{}
		}
		v = w
	}
	return v
}

// text is a column with a text that is not empty.
func (f *fields) text(path ...string) string {
	v := f.get(path...)
	s, ok := v.AsText()
	switch {
	case f.err != nil:
	case !ok:
		f.fail(strings.Join(path, "."), "want text, found %s", v.Kind)
	case strings.TrimSpace(s) == "":
		f.fail(strings.Join(path, "."), "is empty")
	}
	return s
}

// texts is a column with a list of texts, none of them empty.
func (f *fields) texts(path ...string) []string {
	name, v := strings.Join(path, "."), f.get(path...)
	if f.err != nil {
		return nil
	}
	if v.Kind != rows.List {
		f.fail(name, "want a list, found %s", v.Kind)
		return nil
	}
	var out []string
	for i := range v.Items {
		s, ok := v.Items[i].AsText()
		switch {
		case !ok:
			f.fail(name, "entry %d: want text, found %s", i+1, v.Items[i].Kind)
		case strings.TrimSpace(s) == "":
			f.fail(name, "entry %d is empty", i+1)
		}
		out = append(out, s)
	}
	return out
}

// number is a column with a whole number, also one written as text.
func (f *fields) number(path ...string) int {
	v := f.get(path...)
	n, err := whole(v)
	if err != nil {
		f.fail(strings.Join(path, "."), "%v", err)
	}
	return n
}

func whole(v *rows.Value) (int, error) {
	if v.Kind != rows.Number && v.Kind != rows.String {
		return 0, fmt.Errorf("want a number, found %s", v.Kind)
	}
	n, err := strconv.Atoi(strings.TrimSpace(v.Text))
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", v.Text)
	}
	return n, nil
}

// truths is a column with a list of 0 and 1, as many as there are texts.
func (f *fields) truths(n int, path ...string) []bool {
	name, v := strings.Join(path, "."), f.get(path...)
	if f.err != nil {
		return nil
	}
	if v.Kind != rows.List || len(v.Items) != n {
		f.fail(name, "want a list of %d labels, found %s of %d", n, v.Kind, len(v.Items))
		return nil
	}
	out := make([]bool, n)
	for i := range v.Items {
		x, err := whole(&v.Items[i])
		if err != nil || x != 0 && x != 1 {
			f.fail(name, "label %d is neither 0 nor 1", i+1)
		}
		out[i] = x == 1
	}
	return out
}

// CountError says that a row has another number of choices than its benchmark.
type CountError struct {
	Column   string
	Got      int
	What     string // "endings", "choices"
	Expected string
}

func (e *CountError) Error() string {
	return fmt.Sprintf("column %s: %d %s where there should be %s", e.Column, e.Got, e.What, e.Expected)
}

// count notes a wrong number of choices.
func (f *fields) count(ok bool, column string, got int, what, expected string) {
	if f.err == nil && !ok {
		f.err = &CountError{column, got, what, expected}
	}
}

// gold checks the index of the right choice.
func (f *fields) gold(column string, gold, n int) {
	if f.err == nil && (gold < 0 || gold >= n) {
		f.fail(column, "the right choice would be number %d of %d", gold+1, n)
	}
}
