package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"leolm/dataset"
	"leolm/dataset/loader"
	"leolm/dataset/shard"
)

// dataInspectFlags are the flags of leo data inspect.
type dataInspectFlags struct {
	sample, length, batch  int
	seed                   uint64
	tokenizer, loss, color string
	pack, asJSON           bool
}

func newDataInspectCmd() *cobra.Command {
	f := &dataInspectFlags{}
	cmd := &cobra.Command{
		Use:   "inspect PREFIX",
		Short: "Show a sample as the model will see it",
		Long: `Shows the tokens of a sample of finished shards, whose turn they belong to, and
which of them carry loss: in color on a terminal, else between ⟦ and ⟧. With
--length, where it is cut; with --pack, the packed window it lands in.`,
		Example: `  leo data inspect out/shared-train --sample 3
  leo data inspect out/shared-train --pack --length 2048`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.IntVar(&f.sample, "sample", 0, "number of the sample, from 0")
	fl.IntVar(&f.length, "length", 0, "positions of a window; longer samples are cut (0: not cut)")
	fl.BoolVar(&f.pack, "pack", false, "show the packed window that holds the sample")
	fl.IntVar(&f.batch, "batch", 1, "windows of a batch, with --pack")
	fl.Uint64Var(&f.seed, "seed", 42, "seed of the order, with --pack")
	fl.StringVar(&f.loss, "loss", "assistant", "tokens that carry loss: assistant or all")
	fl.StringVar(&f.tokenizer, "tokenizer", "", "tokenizer file or folder (default: the one the shards were made with)")
	fl.StringVar(&f.color, "color", "auto", "color: auto, always, never")
	fl.BoolVar(&f.asJSON, "json", false, "print ids and roles as JSON")
	return cmd
}

func (f *dataInspectFlags) run(cmd *cobra.Command, prefix string) error {
	shards, err := shard.Open(prefix)
	if err != nil {
		return err
	}
	defer shards.Close()
	if f.sample < 0 || f.sample >= shards.Len() {
		return usageError{fmt.Errorf("--sample %d: %s has samples 0 to %d", f.sample, prefix, shards.Len()-1)}
	}
	if f.pack && f.length == 0 && !f.asJSON {
		return usageError{fmt.Errorf("--pack needs --length, the positions of a window")}
	}
	view, err := f.inspector(cmd.ErrOrStderr(), prefix)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if view.Color = f.color == "always" || f.color == "auto" && isTerminal(out) && os.Getenv("NO_COLOR") == ""; view.Color {
		out = rawWriter(out) // the inspector has already escaped control characters
	}
	if f.asJSON {
		return json.NewEncoder(out).Encode(shards.Sample(f.sample))
	}
	title := fmt.Sprintf("sample %d of %d", f.sample, shards.Len())
	if !f.pack {
		return view.Sample(out, title, shards.Sample(f.sample), f.length)
	}
	n, w, err := f.window(shards, view.Loss)
	if err != nil {
		return err
	}
	if w == nil {
		return fmt.Errorf("%s is in no window: it has fewer than two tokens", title)
	}
	return view.Window(out, fmt.Sprintf("window %d of the first epoch, with %s", n, title), w)
}

// inspector is the view of the flags, with the tokenizer that the shards were made with or that the flags name.
func (f *dataInspectFlags) inspector(diag io.Writer, prefix string) (*dataset.Inspector, error) {
	view := &dataset.Inspector{Loss: loader.AssistantLoss()}
	switch f.loss {
	case "assistant":
	case "all":
		view.Loss = loader.AllLoss()
	default:
		return nil, usageError{fmt.Errorf("--loss %s: want assistant or all", f.loss)}
	}
	path, vocab := dataset.ShardTokenizer(prefix)
	if f.tokenizer != "" {
		path = f.tokenizer
	}
	if path == "" {
		fmt.Fprintln(diag, "no tokenizer is known for these shards: showing ids (name one with --tokenizer)")
		return view, nil
	}
	var err error
	if view.Tokenizer, err = dataset.OpenVocabulary(path, vocab); err != nil {
		return nil, fmt.Errorf("%w (name another with --tokenizer)", err)
	}
	return view, nil
}

// window finds the packed window of the first epoch that holds the sample, nil if none does.
func (f *dataInspectFlags) window(shards shard.Set, weights loader.LossWeights) (n int, w *loader.Window, err error) {
	blend, err := loader.NewBlend(f.seed, loader.Part{Set: shards, Weight: 1})
	if err != nil {
		return 0, nil, err
	}
	batcher, err := loader.NewBatcher(blend, loader.BatchOptions{Length: f.length, Batch: f.batch, Pack: true, Loss: weights})
	if err != nil {
		return 0, nil, err
	}
	for batcher.Position().Epoch == 0 {
		for _, w := range batcher.Next() {
			if slices.ContainsFunc(w.Refs, func(r loader.Ref) bool { return r.Index == f.sample }) {
				return n, &w, nil
			}
			n++
		}
	}
	return n, nil, nil
}
