package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"leolm/device/vulkan"
	"leolm/infer"
	"leolm/internal/kernel/cpu"
	"leolm/internal/kernel/limits"
	"leolm/internal/llamacpp"
	"leolm/internal/pool"
	"leolm/llama"
	"leolm/open"
)

// benchRow is one measurement: medians over the runs, with the spread.
type benchRow struct {
	Depth     int      `json:"cached_tokens"`
	Prompt    int      `json:"prompt_tokens"`
	Generate  int      `json:"new_tokens"`
	Sequences int      `json:"sequences"`
	Prefill   spread   `json:"prefill_tokens_per_second"`
	Decode    spread   `json:"decode_tokens_per_second"`
	First     spread   `json:"first_token_seconds"`
	ReadShare float64  `json:"share_of_read_bandwidth"` // decode: bytes of weights and cache per second over what the machine reads
	PeakShare float64  `json:"share_of_arithmetic_peak"`
	PeakName  string   `json:"peak"`
	Peer      *peerRow `json:"llama_cpp,omitempty"`
}

// peerRow is llama.cpp's part of a row, each rate with the setting that is best for it.
type peerRow struct {
	Prefill     spread           `json:"prefill_tokens_per_second"`
	PrefillWith llamacpp.Setting `json:"prefill_with"`
	Decode      spread           `json:"decode_tokens_per_second"`
	DecodeWith  llamacpp.Setting `json:"decode_with"`
}

// spread is a median with the smallest and largest value.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(v []float64) spread {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return spread{}
	}
	return spread{(s[(len(s)-1)/2] + s[len(s)/2]) / 2, s[0], s[len(s)-1]}
}

type benchFlags struct {
	modelFlags
	prompts, sequences []int
	depths             []int
	generate, runs     int
	peer               string
	asJSON             bool
}

func newBenchCmd() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine, and a model on it",
		Long: `Measure what the machine can do (read bandwidth, f32, bf16 and int8 arithmetic)
and how much of that a model gets: reading prompts, generating alone and in
batches, time to first token. With --device gpu the GPU is measured as well, with
Leo's own kernels, and the shares are the GPU's. Without --model only the machine
is measured. With --peer, llama.cpp runs on the same file in turn (see
bench/peers/README.md): with flash attention and without, and with keys and values in f16
and q8_0; the better is compared.`,
		Example: "  leo bench --model model.gguf --prompt 16,512 --sequences 1,8 --peer bench/peers",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.modelFlags.register(cmd)
	fl := cmd.Flags()
	fl.IntSliceVar(&f.prompts, "prompt", []int{16, 128, 512}, "prompt lengths in tokens")
	fl.IntSliceVar(&f.depths, "depth", []int{0}, "tokens already cached before the prompt (made up: filling them in costs no time)")
	fl.IntSliceVar(&f.sequences, "sequences", []int{1}, "numbers of sequences that run together")
	fl.IntVarP(&f.generate, "max-new-tokens", "n", 32, "tokens to generate")
	fl.IntVar(&f.runs, "runs", 5, "measurements of each kind")
	fl.StringVar(&f.peer, "peer", "", "folder with llama.cpp: llama-batched-bench, or its npm package and llamacpp.mjs")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	workers := cmp.Or(max(f.threads, 0), pool.Default().Workers())
	lim := limits.Measure(workers, 200*time.Millisecond)
	gpu, gpuName, err := open.GPULimits(f.gpu.device)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if !f.asJSON {
		fmt.Fprintf(out, "machine   %d workers, cpu level %s: reads %.1f GB/s, f32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, int8 %.0f GOP/s\n",
			workers, cpu.Active, lim.Read, lim.F32, lim.BF16, lim.Int8)
		if gpu != nil {
			printGPU(out, gpu, gpuName)
		}
	}
	report := map[string]any{"machine": lim, "cpu_level": cpu.Active.String()}
	if gpu != nil {
		report["gpu"], report["gpu_name"] = gpu, gpuName
	}
	if f.model == "" {
		if f.asJSON {
			return printJSON(out, report)
		}
		return nil
	}
	start := time.Now()
	f.context = max(f.context, slices.Max(f.depths)+slices.Max(f.prompts)+f.generate+8)
	l, err := f.open(cmd.Context(), cmd.ErrOrStderr(), slices.Max(f.sequences))
	if err != nil {
		return err
	}
	defer l.Close()
	loadTime := time.Since(start)
	reader := limits.NewReader(workers)
	if !f.asJSON {
		fmt.Fprintf(out, "model     %s, %s of weights, loaded in %.2f s, on %s\n", l.Name, bytesText(int64(l.Engine.Model().WeightBytes())), loadTime.Seconds(), l.Device.Name())
		fmt.Fprintf(out, "\n%6s %6s %5s %3s  %22s %7s  %22s %7s  %9s", "cached", "prompt", "new", "seq", "prefill tokens/s", "peak", "decode tokens/s", "read", "first")
		if f.peer != "" {
			fmt.Fprintf(out, "  %22s %22s", "llama.cpp prefill", "llama.cpp decode")
		}
		fmt.Fprintln(out)
	}
	var rows []benchRow
	for _, depth := range f.depths {
		for _, prompt := range f.prompts {
			for _, n := range f.sequences {
				row, err := f.measure(cmd.Context(), l, reader, lim, gpu, depth, prompt, n)
				if err != nil {
					return err
				}
				rows = append(rows, *row)
				if !f.asJSON {
					row.print(out)
				}
			}
		}
	}
	if f.asJSON {
		report["model"], report["weight_bytes"], report["load_seconds"] = l.Name, l.Engine.Model().WeightBytes(), loadTime.Seconds()
		report["rows"] = rows
		return printJSON(out, report)
	}
	return nil
}

