"""Checks finished shards against sentencepiece, without any code of ours.

  python check_tokens.py DIR tokenizer.model input.jsonl.gz...

DIR is a plan made from the same inputs with every clean-up off
(normalise.*=false, filters.mojibake=off, dedup.exact=false). Reads the MMIDIDX
files, joins the samples back into one stream, cuts it at BOS and compares the
documents with those of the inputs, encoded one by one: the same ids, each
document as often, nothing else. Prints the counts.
"""
import collections, gzip, json, struct, sys
import numpy as np
import sentencepiece

out, model, *inputs = sys.argv[1:]
sp = sentencepiece.SentencePieceProcessor(model_file=model)
want, tokens = collections.Counter(), 0
for path in inputs:
    for line in gzip.open(path, "rt", encoding="utf-8"):
        ids = [sp.bos_id()] + sp.encode(json.loads(line)["text"]) + [sp.eos_id()]
        tokens += len(ids)
        want[np.array(ids, np.uint16).tobytes()] += 1

manifest = json.load(open(f"{out}/out/manifest.json"))
got, stored = collections.Counter(), 0
for split in ("train", "validation"):
    stream = []
    for shard in manifest[split] or []:
        idx = open(f"{out}/out/{shard['file']}.idx", "rb").read()
        assert idx[:9] == b"MMIDIDX\x00\x00"
        version, code, n, docs = struct.unpack_from("<QBQQ", idx, 9)
        assert (version, code, n, docs) == (1, 8, shard["samples"], n + 1)
        sizes = np.frombuffer(idx, "<i4", n, 34)
        offsets = np.frombuffer(idx, "<i8", n, 34 + 4 * n)
        doc_idx = np.frombuffer(idx, "<i8", docs, 34 + 12 * n)
        assert (doc_idx == np.arange(n + 1)).all() and len(idx) == 34 + 12 * n + 8 * docs
        ids = np.fromfile(f"{out}/out/{shard['file']}.bin", "<u2")
        assert (offsets == np.concatenate([[0], np.cumsum(sizes[:-1] * 2)])).all() and sizes.sum() == len(ids)
        stored += len(ids)
        for i in range(n):
            sample = ids[offsets[i] // 2 : offsets[i] // 2 + sizes[i]]
            if stream:
                assert stream[-1][-1] == sample[0], "neighbours must share one id"
                sample = sample[1:]
            stream.append(sample)
    if stream:
        stream = np.concatenate(stream)
        starts = np.flatnonzero(stream == sp.bos_id())
        assert starts[0] == 0
        for a, b in zip(starts, [*starts[1:], len(stream)]):
            got[stream[a:b].astype(np.uint16).tobytes()] += 1
same = got == want
print(f"{sum(want.values())} documents, {tokens} tokens by sentencepiece {sentencepiece.__version__}; {stored} ids stored; documents equal: {same}")
if not same:
    print(f"{sum((want - got).values())} documents missing, {sum((got - want).values())} others")
sys.exit(not same)
