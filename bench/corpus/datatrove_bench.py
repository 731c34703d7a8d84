"""The steps of bench/corpus/bench.sh with datatrove: Gopher filters, MinHash (14 x 8,
5-grams, four stages), tokens to disk. Prints CPU and wall seconds per step.

  python datatrove_bench.py OUT tokenizer.json input.jsonl.gz...

Needs orjson and xxhash==3.5.0 beside datatrove. Words are cut by white space on both sides: datatrove's German tokenizer is spaCy,
which would only make it slower. One process, as `leo` runs with GOMAXPROCS=1.
"""
import os, resource, shutil, sys, time

out, tokenizer, *inputs = sys.argv[1:]
os.environ["HF_HUB_OFFLINE"] = "1"
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils import word_tokenizers
from datatrove.utils.hashing import HashConfig
import datatrove.utils.text as text


class White(word_tokenizers.WordTokenizer):
    def __init__(self, *a): pass
    def word_tokenize(self, t): return t.split()
    def sent_tokenize(self, t): return t.split("\n")
    def span_tokenize(self, t): return []


white = White()
import datatrove.pipeline.dedup.minhash as mh, datatrove.pipeline.filters.gopher_quality_filter as gq, datatrove.pipeline.filters.gopher_repetition_filter as gr
word_tokenizers.load_word_tokenizer = lambda lang: white
text.load_word_tokenizer = lambda lang: white
for m in (mh, gq, gr):
    if hasattr(m, "load_word_tokenizer"):
        m.load_word_tokenizer = lambda lang: white
    if hasattr(m, "split_into_words"):
        m.split_into_words = lambda t, language=None: t.split()

shutil.rmtree(out, ignore_errors=True)
os.makedirs(f"{out}/in")
for p in inputs:
    os.symlink(p, f"{out}/in/{os.path.basename(p)}")
n = len(inputs)
cfg = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
stops = "der die das und ist nicht zu mit den von".split()


def cpu():
    a, b = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return a.ru_utime + a.ru_stime + b.ru_utime + b.ru_stime


total = 0
def step(name, pipeline, tasks):
    global total
    c, w = cpu(), time.time()
    LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=f"{out}/log/{name}").run()
    total += cpu() - c
    print(f"datatrove {name}: {cpu() - c:.1f} s CPU, {time.time() - w:.1f} s wall", flush=True)


step("filters", [JsonlReader(f"{out}/in", glob_pattern="*.jsonl.gz"), GopherRepetitionFilter(language="de"), GopherQualityFilter(language="de", stop_words=stops), JsonlWriter(f"{out}/kept")], n)
step("signatures", [JsonlReader(f"{out}/kept"), MinhashDedupSignature(output_folder=f"{out}/sig", config=cfg, language="de")], n)
step("buckets", [MinhashDedupBuckets(input_folder=f"{out}/sig", output_folder=f"{out}/buckets", config=cfg)], cfg.num_buckets)
step("cluster", [MinhashDedupCluster(input_folder=f"{out}/buckets", output_folder=f"{out}/remove", config=cfg)], 1)
step("filter", [JsonlReader(f"{out}/kept"), MinhashDedupFilter(input_folder=f"{out}/remove"), JsonlWriter(f"{out}/dedup")], n)
step("tokens", [JsonlReader(f"{out}/dedup"), DocumentTokenizer(output_folder=f"{out}/tokens", tokenizer_name_or_path=tokenizer, eos_token="</s>", shuffle_documents=True)], n)
print(f"datatrove total: {total:.1f} s CPU")
