package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"leolm/card"
	"leolm/internal/durable"
)

// cardFlags are those of leo card.
type cardFlags struct {
	config, template, out string
	name, id, license     string
	languages, bases      []string
	print, force          bool
}

func newCardCmd() *cobra.Command {
	f := &cardFlags{}
	cmd := &cobra.Command{
		Use:   "card [MODEL] [RUN|RESULT|DATA]...",
		Short: "Write a model's card, from what was measured",
		Long: `Write a model's card for the Hugging Face hub: the README.md with its front matter,
details, prompt template, commands for Leo, transformers, llama.cpp and Ollama, the
settings of the training, statistics of the data, results, licenses, and where every
number comes from.

The arguments are the model (default: the embedded one) and what was measured: output
folders of leo train, folders and files of leo eval, and the prefixes of prepared data.
A YAML file (--config) has what only people know, and may name all of these too.

A number that no file has is an error. A result that is incomplete, of another model, or
whose files have changed is refused.`,
		Example: `  leo card out/chat/model out/chat results --license apache-2.0 --language de
  leo card --config card.yaml --output README.md`,
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: f.run,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "YAML file with names, texts, licenses and paths; its paths are relative to its folder")
	fl.StringVar(&f.template, "template", "", "file of a template: what it defines takes the place of the default's")
	fl.BoolVar(&f.print, "print-template", false, "print the default template, and do nothing")
	fl.StringVarP(&f.out, "output", "o", "", "file to write (default: standard output)")
	fl.BoolVar(&f.force, "force", false, "replace the file if it exists")
	fl.StringVar(&f.name, "name", "", "title of the card (default: the model's name)")
	fl.StringVar(&f.id, "id", "", "the model's id on the hub, ORG/NAME")
	fl.StringVar(&f.license, "license", "", "the hub's id of the model's license, such as apache-2.0")
	fl.StringSliceVar(&f.languages, "language", nil, "the model's languages, as codes of ISO 639, separated by commas")
	fl.StringSliceVar(&f.bases, "base-model", nil, "ids of what it was made from, separated by commas")
	return cmd
}

// apply puts flags and arguments into the configuration. Paths of the command line are relative to the working folder.
func (f *cardFlags) apply(cmd *cobra.Command, c *card.Config, args []string) error {
	for _, x := range []struct {
		flag string
		dst  *string
		v    string
	}{{"name", &c.Name, f.name}, {"id", &c.ID, f.id}, {"license", &c.License, f.license}} {
		if cmd.Flags().Changed(x.flag) {
			*x.dst = x.v
		}
	}
	if len(f.languages) > 0 {
		c.Languages = f.languages
	}
	if len(f.bases) > 0 {
		c.BaseModel = f.bases
	}
	absolute := func(p string) (string, error) {
		if f.config == "" {
			return p, nil
		}
		return filepath.Abs(p)
	}
	if f.template != "" {
		var err error
		if c.Template, err = absolute(f.template); err != nil {
			return err
		}
	}
	model := ""
	for _, arg := range args {
		kind := card.Kind(cmd.Context(), arg)
		path, err := absolute(arg)
		if err != nil {
			return err
		}
		switch kind {
		case "run":
			c.Runs = append(c.Runs, path)
		case "data":
			c.Data = append(c.Data, path)
		case "result":
			c.Results = append(c.Results, card.ResultSource{Path: path})
		default:
			if model != "" {
				return usageError{fmt.Errorf("%s is neither the folder of a training, nor a result, nor the prefix of prepared data, and %s is the model already", arg, model)}
			}
			model = arg
			c.Model = arg
		}
	}
	return nil
}

func (f *cardFlags) run(cmd *cobra.Command, args []string) error {
	if f.print {
		if len(args) > 0 {
			return usageError{errors.New("--print-template takes no arguments")}
		}
		_, err := exactWriter(cmd).Write([]byte(card.DefaultTemplate()))
		return err
	}
	c, err := card.LoadConfig(f.config)
	if err != nil {
		return err
	}
	if err := f.apply(cmd, c, args); err != nil {
		return err
	}
	if f.out != "" {
		if err := refuseOverwrite("", f.out, f.force); err != nil {
			return err
		}
	}
	facts, err := card.Gather(cmd.Context(), c)
	if err != nil {
		return err
	}
	text, err := facts.Render()
	if err != nil {
		return err
	}
	if f.out == "" {
		if c.LossCurve != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "the picture %s is written with --output only\n", c.LossCurve)
		}
		_, err := exactWriter(cmd).Write(text)
		return err
	}
	if c.LossCurve != "" {
		picture, err := facts.LossCurve()
		if err != nil {
			return err
		}
		path := filepath.Join(filepath.Dir(f.out), c.LossCurve)
		if err := refuseOverwrite("", path, f.force); err != nil {
			return err
		}
		if err := durable.WriteFile(path, picture); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(f.out, text); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the card of %s, with %d results and %d trainings\n", f.out, facts.Title(), len(facts.Results), len(facts.Runs))
	return err
}
