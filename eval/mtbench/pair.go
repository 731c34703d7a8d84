package mtbench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"leolm/eval"
	"leolm/internal/durable"
	"leolm/internal/pynum"
)

// Verdict is what a judge says of two answers.
type Verdict string

// The verdicts. Unreadable is a reply that names none.
const (
	FirstBetter  Verdict = "A"
	SecondBetter Verdict = "B"
	Equal        Verdict = "C"
	Unreadable   Verdict = ""
)

// ParseVerdict reads a judge's reply as FastChat does: [[A]] anywhere in it counts before [[B]], and that before [[C]].
func ParseVerdict(reply string) Verdict {
	for _, v := range []Verdict{FirstBetter, SecondBetter, Equal} {
		if strings.Contains(reply, "[["+string(v)+"]]") {
			return v
		}
	}
	return Unreadable
}

// Outcome is how a match ended for the first model.
type Outcome string

// The outcomes. A match of two games that disagree is a tie, as in FastChat; it is undecided if a game has no verdict.
const (
	Win       Outcome = "win"
	Tie       Outcome = "tie"
	Loss      Outcome = "loss"
	Undecided Outcome = "undecided"
)

// Match is one turn of one question, judged twice with the answers in both orders.
type Match struct {
	Question string  `json:"question"`
	Category string  `json:"category"`
	Turn     int     `json:"turn"`
	Games    [2]Game `json:"games"` // the first model's answer first, and second
	Outcome  Outcome `json:"outcome"`
	// Consistent is false if the order decided: the games name different winners.
	Consistent bool `json:"consistent"`
	// Lengths are those of the two answers to this turn, in characters.
	Lengths [2]int `json:"lengths"`
}

// Game is one verdict.
type Game struct {
	Verdict Verdict `json:"verdict"`
	Reply   string  `json:"reply"`
}

// decide fills in how a match ended.
func (m *Match) decide() {
	outcome := func(v Verdict, first Outcome, second Outcome) Outcome {
		switch v {
		case FirstBetter:
			return first
		case SecondBetter:
			return second
		case Equal:
			return Tie
		}
		return Undecided
	}
	a, b := outcome(m.Games[0].Verdict, Win, Loss), outcome(m.Games[1].Verdict, Loss, Win)
	m.Consistent = a == b && a != Undecided
	switch {
	case a == Undecided || b == Undecided:
		m.Outcome = Undecided
	case a == b:
		m.Outcome = a
	default:
		m.Outcome = Tie
	}
}

// Standing adds matches up.
type Standing struct {
	Group     string `json:"group"` // a category; "" for all
	Wins      int    `json:"wins"`
	Ties      int    `json:"ties"`
	Losses    int    `json:"losses"`
	Undecided int    `json:"undecided"`
	// Rate is the share of wins, ties counting half, over decided matches.
	Rate float64 `json:"rate"`
}

func standing(group string, matches []Match) Standing {
	s := Standing{Group: group}
	for _, m := range matches {
		if group != "" && m.Category != group {
			continue
		}
		switch m.Outcome {
		case Win:
			s.Wins++
		case Tie:
			s.Ties++
		case Loss:
			s.Losses++
		default:
			s.Undecided++
		}
	}
	if n := s.Wins + s.Ties + s.Losses; n > 0 {
		s.Rate = (float64(s.Wins) + float64(s.Ties)/2) / float64(n)
	}
	return s
}

// Comparison is the result of a pairwise comparison.
type Comparison struct {
	A       string     `json:"a"` // names of the models
	B       string     `json:"b"`
	Matches []Match    `json:"matches"`
	All     Standing   `json:"all"`
	Groups  []Standing `json:"groups"`
	CI95    [2]float64 `json:"ci95"` // of the rate, questions drawn again
	// SignTest is the probability of a split of wins and losses as uneven as this or more, if both models were equal.
	SignTest float64 `json:"sign_test"`
	// Inconsistent is the share of decided matches whose two games disagree; FirstWins and LongerWins are the shares of games
	// with a winner that the answer shown first, and the longer one, has won.
	Inconsistent float64        `json:"inconsistent"`
	FirstWins    float64        `json:"first_wins"`
	LongerWins   float64        `json:"longer_wins"`
	Failures     []Failure      `json:"failed,omitempty"`
	Result       *eval.Artifact `json:"-"`
}

