package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"leolm/sample"
)

// samplingFlags set how tokens are sampled; a preset gives the values that are not set.
type samplingFlags struct {
	preset       string
	p            sample.Params
	maxNewTokens int
	stops        []string
	bias         []string
	banned       []int
	forced       []int
	noRepeat     int
	cmd          *cobra.Command
}

func (f *samplingFlags) register(cmd *cobra.Command) {
	f.cmd = cmd
	fl := cmd.Flags()
	fl.StringVar(&f.preset, "preset", "", "sampling preset: leo, hf (the model card's pipeline call), leolm (the demo), greedy (default: what the model's files recommend, else leo)")
	fl.Float64Var(&f.p.Temperature, "temperature", 0, "divides the logits; 0 is greedy")
	fl.IntVar(&f.p.TopK, "top-k", 0, "keep the k most probable tokens (0: all)")
	fl.Float64Var(&f.p.TopP, "top-p", 0, "keep the most probable tokens up to this mass (0 or 1: all)")
	fl.Float64Var(&f.p.MinP, "min-p", 0, "keep tokens of at least this fraction of the largest probability")
	fl.Float64Var(&f.p.TypicalP, "typical-p", 0, "locally typical sampling: keep this mass (0 or 1: all)")
	fl.Float64Var(&f.p.RepetitionPenalty, "repetition-penalty", 0, "divide the logits of tokens that occurred (1: off)")
	fl.Float64Var(&f.p.PresencePenalty, "presence-penalty", 0, "subtract from the logits of tokens that occurred in the answer")
	fl.Float64Var(&f.p.FrequencyPenalty, "frequency-penalty", 0, "subtract per occurrence in the answer")
	fl.IntVar(&f.p.PenaltyWindow, "penalty-window", 0, "apply the penalties to the last N tokens only (0: all)")
	fl.Float64Var(&f.p.DRY.Multiplier, "dry-multiplier", 0, "strength of the DRY repetition penalty (0: off)")
	fl.Float64Var(&f.p.DRY.Base, "dry-base", 0, "base of the DRY penalty (default 1.75)")
	fl.IntVar(&f.p.DRY.AllowedLength, "dry-allowed-length", 0, "repeated runs up to this length are free (default 2)")
	fl.IntVar(&f.noRepeat, "no-repeat-ngram", 0, "never repeat an n-gram of this size (0: off)")
	fl.Float64Var(&f.p.MirostatTau, "mirostat-tau", 0, "mirostat 2: target surprise in bits (0: off)")
	fl.Float64Var(&f.p.MirostatEta, "mirostat-eta", 0, "mirostat 2: learning rate (default 0.1)")
	fl.Uint64Var(&f.p.Seed, "seed", 0, "random seed")
	fl.IntVarP(&f.maxNewTokens, "max-new-tokens", "n", 0, "most tokens of an answer (0: as many as the context holds)")
	fl.IntVar(&f.p.MinNewTokens, "min-new-tokens", 0, "do not end an answer before N tokens")
	fl.StringArrayVar(&f.stops, "stop", nil, "stop string (repeatable)")
	fl.StringArrayVar(&f.bias, "logit-bias", nil, "ID=VALUE added to the logit of a token (repeatable)")
	fl.IntSliceVar(&f.banned, "ban-token", nil, "token ids that are never sampled")
	completeWith(cmd, "preset", sample.PresetNames()...)
	fl.IntSliceVar(&f.forced, "force-token", nil, "token ids that the answer begins with")
}

// check finds mistakes in the flags before a model is loaded.
func (f *samplingFlags) check() error {
	p, err := sample.FindPreset("leo")
	if err == nil {
		_, err = f.resolve(p)
	}
	return err
}

// resolve returns the preset, or p (what the model recommends) if none is named, overridden by the flags that were set.
func (f *samplingFlags) resolve(p sample.Preset) (sample.Preset, error) {
	if f.preset != "" {
		var err error
		if p, err = sample.FindPreset(f.preset); err != nil {
			return p, usageError{withHint(fmt.Errorf("--preset: %w", err), f.preset, sample.PresetNames())}
		}
	}
	set := f.cmd.Flags().Changed
	over := func(name string, apply func()) {
		if set(name) {
			apply()
		}
	}
	over("temperature", func() { p.Temperature = f.p.Temperature })
	over("top-k", func() { p.TopK = f.p.TopK })
	over("top-p", func() { p.TopP = f.p.TopP })
	over("min-p", func() { p.MinP = f.p.MinP })
	over("typical-p", func() { p.TypicalP = f.p.TypicalP })
	over("repetition-penalty", func() { p.RepetitionPenalty = f.p.RepetitionPenalty })
	over("presence-penalty", func() { p.PresencePenalty = f.p.PresencePenalty })
	over("frequency-penalty", func() { p.FrequencyPenalty = f.p.FrequencyPenalty })
	over("penalty-window", func() { p.PenaltyWindow = f.p.PenaltyWindow })
	over("dry-multiplier", func() { p.DRY = f.p.DRY })
	over("no-repeat-ngram", func() { p.NoRepeatNGram = f.noRepeat })
	over("mirostat-tau", func() { p.MirostatTau, p.MirostatEta = f.p.MirostatTau, f.p.MirostatEta })
	over("max-new-tokens", func() { p.MaxNewTokens, p.MaxLength = f.maxNewTokens, 0 })
	over("min-new-tokens", func() { p.MinNewTokens = f.p.MinNewTokens })
	if p.MaxNewTokens < 0 || p.MinNewTokens < 0 {
		return p, usageError{errors.New("--max-new-tokens and --min-new-tokens must not be negative")}
	}
	if slices.Contains(f.stops, "") {
		return p, usageError{errors.New("--stop: an empty text would stop every answer before it begins")}
	}
	p.Seed = f.p.Seed
	for _, id := range f.banned {
		p.Banned = append(p.Banned, int32(id))
	}
	for _, id := range f.forced {
		p.Forced = append(p.Forced, int32(id))
	}
	for _, b := range f.bias {
		id, value, ok := strings.Cut(b, "=")
		n, err1 := strconv.ParseInt(id, 10, 32)
		v, err2 := strconv.ParseFloat(value, 32)
		if !ok || err1 != nil || err2 != nil {
			return p, usageError{fmt.Errorf("--logit-bias %q: write ID=VALUE, such as 42=-3.5", b)}
		}
		if p.LogitBias == nil {
			p.LogitBias = map[int32]float32{}
		}
		p.LogitBias[int32(n)] = float32(v)
	}
	if err := p.Check(); err != nil {
		return p, usageError{err}
	}
	return p, nil
}
