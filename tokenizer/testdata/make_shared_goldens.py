"""Writes shared_goldens.jsonl.gz: ids that Hugging Face tokenizers and sentencepiece give for our own sentences and
hostile strings with vocabularies that are not in this repository (Llama-2, GPT-2, SmolLM2).

    python make_shared_goldens.py "$LEO_SHARED" SmolLM2.gguf
"""
import gzip
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "bench", "tokenizer")]

import gguf
import sentencepiece as spm
from saetze import saetze
from strings_de import hostile
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

shared, smollm = sys.argv[1:3]


def byte_level(path, digits):
    r = gguf.GGUFReader(path)
    get = lambda k: r.fields["tokenizer.ggml." + k].contents()
    toks = get("tokens")
    t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(toks)}, merges=[tuple(m.split(" ")) for m in get("merges")]))
    steps = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    t.pre_tokenizer = pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.add_special_tokens([AddedToken(x, normalized=False, special=True) for x, k in zip(toks, get("token_type")) if k == 3])
    return lambda s: t.encode(s, add_special_tokens=False).ids


sp = spm.SentencePieceProcessor(model_file=os.path.join(shared, "data", "tokenizer", "llama2.model"))
encoders = {
    "llama2": sp.encode,
    "gpt2": byte_level(os.path.join(shared, "data", "tokenizer", "gpt2-vocab.gguf"), False),
    "smollm2": byte_level(smollm, True),
}
with gzip.GzipFile(os.path.join(HERE, "shared_goldens.jsonl.gz"), "wb", mtime=0) as f:
    for s in saetze()[:100] + [h for h in hostile(300, 5) if len(h) < 400]:
        f.write(json.dumps({"text": s, "ids": {k: e(s) for k, e in encoders.items()}}).encode() + b"\n")
