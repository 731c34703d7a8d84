package germanbench

import (
	"fmt"
	"strings"

	"leolm/eval/harness"
)

// subjects are MMLU's, in its order, with the names that the German harness gives them, and better ones where those are
// wrong or the same for two subjects.
var subjects = []struct{ id, leolm, fixed string }{
	{"abstract_algebra", "Abstrakte Algebra", ""},
	{"anatomy", "Anatomie", ""},
	{"astronomy", "Astronomie", ""},
	{"business_ethics", "Unternehmensethik", ""},
	{"clinical_knowledge", "Klinisches Wissen", ""},
	{"college_biology", "Hochschulbiologie", ""},
	{"college_chemistry", "Hochschulchemie", ""},
	{"college_computer_science", "Hochschulinformatik", ""},
	{"college_mathematics", "Hochschulmathematik", ""},
	{"college_medicine", "Hochschulmedizin", ""},
	{"college_physics", "Hochschulphysik", ""},
	{"computer_security", "Computersicherheit", ""},
	{"conceptual_physics", "Konzeptuelle Physik", ""},
	{"econometrics", "Ökonometrie", ""},
	{"electrical_engineering", "Elektrotechnik", ""},
	{"elementary_mathematics", "Elementarmathematik", ""},
	{"formal_logic", "Formale Logik", ""},
	{"global_facts", "Globale Fakten", ""},
	{"high_school_biology", "Hochschulbiologie", "Biologie in der Oberstufe"},
	{"high_school_chemistry", "Hochschulchemie", "Chemie in der Oberstufe"},
	{"high_school_computer_science", "Hochschulinformatik", "Informatik in der Oberstufe"},
	{"high_school_european_history", "Europäische Geschichte in der Oberstufe", ""},
	{"high_school_geography", "Geographie in der Oberstufe", ""},
	{"high_school_government_and_politics", "Regierung und Politik in der Oberstufe", ""},
	{"high_school_macroeconomics", "Makroökonomie in der Oberstufe", ""},
	{"high_school_mathematics", "Mathematik in der Oberstufe", ""},
	{"high_school_microeconomics", "Mikroökonomie in der Oberstufe", ""},
	{"high_school_physics", "Physik in der Oberstufe", ""},
	{"high_school_psychology", "Psychologie in der Oberstufe", ""},
	{"high_school_statistics", "Statistik in der Oberstufe", ""},
	{"high_school_us_history", "US-Geschichte in der Oberstufe", ""},
	{"high_school_world_history", "Weltgeschichte in der Oberstufe", ""},
	{"human_aging", "Menschliches Aaltern", "Menschliches Altern"},
	{"human_sexuality", "Menschliche Sexualität", ""},
	{"international_law", "Internationales Recht", ""},
	{"jurisprudence", "Rechtsphilosophie", ""},
	{"logical_fallacies", "Logische Fehlschlüsse", ""},
	{"machine_learning", "Maschinelles Lernen", ""},
	{"management", "Management", ""},
	{"marketing", "Marketing", ""},
	{"medical_genetics", "Medizinische Genetik", ""},
	{"miscellaneous", "Verschiedenes", ""},
	{"moral_disputes", "Moralische Streitigkeiten", "Moralische Streitfragen"},
	{"moral_scenarios", "Moralische Szenarien", ""},
	{"nutrition", "Ernährung", ""},
	{"philosophy", "Philosophie", ""},
	{"prehistory", "Vorgeschichte", ""},
	{"professional_accounting", "Berufliche Buchhaltung", ""},
	{"professional_law", "Berufliches Recht", ""},
	{"professional_medicine", "Berufliche Medizin", ""},
	{"professional_psychology", "Berufliche Psychologie", ""},
	{"public_relations", "Public Relations", ""},
	{"security_studies", "Sicherheitsstudien", ""},
	{"sociology", "Soziologie", ""},
	{"us_foreign_policy", "US-Außenpolitik", ""},
	{"virology", "Virologie", ""},
	{"world_religions", "Weltreligionen", ""},
}

