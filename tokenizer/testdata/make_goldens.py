"""Trains the small tokenizers of this folder and writes goldens.jsonl.gz: what sentencepiece and Hugging Face
tokenizers make of German sentences and hostile strings.

Run by hand, from anywhere, with sentencepiece, tokenizers and transformers installed; `go test` needs none of them.
"""
import base64
import gzip
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "bench", "tokenizer")]
os.chdir(HERE)

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from saetze import saetze
from strings_de import hostile

with open("saetze.txt", "w") as f:
    f.write("\n".join(saetze()) + "\n")

# SentencePiece models.
common = dict(input="saetze.txt", hard_vocab_limit=False, minloglevel=2, num_threads=1)
llama = dict(byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, control_symbols=["<|im_start|>", "<|im_end|>"])
SPM = {
    "bpe": dict(model_type="bpe", vocab_size=700, allow_whitespace_only_pieces=True, **llama),
    "bpe_nfkc": dict(model_type="bpe", vocab_size=500, user_defined_symbols=["<tool>", "und", "▁▁"]),
    "bpe_nosplit": dict(model_type="bpe", vocab_size=700, split_by_whitespace=False, add_dummy_prefix=False, **llama),
    "bpe_suffix": dict(model_type="bpe", vocab_size=600, treat_whitespace_as_suffix=True, normalization_rule_name="identity"),
    "unigram": dict(model_type="unigram", vocab_size=500, user_defined_symbols=["<tool>", "▁▁"], normalization_rule_name="nfkc_cf"),
    "unigram_bytes": dict(model_type="unigram", vocab_size=700, **llama),
}
sp = {}
for name, args in SPM.items():
    spm.SentencePieceTrainer.train(model_prefix=name, **common, **args)
    os.remove(name + ".vocab")
    m = pb.ModelProto.FromString(open(name + ".model", "rb").read())
    m.trainer_spec.input[:] = []
    if name == "bpe_nfkc":  # some pieces that only serve as steps
        for p in m.pieces[200:320]:
            if p.type == 1:
                p.type = 5
    open(name + ".model", "wb").write(m.SerializeToString())
    sp[name] = spm.SentencePieceProcessor(model_file=name + ".model")

# Hugging Face: byte-level, and Llama's kind with the vocabulary of bpe.model.
tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tok.train_from_iterator(saetze(), trainers.BpeTrainer(vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
state = json.loads(tok.to_str())["model"]
B = state["vocab"], [tuple(m) for m in state["merges"]]
pieces = sp["bpe"]
vocab = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
merges = []
for p, i in vocab.items():
    if pieces.is_control(i) or pieces.is_byte(i) or pieces.is_unknown(i):
        continue
    for k in range(1, len(p)):
        if p[:k] in vocab and p[k:] in vocab:
            merges.append((-pieces.get_score(i), p[:k], p[k:]))
merges = [(a, b) for _, a, b in sorted(merges, key=lambda m: m[0])]
special = [AddedToken(t, normalized=False, special=True) for t in ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]]
flags = [AddedToken("<|im_end|>", lstrip=True, rstrip=True, normalized=False, special=True), AddedToken("Zauberwort", single_word=True, normalized=False),
         AddedToken("<tool>", lstrip=True, normalized=True), AddedToken("und", single_word=True, normalized=True), AddedToken("  ", normalized=False)]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
OTHER = r"[\p{Lu}]+(?=\p{Lu}\p{Ll})|\p{Lu}?\p{Ll}+|\p{N}{1,2}|\s+|."


def byte_level(pre, norm=None, added=(), ignore_merges=False):
    t = Tokenizer(models.BPE(vocab=B[0], merges=B[1], ignore_merges=ignore_merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(pre)
    t.decoder = decoders.ByteLevel()
    if norm:
        t.normalizer = norm
    t.add_special_tokens([AddedToken("<|endoftext|>", normalized=False, special=True)])
    t.add_tokens(list(added))
    return t


def llama_like(norm=None, pre=None, added=(), fallback=True, dec=None):
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=fallback))
    if norm:
        t.normalizer = norm
    if pre:
        t.pre_tokenizer = pre
    t.decoder = dec or decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(special)
    t.add_tokens(list(added))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


raw = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
prepend = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
HF = {
    "gpt2": byte_level([pre_tokenizers.ByteLevel(add_prefix_space=True)], added=flags),
    "smollm": byte_level([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)], added=special),
    "llama3": byte_level([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), raw], ignore_merges=True, added=special),
    "qwen2": byte_level([pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), raw], norm=normalizers.NFC(), added=flags),
    "other": byte_level([pre_tokenizers.Split(Regex(OTHER), "removed", invert=True), pre_tokenizers.Split("e", "merged_with_previous"), raw]),
    "llama_legacy": llama_like(norm=normalizers.Sequence(prepend), added=flags),
    "llama_first": llama_like(pre=pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False), added=flags),
    "llama_nfkc": llama_like(norm=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()] + prepend), fallback=False, added=flags),
    "llama_metasplit": llama_like(pre=pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True), dec=decoders.Metaspace("▁", prepend_scheme="always")),
}
for name, t in HF.items():
    t.save("hf_" + name + ".json", pretty=False)

texts = [s.encode() for s in saetze()[:60]] + [s.encode() for s in hostile(400, 99)] + list(hostile(100, 98, bad=True))
texts = [t for t in texts if len(t) < 1500] + [b" " * 10000, b"a" * 3000, "▁".encode() * 500, b"\n" * 500]
with gzip.GzipFile("goldens.jsonl.gz", "wb", mtime=0) as f:
    for t in texts:
        row = {"text": base64.b64encode(t).decode(), "ids": {}, "decoded": {}, "skipped": {}}
        for name, s in sp.items():
            row["ids"][name] = s.encode(t)
            row["skipped"][name] = s.decode(row["ids"][name])
        try:
            text = t.decode()
        except UnicodeDecodeError:
            text = None
        if text is not None:
            for name, h in HF.items():
                ids = h.encode(text, add_special_tokens=False).ids
                row["ids"]["hf_" + name] = ids
                row["decoded"]["hf_" + name] = h.decode(ids, skip_special_tokens=False)
                row["skipped"]["hf_" + name] = h.decode(ids, skip_special_tokens=True)
        f.write(json.dumps(row).encode() + b"\n")
