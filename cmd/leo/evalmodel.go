package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/eval"
	"leolm/open"
	"leolm/tensor"
)

// endpointFlags choose an OpenAI-compatible endpoint.
type endpointFlags struct {
	prefix                    string
	baseURL, keyEnv           string
	concurrency, attempts     int
	priceIn, priceOut, budget float64
}

// register adds the flags, with a prefix; whose says what answers there.
func (f *endpointFlags) register(cmd *cobra.Command, prefix, whose string) {
	f.prefix = prefix
	fl := cmd.Flags()
	fl.StringVar(&f.baseURL, prefix+"base-url", "", "OpenAI-compatible endpoint of "+whose+", without /chat/completions")
	fl.StringVar(&f.keyEnv, prefix+"key-env", "OPENAI_API_KEY", "environment variable that holds the endpoint's API key")
	fl.IntVar(&f.concurrency, prefix+"concurrency", 8, "requests in flight at the endpoint")
	fl.IntVar(&f.attempts, prefix+"attempts", 6, "how often a request is sent while the endpoint fails")
	fl.Float64Var(&f.priceIn, prefix+"price-in", 0, "price of a million tokens sent")
	fl.Float64Var(&f.priceOut, prefix+"price-out", 0, "price of a million tokens received")
	fl.Float64Var(&f.budget, prefix+"budget", 0, "stop when this run has cost more (0: no limit)")
}

func (f *endpointFlags) open(model string, log func(string, ...any)) (*eval.Endpoint, error) {
	if err := checkThreads("--"+f.prefix+"concurrency", f.concurrency); err != nil {
		return nil, err
	}
	if f.concurrency < 1 || f.attempts < 1 {
		return nil, usageError{fmt.Errorf("--%sconcurrency and --%sattempts take numbers from 1", f.prefix, f.prefix)}
	}
	return eval.NewEndpoint(eval.EndpointOptions{
		URL: f.baseURL, Key: os.Getenv(f.keyEnv), Model: model, Concurrency: f.concurrency, Attempts: f.attempts,
		Price: eval.Price{Prompt: f.priceIn, Completion: f.priceOut}, Budget: f.budget, Log: log,
	}), nil
}

// logTo prints a line of a library's.
func logTo(w io.Writer, quiet bool) func(string, ...any) {
	if quiet {
		return nil
	}
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

// software says which program this is.
func software() eval.Software {
	v := readVersion()
	return eval.Software{Version: v.Version, Commit: v.Commit}
}

// evalModelFlags choose the model under evaluation: one that runs here, or an endpoint.
type evalModelFlags struct {
	modelFlags
	endpointFlags
	bos, precision string
}

func (f *evalModelFlags) register(cmd *cobra.Command) {
	f.modelFlags.register(cmd)
	f.endpointFlags.register(cmd, "", "the model")
	cmd.Flags().StringVar(&f.bos, "bos", "", "begin-of-sequence token before texts: auto (as the tokenizer says), always, never")
	cmd.Flags().StringVar(&f.precision, "precision", "exact", "exact (bfloat16 matrices, keys and values in float32) or model (as other commands run it, with --cache-type)")
	completeWith(cmd, "bos", "auto", "always", "never")
	completeWith(cmd, "precision", "exact", "model")
}

// exactly makes a model compute in float32 what it would round: numbers then are those of other programs to the fourth
// digit. Quantized matrices stay as they are.
func exactly(o *open.Options) {
	o.CacheType = tensor.F32
	o.Convert = func(_ string, stored tensor.DType) tensor.DType {
		if stored == tensor.BF16 {
			return tensor.F32
		}
		return tensor.Invalid
	}
}

// parseBOS reads --bos; def stands for an empty one.
func parseBOS(word string, def chat.BOSPolicy) (chat.BOSPolicy, error) {
	switch word {
	case "":
		return def, nil
	case "auto":
		return chat.BOSAuto, nil
	case "always":
		return chat.BOSAlways, nil
	case "never":
		return chat.BOSNever, nil
	}
	return def, usageError{fmt.Errorf("--bos %q: choose auto, always or never", word)}
}

// scoringPages is the number of tokens in a page of the cache: what texts have in common is shared by whole pages.
const scoringPages = 32

// scoringTogether is for how many full contexts the cache has room.
const scoringTogether = 16

// open opens the model; def decides on the token before texts where the user does not.
func (f *evalModelFlags) open(cmd *cobra.Command, def chat.BOSPolicy) (m eval.Model, done func(), err error) {
	bos, err := parseBOS(f.bos, def)
	if err != nil {
		return nil, nil, err
	}
	if f.baseURL != "" {
		e, err := f.endpointFlags.open(f.model, logTo(cmd.ErrOrStderr(), f.quiet))
		return e, func() {}, err
	}
	if f.precision != "exact" && f.precision != "model" {
		return nil, nil, usageError{fmt.Errorf("--precision %q: choose exact or model", f.precision)}
	}
	opened, err := f.openFor(cmd.Context(), cmd.ErrOrStderr(), func(o *open.Options) {
		o.Together, o.PageLen = scoringTogether, scoringPages
		if f.precision == "exact" && !cmd.Flags().Changed("cache-type") {
			exactly(o)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	l := eval.NewLocal(opened, eval.LocalOptions{BOS: bos})
	return l, func() {
		l.Close()
		opened.Close()
	}, nil
}