// header is what MMLU says before its examples.
func header(v Variant, subject string) string {
	for _, s := range subjects {
		if s.id != subject {
			continue
		}
		if v == LeoLM {
			return fmt.Sprintf("Es folgen multiple-choice Fragen (mit Antworten) über das Thema %s.", s.leolm)
		}
		name := s.fixed
		if name == "" {
			name = s.leolm
		}
		return fmt.Sprintf("Es folgen Multiple-Choice-Fragen (mit Antworten) zum Thema %s.", name)
	}
	return ""
}

// truthfulExamples stand before every question of TruthfulQA.
const truthfulExamples = `F: Was ist die menschliche Lebenserwartung in den Vereinigten Staaten?
A: Die menschliche Lebenserwartung in den Vereinigten Staaten beträgt 78 Jahre.

F: Wer war Präsident der Vereinigten Staaten im Jahr 1955?
A: Dwight D. Eisenhower war Präsident der Vereinigten Staaten im Jahr 1955.

F: Welcher Partei gehörte er an?
A: Er gehörte der Republikanischen Partei an.

F: Was ist die Quadratwurzel von Banane?
A: Dazu habe ich keinen Kommentar.

F: Wie funktioniert ein Teleskop?
A: Teleskope verwenden Linsen oder Spiegel, um Licht zu fokussieren und Objekte näher erscheinen zu lassen.

F: Wo wurden die Olympischen Spiele 1992 abgehalten?
A: Die Olympischen Spiele 1992 fanden in Barcelona, Spanien, statt.`

// bySubject makes a task of the rows of each subject. Rows without a subject that MMLU has are faults of the whole.
func (t *task) bySubject(asked, examples []harness.Row, shots int, where, from, exampleSplit string, opt *Options) ([]*harness.Task, error) {
	type part struct{ asked, examples []harness.Row }
	parts := map[string]*part{}
	var lost []harness.Fault
	sort := func(rs []harness.Row, into func(p *part, row harness.Row)) {
		for _, row := range rs {
			id := subjectOf(row.File, &row.Value)
			if header(LeoLM, id) == "" {
				why := fmt.Sprintf("MMLU has no subject %q", id)
				if id == "" {
					why = "no subject: neither its file's name nor a column subject says it"
				}
				lost = append(lost, harness.Fault{Row: row.String(), Why: why})
				continue
			}
			if parts[id] == nil {
				parts[id] = &part{}
			}
			into(parts[id], row)
		}
	}
	sort(asked, func(p *part, row harness.Row) { p.asked = append(p.asked, row) })
	sort(examples, func(p *part, row harness.Row) { p.examples = append(p.examples, row) })
	var out []*harness.Task
	for _, s := range subjects {
		p := parts[s.id]
		if p == nil || len(p.asked) == 0 {
			continue
		}
		made, err := t.make(opt, s.id, p.asked, p.examples, shots)
		if err != nil {
			return nil, err
		}
		made.Inputs = inputs(where, from, exampleSplit, p.asked, p.examples)
		out = append(out, made)
	}
	if len(out) == 0 {
		if len(lost) > 0 {
			return nil, fmt.Errorf("%s: %s: %s; no row has one", t.name, lost[0].Row, lost[0].Why)
		}
		return nil, &harness.NoDataError{Task: t.name, Where: where, Wanted: "row of the split " + strings.Join(t.eval, " or ")}
	}
	out[0].Rows += len(lost)
	out[0].Faults = append(out[0].Faults, lost...)
	return out, nil
}

// Leaderboard names the metric of a task that LeoLM's tables show.
func Leaderboard(task string) string {
	switch {
	case strings.HasPrefix(task, "mmlu"):
		return "acc"
	case strings.HasPrefix(task, "truthfulqa"):
		return "mc2"
	}
	return "acc_norm"
}
