"""Writes rms.json: root mean square error of llama.cpp's quantizers (libggml of npm node-llama-cpp 3.22) per type.

python tensor/quant/testdata/make_rms.py
Per case and type two numbers: plain, and with importance weights (error weighted by them).
The cases are made from whole-number arithmetic that quant_test.go repeats; "stories260K" is read from shared data.
"""
import ctypes, json, os
import numpy as np, gguf
root = os.environ["LLAMACPP_LIBS"] + "/"  # node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
lib = ctypes.CDLL(root + "libggml-base.so")
lib.ggml_quantize_chunk.restype = ctypes.c_size_t
lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
T = gguf.GGMLQuantizationType
types = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
COLS = 512

def uniform(n, seed):
    out = np.empty(n); s = seed
    for i in range(n):
        s = (s * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        out[i] = (s >> 40) / 2**24
    return out
def gauss(rows, seed):
    u = uniform(rows * COLS * 4, seed).reshape(-1, 4)
    return u.sum(axis=1) - 2
cases = {}
g = gauss(32, 1); cases["gauss"] = (g * 0.02).astype(np.float32)
g = gauss(32, 2); cases["heavy"] = (g * np.abs(g) * g * g * 0.1).astype(np.float32)
g = gauss(32, 3); cases["shifted"] = (g + 1.5).astype(np.float32)
imp = (uniform(COLS, 4) ** 3 * 4 + 0.01).astype(np.float32)
r = gguf.GGUFReader(os.environ["LEO_SHARED"] + "/data/models/stories260K.gguf")
flat = np.concatenate([t.data.reshape(-1) for t in r.tensors if len(t.shape) == 2]).astype(np.float32)
cases["stories260K"] = flat[: flat.size // COLS * COLS]
out = {}
for name, x in cases.items():
    out[name] = {}
    for tn in types:
        t = T[tn]; bl, bs = gguf.GGML_QUANT_SIZES[t]
        errs = []
        for w in (None, imp):
            dst = np.zeros(x.size // bl * bs, dtype=np.uint8); x = np.ascontiguousarray(x)
            lib.ggml_quantize_chunk(int(t), x.ctypes.data, dst.ctypes.data, 0, x.size // COLS, COLS, w.ctypes.data if w is not None else None)
            y = gguf.quants.dequantize(dst.reshape(1, -1), t).reshape(-1).astype(np.float64)
            ww = np.ones(COLS) if w is None else w.astype(np.float64)
            e = (x.astype(np.float64) - y).reshape(-1, COLS) ** 2
            errs.append(float(np.sqrt((e * ww).sum() / (ww.sum() * e.shape[0]))))
        out[name][tn.lower() if not tn.endswith("_K") else tn[0].lower() + tn[1:]] = errs
json.dump(out, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rms.json"), "w"), indent=1)
