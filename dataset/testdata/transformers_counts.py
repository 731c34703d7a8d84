"""Token counts of prepared dialogues by transformers' Llama tokenizer.

    python transformers_counts.py MODEL FILE.jsonl PREFIX

FILE.jsonl is what `leo data prepare` writes with jsonl: true, PREFIX its
shards. LeoLM's added tokens get their ids; every sample's ids are compared.
"""
import json, shutil, sys, tempfile

from original import read
from tokenizers import AddedToken
from transformers import LlamaTokenizer
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

model, jsonl, prefix = sys.argv[1:4]
special = ["<CLS>", "<SEP>", "<EOD>", "<MASK>", "<PAD>", "<|im_start|>", "<|im_end|>"]
added = [AddedToken(t, normalized=False, special=True) for t in special]
if "--fast" in sys.argv:
    # transformers 5 converts tokenizer.model itself and gets "▁▁" before a
    # word wrong (one id more in about 3 % of the samples of recipes/data/shared.yaml).
    with tempfile.TemporaryDirectory() as d:
        shutil.copy(model, f"{d}/tokenizer.model")
        tok = LlamaTokenizer.from_pretrained(d, legacy=True, add_bos_token=False)
else:
    tok = SentencePieceBackend(vocab_file=model, legacy=True, unk_token="<unk>", bos_token="<s>", eos_token="</s>", add_prefix_space=True)
tok.add_tokens(added, special_tokens=True)
_, _, ids = read(prefix + "-text")
total = equal = 0
first = None
for n, line in enumerate(open(jsonl, encoding="utf-8")):
    got = tok(json.loads(line)["text"], add_special_tokens=False)["input_ids"]
    total += len(got)
    if got == ids[n].tolist():
        equal += 1
    elif first is None:
        first = (n, got[:20], ids[n].tolist()[:20])
print(f"{n + 1} samples, {total} tokens by transformers, {sum(len(x) for x in ids)} in the shards, {equal} samples with equal ids")
if first:
    print("first difference:", first)
