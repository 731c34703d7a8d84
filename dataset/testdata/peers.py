"""Dialogue preparation beside other tools, same files, same machine.

    python peers.py make DIR SHARED          132540 dialogues of the card's sizes (plus validation) from ../shared's corpus
    python peers.py original DIR MODEL [N]     the original's method: SentencePiece per turn, Megatron's search for special strings
    python peers.py hf DIR TOKENIZER.json [N]  datasets.map(batched) with a fast tokenizer, all cores

N takes every Nth dialogue. Reading the files is not counted for the peers; it is for Leo.

Compare with: leo data prepare DIR/mix.yaml -o OUT
"""
import gzip, json, os, random, sys, time

CARD = [  # name, file, raw rows, mean, min, max of the card
    ("OpenAssistant/OASST-DE", "oasst.parquet", 3721, 639.3, 29, 2484),
    ("FreedomIntelligence/evol-instruct-deutsch", "evol.json", 59022, 742.7, 33, 5507),
    ("FreedomIntelligence/alpaca-gpt4-deutsch", "alpaca.json", 49969, 273.1, 19, 1359),
    ("LeoLM/OpenSchnabeltier", "schnabeltier.parquet", 21749, 381.7, 25, 1202),
    ("LeoLM/German_Songs", "songs.parquet", 500, 1262.5, 747, 1678),
    ("LeoLM/German_Poems", "poems.parquet", 400, 479.3, 231, 826),
]
READER = ["oasst_de", "sharegpt", "sharegpt", "openschnabeltier", "german_songs", "german_poems"]


def make(out, shared):
    from datasets import Dataset
    os.makedirs(out, exist_ok=True)
    text = []
    for f in ["wikipedia_subset", "klexikon", "novels_eltec"]:
        with gzip.open(f"{shared}/corpus_de/{f}.jsonl.gz", "rt", encoding="utf-8") as z:
            for line in z:
                text.append(json.loads(line)["text"])
    text = "\n".join(text)
    rng = random.Random(1)

    def piece(tokens):  # about 3.0 characters a token in this text
        n = max(4, int(tokens * 3.0))
        at = rng.randrange(len(text) - n - 1)
        return text[at:at + n].strip() or "ja"

    for k, (name, file, rows, mean, lo, hi) in enumerate(CARD):
        data = []
        for i in range(rows):
            n = min(hi, max(lo, int(rng.gammavariate(2.5, (mean - lo) / 2.5) + lo))) - 12
            q, a = piece(max(2, n * 0.2)), piece(n * 0.8)
            if k == 0:
                conv = [{"role": "prompter", "text": q}, {"role": "assistant", "text": a}]
                data.append({"conversation": conv})
            elif k in (1, 2):
                data.append({"id": str(i), "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]})
            elif k == 3:
                data.append({"instruction": "x", "output": "y", "instruction_de": q, "output_de": a})
            elif k == 4:
                data.append({"prompt": q[: len(q) // 2], "song": a[: len(a) // 2], "analysis_prompt": q[len(q) // 2:], "analysis": a[len(a) // 2:]})
            else:
                data.append({"prompt": q, "poem": a})
        if file.endswith(".json"):
            json.dump(data, open(f"{out}/{file}", "w", encoding="utf-8"), ensure_ascii=False)
        else:
            Dataset.from_list(data).to_parquet(f"{out}/{file}")
    with open(f"{out}/mix.yaml", "w") as f:
        f.write("prefix: bench\npreset: leolm\ntokenizer: tokenizer.model\nsources:\n")
        for (name, file, *_), reader in zip(CARD, READER):
            f.write(f"  - {{name: {name}, reader: {reader}, files: [{file}], val_split: {0.05 if reader == 'oasst_de' else 0.02}}}\n")


def load(d):
    import pyarrow.parquet as pq
    for k, (name, file, *_) in enumerate(CARD):
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


def chatml(d):
    return "".join(f"<|im_start|>{'user' if i % 2 == 0 else 'assistant'}\n{t}<|im_end|>\n" for i, t in enumerate(d))


def original(d, model, every):
    import original as o
    tok = o.Tok(model)
    part = [x for k, x in enumerate(load(d)) if k % every == 0]
    t0 = time.process_time()
    tokens = 0
    for dlg in part:
        ids, roles = [], []
        for role, turn in o.turns_of(dlg):
            got = tok.encode(turn)
            ids += got
            roles += [o.ROLE[role]] * len(got)
        assert tok.encode("".join(t for _, t in o.turns_of(dlg))) == ids  # always on in the original
        tokens += len(ids)
    report("original", len(part), tokens, time.process_time() - t0)


def hf(d, file, every):
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer
    disable_progress_bars()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tok = Tokenizer.from_file(file)
    part = [chatml(x) for k, x in enumerate(load(d)) if k % every == 0]
    t0 = time.process_time()
    ds = Dataset.from_dict({"text": part})
    out = ds.map(lambda b: {"ids": [e.ids for e in tok.encode_batch_fast(b["text"], add_special_tokens=False)]}, batched=True,
                 batch_size=1000, remove_columns=["text"])
    s = time.process_time() - t0
    report("hf", len(out), sum(len(x) for x in out["ids"]), s)


def report(name, n, tokens, seconds):
    print(f"{name}: {n} dialogues, {tokens} tokens, {seconds:.2f} s of processor time (all threads), {seconds / tokens * 1e6:.3f} s per million tokens")


if __name__ == "__main__":
    a = sys.argv[1:]
    if a[0] == "make":
        make(a[1], a[2])
    elif a[0] == "original":
        original(a[1], a[2], int(a[3]) if len(a) > 3 else 1)
    else:
        hf(a[1], a[2], int(a[3]) if len(a) > 3 else 1)
