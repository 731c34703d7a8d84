// Command answers asks a model the fixed questions and writes down every answer with its verdict.
//
//	go run ./recipes/leo-mini/answers --model out/leo-mini/chat/model --out models/leo-mini
//
// Each question is asked twice in a fresh conversation, greedily and with the model's own sampling (seed 6).
// It writes answers.md with all answers, unselected, and answers.json with their results beside the goals.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"leolm/converse"
	"leolm/infer"
	"leolm/internal/durable"
	"leolm/open"
	"leolm/recipes/leo-mini/minidata"
	"leolm/sample"
)

func main() {
	model := flag.String("model", "", "folder or .gguf (default: the embedded model)")
	questions := flag.String("questions", "models/leo-mini/questions.jsonl", "the fixed questions")
	out := flag.String("out", "models/leo-mini", "folder for answers.md and answers.json")
	seed := flag.Uint64("seed", 6, "seed of the sampled answers")
	limit := flag.Int("max-new-tokens", 200, "an answer that is longer is cut off and counts as not ended")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "answers: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *model, *questions, *out, *seed, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "answers:", err)
		os.Exit(1)
	}
}

// way is one way of sampling the answers.
type way struct {
	Name    string           `json:"name"`
	Summary minidata.Summary `json:"summary"`
	Answers []answer         `json:"answers"`
}

// answer is an answer with its question; if there were several turns, the last one.
type answer struct {
	ID       string `json:"id"`
	Question string `json:"question"`
	minidata.Answer
	Verdict minidata.Verdict `json:"verdict"`
}

