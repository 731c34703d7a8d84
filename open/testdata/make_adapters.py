"""Writes adapters/: PEFT adapters that save or change embedding and LM head of the tied model
checkpoint/testdata/models/small, and golden.json with the logits that PEFT computes.

python catalog/testdata/make_adapters.py     (torch, transformers, peft)
"""
import json, os, shutil, torch
from transformers import AutoModelForCausalLM
from peft import LoraConfig, PeftModel, get_peft_model
here = os.path.dirname(os.path.abspath(__file__)); root = here + "/adapters"
small = here + "/../../checkpoint/testdata/models/small"
shutil.rmtree(root, ignore_errors=True); os.makedirs(root)
ids, golden = [1, 5, 9, 3, 7, 2, 11, 4], {}
for name, kw in {
    "embed": dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
    "head": dict(target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "both": dict(target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"]),
    "lora_head": dict(target_modules=["q_proj", "lm_head"]),
    "ensured": dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
}.items():
    base = AutoModelForCausalLM.from_pretrained(small, dtype=torch.float32)
    m = get_peft_model(base, LoraConfig(r=2, lora_alpha=3, task_type="CAUSAL_LM", **kw))
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for n, p in m.named_parameters():
            if "lora_" in n or "modules_to_save" in n: p.add_(torch.randn(p.shape, generator=g) * 0.2)
    m.save_pretrained(f"{root}/{name}", save_embedding_layers=False)
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(small, dtype=torch.float32), f"{root}/{name}").eval()
    with torch.no_grad(): logits = again(torch.tensor([ids])).logits[0]
    golden[name] = {"ids": ids, "last": logits[-1].tolist()}
    for f in os.listdir(f"{root}/{name}"):
        if f == "README.md": os.remove(f"{root}/{name}/{f}")
    c = json.load(open(f"{root}/{name}/adapter_config.json")); c["base_model_name_or_path"] = "small"; json.dump(c, open(f"{root}/{name}/adapter_config.json", "w"), indent=1)
json.dump(golden, open(root + "/golden.json", "w"))
