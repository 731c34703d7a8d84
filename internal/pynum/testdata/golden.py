"""Writes golden.json from the real packages: python golden.py | gzip -9n > golden.json.gz

Lists longer than 40 entries are stored as head, tail and a checksum
(sum of (i+1)*v modulo 2^61-1), so that the file stays small.
"""
import json, random, statistics, struct, sys
import numpy as np
import sklearn
from sklearn.model_selection import train_test_split

P = (1 << 61) - 1

def pack(xs):
    xs = [int(x) for x in xs]
    if len(xs) <= 40:
        return {"n": len(xs), "all": xs}
    h = 0
    for i, v in enumerate(xs):
        h = (h + (i + 1) * v) % P
    return {"n": len(xs), "head": xs[:8], "tail": xs[-8:], "sum": h}

out = {"versions": {"python": sys.version.split()[0], "numpy": np.__version__, "sklearn": sklearn.__version__}}

out["random"] = []
for seed in [0, 1, 42, -42, 666, 2**31, 2**32 - 1, 2**32, 123456789012345, 2**63 - 1]:
    for n in [1, 2, 3, 10, 100, 1172, 10042]:
        r = random.Random(seed)
        floats = [r.random().hex() for _ in range(3)]
        xs = list(range(n)); r.shuffle(xs)
        samples = []
        for k in sorted({0, 1, min(n, 5), min(n, 6), min(n, 11), min(n, 26), n // 2, n}):
            samples.append({"k": k, "got": pack(r.sample(range(n), k))})
        out["random"].append({"seed": seed, "n": n, "floats": floats, "shuffle": pack(xs), "samples": samples,
                              "below": [r.randrange(n) for _ in range(5)]})

out["numpy"] = []
for seed in [0, 1, 42, 666, 1234, 2**32 - 1]:
    for n in [1, 2, 3, 7, 8, 9, 100, 392, 500, 4096, 57841]:
        r = np.random.RandomState(seed)
        floats = [float(r.random_sample()).hex() for _ in range(2)]
        perm = r.permutation(n)
        xs = np.arange(n); r.shuffle(xs)
        lst = list(range(n)); r.shuffle(lst)
        ch = r.choice(n, size=n // 3, replace=False)
        ri = r.randint(0, n, size=17)
        cr = r.choice(n, 9)
        out["numpy"].append({"seed": seed, "n": n, "floats": floats, "perm": pack(perm), "shuffle": pack(xs),
                             "list": pack(lst), "choice": pack(ch), "randint": pack(ri), "replace": pack(cr)})

out["split"] = []
rng = random.Random(7)
sizes = [2, 3, 5, 19, 20, 21, 49, 50, 51, 99, 100, 101, 400, 500, 3721, 21749, 49969, 59022]
sizes += [rng.randrange(2, 3000) for _ in range(60)]
for n in sizes:
    for share in [0.05, 0.02, 0.2, 0.01, 0.1, 0.3, 0.5, 1 / 3]:
        for seed in ([666] if n > 600 else [666, 0, 42]):
            try:
                tr, te = train_test_split(list(range(n)), test_size=share, random_state=seed, shuffle=True)
                out["split"].append({"n": n, "share": share, "seed": seed, "train": pack(tr), "test": pack(te)})
            except ValueError:
                out["split"].append({"n": n, "share": share, "seed": seed, "error": True})
out["splitn"] = []
for n in [2, 10, 500]:
    for t in [0, 1, n // 2, n - 1, n]:
        try:
            tr, te = train_test_split(list(range(n)), test_size=t, random_state=666, shuffle=True)
            out["splitn"].append({"n": n, "test_n": t, "train": pack(tr), "test": pack(te)})
        except ValueError:
            out["splitn"].append({"n": n, "test_n": t, "error": True})

vals = [0.0, -0.0, 1.0, 5.0, 0.1, 1/3, 639.3044708545557, 67530728/132540, 1e15, 9999999999999998.0, 1e16, 1.5e16,
        123456789012345678.0, 1e22, 1e100, 1e-4, 0.00012345, 9.999e-5, 1e-5, 1e-7, 5e-324, 1.7976931348623157e308,
        -2.5, -1e-9, 100000.0, 2**53 + 0.0, float("inf"), float("-inf"), float("nan")]
vals += [rng.random() * 10 ** rng.randrange(-8, 20) for _ in range(200)]
out["repr"] = [{"bits": struct.unpack("<Q", struct.pack("<d", v))[0].__str__(), "repr": repr(v)} for v in vals]
out["percent"] = []
for a, b in [(0, 1), (1, 1), (1, 3), (2, 3), (1, 8), (5, 10000), (15, 10000), (25, 10000), (3534, 3534), (9995, 10000), (1, 2000), (3, 2000)] + [
        (rng.randrange(0, 5000), rng.randrange(1, 5000)) for _ in range(200)]:
    out["percent"].append({"a": a, "b": b, "got": f"{a / b:.1%}"})
out["mean"] = []
for _ in range(40):
    xs = [rng.choice([rng.random() * 10, rng.randrange(1, 21) / 2, 0.1, 1e16, -1e16 + rng.randrange(8)]) for _ in range(rng.randrange(1, 30))]
    out["mean"].append({"xs": [float(x).hex() for x in xs], "mean": float(statistics.mean([float(x) for x in xs])).hex()})

json.dump(out, sys.stdout, separators=(",", ":"))
