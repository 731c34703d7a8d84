package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"leolm/dataset"
	"leolm/dataset/loader"
	"leolm/dataset/shard"
)

func newDataInspectCmd() *cobra.Command {
	var sample, length, batch int
	var seed uint64
	var tokenizerPath, loss, color string
	var pack, asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect PREFIX",
		Short: "Show a sample as the model will see it",
		Long: `Shows the tokens of a sample of finished shards, whose turn they belong to, and
which of them carry loss: in color on a terminal, else between ⟦ and ⟧. With
--length, where it is cut; with --pack, the packed window it lands in.`,
		Example: `  leo data inspect out/shared-train --sample 3
  leo data inspect out/shared-train --pack --length 2048`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			shards, err := shard.Open(args[0])
			if err != nil {
				return err
			}
			defer shards.Close()
			if sample < 0 || sample >= shards.Len() {
				return usageError{fmt.Errorf("--sample %d: %s has samples 0 to %d", sample, args[0], shards.Len()-1)}
			}
			weights := loader.AssistantLoss()
			switch loss {
			case "assistant":
			case "all":
				weights = loader.AllLoss()
			default:
				return usageError{fmt.Errorf("--loss %s: want assistant or all", loss)}
			}
			view := dataset.Inspector{Loss: weights}
			path, vocab := dataset.ShardTokenizer(args[0])
			if tokenizerPath != "" {
				path = tokenizerPath
			}
			if path != "" {
				if view.Tokenizer, err = dataset.OpenVocabulary(path, vocab); err != nil {
					return fmt.Errorf("%w (name another with --tokenizer)", err)
				}
			} else {
				fmt.Fprintln(cmd.ErrOrStderr(), "no tokenizer is known for these shards: showing ids (name one with --tokenizer)")
			}
			out := cmd.OutOrStdout()
			if view.Color = color == "always" || color == "auto" && isTerminal(out) && os.Getenv("NO_COLOR") == ""; view.Color {
				out = rawWriter(out) // the inspector has already escaped control characters
			}
			title := fmt.Sprintf("sample %d of %d", sample, shards.Len())
			if asJSON {
				return json.NewEncoder(out).Encode(shards.Sample(sample))
			}
			if !pack {
				return view.Sample(out, title, shards.Sample(sample), length)
			}
			if length == 0 {
				return usageError{fmt.Errorf("--pack needs --length, the positions of a window")}
			}
			blend, err := loader.NewBlend(seed, loader.Part{Set: shards, Weight: 1})
			if err != nil {
				return err
			}
			batcher, err := loader.NewBatcher(blend, loader.BatchOptions{Length: length, Batch: batch, Pack: true, Loss: weights})
			if err != nil {
				return err
			}
			for n := 0; batcher.Position().Epoch == 0; {
				for _, w := range batcher.Next() {
					for _, r := range w.Refs {
						if r.Index == sample {
							return view.Window(out, fmt.Sprintf("window %d of the first epoch, with %s", n, title), &w)
						}
					}
					n++
				}
			}
			return fmt.Errorf("%s is in no window: it has fewer than two tokens", title)
		},
	}
	cmd.Flags().IntVar(&sample, "sample", 0, "number of the sample, from 0")
	cmd.Flags().IntVar(&length, "length", 0, "positions of a window; longer samples are cut (0: not cut)")
	cmd.Flags().BoolVar(&pack, "pack", false, "show the packed window that holds the sample")
	cmd.Flags().IntVar(&batch, "batch", 1, "windows of a batch, with --pack")
	cmd.Flags().Uint64Var(&seed, "seed", 42, "seed of the order, with --pack")
	cmd.Flags().StringVar(&loss, "loss", "assistant", "tokens that carry loss: assistant or all")
	cmd.Flags().StringVar(&tokenizerPath, "tokenizer", "", "tokenizer file or folder (default: the one the shards were made with)")
	cmd.Flags().StringVar(&color, "color", "auto", "color: auto, always, never")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print ids and roles as JSON")
	return cmd
}
