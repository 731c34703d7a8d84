package card

import (
	"path/filepath"
	"strings"

	"leolm/internal/recipe"
)

// Config is what a card is made of: what people say, and the paths of what was measured.
type Config struct {
	Name string `yaml:"name"` // title of the card; default: the model's name
	ID   string `yaml:"id"`   // of the repository on the hub, ORG/NAME, for the commands that use it

	Model        string   `yaml:"model"`               // the model: as in --model
	ChatTemplate string   `yaml:"chat_template"`       // instead of the model's own: a name, or a file with a Jinja template
	File         string   `yaml:"file"`                // a GGUF file's name in the repository; default: that of the model, if it is one
	BaseModel    []string `yaml:"base_model"`          // ids on the hub of what it was made from
	BaseRelation string   `yaml:"base_model_relation"` // finetune, quantized, adapter or merge

	Languages   []string `yaml:"languages"`    // ISO 639 codes
	License     string   `yaml:"license"`      // the hub's id of a license, or "other"
	LicenseName string   `yaml:"license_name"` // with "other"
	LicenseLink string   `yaml:"license_link"` // with "other": an address or a file of the repository
	Tags        []string `yaml:"tags"`         // more tags

	Template string `yaml:"template"` // file of a template over the default one

	Description string `yaml:"description"` // Markdown below the title
	Limitations string `yaml:"limitations"` // Markdown: what it is not for
	Training    string `yaml:"training"`    // Markdown above the table of hyperparameters
	Evaluation  string `yaml:"evaluation"`  // Markdown above the table of results
	Attribution string `yaml:"attribution"` // Markdown above the licenses of the data
	Links       []Link `yaml:"links"`       // lines of the details: demo, contact, paper
	System      string `yaml:"system"`      // system message of the examples; default: none
	Question    string `yaml:"question"`    // question of the examples

	Datasets  []Dataset         `yaml:"datasets"`   // licenses and origins of the data
	Data      []string          `yaml:"data"`       // prefixes of prepared data, or their _stats.json
	Runs      []string          `yaml:"runs"`       // output folders of trainings, in order
	LossCurve string            `yaml:"loss_curve"` // picture to write from the metrics of the runs, beside the card
	Results   []ResultSource    `yaml:"results"`    // what evaluations found
	Files     map[string]string `yaml:"files"`      // files that the template reads, by a name of their own
	Display   map[string]string `yaml:"display"`    // how names of tasks, groups and metrics are shown

	dir string // that paths are relative to
}

// Link is a line of the details.
type Link struct {
	Name string `yaml:"name" check:"required"`
	Text string `yaml:"text"`
	URL  string `yaml:"url"`
}

// Dataset is what the card says about a source of data.
type Dataset struct {
	Name    string `yaml:"name" check:"required"` // as in the statistics, if there are any
	ID      string `yaml:"id"`                    // on the hub, ORG/NAME
	Origin  string `yaml:"origin"`                // address
	Authors string `yaml:"authors"`
	License string `yaml:"license" check:"required"` // in its own words
	UsedFor string `yaml:"used_for"`
}

// ResultSource is an artifact, or a folder of some.
type ResultSource struct {
	// Path is the file of an artifact, the folder of a run of MT-Bench, or a folder of artifacts.
	Path string `yaml:"path" check:"required"`
	// Of says which other model it is of, in the words of the card; empty: the card's own.
	Of string `yaml:"of"`
	// Metrics are those that the tables show; empty: all.
	Metrics []string `yaml:"metrics"`
	// Dataset describes the data in the front matter, where the task's own description does not fit.
	Dataset *ResultDataset `yaml:"dataset"`
}

// ResultDataset is the dataset of a result, as the hub's model-index has it.
type ResultDataset struct {
	Type     string `yaml:"type" check:"required"` // id on the hub
	Name     string `yaml:"name" check:"required"` // for people
	Config   string `yaml:"config"`
	Split    string `yaml:"split"`
	Revision string `yaml:"revision"`
}

// LoadConfig reads a configuration; an empty path gives an empty one. Its paths are relative to its folder.
func LoadConfig(path string) (*Config, error) {
	c := &Config{}
	if path == "" {
		return c, nil
	}
	if err := recipe.Load(path, nil, c); err != nil {
		return nil, err
	}
	c.dir = filepath.Dir(path)
	return c, nil
}

// Validate hands every contradiction to fail, with the path of its key.
func (c *Config) Validate(fail func(key, format string, args ...any)) {
	for key, text := range map[string]string{"description": c.Description, "limitations": c.Limitations, "training": c.Training, "evaluation": c.Evaluation, "attribution": c.Attribution} {
		if what := openBlock(text); what != "" {
			fail(key, "it begins %s that does not end: the rest of the card would be part of it", what)
		}
	}
	if c.LossCurve != "" {
		if len(c.Runs) == 0 {
			fail("loss_curve", "it is drawn from the metrics of runs, and there are no runs")
		}
		if !filepath.IsLocal(c.LossCurve) || !strings.HasSuffix(c.LossCurve, ".svg") {
			fail("loss_curve", "name a file beside the card that ends in .svg")
		}
	}
	named := map[string]bool{}
	for i, d := range c.Datasets {
		if named[d.Name] {
			fail("datasets", "%q is described twice, the second time in entry %d", d.Name, i+1)
		}
		named[d.Name] = true
	}
	for _, p := range c.front().problems() {
		fail(p.key, "%s", p.what)
	}
}

// path resolves a path of the configuration.
func (c *Config) path(p string) string {
	if filepath.IsAbs(p) || c.dir == "" {
		return p
	}
	return filepath.Join(c.dir, p)
}