func run(ctx context.Context, model, questions, out string, seed uint64, limit int) error {
	qs, err := minidata.ReadQuestions(questions)
	if err != nil {
		return err
	}
	m, err := open.Open(ctx, model, open.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	greedy, err := sample.FindPreset("greedy")
	if err != nil {
		return err
	}
	ways := []way{{Name: "greedy"}, {Name: "sampled"}}
	for w, p := range []sample.Preset{greedy, m.Sampling} {
		var texts []minidata.Answer
		for i := range qs {
			c := converse.New(m.Model, m.Engine, "")
			var a minidata.Answer
			for _, turn := range qs[i].Messages {
				req := infer.Request{Params: p.Params, MaxNewTokens: limit, TopLogProbs: -1}
				req.Params.Seed = seed
				res, err := c.Ask(ctx, turn.Content, converse.FullReset, req, nil)
				if err != nil {
					return fmt.Errorf("%s: %w", qs[i].ID, err)
				}
				a = minidata.Answer{Text: strings.TrimSpace(res.Text), Ended: res.Finish == infer.FinishStop}
			}
			c.Close()
			texts = append(texts, a)
			last := qs[i].Messages[len(qs[i].Messages)-1]
			ways[w].Answers = append(ways[w].Answers, answer{qs[i].ID, last.Content, a, qs[i].Verdict(a)})
		}
		ways[w].Summary = minidata.Summarize(qs, texts)
		fmt.Fprintf(os.Stderr, "%s: %+v\n", ways[w].Name, ways[w].Summary)
	}
	if err := durable.WriteFile(filepath.Join(out, "answers.md"), page(m.Name, qs, ways, seed)); err != nil {
		return err
	}
	b, err := json.MarshalIndent(ways, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(out, "answers.json"), append(b, '\n'))
}

// marks are the goals that were set before the first training.
var marks = []struct {
	name, goal string
	value      func(s minidata.Summary) (string, bool)
}{
	{"German", "≥ 99 %", atLeast(0.99, func(s minidata.Summary) float64 { return s.German })},
	{"ended by itself", "≥ 97 %", atLeast(0.97, func(s minidata.Summary) float64 { return s.Ended })},
	{"on the topic asked", "≥ 75 %", atLeast(0.75, func(s minidata.Summary) float64 { return s.OnTopic })},
	{"abstains where the fact is in the training text", "≤ 15 %", atMost(0.15, func(s minidata.Summary) float64 { return s.AbstainKnown })},
	{"abstains on the unknowable", "≥ 50 %", atLeast(0.5, func(s minidata.Summary) float64 { return s.AbstainUnknowable })},
	{"right facts, trained titles in unseen wording", "≥ 30 %", atLeast(0.3, func(s minidata.Summary) float64 { return s.RightTrained })},
	{"right facts, titles kept out of fine-tuning", "reported", func(s minidata.Summary) (string, bool) { return percent(s.RightKeptOut), true }},
	{"median words of an answer to \"Was ist …\"", "≥ 12", func(s minidata.Summary) (string, bool) {
		return fmt.Sprint(s.MedianWords), s.MedianWords >= 12
	}},
	{"share of the commonest answer, abstentions apart", "≤ 5 %", atMost(0.05, func(s minidata.Summary) float64 { return s.MostRepeated })},
}

func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

func atLeast(goal float64, f func(minidata.Summary) float64) func(minidata.Summary) (string, bool) {
	return func(s minidata.Summary) (string, bool) { return percent(f(s)), f(s) >= goal-1e-9 }
}

func atMost(goal float64, f func(minidata.Summary) float64) func(minidata.Summary) (string, bool) {
	return func(s minidata.Summary) (string, bool) { return percent(f(s)), f(s) <= goal+1e-9 }
}

// page is answers.md.
func page(model string, qs []minidata.Question, ways []way, seed uint64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What %s answers\n\nAll %d fixed questions (`questions.jsonl`), unselected, greedy and sampled (seed %d). Verdicts are rules over words\n(`recipes/leo-mini/minidata`): German, ended by itself, on topic, abstains, right.\n\n", model, len(qs), seed)
	b.WriteString("| | goal |")
	for _, w := range ways {
		b.WriteString(" " + w.Name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(ways)) + "\n")
	for _, m := range marks {
		fmt.Fprintf(&b, "| %s | %s |", m.name, m.goal)
		for _, w := range ways {
			text, ok := m.value(w.Summary)
			if !ok {
				text += " (missed)"
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteByte('\n')
	}
	var kinds []string
	for i := range qs {
		if !slices.Contains(kinds, qs[i].Kind) {
			kinds = append(kinds, qs[i].Kind)
		}
	}
	b.WriteString("\n| right, by kind |")
	for _, w := range ways {
		b.WriteString(" " + w.Name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(ways)) + "\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s |", k)
		for _, w := range ways {
			fmt.Fprintf(&b, " %s |", percent(w.Summary.RightByKind[k]))
		}
		b.WriteByte('\n')
	}
	for i := range qs {
		q := &qs[i]
		about := q.Kind
		if q.Split != "" {
			about += ", " + q.Title + ", " + q.Split
		}
		fmt.Fprintf(&b, "\n## %s (%s)\n\n", q.ID, about)
		for _, m := range q.Messages {
			b.WriteString(quote(m.Content) + "\n")
		}
		for _, w := range ways {
			fmt.Fprintf(&b, "**%s** (%s):\n\n%s\n", w.Name, describe(w.Answers[i].Verdict), indent(w.Answers[i].Text))
		}
	}
	return b.Bytes()
}

func quote(s string) string {
	return "> " + strings.ReplaceAll(s, "\n", "\n> ") + "\n"
}

// indent makes a text a code block, in which nothing is Markdown.
func indent(s string) string {
	if s == "" {
		s = "(nothing)"
	}
	return "    " + strings.ReplaceAll(s, "\n", "\n    ") + "\n"
}

func describe(v minidata.Verdict) string {
	var s []string
	for _, x := range []struct {
		set     bool
		yes, no string
	}{{v.German, "", "not German"}, {v.Ended, "", "cut off"}, {v.Abstain, "abstains", ""}, {v.Topic, "on topic", "off topic"}, {v.Right, "right", "not right"}} {
		if t := map[bool]string{true: x.yes, false: x.no}[x.set]; t != "" {
			s = append(s, t)
		}
	}
	return strings.Join(s, ", ")
}
