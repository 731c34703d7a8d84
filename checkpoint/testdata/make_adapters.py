"""Writes adapters/: what PEFT 0.21 saves for the model models/leolm, and golden.json with the changed weights.

python checkpoint/testdata/make_adapters.py   (after make_models.py)
golden.json: per adapter, per weight three numbers of W' - W (first, middle, last element) in float32; dora: of W'.
"""
import os, json, shutil, torch
from transformers import AutoModelForCausalLM
from peft import LoraConfig, get_peft_model
here = os.path.dirname(os.path.abspath(__file__)); root = here + "/adapters"
shutil.rmtree(root, ignore_errors=True); os.makedirs(root)
golden = {}
for name, kw in {"plain": dict(target_modules=["q_proj", "v_proj", "down_proj"]), "rs": dict(target_modules=["k_proj"], use_rslora=True, modules_to_save=["lm_head"]),
                 "dora": dict(target_modules=["o_proj"], use_dora=True)}.items():
    base = AutoModelForCausalLM.from_pretrained(here + "/models/leolm", dtype=torch.float32)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    m = get_peft_model(base, LoraConfig(r=2, lora_alpha=3, task_type="CAUSAL_LM", **kw))
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for n, p in m.named_parameters():
            if "lora_" in n or "modules_to_save" in n: p.copy_(torch.randn(p.shape, generator=g).abs() * 0.2)
    m.save_pretrained(f"{root}/{name}")
    after = m.merge_and_unload().state_dict()
    golden[name] = {}
    for k, w in after.items():
        if not torch.equal(w, before[k]):
            f = w.flatten(); golden[name][k] = [float(f[i]) for i in (0, f.numel() // 2, f.numel() - 1)]
    for f in os.listdir(f"{root}/{name}"):
        if f == "README.md": os.remove(f"{root}/{name}/{f}")
    c = json.load(open(f"{root}/{name}/adapter_config.json")); c["base_model_name_or_path"] = "leolm"; json.dump(c, open(f"{root}/{name}/adapter_config.json", "w"), indent=1)
json.dump(golden, open(root + "/golden.json", "w"), indent=1, sort_keys=True)
