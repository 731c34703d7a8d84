"""Dialogue preparation beside other tools: same files, both cores, one run.

    python bench/dialogues/compare.py LEO [SHARED] [--every 4] [--rounds 3] [--dir /tmp/leo-dialogues]

Makes 132,540 training dialogues of the card's sizes (and the validation samples beside them: 135,361 rows) from the
German texts of data/corpus_de, once, and then in turn runs

  leo         leo data prepare on all of it: read, tokenize, split, write shards, roles, statistics
  original    the original's method (dataset/testdata/original.py): sentencepiece per turn and once more joined, with
              Megatron's search for special strings; one process a core
  hf threads  datasets.map(batched) with a fast tokenizer that uses all cores
  hf workers  datasets.map(batched, num_proc=cores) with one thread each

The peers get every --every-th dialogue, already read into memory as text; Leo reads its files. Printed are medians in
seconds by the clock and of processor time, per million tokens, and the ratios to Leo, of the better one of the two hf.
"""
import argparse
import gzip
import json
import multiprocessing as mp
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "dataset", "testdata"))
CORES = len(os.sched_getaffinity(0))
os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAYON_NUM_THREADS"] = str(CORES)

CARD = [  # name, file, raw rows, mean, min, max of the card
    ("OpenAssistant/OASST-DE", "oasst.parquet", 3721, 639.3, 29, 2484),
    ("FreedomIntelligence/evol-instruct-deutsch", "evol.json", 59022, 742.7, 33, 5507),
    ("FreedomIntelligence/alpaca-gpt4-deutsch", "alpaca.json", 49969, 273.1, 19, 1359),
    ("LeoLM/OpenSchnabeltier", "schnabeltier.parquet", 21749, 381.7, 25, 1202),
    ("LeoLM/German_Songs", "songs.parquet", 500, 1262.5, 747, 1678),
    ("LeoLM/German_Poems", "poems.parquet", 400, 479.3, 231, 826),
]
READER = ["oasst_de", "sharegpt", "sharegpt", "openschnabeltier", "german_songs", "german_poems"]