// ErrOtherQuestions says that two runs cannot be compared.
var ErrOtherQuestions = errors.New("the two runs have answers to different questions")

// Compare lets a judge compare the first answers of two runs, turn by turn and in both orders, and writes what it said
// below dir. Replies that an earlier comparison got to the same requests stay.
func Compare(ctx context.Context, a, b *Run, g eval.Generator, opt JudgeOptions, dir string, leo eval.Software, progress func(Progress)) (*Comparison, error) {
	if a.model == nil || b.model == nil {
		return nil, ErrNotAnswered
	}
	if a.Set.Hash() != b.Set.Hash() {
		return nil, ErrOtherQuestions
	}
	if opt.MaxNewTokens <= 0 {
		opt.MaxNewTokens = judgeTokens
	}
	tasks, matches, err := pairTasks(a, b, &opt)
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return nil, err
	}
	unlock, err := durable.LockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	start := time.Now()
	done, failed, err := runStage(ctx, filepath.Join(dir, judgeJournal), g, tasks, progress)
	if err != nil {
		return nil, err
	}
	c := &Comparison{A: a.model.Model.Name, B: b.model.Model.Name, Failures: failed, Matches: matches}
	for i := range c.Matches {
		m := &c.Matches[i]
		for order := range m.Games {
			rec := done[Place{m.Question, order, m.Turn}]
			m.Games[order] = Game{ParseVerdict(rec.Text), rec.Text}
		}
		m.decide()
	}
	c.add()
	return c, c.write(a, b, g.Identity(), &opt, dir, leo, time.Since(start).Seconds())
}

// pairTasks are the games; the choice of a place is the order: 0 shows the first model's answer first, 1 second.
func pairTasks(a, b *Run, opt *JudgeOptions) ([]task, []Match, error) {
	var tasks []task
	var matches []Match
	for turn := 1; turn <= 2; turn++ {
		for _, q := range a.Set.Questions {
			if len(q.Reference) == 0 && slices.Contains(ReferenceCategories, q.Category) {
				return nil, nil, &MissingReferenceError{q.ID, q.Category}
			}
			x, okX := a.answer(q.ID, 0, turn)
			y, okY := b.answer(q.ID, 0, turn)
			if !okX || !okY {
				continue
			}
			for order, pair := range [2][2][]string{{x, y}, {y, x}} {
				name, msgs, err := opt.Prompts.Pair(q, pair[0], pair[1], turn)
				if err != nil {
					return nil, nil, err
				}
				p := Place{q.ID, order, turn}
				tasks = append(tasks, task{p, name, eval.Request{ID: p.String(), Messages: msgs, MaxNewTokens: opt.MaxNewTokens}})
			}
			matches = append(matches, Match{
				Question: q.ID, Category: q.Category, Turn: turn,
				Lengths: [2]int{len([]rune(x[turn-1])), len([]rune(y[turn-1]))},
			})
		}
	}
	return tasks, matches, nil
}

// add computes what the matches say together.
func (c *Comparison) add() {
	c.All = standing("", c.Matches)
	for _, m := range c.Matches {
		if !slices.ContainsFunc(c.Groups, func(s Standing) bool { return s.Group == m.Category }) {
			c.Groups = append(c.Groups, standing(m.Category, c.Matches))
		}
	}
	var decided, inconsistent, games, first, longer, unequal int
	for _, m := range c.Matches {
		if m.Outcome != Undecided {
			decided++
			if !m.Consistent {
				inconsistent++
			}
		}
		for order, g := range m.Games {
			if g.Verdict != FirstBetter && g.Verdict != SecondBetter {
				continue
			}
			games++
			shown := [2]int{m.Lengths[order], m.Lengths[1-order]}
			winner := 1
			if g.Verdict == FirstBetter {
				first++
				winner = 0
			}
			if shown[0] != shown[1] {
				unequal++
				if shown[winner] > shown[1-winner] {
					longer++
				}
			}
		}
	}
	share := func(n, of int) float64 {
		if of == 0 {
			return 0
		}
		return float64(n) / float64(of)
	}
	c.Inconsistent, c.FirstWins, c.LongerWins = share(inconsistent, decided), share(first, games), share(longer, unequal)
	c.SignTest = signTest(c.All.Wins, c.All.Losses)
	c.CI95 = c.bootstrap()
}

