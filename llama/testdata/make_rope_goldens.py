"""Writes rope.json: frequencies and logits of small Llamas with every rotary scaling, as transformers (5.24) has them.

python llama/testdata/make_rope_goldens.py
Per case: config.json, the frequencies for a short and a long text, the factor on cosines and sines, and for one text
the logits of the last position when it comes at once ("logits"), and when the first 20 tokens come at once and the
others one by one ("decoded").
"""
import json, os
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from golden_weights import numbers, weights

base = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=96, rms_norm_eps=1e-5,
            num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True, rope_theta=10000.0)
short, long = [1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0], [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 9.0, 12.0]
cases = {
    "plain": {},
    "linear": dict(rope_scaling={"type": "linear", "factor": 2.0}),
    "llama3": dict(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "llama3 length on top": dict(original_max_position_embeddings=32, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
    "llama3 both lengths": dict(original_max_position_embeddings=16, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "llama3 no length": dict(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
    "dynamic": dict(max_position_embeddings=24, rope_scaling={"type": "dynamic", "factor": 2.0}),
    "dynamic 5": dict(max_position_embeddings=16, rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 50000.0}),
    "yarn": dict(rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
    "yarn 5": dict(rope_parameters={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "rope_theta": 1000.0, "beta_fast": 16.0, "beta_slow": 2.0}),
    "yarn attention": dict(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 0.75}),
    "yarn mscale": dict(rope_scaling={"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 32, "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 8}),
    "yarn untruncated": dict(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "truncate": False}),
    "yarn length on top": dict(original_max_position_embeddings=16, rope_scaling={"rope_type": "yarn", "factor": 4.0}),
    "longrope": dict(rope_scaling={"type": "longrope", "original_max_position_embeddings": 24, "short_factor": short, "long_factor": long}),
    "longrope factor": dict(original_max_position_embeddings=16, rope_scaling={"rope_type": "longrope", "factor": 32.0, "short_factor": short, "long_factor": long}),
    "longrope attention": dict(rope_scaling={"rope_type": "longrope", "original_max_position_embeddings": 64, "attention_factor": 1.25, "short_factor": short, "long_factor": long}),
}
here = os.path.dirname(os.path.abspath(__file__))
out = {}
for name, change in cases.items():
    config = {**base, **change}
    if "rope_parameters" in config: del config["rope_theta"]
    folder = os.path.join(here, "tmp"); os.makedirs(folder, exist_ok=True)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    cfg = AutoConfig.from_pretrained(folder)
    os.remove(os.path.join(folder, "config.json")); os.rmdir(folder)
    cfg._attn_implementation = "eager"
    def fresh():
        m = AutoModelForCausalLM.from_config(cfg).eval()
        with torch.no_grad():
            for n, p in m.named_parameters(): p.copy_(weights(n, p.shape))
        return m
    ids = [int(k + 128) % 96 for k in numbers("ids " + name, 48)]
    rope = fresh().model.rotary_emb
    def freqs(length):
        rope(torch.zeros(1), torch.arange(length)[None])
        return [float(f) for f in rope.inv_freq]
    entry = {"config": config, "ids": ids, "short": freqs(8), "long": freqs(48), "attention": float(rope.attention_scaling)}
    with torch.no_grad():
        entry["logits"] = fresh()(torch.tensor([ids])).logits[0, -1].tolist()
        m = fresh()
        o = m(torch.tensor([ids[:20]]), use_cache=True)
        for i in ids[20:]: o = m(torch.tensor([[i]]), past_key_values=o.past_key_values, use_cache=True)
        entry["decoded"] = o.logits[0, -1].tolist()
    out[name] = entry
def rounded(v):
    if isinstance(v, float): return float(f"{v:.9g}")
    if isinstance(v, list): return [rounded(x) for x in v]
    return {k: rounded(x) for k, x in v.items()} if isinstance(v, dict) else v
with open(os.path.join(here, "rope.json"), "w") as f:
    f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(rounded(v))}" for k, v in out.items()) + "\n}\n")
