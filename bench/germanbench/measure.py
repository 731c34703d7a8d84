"""Documents a second of leo eval germanbench and of lm-evaluation-harness, on one model and the same prompts.

    python bench/germanbench/measure.py --leo ./leo --texts klexikon.jsonl.gz --tokenizer llama2.model --dir /tmp/gb

Makes a random Llama and documents of sentences (once), then runs both programs in turn, on two threads, and prints the
median of the rounds. lm-eval reads the prompts as leo writes them out (--show-prompt is for one document; here they
come from a second implementation in eval/germanbench/testdata/lmeval.py), so both score the same requests. Loading is
not counted.
"""
import argparse
import gzip
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import time

os.environ.update(OMP_NUM_THREADS="2", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
repository = pathlib.Path(__file__).resolve().parents[2]


def make_model(folder, tokenizer, args):
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(tokenizer, folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True, "add_bos_token": True}))
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=32000, hidden_size=args.hidden, intermediate_size=args.hidden * 11 // 4, num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64, num_key_value_heads=args.hidden // 64, max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=2, initializer_range=0.05)).save_pretrained(folder)


def make_documents(folder, texts, n):
    """Questions, contexts and choices of real sentences: their meaning does not matter for speed, their length does."""
    sentences = []
    opener = gzip.open if str(texts).endswith(".gz") else open
    with opener(texts, "rt") as f:
        for line in f:
            sentences += [s.strip() for s in re.split(r"(?<=[.!?])\s", json.loads(line)["text"]) if 30 < len(s) < 160]
            if len(sentences) > 60000:
                break
    rnd = random.Random(1)

    def pick():
        return rnd.choice(sentences)

    def short():
        return " ".join(pick().split()[:6])

    def write(name, count, make):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as f:
            for i in range(count):
                f.write(json.dumps(make(i), ensure_ascii=False) + "\n")

    def arc(i):
        return {"id": str(i), "question_de": pick(), "choices_de": {"text": [short() for _ in range(4)], "label": list("ABCD")}, "answerKey": rnd.choice("ABCD")}

    def hellaswag(i):
        return {"activity_label_de": short(), "ctx_de": pick() + " " + short(), "endings_de": [pick() for _ in range(4)], "label": str(rnd.randrange(4))}

    def mmlu(i):
        return {"question_de": pick() + " " + pick(), "choices_de": [short() for _ in range(4)], "answer": rnd.randrange(4)}

    def truth(i):
        choices = [pick() for _ in range(6)]
        return {"question_de": pick(), "mc1_targets_de": {"choices": choices[:4], "labels": [1, 0, 0, 0]},
                "mc2_targets_de": {"choices": choices, "labels": [1, 1, 1, 0, 0, 0]}}

    for split in ("test", "validation"):
        write(f"arc_de/{split}.jsonl", n, arc)
        write(f"mmlu_de/anatomy/{split}.jsonl", n, mmlu)
    for split in ("validation", "train"):
        write(f"hellaswag_de/{split}.jsonl", n, hellaswag)
    write("truthfulqa_de/validation.jsonl", n, truth)


def reference(folder, task, shots):
    """The prompts, by the second implementation."""
    import importlib.util
    spec = importlib.util.spec_from_file_location("lmeval", repository / "eval/germanbench/testdata/lmeval.py")
    module = importlib.util.module_from_spec(spec)
    here = os.getcwd()
    spec.loader.exec_module(module)
    os.chdir(here)
    module.rows = lambda *parts: [json.loads(line) for line in open(folder.joinpath("documents", *parts))]
    module.SUBJECTS = {"anatomy": "Anatomie"}
    out = []
    for name, docs in module.reference(shots):
        if name.split("/")[0].startswith(task):
            out += list(docs)
    return out


class Harness:
    """lm-evaluation-harness with one model."""

    def __init__(self, model, batch):
        from lm_eval.models.huggingface import HFLM
        import torch
        torch.set_num_threads(2)
        self.lm = HFLM(pretrained=model, device="cpu", dtype="float32", batch_size=batch, add_bos_token=False)

    def seconds(self, docs):
        from lm_eval.api.instance import Instance
        reqs = [Instance(request_type="loglikelihood", doc={}, arguments=(d["context"], " " + c), idx=i, metadata=("t", k, 1))
                for k, d in enumerate(docs) for i, c in enumerate(d["choices"])]
        start = time.perf_counter()
        out = self.lm.loglikelihood(reqs, disable_tqdm=True)
        return time.perf_counter() - start, [x[0] for x in out]


def leo_seconds(leo, model, folder, task, shots, limit):
    out = folder / "leo-out"
    subprocess.run(["rm", "-rf", out], check=True)
    subprocess.run([leo, "eval", "germanbench", "--model", model, "--data", folder / "documents", "--tasks", task, "--num-fewshot", str(shots),
                    "--limit", str(limit), "--threads", "2", "-q", "--output", out], check=True, stdout=subprocess.DEVNULL)
    name = "mmlu_de_anatomy" if task == "mmlu_de" else task
    records = [json.loads(line) for line in open(out / f"{name}.jsonl")]
    return json.load(open(out / f"{name}.json"))["seconds"], [x for r in records for x in r["log_likelihoods"]]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--leo", required=True)
    p.add_argument("--texts", required=True)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--dir", type=pathlib.Path, required=True)
    p.add_argument("--hidden", type=int, default=512)
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--batches", default="1,8")
    p.add_argument("--cases", default="mmlu_de/5,arc_de/0,hellaswag_de/0,truthfulqa_de/0")
    p.add_argument("--limit", type=int, default=24)
    args = p.parse_args()
    model = args.dir / "model"
    if not (model / "config.json").exists():
        make_model(model, args.tokenizer, args)
        make_documents(args.dir / "documents", args.texts, 200)
    harnesses = {b: Harness(str(model), int(b)) for b in args.batches.split(",")}
    print(f"{'case':<18} {'lm-eval docs/s':>15} {'batch':>6} {'leo docs/s':>11} {'times':>6} {'largest difference':>19}  spread lm-eval, leo (s)")
    for case in args.cases.split(","):
        task, shots = case.split("/")
        if task == "truthfulqa_de":
            both = reference(args.dir, task, 0)
            half = len(both) // 2  # mc1, then mc2, of the same documents in the same order
            docs = [{"context": a["context"], "choices": a["choices"] + b["choices"]} for a, b in zip(both[:half], both[half:])]
        else:
            docs = reference(args.dir, task, int(shots))
        docs = docs[: args.limit]
        theirs, ours, worst = {b: [] for b in harnesses}, [], 0.0
        for _ in range(args.rounds):
            for b, h in harnesses.items():
                s, want = h.seconds(docs)
                theirs[b].append(s)
            s, got = leo_seconds(args.leo, model, args.dir, task, shots, args.limit)
            ours.append(s)
            worst = max(worst, max(abs(a - b) for a, b in zip(got, want)))
        best = min(theirs, key=lambda b: statistics.median(theirs[b]))
        t, o = statistics.median(theirs[best]), statistics.median(ours)
        print(f"{case:<18} {len(docs) / t:>15.3f} {best:>6} {len(docs) / o:>11.3f} {t / o:>6.2f} {worst:>19.2e}  "
              f"{min(theirs[best]):.1f}-{max(theirs[best]):.1f}, {min(ours):.1f}-{max(ours):.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
