package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"leolm/dataset"
)

func newDataPullCmd() *cobra.Command {
	var to string
	var sets []string
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "pull MIX.yaml|ORG/NAME...",
		Short: "Fetch datasets from the Hugging Face hub",
		Long: `Fetches the data files of the datasets a mix names, or of the ones given, into
the cache that Python's huggingface_hub uses, and links them into DIR/ORG/NAME.
An interrupted download is resumed. HF_ENDPOINT, HF_TOKEN, HF_HOME and
HF_HUB_OFFLINE are obeyed.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ids []string
			for _, a := range args {
				if ext := filepath.Ext(a); ext != ".yaml" && ext != ".yml" {
					ids = append(ids, a)
					continue
				}
				m, err := dataset.LoadMix(a, sets)
				if err != nil {
					return err
				}
				if len(m.HubIDs()) == 0 {
					return fmt.Errorf("%s: no source names a hub: dataset to fetch", a)
				}
				ids = append(ids, m.HubIDs()...)
				if to == "" {
					to = m.Folder()
				}
			}
			if to == "" {
				to = "."
			}
			last := time.Now().Add(-time.Second) // the first line comes after a second
			progress := func(file string, done, total int64) {
				if quiet || time.Since(last) < 2*time.Second && done != total {
					return
				}
				last = time.Now()
				if total > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %.1f of %.1f MB\n", file, float64(done)/1e6, float64(total)/1e6)
				} else {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %.1f MB\n", file, float64(done)/1e6)
				}
			}
			got, err := dataset.Pull(cmd.Context(), ids, to, dataset.PullOptions{
				Progress: progress,
				Warn:     func(msg string) { fmt.Fprintln(cmd.ErrOrStderr(), "leo:", msg) },
			})
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(got)
			}
			for _, p := range got {
				for _, f := range p.Files {
					fmt.Fprintln(exactWriter(cmd), filepath.Join(p.Dir, filepath.FromSlash(f)))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "folder (default: where the mix looks for its files)")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "override a value of the mix")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was fetched as JSON")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}
