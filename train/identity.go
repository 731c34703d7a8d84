package train

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"leolm/internal/recipe"
)

// essence is the parts of the recipe that must not change between a checkpoint and its resumption: all that the sequence
// of updates depends on. How the model is talked to and written is none of it.
func (c *Config) essence() Config {
	k := *c
	k.Output, k.Name = "", ""
	k.Eval, k.Evaluate, k.Checkpoint, k.Export, k.Parallel = EvalConfig{}, nil, CheckpointConfig{}, ExportConfig{}, ParallelConfig{}
	k.Model.Generation, k.Model.ChatTemplate = nil, ""
	return k
}

// identity is the hash of the recipe's essence.
func (c *Config) identity() string {
	k := c.essence()
	// Keys that came later are left out while they say what older binaries did.
	if k.Optimizer.Type == "adamw" {
		k.Optimizer.Type, k.Optimizer.Momentum = "", 0
	}
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// OtherRecipeError reports a checkpoint that a recipe can't go on from.
type OtherRecipeError struct {
	Step, Total int      // of the checkpoint
	Changed     []string // what differs, "KEY: NEW instead of OLD"; empty where the checkpoint does not say
}

func (e *OtherRecipeError) Error() string {
	what := ""
	if len(e.Changed) > 0 {
		what = ": " + strings.Join(e.Changed, ", ")
	}
	return fmt.Sprintf("the checkpoint (step %d of %d) is of another recipe%s; choose another output folder, or remove the checkpoints to start anew", e.Step, e.Total, what)
}

// sameRecipe refuses a checkpoint of a recipe with another essence.
func (c *Config) sameRecipe(s *state) error {
	if s.Recipe == c.identity() {
		return nil
	}
	now, err := recipe.Values(c.essence())
	if err != nil {
		return err
	}
	return &OtherRecipeError{Step: s.Step, Total: s.Total, Changed: changed(s.Keys, now)}
}

// sameSteps refuses a checkpoint of a run of another length.
func sameSteps(s *state, steps int) error {
	if s.Total == steps {
		return nil
	}
	return &OtherRecipeError{Step: s.Step, Total: s.Total, Changed: []string{fmt.Sprintf("%d steps instead of %d", steps, s.Total)}}
}

// changed lists the keys with other values, in order.
func changed(old, now map[string]string) []string {
	var list []string
	if old == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if was, ok := old[key]; !ok {
			list = append(list, fmt.Sprintf("%s: %s is new", key, now[key]))
		} else if was != now[key] {
			list = append(list, fmt.Sprintf("%s: %s instead of %s", key, now[key], was))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[key]; !ok {
			list = append(list, key+" is gone")
		}
	}
	return list
}

// dataIdentity identifies what the run is trained on, by the recipe's keys. It is found once: shards don't change under a
// run.
func (t *Trainer) dataIdentity() map[string]string {
	if t.identities == nil {
		t.identities = map[string]string{}
		for _, o := range t.data.opened {
			t.identities[o.key] = o.Identity()
		}
		if t.sub.base != nil && t.cfg.frozenBase() {
			t.identities["model.base"] = t.sub.base.Checkpoint.Identity()
		}
		t.objective.identities(t.identities)
	}
	return t.identities
}

// sameData refuses a checkpoint of other data or of another vocabulary: what follows would be no continuation.
func (t *Trainer) sameData(s *state) error {
	if s.Tokenizer != "" && s.Tokenizer != t.sub.vocab.fingerprint {
		return &MismatchError{"model.tokenizer", fmt.Sprintf("the checkpoint was trained with the tokenizer %s, the recipe now gives %s", s.Tokenizer, t.sub.vocab.fingerprint),
			"bring the old files back, or choose another output folder to start anew"}
	}
	now := t.dataIdentity()
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		if now[key] != s.Data[key] {
			return s.otherData(key, cmp.Or(now[key], "none"))
		}
	}
	return nil
}

// otherData says that the data of a recipe's key are not those that the checkpoint names.
func (s *state) otherData(key, now string) error {
	return &MismatchError{key, fmt.Sprintf("the data are not those that the first %d steps were trained on (%s then, %s now)", s.Step, s.Data[key], now),
		"bring the old files back, or choose another output folder to start anew"}
}
