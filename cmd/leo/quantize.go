package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/checkpoint"
)

func newQuantizeCmd() *cobra.Command {
	var typeName, imatrixFile string
	var asJSON, force, quiet, again bool
	cmd := &cobra.Command{
		Use:   "quantize SRC DST.gguf --type TYPE",
		Short: "Make a model smaller: store its matrices in blocks of few bits",
		Long: "Store a model's matrices in blocks of few bits, as GGUF. Types are llama.cpp's: q8_0, q6_K, q5_K_M, q4_K_M (the usual choice), q4_0, q3_K_M, q2_K\n" +
			"and more. An importance matrix makes small types better: it says which input columns matter on a text of your choice.",
		Example: "  leo quantize leo-7b-bf16.gguf leo-7b-q4.gguf --type q4_K_M\n  leo quantize ./leo-7b leo-7b-q4.gguf --type q4_K_M --imatrix deutsch.imatrix",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, dst := args[0], args[1]
			if typeName == "" {
				return usageError{fmt.Errorf("--type is needed, such as q4_K_M")}
			}
			typ, err := checkpoint.ParseFileType(typeName)
			if err != nil {
				return usageError{withHint(fmt.Errorf("--type: %w", err), typeName, checkpoint.FileTypeNames())}
			}
			if !strings.HasSuffix(strings.ToLower(dst), ".gguf") {
				return usageError{fmt.Errorf("%s: DST must end in .gguf", dst)}
			}
			if err := refuseOverwrite(src, dst, force); err != nil {
				return err
			}
			start := time.Now()
			var imatrix *checkpoint.Imatrix
			if imatrixFile != "" {
				if imatrix, err = checkpoint.OpenImatrix(imatrixFile); err != nil {
					return err
				}
			}
			c, err := openModel(src)
			if err != nil {
				return err
			}
			defer c.Close()
			if !c.HasWeights() {
				return fmt.Errorf("%s holds no weights", src)
			}
			if d := quantizedType(c); d != "" && !again {
				return fmt.Errorf("%s is already quantized (%s): quantize the original for full quality, or add --requantize", src, d)
			}
			if imatrix != nil {
				if missing := imatrix.Missing(&c.Config); len(missing) > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "note: %s has no entry for %d matrices, such as %s; they are quantized without weights\n", imatrixFile, len(missing), missing[0])
				}
			}
			if !quiet {
				noteFallbacks(cmd.ErrOrStderr(), typ.Fallbacks(&c.Config, c.Sources(), imatrix != nil))
			}
			m, err := plainModel(c)
			if err != nil {
				return err
			}
			p := newBytesProgress(cmd.ErrOrStderr(), quiet)
			notes, err := writeModelGGUF(m, dst, typ, imatrix, "", p)
			p.clear()
			if err != nil {
				return err
			}
			printNotes(cmd.ErrOrStderr(), notes, quiet)
			return writtenResult(dst, typ.String(), start).print(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().StringVar(&typeName, "type", "", "type or mix, such as q4_K_M")
	completeWith(cmd, "type", checkpoint.FileTypeNames()...)
	cmd.Flags().StringVar(&imatrixFile, "imatrix", "", "importance matrix (llama.cpp's .gguf or .dat)")
	cmd.Flags().BoolVar(&again, "requantize", false, "allow a source that is already quantized")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&force, "force", false, "replace DST if it exists")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

// noteFallbacks reports which tensors are stored in another type than requested, and why.
func noteFallbacks(w io.Writer, found []checkpoint.Fallback) {
	for _, f := range found {
		which := f.Tensors[0]
		if n := len(f.Tensors); n > 1 {
			which += fmt.Sprintf(" and %d more", n-1)
		}
		fmt.Fprintf(w, "note: %s: %s instead of %s, whose blocks of %d do not divide rows of %d\n", which, f.Got, f.Want, f.Want.BlockLen(), f.Columns)
	}
}

// quantizedType returns a block type that the model's matrices are stored in, or "".
func quantizedType(c *checkpoint.Checkpoint) string {
	for _, t := range c.Tensors() {
		if t.DType.Quantized() {
			return t.DType.String()
		}
	}
	return ""
}
