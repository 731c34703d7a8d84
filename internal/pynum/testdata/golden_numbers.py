"""Writes numbers.json: python golden_numbers.py | gzip -9n > numbers.json.gz

Ratings as a judge writes them, their statistics.mean, (first + second) / 2, and repr of floats of all sizes.
"""
import ast, json, random, statistics, struct, sys

rng = random.Random(11)


def text():
    kind = rng.randrange(12)
    if kind < 6:
        return str(rng.randrange(0, 11))
    if kind < 8:
        return f"{rng.randrange(0, 11)}.{rng.choice(['5', '0', '25', '75', '3', '', '00', '1', '9'])}"
    if kind == 8:
        return str(rng.randrange(0, 10 ** rng.randrange(1, 40)))
    if kind == 9:
        return "0" * rng.randrange(1, 4) + rng.choice(["", "7", "7.5", ".5"])
    if kind == 10:
        return f"{rng.randrange(0, 10 ** rng.randrange(1, 25))}.{rng.randrange(0, 10 ** rng.randrange(1, 25))}"
    return f"{rng.random() * 10:.{rng.randrange(1, 18)}f}"


def literal(s):
    try:
        return ast.literal_eval(s)
    except SyntaxError:
        return None


def attempt(f):
    try:
        return repr(f())
    except OverflowError:
        return "overflow"


out = {"version": sys.version.split()[0], "literals": [], "means": [], "halves": [], "reprs": []}
for s in ["0", "00", "007", "7.", "7.0", "007.5", "1" * 309, "1" * 309 + ".0", "1" * 4300, "1" * 4301, "9007199254740993", "9007199254740993.0"] + [text() for _ in range(2000)]:
    v = literal(s)
    out["literals"].append([s, None if v is None else ("int" if len(s) > 4000 else repr(v))])
lists = [["1" * 309, "5"], ["1" * 309 + ".0", "5"], ["1" * 400, "5.5"], ["1" * 309], ["1" * 309, "1.5"]]
lists += [[t for t in (text() for _ in range(rng.randrange(1, 14))) if literal(t) is not None] for _ in range(2000)]
lists += [[str(rng.randrange(1, 11)) for _ in range(rng.choice([1, 2, 10, 20, 79, 80]))] for _ in range(1000)]
means = []
for xs in lists:
    if xs:
        out["means"].append([xs, attempt(lambda: statistics.mean([literal(x) for x in xs]))])
for _ in range(2000):
    a, b = text(), text()
    if literal(a) is not None and literal(b) is not None:
        out["halves"].append([a, b, attempt(lambda: (literal(a) + literal(b)) / 2)])
out["halves"].append(["1" * 309, "1", attempt(lambda: (int("1" * 309) + 1) / 2)])
out["halves"].append(["1" * 320, "1.5", attempt(lambda: (int("1" * 320) + 1.5) / 2)])
for _ in range(2000):
    bits = rng.getrandbits(64)
    x = struct.unpack("<d", struct.pack("<Q", bits))[0]
    if x != x:
        continue
    out["reprs"].append([str(bits), repr(x)])
json.dump(out, sys.stdout, separators=(",", ":"))
