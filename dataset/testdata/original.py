"""LeoLM's data pipeline once more, in Python, from its description in
docs/leolm.md: the oracle for preset leolm.

    python original.py OUTDIR MODEL MIXDIR            the six fixtures in mix/
    python original.py OUTDIR MODEL SHARED --shared   the dialogue files of SHARED/data
    python original.py --compare DIR1 DIR2            files that must be equal
    python original.py --read PREFIX                  read shards in Megatron's format, print a summary

It uses the packages the original used (sentencepiece, scikit-learn, numpy)
and shares no code with Leo. --timing prints seconds for tokenization only.
"""
import csv, glob, json, math, os, struct, sys, time
import numpy as np

ROLE = {"user": 1, "assistant": 2}


class Tok:
    """Megatron's SentencePiece tokenizer: special strings found literally, leftmost first."""

    def __init__(self, path):
        import sentencepiece
        self.sp = sentencepiece.SentencePieceProcessor(model_file=path)
        n = len(self.sp)
        self.special = {}
        for t in ["<CLS>", "<SEP>", "<EOD>", "<MASK>", "<PAD>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]:
            i = self.sp.piece_to_id(t)
            if self.sp.id_to_piece(i) != t:
                i = n
                n += 1
            self.special[t] = i
        self.size = n

    def encode(self, text):
        ids = []
        at = 0
        while True:
            found = [(text.find(t, at), t) for t in self.special]
            found = [(i, t) for i, t in found if i >= 0]
            if not found:
                break
            i, t = min(found, key=lambda x: x[0])
            ids += self.sp.encode_as_ids(text[at:i])
            ids.append(self.special[t])
            at = i + len(t)
        return ids + self.sp.encode_as_ids(text[at:])


def turns_of(dialogue):
    for k, text in enumerate(dialogue):
        role = "user" if k % 2 == 0 else "assistant"
        yield role, f"<|im_start|>{role}\n{text}<|im_end|>\n"


def parquet(path):
    import pyarrow.parquet as pq
    return pq.read_table(path).to_pylist()


def fixtures(d):
    songs = [[r["prompt"], r["song"], r["analysis_prompt"], r["analysis"]] for r in parquet(f"{d}/german_songs.parquet")]
    sharegpt = lambda f: [[m["value"] for m in r["conversations"]] for r in json.load(open(f, encoding="utf-8"))]
    return [
        ("OpenAssistant/OASST-DE", "oasst_de", 0.05,
         [[m["text"] for m in r["conversation"]] for r in parquet(f"{d}/oasst_de.parquet") if len(r["conversation"]) % 2 == 0]),
        ("FreedomIntelligence/evol-instruct-deutsch", "sharegpt", 0.02, sharegpt(f"{d}/evol_instruct_de.json")),
        ("FreedomIntelligence/alpaca-gpt4-deutsch", "sharegpt", 0.02, sharegpt(f"{d}/alpaca_gpt4_de.json")),
        ("LeoLM/OpenSchnabeltier", "openplatypus", 0.02,
         [[r["instruction_de"], r["output_de"]] for r in parquet(f"{d}/openschnabeltier.parquet")]),
        ("LeoLM/German_Songs", "oasst_de", 0.02, songs),
        ("LeoLM/German_Poems", "openplatypus", 0.02, [[r["prompt"], r["poem"]] for r in parquet(f"{d}/german_poems.parquet")]),
    ]


def shared(d):
    import yaml
    d += "/instruct_de"
    out = []
    rows = list(csv.DictReader(open(f"{d}/instruct_german_dpr.csv", encoding="utf-8", newline="")))
    out.append(("EuroInstruct/GermanDPR", "qa", 0.02, [[r["input"], r["output"]] for r in rows]))
    squad = []
    for article in json.load(open(f"{d}/xquad.de.json", encoding="utf-8"))["data"]:
        for p in article["paragraphs"]:
            for qa in p["qas"]:
                squad.append([p["context"] + "\n\n" + qa["question"], qa["answers"][0]["text"]])
    out.append(("XQuAD-de", "squad", 0.02, squad))
    chat = []
    for f in sorted(glob.glob(f"{d}/chatterbot_*.yml")):
        for c in yaml.safe_load(open(f, encoding="utf-8"))["conversations"]:
            if len(c) % 2 == 0:
                chat.append([str(x) for x in c])
    out.append(("ChatterBot", "pairs", 0.02, chat))
    talk = [json.loads(l) for l in open(f"{d}/faq_smalltalk.jsonl", encoding="utf-8")]
    talk = [[r["question"], r["answer"]] for r in talk
            if r["intent"].split("_")[0] in ("bot", "cc", "vocative", "comment", "user", "greeting")]
    out.append(("robo.ai small talk", "qa", 0.02, talk))
    why = json.load(open(f"{d}/leben_in_deutschland_erklaerungen.json", encoding="utf-8"))
    leben = []
    for q in json.load(open(f"{d}/leben_in_deutschland_fragen.json", encoding="utf-8")):
        prompt = q["question"] + "".join(f"\n{c}) {q[c]}" for c in "abcd")
        answer = f"{q['solution']}) {q[q['solution']]}"
        if why.get(q["num"]):
            answer += "\n\n" + why[q["num"]]
        leben.append([prompt, answer])
    out.append(("Leben in Deutschland", "choices", 0.02, leben))
    return out


def write_stream(prefix, dtype, code, seqs):
    with open(prefix + ".bin", "wb") as f:
        for s in seqs:
            f.write(np.array(s, dtype=dtype).tobytes())
    sizes = [len(s) for s in seqs]
    with open(prefix + ".idx", "wb") as f:
        f.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sizes), 1))
        f.write(np.array(sizes, dtype=np.int32).tobytes())
        offs = np.concatenate([[0], np.cumsum(np.array(sizes[:-1], dtype=np.int64) * np.dtype(dtype).itemsize)]) if sizes else []
        f.write(np.array(offs, dtype=np.int64).tobytes())
        f.write(np.array([0], dtype=np.int64).tobytes())


