package mtbench

import (
	"fmt"
	"regexp"

	"leolm/internal/pynum"
)

// The forms of a rating, as FastChat's and FastEval's expressions find them: the first [[n]], else the first [n]. Python's \d
// is any decimal digit of Unicode.
var (
	doubled = regexp.MustCompile(`\[\[(\p{Nd}+\.?\p{Nd}*)\]\]`)
	single  = regexp.MustCompile(`\[(\p{Nd}+\.?\p{Nd}*)\]`)
)

// Rating is what a judge's reply says.
type Rating struct {
	value pynum.Number
	// Fallback reports that only [n] was found, which may be a citation or an index in code.
	Fallback bool
	// Several reports that the reply has further ratings in the same form and that the last one differs: the first counts.
	Several bool
}

// Float64 is the rating as a number.
func (r Rating) Float64() float64 { return r.value.Float64() }

// String is the rating as Python prints it: 7 for "[[7]]", 7.0 for "[[7.0]]".
func (r Rating) String() string { return r.value.String() }

// InRange reports whether the rating lies on the scale that judges are asked for. FastEval counts what lies outside too.
func (r Rating) InRange() bool { return r.Float64() >= 1 && r.Float64() <= 10 }

// NoRatingError says why a reply has no rating.
type NoRatingError struct{ Why string }

func (e *NoRatingError) Error() string { return e.Why }

// ParseRating reads a judge's reply; an error is a *NoRatingError.
func ParseRating(reply string) (Rating, error) {
	form := doubled
	found := form.FindStringSubmatch(reply)
	if found == nil {
		form = single
		if found = form.FindStringSubmatch(reply); found == nil {
			return Rating{}, &NoRatingError{"no number stands in brackets"}
		}
	}
	n, err := pynum.ParseNumber(found[1])
	if err != nil {
		return Rating{}, &NoRatingError{fmt.Sprintf("the rating cannot be read: %v", err)}
	}
	r := Rating{value: n, Fallback: form == single}
	all := form.FindAllStringSubmatch(reply, -1)
	if last, err := pynum.ParseNumber(all[len(all)-1][1]); err != nil || last.Float64() != n.Float64() {
		r.Several = true
	}
	return r, nil
}
