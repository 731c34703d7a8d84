"""Times a full training step (forward, backward, clipping, AdamW) in PyTorch on the shapes of
`go test ./train -bench Step`: 4096 tokens a step, tied embeddings, SDPA.

python torch_step.py 110M bf16 512 [compile]
"""
import sys, time, torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {"7M": (256, 704, 6, 4, 8192), "15M": (288, 768, 6, 6, 32000), "110M": (768, 2048, 12, 12, 32000)}
name, dtype, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
h, f, layers, heads, vocab = SHAPES[name]
torch.set_num_threads(2)
cfg = LlamaConfig(hidden_size=h, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
                  vocab_size=vocab, max_position_embeddings=length, tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False)
model = LlamaForCausalLM(cfg)
run = torch.compile(model) if "compile" in sys.argv else model
opt = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
ids = (torch.arange(4096) * 37 % vocab).view(-1, length)

def step():
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
        loss = run(ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    opt.zero_grad(set_to_none=True)

step()
times = []
for _ in range(5):
    t = time.perf_counter(); step(); times.append(time.perf_counter() - t)
times.sort()
matrices = layers * (4 * h * h + 3 * h * f) + h * vocab
flops = 6 * matrices + 6 * layers * h * length
rate = 4096 / times[2]
print(f"{name} {dtype} {length}: {rate:.0f} tokens/s (median of 5; {4096/times[-1]:.0f} to {4096/times[0]:.0f}), {rate*flops/1e9:.0f} GFLOP/s, torch {torch.__version__}")
