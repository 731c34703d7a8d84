"""Weights that make_*.py and the Go tests make alike, so that none are stored."""
import numpy as np, torch

def numbers(name, n):
    """Whole numbers from -128 to 127: splitmix64 seeded by FNV-1a of the name."""
    h = 14695981039346656037
    for b in name.encode(): h = (h ^ b) * 1099511628211 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(56)).astype(np.int64) - 128

def weights(name, shape):
    k = numbers(name, int(np.prod(shape)))
    if "norm" in name: v = 1 + (k >> 3) / 32
    elif name.endswith("embed_tokens.weight"): v = k / 128
    else: v = k / 512  # products keep about the size of what goes in
    return torch.tensor(v.reshape(shape), dtype=torch.float32)
