"""Writes goldens.json: logits of random Llamas as transformers (5.23, torch 2.15) computes them.

python llama/testdata/make_goldens.py
No weights are stored: both sides make them from a hash of name and index, in steps that bf16 holds exactly, so that the
same model serves f32 and bf16. Stored per model: config.json, ids, and for some positions the logits of some ids and
the log of the sum of exponentials over the ids that may be sampled.
"""
import json, os
import numpy as np, torch
from golden_weights import numbers, weights
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
base = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=96, rms_norm_eps=1e-5, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=None, tie_word_embeddings=False)
llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 500000.0}
models = {
    "mha": (LlamaConfig, dict(num_attention_heads=4, num_key_value_heads=4)),
    "gqa-linear": (LlamaConfig, dict(num_attention_heads=4, num_key_value_heads=2, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})),
    "mqa-llama3-tied": (LlamaConfig, dict(num_attention_heads=4, num_key_value_heads=1, head_dim=16, rope_parameters=llama3, tie_word_embeddings=True)),
    "bias-tied": (LlamaConfig, dict(num_attention_heads=2, num_key_value_heads=2, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "mistral-window": (MistralConfig, dict(num_attention_heads=4, num_key_value_heads=2, sliding_window=16, head_dim=8)),
    # LeoLM's vocabulary: 32007 ids have a token, the rows above are dead; here they would win every step.
    "leolm-32128": (LlamaConfig, dict(num_attention_heads=4, num_key_value_heads=4, vocab_size=32128, num_hidden_layers=1, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})),
}
out = {}
for name, (kind, change) in models.items():
    cfg = kind(**{**base, **change})
    cfg._attn_implementation = "eager"
    model = (MistralForCausalLM if kind is MistralConfig else LlamaForCausalLM)(cfg).eval()
    vocab = cfg.vocab_size
    live = 32007 if vocab == 32128 else vocab
    with torch.no_grad():
        for n, p in model.named_parameters():
            w = weights(n, p.shape)
            if vocab == 32128 and p.shape[0] == vocab: w[live:] = 64
            p.copy_(w)
    length = 100
    ids = [int(k + 128) * (vocab // 256 if vocab > 256 else 1) % vocab for k in numbers("ids " + name, length)]
    if vocab == 32128: ids[5], ids[6], ids[9] = 32005, 32006, 31999
    rows = [0, 1, 2, 15, 16, 17, 40, length - 1]
    cols = list(range(vocab)) if vocab < 1000 else [0, 1, 2, 259, 260, 1404, 16000, 29871, 31999, 32000, 32001, 32002, 32003, 32004, 32005, 32006]
    entry = {"config": json.loads(cfg.to_json_string(use_diff=False)), "live": live, "ids": ids, "rows": rows, "cols": cols}
    entry["config"]["architectures"] = [type(model).__name__]
    for dtype, key in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        with torch.no_grad():
            lg = model.to(dtype)(input_ids=torch.tensor([ids])).logits[0].float()[:, :live]
        entry[key] = {"logits": [[float(np.float32(lg[r, c])) for c in cols] for r in rows], "lse": [float(torch.logsumexp(lg[r].double(), -1)) for r in rows],
                      "largest": float(lg[rows].abs().max()), "argmax": [int(lg[r].argmax()) for r in rows]}
    out[name] = entry
here = os.path.dirname(os.path.abspath(__file__))
def rounded(v):
    if isinstance(v, float): return float(f"{v:.7g}")
    if isinstance(v, list): return [rounded(x) for x in v]
    return {k: rounded(x) for k, x in v.items()} if isinstance(v, dict) else v
with open(os.path.join(here, "goldens.json"), "w") as f:
    f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(rounded(v))}" for k, v in out.items()) + "\n}\n")
