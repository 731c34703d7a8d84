"""How fast leo data corpus is on one core, stage by stage, over all German texts of data/corpus_de.

    python bench/corpus/stages.py LEO [SHARED] [--plain] [--check DIR]

Runs the stages one after the other with GOMAXPROCS=1 and one worker, and prints for each what the clock and the
processor took and the most memory, then megabytes of text per second from JSONL to packed samples of 1024:
once with exact duplicates only, once with near duplicates (14 x 8 minima over 5-grams) as well. --plain unpacks the files first. --check compares the
samples with those of another run's folder (kept with --keep DIR): the same bytes are expected of any version.
"""
import argparse
import glob
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time

ap = argparse.ArgumentParser()
ap.add_argument("leo")
ap.add_argument("shared", nargs="?", default=".")
ap.add_argument("--keep", help="folder for the digests of the output")
ap.add_argument("--check", help="folder of digests to compare with")
ap.add_argument("--plain", action="store_true", help="read uncompressed files")
args = ap.parse_args()
data = os.path.abspath(os.path.join(args.shared, "data"))
env = {**os.environ, "GOMAXPROCS": "1"}


def run(*cmd):
    """Wall seconds, processor seconds and the most memory of a command."""
    start = time.monotonic()
    p = subprocess.Popen([os.path.abspath(args.leo), "data", "corpus", *cmd], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid, mem = 0, 0
    while not pid:  # ru_maxrss would count this script's memory, from which the process was forked
        time.sleep(0.01)
        pid, status, use = os.wait4(p.pid, os.WNOHANG)
        if not pid:
            mem = max([mem] + [int(x.split()[1]) for x in open(f"/proc/{p.pid}/status") if x.startswith("VmHWM")])
    if status != 0:
        raise SystemExit(f"leo data corpus {' '.join(cmd)}: status {status}")
    return time.monotonic() - start, use.ru_utime + use.ru_stime, mem / 1024


inputs = sorted(glob.glob(f"{data}/corpus_de/*.jsonl.gz"))
if args.plain:
    unpacked = tempfile.TemporaryDirectory()
    for i, p in enumerate(inputs):
        inputs[i] = os.path.join(unpacked.name, os.path.basename(p)[:-3])
        with gzip.open(p) as a, open(inputs[i], "wb") as b:
            shutil.copyfileobj(a, b)

for name, dedup in [("exact", "{exact: true}"), ("near", "{minhash: {}}")]:
    tmp = tempfile.mkdtemp()
    try:
        recipe, out = os.path.join(tmp, "r.yaml"), os.path.join(tmp, "out")
        with open(recipe, "w") as f:
            f.write(f"tokenizer: {data}/tokenizer/llama2.model\ndedup: {dedup}\npack: {{window: 1024}}\ninputs:\n")
            for p in inputs:
                html = ", html_entities: true" if "gedichte" in p else ""
                f.write(f"  - {{path: {p}{html}}}\n")
        rows = [("plan", *run("plan", recipe, "-o", out))]
        for s in json.load(open(f"{out}/plan.json"))["stages"]:
            rows.append((s["name"], *run("run", out, "--stage", s["name"], "--workers", "1")))
        total = json.load(open(f"{out}/report.json"))["total"]
        size = total["read"]["bytes"] / 1e6
        print(f"{name} duplicates: {size:.1f} MB of text, {total['train']['tokens']} tokens")
        for stage, wall, cpu, mem in rows:
            print(f"  {stage:9} {wall:6.2f} s, processor {cpu:6.2f} s, {size / cpu:7.1f} MB/s, {mem:5.0f} MiB")
        wall, cpu = sum(r[1] for r in rows), sum(r[2] for r in rows)
        print(f"  all       {wall:6.2f} s, processor {cpu:6.2f} s, {size / cpu:7.1f} MB/s of processor time, {size / wall:.1f} MB/s by the clock, at most {max(r[3] for r in rows):.0f} MiB", flush=True)
        digests = {os.path.basename(p): hashlib.sha256(open(p, "rb").read()).hexdigest() for p in sorted(glob.glob(f"{out}/out/*-of-*"))}
        if args.keep:
            os.makedirs(args.keep, exist_ok=True)
            json.dump(digests, open(f"{args.keep}/{name}.json", "w"))
        if args.check:
            print("  the same bytes as before" if digests == json.load(open(f"{args.check}/{name}.json")) else "  OTHER BYTES than before")
    finally:
        shutil.rmtree(tmp)
