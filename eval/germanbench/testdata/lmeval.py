"""Measures the documents with lm-evaluation-harness, and writes what it finds: golden.json for the model in model/, or
another file for another model.

    python eval/germanbench/testdata/lmeval.py                       # model/ and golden.json anew
    python eval/germanbench/testdata/lmeval.py --model DIR --out FILE

lm-eval 0.4.13, transformers 5.24, torch 2.15 on the processor. GermanBench itself has its prompts from a German fork of
an older lm-eval; reference() below writes them out a second time, with Python's own random numbers, and lm-eval scores
them as they are.
"""
import argparse
import json
import os
import pathlib
import random
import re

here = pathlib.Path(__file__).resolve().parent
os.chdir(here)  # the task files name their data from here
TASKS = ["arc", "hellaswag", "mmlu", "mmluletters", "truthfulqa", "texts", "last", "generate"]
SHOTS = [0, 3]
# MMLU's subjects among the documents.
SUBJECTS = {"anatomy": "Anatomie", "high_school_geography": "Geographie in der Oberstufe"}


def make_model(folder):
    """A random Llama with a byte-level vocabulary of the documents."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train([str(p) for p in sorted(here.glob("documents/**/*.jsonl"))], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=tok.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=2048, bos_token_id=0, eos_token_id=1, initializer_range=0.15))
    model.to(torch.bfloat16).save_pretrained(folder)


def rows(*parts):
    with open(here.joinpath("documents", *parts)) as f:
        return [json.loads(line) for line in f]


def clean(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def asked(docs, pool, shots, own, description=""):
    """Documents in the fork's order with its examples; own says whether the pool may hold the document itself."""
    rnd = random.Random()
    rnd.seed(42)
    docs = list(docs)
    rnd.shuffle(docs)
    for doc in docs:
        examples = []
        if shots and own:
            examples = [x for x in rnd.sample(pool, shots + 1) if x != doc][:shots]
        elif shots:
            examples = rnd.sample(pool, shots)
        text = description + "\n\n" if description else ""
        text += "".join(x["query"] + " " + x["choices"][x["gold"]] + "\n\n" for x in examples)
        yield {"context": text + doc["query"], "choices": doc["choices"], "gold": doc["gold"]}


def reference(shots):
    """The prompts of GermanBench, by task."""
    def arc(r):
        return {"id": r["id"], "query": f"Frage: {r['question_de']}\nAntwort:", "choices": r["choices_de"]["text"],
                "gold": "ABCDE".index({"1": "A", "2": "B", "3": "C", "4": "D", "5": "E"}.get(r["answerKey"], r["answerKey"]))}

    def hellaswag(r):
        return {"query": clean(r["activity_label_de"] + ": " + r["ctx_de"]), "choices": [clean(e) for e in r["endings_de"]], "gold": int(r["label"])}

    def mmlu(r):
        q = "Frage: " + r["question_de"].strip() + "\nOptionen:\n" + "".join(f"{k}. {c}\n" for k, c in zip("ABCD", r["choices_de"])) + "Antwort: "
        return {"query": q, "choices": r["choices_de"], "gold": r["answer"] if isinstance(r["answer"], int) else "ABCD".index(r["answer"])}

    yield "arc_de", asked(map(arc, rows("arc_de", "test.jsonl")), list(map(arc, rows("arc_de", "validation.jsonl"))), shots, True)
    yield "hellaswag_de", asked(map(hellaswag, rows("hellaswag_de", "validation.jsonl")), list(map(hellaswag, rows("hellaswag_de", "train.jsonl"))), shots, False)
    for subject, name in SUBJECTS.items():
        pool = list(map(mmlu, rows("mmlu_de", subject, "validation.jsonl")))
        yield f"mmlu_de_{subject}", asked(map(mmlu, rows("mmlu_de", subject, "test.jsonl")), pool, shots, True, f"Es folgen multiple-choice Fragen (mit Antworten) über das Thema {name}.")
    if shots:
        return
    primer = (here / "../subjects.go").read_text().split("const truthfulExamples = `")[1].split("`")[0]
    docs = rows("truthfulqa_de", "validation.jsonl")
    rnd = random.Random()
    rnd.seed(42)
    rnd.shuffle(docs)
    for kind in ("mc1", "mc2"):
        yield f"truthfulqa_de/{kind}", [{
            "context": primer + "\n\nF: " + d["question_de"] + "\nA:", "choices": d[f"{kind}_targets_de"]["choices"],
            "gold": d[f"{kind}_targets_de"]["labels"].index(0)} for d in docs]


def lls(sample):
    return [r[0][0] if isinstance(r[0], (list, tuple)) else r[0] for r in sample["resps"]]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model")
    p.add_argument("--out", default="golden.json")
    p.add_argument("--batch", default="1")
    args = p.parse_args()
    if not args.model:
        args.model = "model"
        make_model(args.model)
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from lm_eval.api.task import ConfigurableTask

    def run(tasks, shots, bos):
        lm = HFLM(pretrained=args.model, device="cpu", dtype="float32", batch_size=int(args.batch), **({} if bos is None else {"add_bos_token": bos}))
        return lm_eval.simple_evaluate(model=lm, tasks=tasks, num_fewshot=shots, bootstrap_iters=100, log_samples=True)

    out = {"tasks": {}, "germanbench": {}}
    for shots in SHOTS:
        manager = TaskManager(include_path=str(here), include_defaults=False)
        names = [t for t in TASKS if not shots or t not in ("texts", "last")]
        results = {}
        # Whole texts begin with the prefix token, which is the tokenizer's first; with the tokenizer's own in front of them
        # lm-eval 0.4.13 scores that one, too, behind a second one (EleutherAI/lm-evaluation-harness#3333).
        for tasks, bos in ([t for t in names if t != "texts"], None), ([t for t in names if t == "texts"], False):
            if tasks:
                lm = HFLM(pretrained=args.model, device="cpu", dtype="float32", batch_size=int(args.batch), **({} if bos is None else {"add_bos_token": bos}))
                results |= {t: lm_eval.simple_evaluate(model=lm, tasks=[t], num_fewshot=shots, bootstrap_iters=100, log_samples=True, task_manager=manager) for t in tasks}
        for name in names:
            r = results[name]
            samples = r["samples"][name]
            seen, one = set(), []
            for s in samples:  # one for each filter
                if s["doc_id"] in seen:
                    continue
                seen.add(s["doc_id"])
                one.append(s["resps"][0][0] if name == "generate" else lls(s))
            metrics = {k.removesuffix(",none"): v for k, v in r["results"][name].items() if k != "alias" and not isinstance(v, str)}
            out["tasks"][f"{name}/{shots}"] = {"metrics": metrics, "results": one}
        for name, docs in reference(shots):
            docs = list(docs)
            path = pathlib.Path(args.out).resolve().with_suffix(".reference.jsonl")
            path.write_text("".join(json.dumps(d) + "\n" for d in docs))
            task = ConfigurableTask(config={
                "task": "reference", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}, "test_split": "test",
                "output_type": "multiple_choice", "doc_to_text": "context", "doc_to_choice": "choices", "doc_to_target": "gold",
                "metric_list": [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")]})
            r = run([task], 0, False)
            path.unlink()
            metrics = {k.removesuffix(",none"): v for k, v in r["results"]["reference"].items() if k != "alias" and not isinstance(v, str)}
            out["germanbench"][f"{name}/{shots}"] = {"metrics": metrics, "results": [lls(s) for s in r["samples"]["reference"]], "gold": [d["gold"] for d in docs]}
    with open(args.out, "w") as f:
        json.dump(out, f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
