#!/bin/sh
# Compares leo data corpus with datatrove on the same files, one core each, CPU seconds of the same run.
#   bench/corpus/bench.sh PYTHON LEO [SHARED]
# PYTHON has datatrove, transformers, sentencepiece; a tokenizer.json is made from llama2.model first.
set -eu
python=$1 leo=$2 shared=${3:-.} here=$(dirname "$0") tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
data=$(cd "$shared/data" && pwd)
files="$data/corpus_de/klexikon.jsonl.gz $data/corpus_de/maerchen_textgrid.jsonl.gz $data/corpus_de/maerchen_andersen.jsonl.gz"
{
    echo "tokenizer: $data/tokenizer/llama2.model"
    echo "filters: {mojibake: 'off', gopher_quality: {}, gopher_repetition: {}}"
    echo "dedup: {minhash: {}}"
    echo "inputs:"
    for f in $files; do echo "  - {path: $f}"; done
} > "$tmp/r.yaml"
"$leo" data corpus plan "$tmp/r.yaml" -o "$tmp/leo" > /dev/null
GOMAXPROCS=1 "$python" - "$leo" "$tmp/leo" <<'PY'
import resource, subprocess, sys, time
w = time.time()
subprocess.run([sys.argv[1], "data", "corpus", "run", sys.argv[2]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"leo total: {u.ru_utime + u.ru_stime:.1f} s CPU, {time.time() - w:.1f} s wall", flush=True)
PY
"$python" - "$data/tokenizer/llama2.model" "$tmp/tokenizer.json" <<'PY'
import sys
from transformers import LlamaTokenizerFast
LlamaTokenizerFast(vocab_file=sys.argv[1]).backend_tokenizer.save(sys.argv[2])
PY
"$python" "$here/datatrove_bench.py" "$tmp/dt" "$tmp/tokenizer.json" $files 2> "$tmp/err" || { tail -20 "$tmp/err"; exit 1; }
