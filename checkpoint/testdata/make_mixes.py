"""Writes mixes.json: the data type that llama.cpp (npm node-llama-cpp 3.22) gives every tensor of random models, per file type.

python checkpoint/testdata/make_mixes.py
Models: "a" 256 columns, 512 inner, 16 layers, 8 heads, 2 KV heads; "b" 96 columns, 192 inner, 2 layers, 4 heads (rows that 256 doesn't divide).
"""
import ctypes, json, os, subprocess, sys
import gguf
root = os.environ["LLAMACPP_LIBS"] + "/"  # node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
for l in ["libggml-base.so", "libggml-cpu-x64.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"]:
    lib = ctypes.CDLL(root + l, mode=ctypes.RTLD_GLOBAL)
class Params(ctypes.Structure):
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int32), ("out", ctypes.c_int32), ("emb", ctypes.c_int32),
                ("allow_requantize", ctypes.c_bool), ("rest", ctypes.c_char * 123)]
lib.llama_model_quantize_default_params.restype = Params
lib.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Params)]
lib.llama_backend_init()
shapes = {"a": "256 512 16 8 2 320 512", "b": "96 192 2 4 4 320 512"}
ftypes = {"q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_K": 10, "q3_K_S": 11, "q3_K_M": 12, "q3_K_L": 13, "q4_K_S": 14, "q4_K_M": 15, "q5_K_S": 16, "q5_K_M": 17, "q6_K": 18, "iq4_nl": 25}
out = {}
for m, s in shapes.items():
    src = f"/tmp/mix-{m}.gguf"
    subprocess.check_call([sys.executable, os.environ["LEO_SHARED"] + "/peers/random_gguf.py", src, "f16", *s.split()])
    out[m] = {}
    for name, ft in ftypes.items():
        p = lib.llama_model_quantize_default_params(); p.ftype = ft; p.nthread = 2
        dst = f"/tmp/mix-{m}-{name}.gguf"
        rc = lib.llama_model_quantize(src.encode(), dst.encode(), ctypes.byref(p))
        if rc: print("failed", m, name); continue
        out[m][name] = {t.name: t.tensor_type.name.lower() for t in gguf.GGUFReader(dst).tensors if len(t.shape) > 1}
json.dump(out, open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "mixes.json"), "w"), separators=(",", ":"))
