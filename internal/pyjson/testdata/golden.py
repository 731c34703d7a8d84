"""Writes golden.json: python golden.py > golden.json

Random values with their json.dumps, with indent=4 and without. A value is stored as [kind, ...], because JSON itself would
lose the difference between 5 and 5.0 and the order of keys.
"""
import json, random, struct

rng = random.Random(5)
ALPHABET = list("abc xyz\"\\/\b\f\n\r\t\x00\x1f\x7f\x80äöüß€–„“\u2028\ud7ff\ue000\ufffd\uffff😀𐍈")


def text():
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(0, 9)))


def value(depth):
    k = rng.randrange(8 if depth < 3 else 5)
    if k == 0:
        return rng.choice([None, True, False])
    if k == 1:
        return rng.choice([0, -1, 7, 10**18, 10**30])
    if k == 2:
        return rng.choice([0.0, -0.0, 5.0, 0.1, 1e16, 1e-5, 1e22, float("inf"), float("-inf"), struct.unpack("<d", struct.pack("<Q", rng.getrandbits(62)))[0]])
    if k < 5:
        return text()
    if k < 7:
        return {text(): value(depth + 1) for _ in range(rng.randrange(0, 4))}
    return [value(depth + 1) for _ in range(rng.randrange(0, 4))]


def store(v):
    if v is None or isinstance(v, bool):
        return ["const", json.dumps(v)]
    if isinstance(v, int):
        return ["int", str(v)]
    if isinstance(v, float):
        return ["float", v.hex()]
    if isinstance(v, str):
        return ["text", v]
    if isinstance(v, dict):
        return ["object", [[k, store(x)] for k, x in v.items()]]
    return ["list", [store(x) for x in v]]


print(json.dumps([[store(v), json.dumps(v), json.dumps(v, indent=4)] for v in (value(0) for _ in range(700))]))
