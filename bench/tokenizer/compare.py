"""Compares Leo's tokenizers with sentencepiece and Hugging Face tokenizers: ids line by line, and speed.

    python bench/tokenizer/compare.py ids   [--shared DIR] [--fuzz 200000] [--limit-mb N] [--part K/N] [--rows both]
    python bench/tokenizer/compare.py speed [--shared DIR] [--mb 20] [--rounds 5]

Needs Go, sentencepiece, tokenizers and transformers. `ids` prints, per tokenizer, the number of texts whose ids
differ (the goal is 0): every text and every line of shared/data/corpus_de, then the hostile strings of strings_de.py.
`speed` interleaves the programs, single thread, over the same German texts, and prints medians in MB/s and ratios.
It counts processor time, not the clock, so that other programs on the machine matter less.
"""
import argparse
import glob
import gzip
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, HERE)

import sentencepiece as spm
from strings_de import hostile
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

ap = argparse.ArgumentParser()
ap.add_argument("what", choices=["ids", "speed"])
ap.add_argument("--shared", default=os.path.join(ROOT, "..", "shared"))
ap.add_argument("--fuzz", type=int, default=200000)
ap.add_argument("--limit-mb", type=float, default=1e9, help="stop the corpus after this much")
ap.add_argument("--part", default="1/1", help="K/N: every N-th text, from the K-th on, so that a long comparison can be run in pieces")
ap.add_argument("--rows", choices=["both", "texts", "lines"], default="both", help="whole texts, their lines, or both")
ap.add_argument("--mb", type=float, default=20, help="text per round of the speed comparison")
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--files", default="*.jsonl.gz", help="which files of corpus_de")
ap.add_argument("--only", default="", help="comma-separated names")
args = ap.parse_args()
LLAMA2 = os.path.join(args.shared, "data", "tokenizer", "llama2.model")
tmp = tempfile.mkdtemp()
LEO = os.path.join(tmp, "leoenc")
subprocess.run(["go", "build", "-o", LEO, "./bench/tokenizer/leoenc"], cwd=ROOT, check=True)


def frames(texts):
    return b"".join(struct.pack("<I", len(t)) + t for t in texts)


def leo(flags, texts):
    p = subprocess.run([LEO] + flags, input=frames(texts), stdout=subprocess.PIPE, check=True)
    out, at, res = p.stdout, 0, []
    while at < len(out):
        (n,) = struct.unpack_from("<I", out, at)
        res.append(out[at + 4 : at + 4 + 4 * n])
        at += 4 + 4 * n
    return res


def packed(ids):
    return struct.pack(f"<{len(ids)}i", *ids)


def corpus():
    part, parts = map(int, args.part.split("/"))
    n = 0
    for path in sorted(glob.glob(os.path.join(args.shared, "data", "corpus_de", args.files))):
        with gzip.open(path, "rt", encoding="utf-8") as f:
            for line in f:
                n += 1
                if n % parts == part - 1:
                    yield json.loads(line)["text"]


# Hugging Face pipelines: Llama-2's vocabulary as transformers converts it (legacy: prepend and replace), and GPT-2's.
def hf_llama(legacy):
    sp = spm.SentencePieceProcessor(model_file=LLAMA2)
    vocab = {sp.id_to_piece(i): i for i in range(len(sp))}
    merges = []
    for p, i in vocab.items():
        for k in range(1, len(p)):
            if p[:k] in vocab and p[k:] in vocab:
                merges.append((i, k, p[:k], p[k:]))
    merges = [(a, b) for _, _, a, b in sorted(merges)]
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]])
    return t


def gpt2_parts():
    import gguf

    r = gguf.GGUFReader(os.path.join(args.shared, "data", "tokenizer", "gpt2-vocab.gguf"))
    toks = r.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in r.fields["tokenizer.ggml.merges"].contents()]
    return {t: i for i, t in enumerate(toks)}, merges


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def hf_bytes(kind):
    vocab, merges = gpt2_parts()
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=kind == "llama3"))
    if kind == "gpt2":
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif kind == "smollm":
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        rule = LLAMA3 if kind == "llama3" else LLAMA3.replace("{1,3}", "")
        if kind == "qwen2":
            t.normalizer = normalizers.NFC()
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(rule), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<|endoftext|>", normalized=False, special=True)])
    return t


def save(t, name):
    path = os.path.join(tmp, name + ".json")
    t.save(path)
    return path


sp = spm.SentencePieceProcessor(model_file=LLAMA2)


def hf_encode(t):
    return lambda texts: [packed(e.ids) for e in t.encode_batch_fast([x.decode() for x in texts], add_special_tokens=False)]


