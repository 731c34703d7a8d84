"""Golden training runs of small random Llamas, made by PyTorch and transformers.

python make_goldens.py          (writes the *.safetensors beside this file)
python make_goldens.py yarn     (only these)

Each file holds a model (names under "w."), a batch of sequences of different
lengths with loss weights, and what PyTorch computes in float64: the logits of
the first sequence, the loss, the gradient of every tensor ("g.") and the
losses of ten AdamW steps with two micro-batches each, clipping, warmup and
cosine, weight decay on matrices only ("losses"). "losses_f32" are the same steps in
float32. The config travels in the header's metadata.
"""
import json, math, os, sys, torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

CASES = {
    "mha": dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, vocab_size=67),
    "gqa-tied-linear": dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, vocab_size=53,
                            tie_word_embeddings=True, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}),
    "llama3-bias": dict(hidden_size=40, intermediate_size=56, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
                        vocab_size=61, attention_bias=True, mlp_bias=True,
                        rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                         "original_max_position_embeddings": 16}),
    "yarn": dict(hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=47,
                 rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 4.0}),
    # Texts of up to 8 tokens are short. transformers keeps the frequencies of the longest text until a short one
    # comes, so lengths rise and a short one is last.
    "dynamic": dict(hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=47,
                    max_position_embeddings=8, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}),
    "longrope": dict(hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=47, head_dim=8,
                     rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 10,
                                      "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.0, 2.0, 5.0, 9.0]}),
}
LENGTHS = {"dynamic": [9, 12, 21, 5]}

def loss_of(model, seqs, weights, total):
    """Sum over sequences of weight·nll, divided by the weights of the whole global batch."""
    loss = 0
    for ids, w in zip(seqs, weights):
        logits = model(ids[None]).logits[0, :-1]
        nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        loss = loss + (nll * w[:-1].to(nll.dtype)).sum()
    return loss / total

def main():
    here = os.path.dirname(os.path.abspath(__file__))
    for name, kw in CASES.items():
        if sys.argv[1:] and name not in sys.argv[1:]: continue
        torch.manual_seed(sum(map(ord, name)))
        cfg = LlamaConfig(**{"max_position_embeddings": 64, **kw}, bos_token_id=1, eos_token_id=2, initializer_range=0.15, attn_implementation="eager")
        base = LlamaForCausalLM(cfg)
        with torch.no_grad():
            for n, p in base.named_parameters():
                if "norm" in n: p.copy_(1 + 0.2 * torch.randn_like(p))
                if n.endswith(".bias"): p.copy_(0.1 * torch.randn_like(p))
        weights = {n: p.detach().clone() for n, p in base.named_parameters()}
        lens = LENGTHS.get(name, [12, 9, 21, 5])
        seqs = [torch.randint(0, cfg.vocab_size, (n,)) for n in lens]
        lw = [(torch.rand(n) < 0.7).float() * (1 + (torch.arange(n) % 3 == 0)) for n in lens]
        total = float(sum(w[:-1].sum() for w in lw))
        out = {}
        for n, p in weights.items(): out["w." + n] = p.contiguous()
        for i, (s, w) in enumerate(zip(seqs, lw)):
            out[f"ids.{i}"] = s.int(); out[f"weights.{i}"] = w
        for dtype in (torch.float64, torch.float32):
            model = LlamaForCausalLM(cfg).to(dtype)
            model.load_state_dict({n: p.to(dtype) for n, p in weights.items()}, strict=False); model.tie_weights()
            if dtype == torch.float64:
                out["logits"] = model(seqs[0][None]).logits[0].detach().float().contiguous()
                loss = loss_of(model, seqs, lw, total); loss.backward()
                out["loss"] = loss.detach().reshape(1)
                for n, p in model.named_parameters(): out["g." + n] = p.grad.detach().float().contiguous()
                model.zero_grad()
            decay = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n and "lm_head" not in n]
            rest = [p for n, p in model.named_parameters() if not (p.dim() == 2 and "embed" not in n and "lm_head" not in n)]
            opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1, betas=(0.9, 0.95), eps=1e-8)
            losses = []
            for step in range(1, 11):
                lr = 0.01 * (step / 3 if step <= 3 else 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - 3) / 7)))
                for g in opt.param_groups: g["lr"] = lr
                value = 0.0
                for micro in ([0, 1], [2, 3]):
                    loss = loss_of(model, [seqs[i] for i in micro], [lw[i] for i in micro], total)
                    loss.backward(); value += float(loss.detach())
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                opt.step(); opt.zero_grad()
                losses.append(value)
            out["losses" if dtype == torch.float64 else "losses_f32"] = torch.tensor(losses, dtype=torch.float64)
        save_file(out, os.path.join(here, f"golden-{name}.safetensors"), metadata={"config": json.dumps(cfg.to_dict())})
        print(name, out["losses"].tolist())

main()
