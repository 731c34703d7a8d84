"""The training that `same` wrote down, in PyTorch and transformers: same first weights, batches, learning rates, AdamW.

go run ./bench/train/same recipes/mini-5min.yaml /tmp/same
python bench/train/same/torch_same.py /tmp/same [f32|bf16]

Prints the validation loss beside Leo's. Windows with several documents get a block-diagonal causal mask and positions
that restart.
"""
import json, os, sys, time, torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

def main():
    folder, dtype = sys.argv[1], (sys.argv + ["f32"])[2]
    leo = json.load(open(os.path.join(folder, "leo.json")))
    s, o = leo["shape"], leo["optimizer"]
    cfg = LlamaConfig(hidden_size=s["HiddenSize"], intermediate_size=s["IntermediateSize"], num_hidden_layers=s["Layers"], num_attention_heads=s["Heads"],
                      num_key_value_heads=s["KVHeads"], head_dim=s["HeadDim"], vocab_size=s["VocabSize"], max_position_embeddings=s["MaxPositions"],
                      rms_norm_eps=s["RMSEps"], rope_parameters={"rope_type": "default", "rope_theta": s["RopeTheta"]},
                      tie_word_embeddings=s["TieEmbeddings"], attn_implementation="sdpa", use_cache=False)
    model = LlamaForCausalLM(cfg)
    missing, unexpected = model.load_state_dict(load_file(os.path.join(folder, "init.safetensors")), strict=False)
    model.tie_weights()
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    steps = {}
    for line in open(os.path.join(folder, "windows.jsonl")):
        w = json.loads(line); steps.setdefault(w["step"], []).append(w)
    plain = lambda n: n.endswith("norm.weight") or "embed_tokens" in n or "lm_head" in n
    groups = [{"params": [p for n, p in model.named_parameters() if not plain(n)], "weight_decay": o["WeightDecay"]},
              {"params": [p for n, p in model.named_parameters() if plain(n)], "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=1, betas=tuple(o["Betas"]), eps=o["Eps"], fused=True)

    def loss_of(windows):
        """Sum of weighted losses of a few windows, padded to the longest."""
        n = max(len(w["ids"]) for w in windows)
        ids, pos = torch.zeros(len(windows), n, dtype=torch.long), torch.zeros(len(windows), n, dtype=torch.long)
        targets, weights = torch.zeros(len(windows), n, dtype=torch.long), torch.zeros(len(windows), n)
        mask = torch.zeros(len(windows), 1, n, n, dtype=torch.bool)
        for i, w in enumerate(windows):
            k = len(w["ids"])
            ids[i, :k], targets[i, :k], weights[i, :k] = torch.tensor(w["ids"]), torch.tensor(w["targets"]), torch.tensor(w["weights"])
            for a, b in zip(w["docs"], w["docs"][1:] + [k]):
                pos[i, a:b] = torch.arange(b - a)
                mask[i, 0, a:b, a:b] = torch.ones(b - a, b - a, dtype=torch.bool).tril()
            for j in range(k, n): mask[i, 0, j, j] = True
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
            logits = model(ids, attention_mask=mask, position_ids=pos).logits
        nll = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        return (nll * weights.flatten()).sum(), weights.sum()

    start = time.time()
    for step, lr in enumerate(leo["rates"], 1):
        ws = steps[step]
        total = sum(sum(w["weights"]) for w in ws)
        value = 0.0
        for i in range(0, len(ws), 8):
            loss = loss_of(ws[i:i + 8])[0] / total
            loss.backward(); value += loss.item()
        for g in opt.param_groups: g["lr"] = lr
        if o["Clip"] > 0: torch.nn.utils.clip_grad_norm_(model.parameters(), o["Clip"])
        opt.step(); opt.zero_grad(set_to_none=True)
        if step == 1 or step % 25 == 0:
            print(f"step {step}: loss {value:.4f}, Leo {leo['losses'][step - 1]:.4f}", file=sys.stderr, flush=True)
    seconds = time.time() - start
    with torch.no_grad():
        sums = [loss_of(steps[0][i:i + 8]) for i in range(0, len(steps[0]), 8)]
    valid = float(sum(s for s, _ in sums) / sum(n for _, n in sums))
    print(f"PyTorch {torch.__version__} {dtype}: {len(leo['rates'])} steps, validation loss {valid:.4f}, {seconds:.0f} s; "
          f"Leo {leo['valid_loss']:.4f}, {leo['step_seconds']:.0f} s: {100 * (leo['valid_loss'] / valid - 1):+.2f} %")

main()
