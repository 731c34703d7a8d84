"""Golden gradients of LoRA and DoRA, made by PEFT in float64.

python make_peft_goldens.py          (writes peft-*.safetensors beside this file)

Each file holds a small random Llama ("w."), its adapters ("a.", by module), one sequence with loss weights, and
PEFT's loss, logits and gradients ("g.") in float64. Ranks and alphas follow a pattern. "dropout" drops
inputs by Leo's own hash of (seed, module, element), computed here again, so that both drop the same ones.
"""
import json, os, torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

MASK = (1 << 64) - 1
SEED = 77

def mix(x):
    x = x * 0x9e3779b97f4a7c15 & MASK
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & MASK
    x = (x ^ x >> 27) * 0x94d049bb133111eb & MASK
    return x ^ x >> 31

def module_seed(name):
    h = 14695981039346656037 ^ SEED
    for c in name.encode():
        h = (h ^ c) * 1099511628211 & MASK
    return h * 1099511628211 & MASK

class Hashed(torch.nn.Module):
    """Dropout by hash; a module of its own, so that PEFT takes it for dropout."""
    def __init__(self, name, p):
        super().__init__()
        self.seed, self.p = module_seed(name), p
    def forward(self, x):
        n = x.numel()
        keep = torch.tensor([mix(self.seed + i & MASK) >> 32 >= int(self.p * (1 << 32)) for i in range(n)])
        return x * keep.view(x.shape) / (1 - self.p)

CASES = {
    "lora": dict(),
    "rslora-dropout": dict(use_rslora=True, lora_dropout=0.25),
    "dora": dict(use_dora=True),
    "dora-dropout": dict(use_dora=True, lora_dropout=0.25),
}
PATTERNS = dict(rank_pattern={"layers.0.mlp.(gate|up)_proj": 5}, alpha_pattern={"v_proj": 11.0})

def main():
    here = os.path.dirname(os.path.abspath(__file__))
    for name, kw in CASES.items():
        torch.manual_seed(sum(map(ord, name)))
        cfg = LlamaConfig(max_position_embeddings=64, bos_token_id=1, eos_token_id=2, initializer_range=0.15, attn_implementation="eager",
                          hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                          vocab_size=37, attention_bias=True)
        base = LlamaForCausalLM(cfg)
        with torch.no_grad():
            for n, p in base.named_parameters():
                if n.endswith(".bias"): p.copy_(0.1 * torch.randn_like(p))
        out = {"w." + n: p.detach().clone() for n, p in base.named_parameters()}
        lc = LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], **PATTERNS, **kw)
        model = get_peft_model(base.double(), lc, autocast_adapter_dtype=False).double()
        model.train()
        prefix = "base_model.model."
        for n, m in model.named_modules():
            if hasattr(m, "lora_dropout") and kw.get("lora_dropout"):
                m.lora_dropout["default"] = Hashed(n[len(prefix):], kw["lora_dropout"])
        short = lambda n: n[len(prefix):].replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
        with torch.no_grad():
            for n, p in model.named_parameters():
                if "lora_" not in n: continue
                if "magnitude" in n: p.mul_(1 + 0.2 * torch.randn_like(p))
                else: p.copy_(0.12 * torch.randn_like(p))
                p.copy_(p.float().double())
                out["a." + short(n)] = p.detach().float().contiguous()
        ids = torch.randint(0, cfg.vocab_size, (13,))
        w = (torch.rand(13) < 0.7).float(); w[-1] = 1
        out["ids.0"], out["weights.0"] = ids.int(), w
        logits = model(ids[None]).logits[0]
        nll = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
        loss = (nll * w[:-1].double()).sum() / w[:-1].double().sum()
        loss.backward()
        out["loss"] = loss.detach().reshape(1)
        out["logits"] = logits.detach().float().contiguous()
        for n, p in model.named_parameters():
            if "lora_" in n: out["g." + short(n)] = p.grad.float().contiguous()
        save_file(out, os.path.join(here, f"peft-{name}.safetensors"), metadata={"config": json.dumps(cfg.to_dict())})
        print(name, float(loss), len(out))

main()
