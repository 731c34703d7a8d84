"""The reference: transformers in float32 on weights that it dequantized itself, without a cache.

python reference.py MODEL.gguf OUT    (after llamacpp.mjs; needs torch, transformers, gguf)
Writes OUT/reference.logits (float32 [positions][vocabulary]) and OUT/reference.text (float32 log-probabilities),
and checks that transformers renders and cuts the prompts into the same ids.
"""
import json, os, sys
import numpy as np, torch
from transformers import AutoModelForCausalLM, AutoTokenizer

path, out = sys.argv[1:3]
ids = json.load(open(os.path.join(out, "ids.json")))
folder, file = os.path.split(path)
tok = AutoTokenizer.from_pretrained(folder, gguf_file=file)
prompts = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "prompts.json")))
for text, p in zip(prompts, ids["prompts"]):
    own = tok.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
    own = tok(own, add_special_tokens=False).input_ids
    if own != p["prompt"]:
        print("transformers cuts differently:", repr(text), own, p["prompt"])
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager").eval()
logits, text = os.path.join(out, "reference.logits"), os.path.join(out, "reference.text")
whole = 4 * ids["vocabulary"] * sum(len(p["answer"]) for p in ids["prompts"])
with torch.no_grad():
    if not os.path.exists(logits) or os.path.getsize(logits) != whole:
        with open(logits, "wb") as f:
            for p in ids["prompts"]:
                seq = p["prompt"] + p["answer"]
                h = model.model(input_ids=torch.tensor([seq])).last_hidden_state[0, len(p["prompt"]) - 1 : -1]
                model.lm_head(h).numpy().astype("<f4").tofile(f)
    with open(text, "ab") as f:  # interrupted, it goes on behind the last whole window
        done = f.tell() // 4 // (len(ids["windows"][0]) - 1)
        for w in ids["windows"][done:]:
            lg = torch.log_softmax(model(input_ids=torch.tensor([w])).logits[0, :-1].double(), -1)
            lg.gather(1, torch.tensor(w[1:])[:, None])[:, 0].numpy().astype("<f4").tofile(f)
            f.flush()
