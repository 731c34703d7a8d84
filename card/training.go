package card

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// hyperparameter is a line of the table of the trainings.
type hyperparameter struct {
	name string
	of   func(r *Run) string
}

// hyperparameters are the lines, those of LeoLM's cards first.
var hyperparameters = []hyperparameter{
	{"Num epochs", func(r *Run) string { return plain(math.Round(r.Epochs*100) / 100) }},
	{"Examples per epoch", func(r *Run) string {
		if r.Recipe["data.packing"] == "true" || r.Sequences == 0 {
			return ""
		}
		return strconv.Itoa(r.Sequences)
	}},
	{"Windows per epoch", func(r *Run) string {
		if r.Recipe["data.packing"] != "true" || r.Sequences == 0 {
			return ""
		}
		return strconv.Itoa(r.Sequences)
	}},
	{"Global batch size", setting("batch.global")},
	{"Learning rate", func(r *Run) string { return scientific(r.Recipe["optimizer.lr"]) }},
	{"Warmup steps", func(r *Run) string { return plain(float64(r.Warmup)) }},
	{"LR scheduler", func(r *Run) string { return capital(r.Recipe["schedule.type"]) }},
	{"Adam betas", func(r *Run) string {
		return strings.NewReplacer("[", "(", "]", ")").Replace(r.Recipe["optimizer.betas"])
	}},
	{"Weight decay", func(r *Run) string { return strings.TrimSuffix(r.Recipe["optimizer.weight_decay"], ".0") }},
	{"Optimizer", setting("optimizer.type")},
	{"Sequence length", setting("data.sequence_length")},
	{"LoRA rank", setting("lora.rank")},
	{"Precision", setting("compute.dtype")},
	{"Steps", func(r *Run) string { return plain(float64(r.Steps)) }},
	{"Tokens read", func(r *Run) string { return plain(float64(r.Tokens)) }},
	{"Loss, last step", func(r *Run) string { return loss(r.Loss) }},
	{"Loss, held out", func(r *Run) string { return loss(r.ValidLoss) }},
}

// setting is a value of the recipe.
func setting(key string) func(r *Run) string {
	return func(r *Run) string {
		if v := r.Recipe[key]; v != "null" {
			return v
		}
		return ""
	}
}

// plain is a number that is not 0.
func plain(v float64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func loss(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', 3, 64)
}

// scientific writes a rate as people do: 3e-5.
func scientific(s string) string {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	m, e, _ := strings.Cut(strconv.FormatFloat(v, 'e', -1, 64), "e")
	n, err := strconv.Atoi(e)
	if err != nil || n > -3 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return m + "e" + strconv.Itoa(n)
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// TrainingTitle is the heading above it: "Finetuning Details" where every training began with a model.
func (f *Facts) TrainingTitle() string {
	for _, r := range f.Runs {
		if base := r.Recipe["model.base"]; base == "" || base == `""` {
			return "Training Details"
		}
	}
	return "Finetuning Details"
}

// Hyperparameters is the table of the trainings: a column for each, with the lines that any of them has.
func (f *Facts) Hyperparameters() (string, error) {
	if len(f.Runs) == 0 {
		return "", &MissingError{What: "a training"}
	}
	var b strings.Builder
	head := []string{"Hyperparameter"}
	for _, r := range f.Runs {
		name := f.display(r.Name)
		if len(f.Runs) == 1 {
			name = "Value"
		}
		head = append(head, cell(name))
	}
	fmt.Fprintf(&b, "| %s |\n%s|\n", strings.Join(head, " | "), strings.Repeat("|---", len(head)))
	for _, h := range hyperparameters {
		cells, some := []string{h.name}, false
		for _, r := range f.Runs {
			v := cell(h.of(r))
			cells, some = append(cells, v), some || v != ""
		}
		if some {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	return b.String(), nil
}
