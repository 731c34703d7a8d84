package checkpoint

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// UnsupportedAdapterError says that an adapter is of a kind that Leo can't apply.
type UnsupportedAdapterError struct {
	Kind   string // as its authors call it, such as "(IA)³" or "PiSSA"
	Reason string // what is different about it
	// Merge reports whether PEFT can fold it into its base model.
	Merge bool
	// Convert reports whether PEFT can write it as a plain LoRA adapter.
	Convert bool
}

func (e *UnsupportedAdapterError) Error() string {
	s := fmt.Sprintf("%s adapters are not supported: %s", e.Kind, e.Reason)
	switch {
	case e.Convert:
		s += "; convert it to a plain LoRA adapter with PEFT (save_pretrained with path_initial_model_for_weight_conversion), or fold it into its base model there (merge_and_unload)"
	case e.Merge:
		s += "; fold it into its base model with PEFT (merge_and_unload) and open the result"
	default:
		s += ", which can't be folded into the base model; train a LoRA adapter instead"
	}
	return s
}

// peftKinds are the values of peft_type that are no LoRA, by the names of their
// authors. Other kinds are reported under the file's name for them.
var peftKinds = map[string]string{
	"ADALORA": "AdaLoRA", "ADAPTION_PROMPT": "LLaMA-Adapter", "BOFT": "BOFT", "CPT": "CPT", "FOURIERFT": "FourierFT", "IA3": "(IA)³",
	"LN_TUNING": "layer norm tuning", "LOHA": "LoHa", "LOKR": "LoKr", "MULTITASK_PROMPT_TUNING": "multitask prompt tuning",
	"P_TUNING": "P-tuning", "POLY": "Poly", "PREFIX_TUNING": "prefix tuning", "PROMPT_TUNING": "prompt tuning", "RANDLORA": "RandLoRA",
	"TRAINABLE_TOKENS": "trainable tokens", "VBLORA": "VB-LoRA", "VERA": "VeRA", "XLORA": "X-LoRA",
}

// peftPrompts are kinds that add to what the model reads, or choose by it, instead of
// changing weights.
var peftPrompts = []string{"ADAPTION_PROMPT", "CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "P_TUNING", "POLY", "PREFIX_TUNING", "PROMPT_TUNING", "XLORA"}

// peftVariants are keys of a LoRA configuration that make it something else.
var peftVariants = []struct {
	key, kind, reason string
	merge             bool
}{
	{"use_qalora", "QA-LoRA", "they change groups of inputs", true},
	{"alora_invocation_tokens", "aLoRA", "they act after certain tokens only", false},
	{"layer_replication", "LoRA with layer_replication", "they run layers of the base model several times", false},
	{"target_parameters", "LoRA with target_parameters", "they change parameters that are no linear layers", true},
	{"trainable_token_indices", "LoRA with trainable_token_indices", "they change single rows of the embedding", true},
	{"lora_bias", "LoRA with lora_bias", "they change biases", true},
	{"use_bdlora", "BD-LoRA", "their matrices are block-diagonal", true},
	{"arrow_config", "Arrow", "they choose among adapters by what the model reads", false},
	{"kasa_config", "KaSA", "they take a part of the base model's weights away", true},
	{"monteclora_config", "MonteCLoRA", "their weights are drawn at random", false},
}

// peftInits are initializations of LoRA that changed the base model's weights before
// training began: unless it was converted when it was saved, which PEFT notes as
// init_lora_weights true, the adapter fits the changed weights only. EVA, MiCA, orthogonal and
// Gaussian ones leave the base as it is.
var peftInits = []struct {
	init, kind string
	convert    bool
}{
	{"pissa", "PiSSA", true}, {"olora", "OLoRA", true}, {"corda", "CorDA", true}, {"lora_ga", "LoRA-GA", true}, {"loftq", "LoftQ", false},
}

// checkPEFT reports a kind of adapter that is none of LoRA's that Leo applies.
func checkPEFT(o *jsonObject) error {
	typ := o.string("peft_type")
	switch {
	case o.err != nil || typ == "":
		return o.err
	case slices.Contains(peftPrompts, typ):
		return &UnsupportedAdapterError{Kind: cmp.Or(peftKinds[typ], typ), Reason: fmt.Sprintf("peft_type %q adds to what the model reads instead of changing its weights", typ)}
	case typ != "LORA":
		return &UnsupportedAdapterError{Kind: cmp.Or(peftKinds[typ], typ), Reason: fmt.Sprintf("peft_type %q is no LoRA", typ), Merge: true}
	}
	for _, v := range peftVariants {
		if value := bytes.TrimSpace(o.m[v.key]); !slices.Contains([]string{"", "null", "false", "[]", "{}"}, string(value)) {
			return &UnsupportedAdapterError{Kind: v.kind, Reason: v.reason, Merge: v.merge}
		}
	}
	return checkInit(o)
}

// checkInit reports an initialization that changed the base model, or one that Leo
// doesn't know to leave it alone.
func checkInit(o *jsonObject) error {
	value := bytes.TrimSpace(o.m["init_lora_weights"])
	if !bytes.HasPrefix(value, []byte(`"`)) {
		return nil // true, false, null or absent
	}
	init := strings.ToLower(o.string("init_lora_weights"))
	for _, i := range peftInits {
		if strings.HasPrefix(init, i.init) { // pissa_niter_16
			return &UnsupportedAdapterError{Kind: i.kind, Merge: true, Convert: i.convert,
				Reason: fmt.Sprintf("init_lora_weights %q changed the base model's weights before training, and this adapter fits only those", init)}
		}
	}
	if !slices.Contains([]string{"gaussian", "eva", "orthogonal", "mica"}, init) {
		return &UnsupportedAdapterError{Kind: fmt.Sprintf("init_lora_weights %q", init), Reason: "Leo doesn't know whether it leaves the base model as it is", Merge: true}
	}
	return nil
}
