package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/dataset"
	"leolm/internal/durable"
	"leolm/internal/screen"
)

func newDataCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Prepare texts and dialogues for training",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDataPrepareCmd(), newDataStatsCmd(), newDataInspectCmd(), newDataPullCmd(), newDataTranslateCmd(), newDataCorpusCmd())
	return cmd
}

// rowProgress prints how many rows of a source have been read: in place on a
// terminal, elsewhere as a line every ten seconds.
func rowProgress(cmd *cobra.Command, quiet bool) func(source string, rows int64) {
	if quiet {
		return nil
	}
	w := cmd.ErrOrStderr()
	terminal := isTerminal(w)
	every := 10 * time.Second
	if terminal {
		every = 100 * time.Millisecond
	}
	last := time.Now()
	return func(source string, rows int64) {
		if time.Since(last) < every {
			return
		}
		last = time.Now()
		if terminal {
			fmt.Fprintf(rawWriter(w), "\r\x1b[K%s: %d rows", screen.Line(source), rows)
		} else {
			fmt.Fprintf(w, "%s: %d rows\n", source, rows)
		}
	}
}

func newDataPrepareCmd() *cobra.Command {
	var out, onError string
	var sets []string
	var workers int
	var asJSON, quiet bool
	names, about := dataset.ReaderNames()
	var list strings.Builder
	for i, n := range names {
		fmt.Fprintf(&list, "  %-17s %s\n", n, about[i])
	}
	cmd := &cobra.Command{
		Use:   "prepare MIX.yaml -o DIR",
		Short: "Turn a mix of dialogues into token shards and print its statistics",
		Long: `Reads the sources of a mix, filters and tokenizes the dialogues, splits off
validation sets, and writes Megatron shards (ids and roles), statistics and a
list of what was skipped and why. The statistics of the training split go to
standard output.

Readers:
` + list.String() + `
Files are Parquet, JSON, JSONL, CSV, TSV or YAML, also with .gz or .zst.
docs/data.md describes the mix.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if onError != "" {
				if onError != "stop" && onError != "skip" {
					return usageError{fmt.Errorf("--on-error %s: want stop or skip", onError)}
				}
				sets = append(sets, "on_error="+onError)
			}
			if err := checkThreads("--workers", workers); err != nil {
				return err
			}
			m, err := dataset.LoadMix(args[0], sets)
			if err != nil {
				return err
			}
			start := time.Now()
			report, err := dataset.Prepare(cmd.Context(), m, out, dataset.PrepareOptions{Progress: rowProgress(cmd, quiet), Workers: workers})
			if err != nil {
				return err
			}
			for _, n := range report.Notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
			}
			if !quiet {
				total := dataset.Total(report.Train)
				fmt.Fprintf(cmd.ErrOrStderr(), "%d training samples, %d tokens in %.1f s: %s-train-text.bin\n", total.Accepted, total.Tokens, time.Since(start).Seconds(), report.Prefix)
			}
			return printDataStats(cmd, report.Prefix+"-train", report.Train, asJSON)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "folder for the shards (required)")
	cmd.Flags().StringVar(&onError, "on-error", "", "what to do with a row that cannot be read: stop or skip (default: as the mix says)")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "override a value of the mix, such as seed=7 or sources.0.fraction=0.5")
	cmd.Flags().IntVar(&workers, "workers", 0, "tokenizer workers (default: one per processor)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the statistics as JSON")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	requireFlag(cmd, "output")
	return cmd
}

// requireFlag makes a missing flag a usage error.
func requireFlag(cmd *cobra.Command, name string) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--%s is needed (see %s --help)", name, cmd.CommandPath())}
		}
		return run(cmd, args)
	}
}

func printDataStats(cmd *cobra.Command, prefix string, parts []*dataset.Stats, asJSON bool) error {
	if !asJSON {
		return dataset.WriteBlock(cmd.OutOrStdout(), prefix, parts)
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", " ")
	return enc.Encode(struct {
		Prefix   string           `json:"prefix"`
		Datasets []*dataset.Stats `json:"datasets"`
		Total    *dataset.Stats   `json:"total"`
	}{prefix, parts, dataset.Total(parts)})
}

func newDataStatsCmd() *cobra.Command {
	var sets []string
	var asJSON, skips, quiet bool
	var page string
	cmd := &cobra.Command{
		Use:   "stats PREFIX|MIX.yaml",
		Short: "Print the statistics of prepared shards, or of a mix",
		Long: `Prints the block of LeoLM's model card: samples and tokens per dataset and in
total. PREFIX is that of finished shards, as out/german_combinedv2-train; a
mix is read and tokenized without writing anything. Shards of other tools,
without the statistics beside them, count as one dataset.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix, parts, err := loadStats(cmd, args[0], sets, quiet)
			if err != nil {
				return err
			}
			if page != "" {
				if err := durable.WriteFile(page, dataset.StatsPage(prefix, parts)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", page)
			}
			if err := printDataStats(cmd, prefix, parts, asJSON); err != nil || asJSON || !skips {
				return err
			}
			return dataset.WriteSkips(cmd.OutOrStdout(), parts)
		},
	}
	cmd.Flags().StringArrayVar(&sets, "set", nil, "override a value of the mix")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the counts of every length")
	cmd.Flags().BoolVar(&skips, "skips", false, "also list how many samples were skipped for which reason")
	cmd.Flags().StringVar(&page, "html", "", "also write a page with histograms to this file")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

func loadStats(cmd *cobra.Command, arg string, sets []string, quiet bool) (prefix string, parts []*dataset.Stats, err error) {
	if ext := filepath.Ext(arg); ext == ".yaml" || ext == ".yml" {
		m, err := dataset.LoadMix(arg, sets)
		if err != nil {
			return "", nil, err
		}
		report, err := dataset.Measure(cmd.Context(), m, dataset.PrepareOptions{Progress: rowProgress(cmd, quiet)})
		if err != nil {
			return "", nil, err
		}
		return report.Prefix + "-train", report.Train, nil
	}
	parts, err = dataset.ReadStats(arg)
	return arg, parts, err
}
