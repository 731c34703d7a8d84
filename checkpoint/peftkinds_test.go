package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every kind of adapter that Leo can't apply is refused by its name, with what to do. The
// keys are those that PEFT 0.21 writes.
func TestUnsupportedAdapters(t *testing.T) {
	const lora = `"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj"],"bias":"none",`
	for config, want := range map[string][]string{
		`"peft_type":"IA3","target_modules":["k_proj"],"feedforward_modules":[]`:    {"(IA)³", "merge_and_unload"},
		`"peft_type":"LOHA","r":8,"alpha":8`:                                        {"LoHa", "merge_and_unload"},
		`"peft_type":"LOKR","r":8,"alpha":8`:                                        {"LoKr", "merge_and_unload"},
		`"peft_type":"ADALORA","r":8,"lora_alpha":8,"init_r":12`:                    {"AdaLoRA", "merge_and_unload"},
		`"peft_type":"VERA","r":256`:                                                {"VeRA", "merge_and_unload"},
		`"peft_type":"BRANDNEW"`:                                                    {"BRANDNEW", "merge_and_unload"},
		`"peft_type":"PROMPT_TUNING","num_virtual_tokens":8`:                        {"prompt tuning", "train a LoRA adapter"},
		`"peft_type":"PREFIX_TUNING","num_virtual_tokens":8`:                        {"prefix tuning", "train a LoRA adapter"},
		`"peft_type":"P_TUNING"`:                                                    {"P-tuning", "train a LoRA adapter"},
		lora + `"init_lora_weights":"pissa"`:                                        {"PiSSA", "path_initial_model_for_weight_conversion"},
		lora + `"init_lora_weights":"pissa_niter_16"`:                               {"PiSSA", "pissa_niter_16"},
		lora + `"init_lora_weights":"OLoRA"`:                                        {"OLoRA", "path_initial_model_for_weight_conversion"},
		lora + `"init_lora_weights":"corda"`:                                        {"CorDA", "fits only those"},
		lora + `"init_lora_weights":"lora_ga"`:                                      {"LoRA-GA", "fits only those"},
		lora + `"init_lora_weights":"loftq","loftq_config":{"loftq_bits":4}`:        {"LoftQ", "merge_and_unload"},
		lora + `"init_lora_weights":"newest"`:                                       {`"newest"`, "merge_and_unload"},
		lora + `"use_qalora":true`:                                                  {"QA-LoRA"},
		lora + `"alora_invocation_tokens":[5,6]`:                                    {"aLoRA"},
		lora + `"layer_replication":[[0,4],[2,5]]`:                                  {"layer_replication"},
		lora + `"trainable_token_indices":[1,2]`:                                    {"trainable_token_indices"},
		lora + `"lora_bias":true`:                                                   {"lora_bias"},
		lora + `"target_parameters":["experts.down_proj"]`:                          {"target_parameters"},
		lora + `"use_bdlora":{"nblocks":2}`:                                         {"BD-LoRA"},
		lora + `"arrow_config":{"top_k":3}`:                                         {"Arrow"},
		`"peft_type":"LORA","r":2,"lora_alpha":4,"init_lora_weights":true,"bias":0`: {`"bias"`},
		`"r":2,"lora_alpha":4`:                                                      {`"peft_type" is missing`},
		`"peft_type":"LORA","lora_alpha":4`:                                         {`"r" is missing`},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte("{"+config+"}"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := InspectAdapter(dir)
		if err == nil {
			t.Errorf("%s is taken", config)
			continue
		}
		for _, w := range append(want, "adapter_config.json") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v; it doesn't say %s", config, err, w)
			}
		}
		var kind *UnsupportedAdapterError
		if errors.As(err, &kind) == strings.Contains(err.Error(), " is missing") && !strings.Contains(config, `"bias":0`) {
			t.Errorf("%s: a %T", config, err)
		}
	}
	// What leaves the base model alone is LoRA like any other.
	for _, more := range []string{`"init_lora_weights":true`, `"init_lora_weights":false`, `"init_lora_weights":"gaussian"`, `"init_lora_weights":"eva","eva_config":{"rho":2.0}`,
		`"init_lora_weights":"orthogonal"`, `"init_lora_weights":null,"lora_bias":false,"layer_replication":null,"loftq_config":{},"use_qalora":false,"trainable_token_indices":null`, `"x":1`} {
		if _, err := parsePEFT([]byte("{" + lora + more + "}")); err != nil {
			t.Errorf("%s: %v", more, err)
		}
	}
}
