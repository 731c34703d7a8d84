package mtbench

import (
	"errors"
	"fmt"

	"leolm/internal/pyjson"
	"leolm/internal/pynum"
)

// Scores are the means of a judge's ratings, computed and printed as FastEval does.
type Scores struct {
	first, second, average pynum.Number
	categories             []categoryScore
	// Rated are the ratings that count, in the order of the replies.
	Rated []Rated
	// Dropped are the replies without a rating, which no mean contains.
	Dropped []Dropped
}

type categoryScore struct {
	name string
	mean pynum.Number
	n    int
}

// Rated is a reply with its rating.
type Rated struct {
	Reply
	Rating
	Category string
}

// Dropped is a reply without one.
type Dropped struct {
	Reply
	Why string
}

// ErrNoRatings says that a turn has no rating at all, so that there is no mean of it.
var ErrNoRatings = errors.New("no reply has a rating")

// UnknownQuestionError says that a reply is about a question that is not in the set.
type UnknownQuestionError struct {
	Question string
	Row      int
}

func (e *UnknownQuestionError) Error() string {
	return fmt.Sprintf("entry %d is about question %s, which is not among the questions", e.Row, e.Question)
}

// Score computes the scores of replies: the mean of all ratings of the first turns and of the second turns, the mean of each
// category over both (in the order of its first rating), and the mean of the two turns. Every rating that can be read
// counts, also one outside 1…10.
func Score(set *Set, replies []Reply) (*Scores, error) {
	s := &Scores{}
	var turns [2][]pynum.Number
	byCategory := map[string][]pynum.Number{}
	var order []string
	for _, r := range replies {
		q, ok := set.Find(r.Question)
		if !ok {
			return nil, &UnknownQuestionError{r.Question, r.Row}
		}
		if r.Missing != "" {
			s.Dropped = append(s.Dropped, Dropped{r, r.Missing})
			continue
		}
		rating, err := ParseRating(r.Text)
		if err != nil {
			s.Dropped = append(s.Dropped, Dropped{r, err.Error()})
			continue
		}
		s.Rated = append(s.Rated, Rated{r, rating, q.Category})
		turns[r.Turn-1] = append(turns[r.Turn-1], rating.value)
		if byCategory[q.Category] == nil {
			order = append(order, q.Category)
		}
		byCategory[q.Category] = append(byCategory[q.Category], rating.value)
	}
	for i, to := range []*pynum.Number{&s.first, &s.second} {
		if len(turns[i]) == 0 {
			return s, fmt.Errorf("turn %d: %w", i+1, ErrNoRatings)
		}
		var err error
		if *to, err = pynum.MeanOf(turns[i]); err != nil {
			return s, fmt.Errorf("the mean of turn %d: %w", i+1, err)
		}
	}
	for _, c := range order {
		mean, err := pynum.MeanOf(byCategory[c])
		if err != nil {
			return s, fmt.Errorf("the mean of category %s: %w", c, err)
		}
		s.categories = append(s.categories, categoryScore{c, mean, len(byCategory[c])})
	}
	var err error
	if s.average, err = pynum.HalfSum(s.first, s.second); err != nil {
		return s, fmt.Errorf("the average: %w", err)
	}
	return s, nil
}

// JSON is FastEval's scores.json, without a line feed at its end, as there; it is the block on LeoLM's cards too.
func (s *Scores) JSON() []byte {
	categories := pyjson.Object{}
	for _, c := range s.categories {
		categories.Set(c.name, c.mean.JSON())
	}
	return pyjson.Append(nil, pyjson.Object{
		{Key: "first_turn", Value: s.first.JSON()}, {Key: "second_turn", Value: s.second.JSON()},
		{Key: "categories", Value: categories}, {Key: "average", Value: s.average.JSON()},
	}, 4)
}

// Average is the mean of the two turns' means.
func (s *Scores) Average() float64 { return s.average.Float64() }

// Turn is the mean of turn 1 or 2.
func (s *Scores) Turn(n int) float64 {
	if n == 1 {
		return s.first.Float64()
	}
	return s.second.Float64()
}

// Category is the mean of a category and the number of ratings in it; ok is false if there is none.
func (s *Scores) Category(name string) (mean float64, n int, ok bool) {
	for _, c := range s.categories {
		if c.name == name {
			return c.mean.Float64(), c.n, true
		}
	}
	return 0, 0, false
}

// Categories are the categories with ratings, in their order.
func (s *Scores) Categories() []string {
	var names []string
	for _, c := range s.categories {
		names = append(names, c.name)
	}
	return names
}
