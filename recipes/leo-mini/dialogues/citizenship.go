package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"leolm/recipes/leo-mini/minidata"
)

// citizenship makes dialogues from the question catalog "Leben in Deutschland".
func citizenship(g *generator) error {
	path := filepath.Join(g.data, "instruct_de", "leben_in_deutschland_fragen.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var questions []struct {
		Num, Question, A, B, C, D, Solution, Image string
	}
	if err := json.Unmarshal(b, &questions); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(g.data, "instruct_de", "leben_in_deutschland_erklaerungen.json")
	if b, err = os.ReadFile(path); err != nil {
		return err
	}
	var explain map[string]string
	if err := json.Unmarshal(b, &explain); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	forms := []string{"{q}\n{o}", "{q}\n\n{o}", "Welche Antwort ist richtig? {q}\n{o}", "Frage: {q}\n{o}\nNenne die richtige Antwort.", "{q}\n{o}\nAntworte mit dem Buchstaben."}
	for _, q := range questions {
		options := map[string]string{"a": q.A, "b": q.B, "c": q.C, "d": q.D}
		right := minidata.Clean(options[q.Solution])
		if q.Image != "-" || right == "" || strings.HasPrefix(right, "Bild") {
			continue
		}
		text := minidata.Clean(q.Question)
		for i, f := range forms {
			// The order of the options changes, so that the letter cannot be memorized.
			letters := []string{"a", "b", "c", "d"}
			g.r.Shuffle(4, func(i, j int) { letters[i], letters[j] = letters[j], letters[i] })
			var list []string
			answer := ""
			for j, l := range letters {
				mark := string(rune('a' + j))
				list = append(list, mark+") "+minidata.Clean(options[l]))
				if l == q.Solution {
					answer = mark + ") " + right
				}
			}
			if i == 4 {
				answer = answer[:2]
			}
			g.add("citizenship", "leben-in-deutschland", fill(f, "q", text, "o", strings.Join(list, "\n")), answer)
		}
		if len(right) > 12 && strings.Contains(strings.ToLower(text), "...") {
			continue
		}
		if strings.HasSuffix(text, "?") && !strings.Contains(text, " nicht ") && !strings.Contains(text, "Welche Aussage") && !strings.Contains(text, "Was ist richtig") {
			g.add("citizenship", "leben-in-deutschland", text, upperFirst(strings.TrimRight(right, "."))+".")
			if e := minidata.Clean(explain[q.Num]); e != "" && !strings.Contains(e, "Daher ist") {
				var s []string
				for _, part := range sentenceEnd.Split(e, -1) {
					s = append(s, strings.TrimRight(part, ".")+".")
				}
				if p, ok := passage(s, 25, 1, 3); ok && !strings.Contains(p, "..") {
					g.add("citizenship", "leben-in-deutschland", g.casual(pick(g, []string{"Erkläre mir: ", "Bitte mit Erklärung: ", "Kannst du das erklären? "})+text), p)
				}
			}
		}
	}
	return nil
}
