"""A full training step (forward, backward, clipping, AdamW) in PyTorch on the shapes of compare.py.

python torch_step.py 110M bf16 512 --micro 8 --threads 2 [--compile]

Reads commands from standard input: "step" takes one step and answers with its seconds, "memory" answers with the peak
and the starting resident memory in MiB. A step has 4096 tokens in micro-batches of --micro sequences; embeddings are
tied, attention is SDPA, bf16 is autocast over float32 weights.
"""
import argparse, json, sys, time, torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {"7M": (256, 704, 6, 4, 8192), "15M": (288, 768, 6, 6, 32000), "110M": (768, 2048, 12, 12, 32000)}
TOKENS = 4096

def resident(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024

def main():
    p = argparse.ArgumentParser()
    p.add_argument("shape"); p.add_argument("dtype"); p.add_argument("length", type=int)
    p.add_argument("--micro", type=int, default=0); p.add_argument("--threads", type=int, default=2)
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    before = resident("VmRSS")
    h, f, layers, heads, vocab = SHAPES[a.shape]
    cfg = LlamaConfig(hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
                      vocab_size=vocab, max_position_embeddings=a.length, tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False)
    model = LlamaForCausalLM(cfg)
    run = torch.compile(model) if a.compile else model
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = (torch.arange(TOKENS) * 37 % vocab).view(-1, a.length)
    parts = ids.split(a.micro or len(ids))

    def step():
        for part in parts:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.dtype == "bf16"):
                loss = run(part, labels=part).loss / len(parts)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)

    for line in sys.stdin:
        if line.strip() == "step":
            t = time.perf_counter(); step()
            print(json.dumps({"seconds": time.perf_counter() - t}), flush=True)
        elif line.strip() == "memory":
            print(json.dumps({"peak": resident("VmHWM"), "start": before, "version": torch.__version__}), flush=True)

main()