def run(outdir, name, tok, sets, fractions=None):
    """sets: (name, reader, val_split, dialogues)."""
    from sklearn.model_selection import train_test_split
    os.makedirs(outdir, exist_ok=True)
    json.dump(tok.special, open(f"{outdir}/special_tokens.json", "w"))
    train, evals = [], {}
    for title, reader, share, dialogues in sets:
        tr, va = train_test_split(list(range(len(dialogues))), test_size=share, random_state=666, shuffle=True)
        train.append((f"Subset of {title}", [dialogues[i] for i in tr]))
        evals[reader] = (f"Subset of {title}", [dialogues[i] for i in va])
    seconds = 0.0
    for split, parts in [("train", train), ("val", list(evals.values()))]:
        rng = np.random.RandomState(42)
        prefix = f"{outdir}/{name}-{split}"
        stats, ids_all, roles_all, lines = [], [], [], []
        for k, (title, dialogues) in enumerate(parts):
            frac = 1
            if fractions and split == "train" and k in fractions:
                frac = fractions[k]
                target = int(len(dialogues) * frac)
                if target < len(dialogues):
                    dialogues = [dialogues[i] for i in rng.choice(len(dialogues), size=target, replace=False)]
            lengths = []
            for d in dialogues:
                ids, roles, text = [], [], ""
                t0 = time.perf_counter()
                for role, turn in turns_of(d):
                    got = tok.encode(turn)
                    ids += got
                    roles += [ROLE[role]] * len(got)
                    text += turn
                seconds += time.perf_counter() - t0
                assert tok.encode(text) == ids
                ids_all.append(ids)
                roles_all.append(roles)
                lengths.append(len(ids))
                lines.append(json.dumps({"text": text}) + "\n")
            stats.append((title, frac, lengths))
        write_stream(prefix + "-text", np.uint16, 8, ids_all)
        write_stream(prefix + "-role", np.uint16, 8, roles_all)
        open(prefix + ".jsonl", "w", encoding="utf-8").write("".join(lines))
        stats.append(("total", 1, [n for _, _, l in stats for n in l]))
        with open(prefix + "_stats.txt", "w", encoding="utf-8") as f:
            print(f"\n# Stats for {prefix}*\n", file=f)
            for title, frac, l in stats:
                bar = "-" * 17
                print(f"## Stats for '{title}' ({len(l)} samples ({frac:.1%}))\n{bar}", file=f)
                print(f"  Accepted: {len(l)}/{len(l)} ({len(l) / len(l):.1%})\n  Accepted tokens: {sum(l)}", file=f)
                print(f"  Skipped: 0 ({0 / len(l):.1%})\n  Min tokens per sample: {min(l)}\n  Max tokens per sample: {max(l)}", file=f)
                print(f"  Avg tokens per sample: {sum(l) / len(l)}\n{bar}\n", file=f)
    return seconds


def read(prefix):
    """Reads a pair as Megatron's MMapIndexedDataset does."""
    with open(prefix + ".idx", "rb") as f:
        assert f.read(9) == b"MMIDIDX\x00\x00"
        assert struct.unpack("<Q", f.read(8)) == (1,)
        (code,) = struct.unpack("<B", f.read(1))
        dtype = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}[code]
        n, docs = struct.unpack("<QQ", f.read(16))
        at = f.tell()
    buf = np.memmap(prefix + ".idx", mode="r")
    sizes = np.frombuffer(buf, dtype=np.int32, count=n, offset=at)
    pointers = np.frombuffer(buf, dtype=np.int64, count=n, offset=at + sizes.nbytes)
    doc_idx = np.frombuffer(buf, dtype=np.int64, count=docs, offset=at + sizes.nbytes + pointers.nbytes)
    data = np.memmap(prefix + ".bin", mode="r")
    return sizes, doc_idx, [np.frombuffer(data, dtype=dtype, count=s, offset=p) for s, p in zip(sizes, pointers)]


def main():
    a = sys.argv[1:]
    if a[0] == "--read":
        sizes, docs, text = read(a[1] + "-text")
        _, _, role = read(a[1] + "-role")
        assert all(len(t) == len(r) for t, r in zip(text, role))
        print(len(sizes), "samples", int(sizes.sum()), "tokens, documents", docs.tolist(), "first", text[0][:12].tolist(), role[0][:12].tolist())
        return
    if a[0] == "--compare":
        bad = 0
        for f in sorted(os.listdir(a[1])):
            x, y = open(f"{a[1]}/{f}", "rb").read(), open(f"{a[2]}/{f}", "rb").read()
            if f.endswith("_stats.txt"):  # the heading names the folder
                x, y = x.replace(a[1].encode(), b"D"), y.replace(a[2].encode(), b"D")
            ok = x == y
            bad += not ok
            print("equal  " if ok else "DIFFERS", len(x), f)
        sys.exit(bad > 0)
    outdir, model, where = a[:3]
    tok = Tok(model)
    if "--shared" in a:
        print(f"{run(outdir, 'shared', tok, shared(where)):.2f} s of tokenization")
    else:
        run(outdir, "fixtures", tok, fixtures(where), {1: 0.5, 3: 0.25})


if __name__ == "__main__":
    main()