def subjects():
    yield "sentencepiece llama2.model", [LLAMA2], lambda texts: [packed(sp.encode(t)) for t in texts], True
    for name, t in [("llama legacy=true", hf_llama(True)), ("llama legacy=false", hf_llama(False))] + [(k, hf_bytes(k)) for k in ["gpt2", "smollm", "llama3", "qwen2"]]:
        yield "tokenizers " + name, ["-anywhere", save(t, name.replace(" ", "_").replace("=", "_"))], hf_encode(t), False


def compare_ids():
    names = [n for n in args.only.split(",") if n]
    for name, flags, ref, broken in subjects():
        if names and not any(n in name for n in names):
            continue
        start = time.time()
        texts = lines = size = diff = ldiff = 0
        batch, bytes_in = [], 0

        def flush():
            nonlocal diff, ldiff, texts, lines, batch, bytes_in
            whole = [] if args.rows == "lines" else batch
            rows = whole + ([] if args.rows == "texts" else [l for t in batch for l in t.split(b"\n")])
            a, b = leo(flags, rows), ref(rows)
            for i, row in enumerate(rows):
                if a[i] != b[i]:
                    if i < len(whole):
                        diff += 1
                    else:
                        ldiff += 1
                    if diff + ldiff <= 3:
                        print("  differs:", row[:120])
            texts += len(whole)
            lines += len(rows) - len(whole)
            batch, bytes_in = [], 0

        for t in corpus():
            b = t.encode()
            batch.append(b)
            bytes_in += len(b)
            size += len(b)
            if bytes_in > 8e6:
                flush()
            if size > args.limit_mb * 1e6:
                break
        flush()
        print(f"{name}: {texts} texts, {lines} lines, {size / 1e6:.1f} MB: {diff} texts and {ldiff} lines differ ({time.time() - start:.0f} s)", flush=True)
        for bad in (False, True) if broken else (False,):
            strs = [s if bad else s.encode() for s in hostile(args.fuzz // (2 if broken else 1), 2024, bad)]
            differ = 0
            for at in range(0, len(strs), 20000):
                part = strs[at : at + 20000]
                for row, x, y in zip(part, leo(flags, part), ref(part), strict=True):
                    if x != y:
                        differ += 1
                        if differ <= 3:
                            print("  differs:", row[:2000])
            print(f"{name}: {len(strs)} hostile strings{' of broken UTF-8' if bad else ''}: {differ} differ", flush=True)


def compare_speed():
    texts, size = [], 0
    every = list(corpus())
    step = max(1, int(sum(len(t) for t in every) / (args.mb * 1e6)))
    for t in every[::step]:
        texts.append(t)
        size += len(t.encode())
    raw = [t.encode() for t in texts]
    data = frames(raw)
    llama, gpt2 = hf_llama(True), hf_bytes("gpt2")
    peers = {
        "sentencepiece, Llama-2": lambda: [sp.encode(t) for t in texts] and None,
        "tokenizers, Llama-2": lambda: [llama.encode(t, add_special_tokens=False) for t in texts] and None,
        "tokenizers, GPT-2": lambda: [gpt2.encode(t, add_special_tokens=False) for t in texts] and None,
    }
    mine = {"leo, Llama-2 model": [LLAMA2], "leo, Llama-2 json": [save(llama, "llama")], "leo, GPT-2 json": [save(gpt2, "gpt2")]}
    times = {k: [] for k in list(peers) + list(mine)}
    for _ in range(args.rounds):
        for k, f in peers.items():
            start = time.process_time()
            f()
            times[k].append(time.process_time() - start)
        for k, flags in mine.items():
            # The first pass of a fresh process: the word cache is cold.
            p = subprocess.run([LEO, "-time", "1"] + flags, input=data, stdout=subprocess.PIPE, check=True, env={**os.environ, "GOMAXPROCS": "1"})
            times[k].append(float(p.stdout.split()[0]))
    print(f"{len(texts)} texts, {size / 1e6:.1f} MB, one thread, processor time, medians of {args.rounds} rounds")
    speed = {k: size / 1e6 / statistics.median(v) for k, v in times.items()}
    for k, v in speed.items():
        print(f"{k:24} {v:8.1f} MB/s")
    for a, b in [("leo, Llama-2 model", "sentencepiece, Llama-2"), ("leo, Llama-2 json", "tokenizers, Llama-2"), ("leo, GPT-2 json", "tokenizers, GPT-2")]:
        print(f"{a} / {b}: {speed[a] / speed[b]:.1f}")


compare_ids() if args.what == "ids" else compare_speed()