def make(out, data):
    import pyarrow as pa
    import pyarrow.parquet as pq

    os.makedirs(out, exist_ok=True)
    text = []
    for f in ["wikipedia_subset", "klexikon", "novels_eltec"]:
        with gzip.open(f"{data}/corpus_de/{f}.jsonl.gz", "rt", encoding="utf-8") as z:
            text += [json.loads(line)["text"] for line in z]
    text = "\n".join(text)
    rng = random.Random(1)

    def piece(tokens):  # about 3.0 characters a token in this text
        n = max(4, int(tokens * 3.0))
        at = rng.randrange(len(text) - n - 1)
        return text[at : at + n].strip() or "ja"

    for k, (name, file, rows, mean, lo, hi) in enumerate(CARD):
        rows_out = []
        for i in range(rows):
            n = min(hi, max(lo, int(rng.gammavariate(2.5, (mean - lo) / 2.5) + lo))) - 12
            q, a = piece(max(2, n * 0.2)), piece(n * 0.8)
            if k == 0:
                rows_out.append({"conversation": [{"role": "prompter", "text": q}, {"role": "assistant", "text": a}]})
            elif k in (1, 2):
                rows_out.append({"id": str(i), "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]})
            elif k == 3:
                rows_out.append({"instruction": "x", "output": "y", "instruction_de": q, "output_de": a})
            elif k == 4:
                rows_out.append({"prompt": q[: len(q) // 2], "song": a[: len(a) // 2], "analysis_prompt": q[len(q) // 2 :], "analysis": a[len(a) // 2 :]})
            else:
                rows_out.append({"prompt": q, "poem": a})
        if file.endswith(".json"):
            with open(f"{out}/{file}", "w", encoding="utf-8") as f:
                json.dump(rows_out, f, ensure_ascii=False)
        else:
            pq.write_table(pa.Table.from_pylist(rows_out), f"{out}/{file}")
    shutil.copy(f"{data}/tokenizer/llama2.model", f"{out}/tokenizer.model")
    hf_tokenizer(f"{out}/tokenizer.model", f"{out}/tokenizer.json")
    with open(f"{out}/mix.yaml", "w") as f:
        f.write("prefix: bench\npreset: leolm\ntokenizer: tokenizer.model\nsources:\n")
        for (name, file, *_), reader in zip(CARD, READER):
            f.write(f"  - {{name: {name}, reader: {reader}, files: [{file}], val_split: {0.05 if reader == 'oasst_de' else 0.02}}}\n")


def hf_tokenizer(model, path):
    """Llama-2's vocabulary as transformers converts it."""
    import sentencepiece as spm
    from tokenizers import AddedToken, Tokenizer, models, normalizers

    sp = spm.SentencePieceProcessor(model_file=model)
    vocab = {sp.id_to_piece(i): i for i in range(len(sp))}
    merges = sorted((i, k, p[:k], p[k:]) for p, i in vocab.items() for k in range(1, len(p)) if p[:k] in vocab and p[k:] in vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=[(a, b) for *_, a, b in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]])
    t.save(path)


def load(d):
    import pyarrow.parquet as pq

    for k, (_, file, *_) in enumerate(CARD):
        rows = json.load(open(f"{d}/{file}", encoding="utf-8")) if file.endswith(".json") else pq.read_table(f"{d}/{file}").to_pylist()
        for r in rows:
            if k == 0:
                yield [m["text"] for m in r["conversation"]]
            elif k in (1, 2):
                yield [m["value"] for m in r["conversations"]]
            elif k == 3:
                yield [r["instruction_de"], r["output_de"]]
            elif k == 4:
                yield [r["prompt"], r["song"], r["analysis_prompt"], r["analysis"]]
            else:
                yield [r["prompt"], r["poem"]]


def cpu():
    a, b = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return a.ru_utime + a.ru_stime + b.ru_utime + b.ru_stime


def original_part(tok, part):
    import original as o

    tokens = 0
    for dialogue in part:
        ids, roles = [], []
        for role, turn in o.turns_of(dialogue):
            got = tok.encode(turn)
            ids += got
            roles += [o.ROLE[role]] * len(got)
        assert tok.encode("".join(t for _, t in o.turns_of(dialogue))) == ids  # always on in the original
        tokens += len(ids)
    return tokens


def original(d, dialogues):
    import original as o

    tok = o.Tok(f"{d}/tokenizer.model")
    ctx = mp.get_context("fork")
    queue = ctx.Queue()
    jobs = [ctx.Process(target=lambda i=i: queue.put(original_part(tok, dialogues[i::CORES]))) for i in range(CORES)]
    for j in jobs:
        j.start()
    tokens = sum(queue.get() for _ in jobs)
    for j in jobs:
        j.join()
    return tokens


def hf(d, dialogues, workers):
    from datasets import Dataset, disable_caching, disable_progress_bars
    from tokenizers import Tokenizer

    disable_progress_bars()
    disable_caching()
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if workers else "true"
    tok = Tokenizer.from_file(f"{d}/tokenizer.json")
    text = ["".join(f"<|im_start|>{'user' if i % 2 == 0 else 'assistant'}\n{t}<|im_end|>\n" for i, t in enumerate(x)) for x in dialogues]
    ds = Dataset.from_dict({"text": text})
    out = ds.map(lambda b: {"ids": [e.ids for e in tok.encode_batch_fast(b["text"], add_special_tokens=False)]}, batched=True, batch_size=1000,
                 remove_columns=["text"], num_proc=workers or None)
    return sum(len(c.values) for c in out.data.column("ids").chunks)


def leo(program, d):
    out = tempfile.mkdtemp()
    try:
        p = subprocess.Popen([program, "data", "prepare", f"{d}/mix.yaml", "-o", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pid, mem = 0, 0
        while not pid:  # ru_maxrss would count this script's memory, from which the process was forked
            time.sleep(0.02)
            pid, status, use = os.wait4(p.pid, os.WNOHANG)
            if not pid:
                mem = max([mem] + [int(x.split()[1]) for x in open(f"/proc/{p.pid}/status") if x.startswith("VmHWM")])
        if status:
            raise SystemExit(f"leo data prepare: status {status}")
        stats = []
        for split in ("train", "val"):
            text = open(f"{out}/bench-{split}_stats.txt").read()
            total = text[text.index("## Stats for 'total'") :]  # the block's last part
            stats.append([int(total.split(f"Accepted{w}: ")[1].split("/")[0].split()[0]) for w in ("", " tokens")])
        return stats, use.ru_utime + use.ru_stime, mem / 1024
    finally:
        shutil.rmtree(out)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("leo")
    ap.add_argument("shared", nargs="?", default=".")
    ap.add_argument("--every", type=int, default=4)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--dir", default="/tmp/leo-dialogues")
    args = ap.parse_args()
    if not os.path.exists(f"{args.dir}/mix.yaml"):
        make(args.dir, os.path.join(args.shared, "data"))
    dialogues = [x for k, x in enumerate(load(args.dir)) if k % args.every == 0]
    every = {"leo": [], "original": [], "hf threads": [], "hf workers": []}
    for _ in range(args.rounds):
        start = time.monotonic()
        stats, used, mem = leo(args.leo, args.dir)
        every["leo"].append((time.monotonic() - start, used, stats, mem))
        for name, f in [("original", lambda: original(args.dir, dialogues)), ("hf threads", lambda: hf(args.dir, dialogues, 0)), ("hf workers", lambda: hf(args.dir, dialogues, CORES))]:
            start, c = time.monotonic(), cpu()
            tokens = f()
            every[name].append((time.monotonic() - start, cpu() - c, tokens))
    stats = every["leo"][0][2]
    samples = [s[0] for s in stats]
    tokens = {"leo": sum(s[1] for s in stats)}
    print(f"leo: {samples[0]} training and {samples[1]} validation dialogues, {tokens['leo']} tokens, {statistics.median(x[0] for x in every['leo']):.2f} s by the clock, at most {max(x[3] for x in every['leo']):.0f} MiB")
    rate = {}
    for name, runs in every.items():
        tokens.setdefault(name, runs[0][2])
        m = tokens[name] / 1e6
        rate[name] = [statistics.median(x[i] for x in runs) / m for i in (0, 1)]
        print(f"{name:10} {m:6.1f} M tokens, per million {rate[name][0]:.3f} s by the clock, {rate[name][1]:.3f} s of processor time")
    best = min(rate["hf threads"], rate["hf workers"])
    for name, r in [("original", rate["original"]), ("hf", best)]:
        print(f"{name} / leo: {r[0] / rate['leo'][0]:.1f} by the clock, {r[1] / rate['leo'][1]:.1f} in processor time")


if __name__ == "__main__":
    main()
