"""Writes dequant.golden: for every block type, random blocks and what the gguf package (0.19.0) makes of them.

python tensor/quant/testdata/make_dequant.py
Record: u8 name length, name, u32 bytes, u32 elements, blocks, float32 values; little endian.
NF4 is not in gguf: its values come from torch float32 arithmetic on bitsandbytes' code book.
"""
import os, struct
import numpy as np, gguf
rng = np.random.default_rng(20260723)
T = gguf.GGMLQuantizationType
out = open(os.path.join(os.path.dirname(__file__), "dequant.golden"), "wb")
# where the f16 fields of a block are, so that none becomes inf or NaN
halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0]}
for name in ["F32", "F16", "BF16", *halves]:
    t = T[name]
    n, size = gguf.GGML_QUANT_SIZES[t]
    count = max(512 // n, 3)
    b = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name in ("F32", "F16", "BF16"):
        v = (rng.standard_normal(count) * 10.0 ** rng.integers(-9, 5, count)).astype(np.float32)
        v[:4] = [0, -0.0, 6e-8, -65504]
        b = gguf.quants.quantize(v, t).view(np.uint8).reshape(count, size) if name != "F32" else v.view(np.uint8).reshape(count, size)
    for at in halves.get(name, []):
        d = (rng.standard_normal(count) * 10.0 ** rng.integers(-7, 2, count)).astype(np.float16)
        d[0] = np.float16(6e-8)  # subnormal
        b[:, at:at + 2] = d.view(np.uint8).reshape(count, 2)
    y = gguf.quants.dequantize(b.reshape(1, -1), t).astype(np.float32).reshape(-1)
    out.write(struct.pack("<B", len(name)) + name.encode() + struct.pack("<II", b.size, y.size) + b.tobytes() + y.tobytes())
out.close()
