"""Writes models/: tiny random Llamas as transformers 5.23 / torch 2.15 save them, and golden.json with what must be read.

python checkpoint/testdata/make_models.py
golden.json: per model, per tensor the SHA-256 of its float32 little-endian bytes, and the rotary frequencies in hex.
"""
import os, json, hashlib, shutil, struct, zipfile
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
shutil.rmtree(here, ignore_errors=True); os.makedirs(here)
base = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=64)
golden = {}
def write_json(path, v): json.dump(v, open(path, "w"), indent=2)
def sha(t): return hashlib.sha256(t.detach().to(torch.float32).contiguous().numpy().tobytes()).hexdigest()[:16]
def rng(m):
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in m.parameters(): p.copy_(torch.randn(p.shape, generator=g) * 0.3)
def note(name, m, sd=None):
    sd = sd or m.state_dict()
    inv = type(m)(m.config).model.rotary_emb.inv_freq  # m itself may be cast
    golden[name] = {"tensors": {k: sha(v) for k, v in sd.items() if "inv_freq" not in k}, "inv_freq": inv.numpy().astype("<f4").tobytes().hex()}

# 1. LeoLM's way: linear RoPE 2.0, written as transformers 4 wrote it, float16, sharded
m = LlamaForCausalLM(LlamaConfig(**base, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}, rms_norm_eps=1e-5, max_position_embeddings=8192)).half()
rng(m)
d = os.path.join(here, "leolm"); m.save_pretrained(d, max_shard_size="9KB")
c = {**base, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
     "rope_scaling": {"type": "linear", "factor": 2.0}, "torch_dtype": "float16", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
     "auto_map": {"AutoModelForCausalLM": "modeling_flash_llama.LlamaForCausalLM"}, "pretraining_tp": 1, "transformers_version": "4.32.0", "use_cache": True}
write_json(d + "/config.json", c)
write_json(d + "/generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "transformers_version": "4.32.0"})
open(d + "/added_tokens.json", "w").write('{"<CLS>": 57, "<EOD>": 58, "<EOD>": 59, "<MASK>": 60, "<PAD>": 61, "<|im_end|>": 63, "<|im_start|>": 62}')
write_json(d + "/special_tokens_map.json", {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<PAD>"})
write_json(d + "/tokenizer_config.json", {"bos_token": "<|im_start|>", "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "lstrip": False}, "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"})
note("leolm", m)

# 2. Llama-3 scaling, bf16, tied, attention bias, as transformers 5 writes it
m = LlamaForCausalLM(LlamaConfig(**base, head_dim=64, rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_theta": 500000.0},
    max_position_embeddings=131072, tie_word_embeddings=True, attention_bias=True, bos_token_id=1, eos_token_id=[2, 3])).to(torch.bfloat16)
rng(m)
m.save_pretrained(os.path.join(here, "llama3"))
open(os.path.join(here, "llama3", "chat_template.jinja"), "w").write("{{ messages[0].content }}")
note("llama3", m)

# 3. Mistral, f32, sliding window, one .bin with stray buffers, a transposed tensor and a tensor inside a larger storage
m = MistralForCausalLM(MistralConfig(**{**base, "num_hidden_layers": 1}, sliding_window=128, rope_theta=10000.0, head_dim=8))
rng(m)
d = os.path.join(here, "mistral"); m.save_pretrained(d); os.remove(d + "/model.safetensors")
sd = dict(m.state_dict())
sd["model.layers.0.self_attn.q_proj.weight"] = sd["model.layers.0.self_attn.q_proj.weight"].t().contiguous().t()
big = torch.zeros(10, 16); big[3] = sd["model.norm.weight"]; sd["model.norm.weight"] = big[3]
sd["model.layers.0.self_attn.rotary_emb.inv_freq"] = m.model.rotary_emb.inv_freq
torch.save(sd, d + "/pytorch_model.bin")
note("mistral", m, sd)

# 4. the bare model's names, sharded .bin, bf16
m = LlamaForCausalLM(LlamaConfig(**{**base, "num_hidden_layers": 1}, tie_word_embeddings=True)).to(torch.bfloat16)
rng(m)
d = os.path.join(here, "bare"); m.save_pretrained(d); os.remove(d + "/model.safetensors")
sd = {k.removeprefix("model."): torch.nn.Parameter(v) for k, v in m.state_dict().items() if k != "lm_head.weight"}
names = list(sd); parts = [names[:4], names[4:]]; index = {}
for i, part in enumerate(parts):
    f = f"pytorch_model-{i+1:05d}-of-00002.bin"
    torch.save({k: sd[k] for k in part}, f"{d}/{f}")
    index.update({k: f for k in part})
write_json(d + "/pytorch_model.bin.index.json", {"metadata": {"total_size": 1}, "weight_map": index})
note("bare", m, {k: v for k, v in m.state_dict().items() if k != "lm_head.weight"})

# 5. rows for a small tokenizer and blocks of 32, for the command's scripts
m = LlamaForCausalLM(LlamaConfig(**{**base, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 320}, tie_word_embeddings=True)).to(torch.bfloat16)
rng(m)
m.save_pretrained(os.path.join(here, "small")); os.remove(os.path.join(here, "small", "generation_config.json"))
del golden["llama3"]["tensors"]["lm_head.weight"]
json.dump(golden, open(os.path.join(here, "golden.json"), "w"), indent=1, sort_keys=True)