// check finds what is wrong with the flags.
func (f *benchFlags) check() error {
	if f.generate < 2 || f.runs < 1 {
		return usageError{errors.New("--max-new-tokens must be at least 2 and --runs at least 1")}
	}
	if len(f.prompts) == 0 || len(f.sequences) == 0 || len(f.depths) == 0 ||
		slices.Min(f.prompts) < 1 || slices.Min(f.sequences) < 1 || slices.Min(f.depths) < 0 {
		return usageError{errors.New("--prompt and --sequences take numbers from 1, --depth from 0")}
	}
	if f.peer != "" {
		if _, err := llamacpp.Find(f.peer); err != nil {
			return usageError{fmt.Errorf("--peer: %w", err)}
		}
		if i, err := os.Stat(f.model); err != nil || !i.Mode().IsRegular() {
			return usageError{fmt.Errorf("--peer needs a GGUF file as --model: %q is not one", f.model)}
		}
	}
	if err := open.CheckDevice(f.gpu.device); err != nil {
		return usageError{fmt.Errorf("--device: %w", err)}
	}
	return nil
}

// printGPU prints what a GPU can do.
func printGPU(w io.Writer, l *vulkan.Limits, name string) {
	fmt.Fprintf(w, "gpu       %s: reads %.1f GB/s, f32 %.0f GFLOP/s", name, l.Read, l.F32)
	if l.Matrix > 0 {
		fmt.Fprintf(w, ", matrix units %.0f GFLOP/s (f16)", l.Matrix)
	}
	fmt.Fprintln(w)
}

// measure runs one shape: Leo and the peer in turn.
func (f *benchFlags) measure(ctx context.Context, l *open.Model, reader *limits.Reader, lim limits.Limits, gpu *vulkan.Limits, depth, prompt, n int) (*benchRow, error) {
	row := &benchRow{Depth: depth, Prompt: prompt, Generate: f.generate, Sequences: n}
	var prefill, decode, first, share []float64
	var peer [][]llamacpp.Rates
	if _, err := f.once(ctx, l, depth, prompt, n); err != nil { // warm
		return nil, err
	}
	// Every step reads the weights once, and the cache of every sequence.
	bytes := float64(l.Engine.Model().WeightBytes()) + float64((depth+prompt+f.generate/2)*n*l.Engine.TokenBytes())
	for range f.runs {
		t, err := f.once(ctx, l, depth, prompt, n)
		if err != nil {
			return nil, err
		}
		prefill = append(prefill, float64(prompt*n)/t.prefill.Seconds())
		decode = append(decode, float64(f.generate*n)/t.decode.Seconds())
		first = append(first, t.prefill.Seconds())
		can := 0.0
		if gpu != nil {
			can = gpu.Read
		} else {
			can = reader.GBps(100 * time.Millisecond)
		}
		share = append(share, float64(f.generate)/t.decode.Seconds()*bytes/1e9/can)
		if f.peer != "" {
			p, err := f.runPeer(ctx, l, depth+prompt, n)
			if err != nil {
				return nil, err
			}
			peer = append(peer, p)
		}
	}
	row.Prefill, row.Decode, row.First = spreadOf(prefill), spreadOf(decode), spreadOf(first)
	row.ReadShare = spreadOf(share).Median
	row.setPeak(l, lim, gpu, prompt)
	if f.peer != "" {
		p := &peerRow{}
		var read, written []float64
		read, p.PrefillWith = llamacpp.Best(peer, func(r *llamacpp.Rates) float64 { return r.Prefill })
		written, p.DecodeWith = llamacpp.Best(peer, func(r *llamacpp.Rates) float64 { return r.Decode })
		p.Prefill, p.Decode = spreadOf(read), spreadOf(written)
		row.Peer = p
	}
	return row, nil
}

