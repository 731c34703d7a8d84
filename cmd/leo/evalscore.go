package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/eval"
	"leolm/open"
	"leolm/tensor"
)

// evalModelFlags choose the model under evaluation: one that runs here, or an endpoint.
type evalModelFlags struct {
	modelFlags
	endpointFlags
	bos, precision string
}

func (f *evalModelFlags) register(cmd *cobra.Command) {
	f.modelFlags.register(cmd)
	f.endpointFlags.register(cmd, "", "the model")
	registerRanks(cmd)
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
	r := dealing(cmd.Context())
	if f.baseURL != "" {
		if r != nil {
			return nil, nil, errReplicasHere
		}
		e, err := f.endpointFlags.open(f.model, logTo(cmd.ErrOrStderr(), f.quiet))
		return e, func() {}, err
	}
	if r != nil {
		return r.replicas(cmd, byte(bos)+1, f.openReplica)
	}
	return f.openHere(cmd, bos)
}

// errReplicasHere says what --ranks replicas cannot be had with.
var errReplicasHere = usageError{errors.New("--ranks replicas is for a model that runs here, not for one at --base-url")}

// openReplica opens a rank's model; what is one more than the policy about the token before texts.
func (f *evalModelFlags) openReplica(cmd *cobra.Command, what byte) (eval.Model, func(), error) {
	return f.openHere(cmd, chat.BOSPolicy(what-1))
}

// openHere opens the model in this process.
func (f *evalModelFlags) openHere(cmd *cobra.Command, bos chat.BOSPolicy) (eval.Model, func(), error) {
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
