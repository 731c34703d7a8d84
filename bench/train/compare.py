"""Leo's training step beside PyTorch's, eager and compiled: 15M and 110M parameters, sequences of 512 and 2048, f32 and
bf16, 4096 tokens a step; speed, share of the machine's peak, peak memory, scaling from one core to two.

python bench/train/compare.py --python python [--rounds 5] [--cells 15M/bf16] [--out FILE] [--table]

All programs of a cell stay loaded and take their steps in turn, A B C A B C, so that all see the same machine. PyTorch first
chooses its micro-batch (all that divide the step, from 4096 tokens to 512) and its threads by speed.
What is done is kept in FILE, a JSON line a result; the same command goes on with what is missing, and --table
prints what is there. The machine should be idle. Peaks are what `leo bench` without --model measures, given as
--peak-f32 and --peak-bf16 in GFLOP/s.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

SHAPES = {"7M": (256, 704, 6, 4, 8192), "15M": (288, 768, 6, 6, 32000), "110M": (768, 2048, 12, 12, 32000)}
TOKENS = 4096
HERE = os.path.dirname(os.path.abspath(__file__))

def flops(shape, length):
    h, f, layers, heads, vocab = SHAPES[shape]
    return 6 * (layers * (4 * h * h + 3 * h * f) + h * vocab) + 6 * layers * h * length

class Program:
    def __init__(self, name, command):
        self.name, self.times = name, []
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    def ask(self, what):
        self.p.stdin.write(what + "\n"); self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended")
        return json.loads(line)
    def step(self): return self.ask("step")["seconds"]
    def close(self):
        self.p.stdin.close(); self.p.wait()

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--python", default=sys.executable)
    a.add_argument("--out", default=os.path.join(HERE, "results.jsonl"))
    a.add_argument("--cells", default="", help="only cells whose name holds this")
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--no-compile", action="store_true")
    a.add_argument("--micros", default="8,4,2,1", help="sequences per micro-batch to choose from")
    a.add_argument("--threads", default="2,1")
    a.add_argument("--leo", default="", help="the built program, else go build makes it")
    a.add_argument("--peak-f32", type=float, default=0); a.add_argument("--peak-bf16", type=float, default=0)
    a.add_argument("--table", action="store_true")
    a = a.parse_args()
    done = {}
    if os.path.exists(a.out):
        for line in open(a.out):
            r = json.loads(line); done[r["key"]] = r
    def keep(key, **r):
        r["key"], r["when"] = key, time.strftime("%Y-%m-%d %H:%M")
        done[key] = r
        with open(a.out, "a") as f: f.write(json.dumps(r) + "\n")
        print(json.dumps(r), flush=True)
    cells = [(s, d, n) for s in ("15M", "110M") for d in ("bf16", "f32") for n in (512, 2048)]
    if a.table:
        return table(cells, done)
    leo = a.leo
    if not leo:
        leo = os.path.join(tempfile.mkdtemp(), "train")
        subprocess.run(["go", "build", "-o", leo, "."], cwd=HERE, check=True)
    torch = [a.python, os.path.join(HERE, "torch_step.py")]
    for shape, dtype, length in cells:
        cell = f"{shape}/{dtype}/{length}"
        if a.cells not in cell: continue
        args = [shape, dtype, str(length)]
        # PyTorch's best setting: each program takes two steps, the second counts.
        best = None
        for micro in [m for m in map(int, a.micros.split(",")) if m * length <= TOKENS]:
            for threads in map(int, a.threads.split(",")):
                key = f"{cell}/tune/{micro}x{threads}"
                if threads == 1 and micro != max(1, 2048 // length): continue
                if key not in done:
                    p = Program(key, torch + args + ["--micro", str(micro), "--threads", str(threads)])
                    p.step(); keep(key, seconds=p.step(), micro=micro, threads=threads); p.close()
                if best is None or done[key]["seconds"] < best["seconds"]: best = done[key]
        if f"{cell}/torch" not in done or (not a.no_compile and f"{cell}/compiled" not in done):
            setting = ["--micro", str(best["micro"]), "--threads", str(best["threads"])]
            # Leo in PyTorch's micro-batch, for memory on the same step, and in one of its own.
            ps = [Program("leo", [leo] + args + [str(best["micro"])]), Program("torch", torch + args + setting)]
            if best["micro"] * length < TOKENS: ps.append(Program("own", [leo] + args))
            if not a.no_compile: ps.append(Program("compiled", torch + args + setting + ["--compile"]))
            for p in ps: p.step()
            for _ in range(a.rounds):
                for p in ps: p.times.append(p.step())
            for p in ps:
                m = p.ask("memory")
                s = statistics.median(p.times)
                peak = a.peak_bf16 if dtype == "bf16" else a.peak_f32
                keep(f"{cell}/{p.name}", seconds=s, times=[round(t, 4) for t in p.times], tokens_per_second=TOKENS / s, gflops=TOKENS * flops(shape, length) / s / 1e9,
                     share=TOKENS * flops(shape, length) / s / 1e9 / peak if peak else None, peak_mib=m["peak"], start_mib=m["start"],
                     micro=TOKENS // length if p.name == "own" else best["micro"], threads=2 if p.name in ("leo", "own") else best["threads"], version=m["version"])
                p.close()
        key = f"{cell}/scaling"
        if key not in done and length == 512:
            ps = [Program("one", [leo] + args + ["0", "1"]), Program("two", [leo] + args + ["0", "2"])]
            for p in ps: p.step()
            for _ in range(max(2, a.rounds // 2)):
                for p in ps: p.times.append(p.step())
            one, two = (statistics.median(p.times) for p in ps)
            keep(key, one=one, two=two, factor=one / two)
            for p in ps: p.close()
    table(cells, done)

def table(cells, done):
    print("| cell | Leo tokens/s | share of peak | PyTorch | compiled | Leo / PyTorch | Leo / compiled | MiB Leo, PyTorch, compiled | 1 → 2 cores |\n|---|---|---|---|---|---|---|---|---|")
    for c in cells:
        cell = "/".join(map(str, c))
        r = {n: done.get(f"{cell}/{n}") for n in ("leo", "own", "torch", "compiled", "scaling")}
        if not r["leo"]: continue
        if not r["own"] or r["own"]["seconds"] > r["leo"]["seconds"]: r["own"] = r["leo"]
        tps = lambda n: f"{r[n]['tokens_per_second']:.0f}" if r[n] else "–"
        ratio = lambda n: f"{r['own']['tokens_per_second'] / r[n]['tokens_per_second']:.2f}" if r[n] else "–"
        share = f"{100 * r['own']['share']:.0f} %" if r["own"].get("share") else "–"
        mem = ", ".join(f"{r[n]['peak_mib']:.0f}" if r[n] else "–" for n in ("leo", "torch", "compiled"))
        scaling = f"{r['scaling']['factor']:.2f}" if r["scaling"] else "–"
        print(f"| {cell} | {tps('own')} | {share} | {tps('torch')} | {tps('compiled')} | {ratio('torch')} | {ratio('compiled')} | {mem} | {scaling} |")

main()