// setPeak says how much of the arithmetic of the processor or the GPU reading prompts gets.
func (row *benchRow) setPeak(l *open.Model, lim limits.Limits, gpu *vulkan.Limits, prompt int) {
	peak, name := lim.Int8, "int8"
	if dt := l.Engine.Model().Layers[0].Q.W.DType(); gpu != nil {
		peak, name = gpu.Peak(dt)
	} else if !dt.Quantized() {
		peak, name = lim.F32, "f32"
		if dt.String() == "bf16" && lim.BF16 > 0 {
			peak, name = lim.BF16, "bf16"
		}
	}
	row.PeakName = name
	if peak > 0 {
		all, last := matrixParams(l)
		perToken := float64(all) - float64(last)*float64(prompt-1)/float64(prompt)
		row.PeakShare = 2 * perToken * row.Prefill.Median / 1e9 / peak
	}
}

// matrixParams counts the parameters of the layers' matrices, and those of them that run for the last token
// of a prompt only: everything after attention in the last layer.
func matrixParams(l *open.Model) (all, last int64) {
	count := func(x *llama.Linear) int64 { return int64(x.W.Rows()) * int64(x.W.Cols()) }
	m := l.Engine.Model()
	for _, x := range m.Linears() {
		all += count(x)
	}
	end := &m.Layers[len(m.Layers)-1]
	for _, x := range []*llama.Linear{&end.O, &end.Gate, &end.Up, &end.Down} {
		last += count(x)
	}
	return all, last
}

type benchTimes struct{ prefill, decode time.Duration }

// once reads n prompts, each after depth cached tokens, and then decodes all of them greedily as one batch.
func (f *benchFlags) once(ctx context.Context, l *open.Model, depth, prompt, n int) (benchTimes, error) {
	var t benchTimes
	e := l.Engine
	vocab := int32(l.Checkpoint.Config.VocabSize)
	ids := make([]int32, prompt)
	for i := range ids {
		ids[i] = (300 + int32(i)*37) % vocab
	}
	feeds := make([]infer.Feed, n)
	next := make([]int32, n)
	for k := range n {
		s := e.NewSession()
		defer s.Close()
		if err := s.FillSynthetic(depth); err != nil {
			return t, err
		}
		feeds[k] = infer.Feed{Session: s, Want: infer.WantLast}
	}
	start := time.Now()
	for k := range n {
		logits, err := e.Prefill(ctx, feeds[k].Session, ids, nil)
		if err != nil {
			return t, err
		}
		next[k] = infer.ArgMax(logits)
	}
	t.prefill = time.Since(start)
	start = time.Now()
	for range f.generate {
		for k := range n {
			feeds[k].IDs = next[k : k+1]
		}
		logits, err := e.Step(feeds)
		if err != nil {
			return t, err
		}
		v := len(logits) / n
		for k := range n {
			next[k] = infer.ArgMax(logits[k*v : (k+1)*v])
		}
	}
	t.decode = time.Since(start)
	return t, nil
}

// runPeer times llama.cpp on the same file.
func (f *benchFlags) runPeer(ctx context.Context, l *open.Model, prompt, n int) ([]llamacpp.Rates, error) {
	return llamacpp.Run(ctx, f.peer, llamacpp.Job{Model: f.model, Threads: cmp.Or(f.threads, pool.Default().Workers()),
		Prompt: prompt, Generate: f.generate, Sequences: n, Vocab: min(20000, l.Checkpoint.Config.VocabSize-300)})
}

func (r *benchRow) print(w io.Writer) {
	cell := func(s spread) string { return fmt.Sprintf("%7.1f (%.1f–%.1f)", s.Median, s.Min, s.Max) }
	share := func(s float64) string {
		return fmt.Sprintf("%4.0f %%", 100*s)
	}
	fmt.Fprintf(w, "%6d %6d %5d %3d  %22s %s %s  %20s %s  %7.3f s", r.Depth, r.Prompt, r.Generate, r.Sequences, cell(r.Prefill), share(r.PeakShare), r.PeakName,
		cell(r.Decode), share(r.ReadShare), r.First.Median)
	if r.Peer != nil {
		fmt.Fprintf(w, "  %s = ×%.2f (%v)  %s = ×%.2f (%v)", cell(r.Peer.Prefill), r.Prefill.Median/r.Peer.Prefill.Median, r.Peer.PrefillWith,
			cell(r.Peer.Decode), r.Decode.Median/r.Peer.Decode.Median, r.Peer.DecodeWith)
	}
	fmt.Fprintln(w)
}