// bootstrap is the interval of the rate when questions are drawn again.
func (c *Comparison) bootstrap() [2]float64 {
	byQuestion := map[string][]Match{}
	var order []string
	for _, m := range c.Matches {
		if byQuestion[m.Question] == nil {
			order = append(order, m.Question)
		}
		byQuestion[m.Question] = append(byQuestion[m.Question], m)
	}
	if len(order) == 0 {
		return [2]float64{}
	}
	random := pynum.NewRandom(bootstrapSeed)
	rates := make([]float64, 0, resamples)
	for range resamples {
		var drawn []Match
		for range order {
			drawn = append(drawn, byQuestion[order[random.Below(len(order))]]...)
		}
		rates = append(rates, standing("", drawn).Rate)
	}
	slices.Sort(rates)
	return [2]float64{quantile(rates, 0.025), quantile(rates, 0.975)}
}

// signTest is the two-sided exact test of wins against losses at even odds.
func signTest(wins, losses int) float64 {
	n, k := int64(wins+losses), int64(min(wins, losses))
	tail := new(big.Int)
	for i := int64(0); i <= k; i++ {
		tail.Add(tail, new(big.Int).Binomial(n, i))
	}
	p, _ := new(big.Rat).SetFrac(tail.Lsh(tail, 1), new(big.Int).Lsh(big.NewInt(1), uint(n))).Float64()
	return min(p, 1)
}

// write writes the comparison's artifact.
func (c *Comparison) write(a, b *Run, judge eval.Identity, opt *JudgeOptions, dir string, leo eval.Software, seconds float64) error {
	art := eval.NewArtifact("mtbench-pairs", a.model.Model, leo)
	art.TaskVersion, art.Judges, art.Seconds = taskVersion, []eval.Identity{judge}, seconds
	art.Inputs = append(a.inputs(), eval.Input{Role: "judge prompts", Name: opt.Prompts.Name, Hash: opt.Prompts.Hash()})
	for _, r := range []*Run{a, b} {
		texts := make([]string, 0, len(r.answers))
		for _, q := range r.Set.Questions {
			x, _ := r.answer(q.ID, 0, 2)
			texts = append(texts, x...)
		}
		art.Inputs = append(art.Inputs, eval.Input{Role: "answers", Name: r.model.Model.Name, Hash: eval.HashOf(texts), Rows: len(texts)})
	}
	art.Config = map[string]any{"other_model": b.model.Model, "judge": map[string]any{"temperature": 0, "max_new_tokens": opt.MaxNewTokens}}
	for _, s := range append([]Standing{c.All}, c.Groups...) {
		m := eval.Metric{Name: "win_rate", Group: s.Group, Value: &s.Rate, N: s.Wins + s.Ties + s.Losses, Of: s.Wins + s.Ties + s.Losses + s.Undecided, Unit: "fraction"}
		if s.Group == "" {
			m.CI95 = &c.CI95
		}
		art.Add(m)
	}
	art.Counts = map[string]int{"wins": c.All.Wins, "ties": c.All.Ties, "losses": c.All.Losses, "undecided": c.All.Undecided, "failed": len(c.Failures)}
	art.Complete = len(c.Failures) == 0 && len(c.Matches) == 2*len(a.Set.Questions)
	var err error
	if art.Details, err = json.Marshal(c); err != nil {
		return fmt.Errorf("the result of the comparison: %w", err)
	}
	c.Result = art
	return art.WriteFile(filepath.Join(dir, resultFile))
}
