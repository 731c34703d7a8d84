"""Which documents do Leo's Gopher filters and datatrove's keep, document by document?

    python bench/corpus/same_documents.py LEO [SHARED] [FILE ...] [--show 5] [--repeated]

Both get the same texts, as they are (no normalization), and cut words at white space. For the quality and the repetition
rules the script prints how many documents each drops, and lists those on which they disagree, with both reasons.
"""
import argparse
import collections
import gzip
import json
import os
import shutil
import subprocess
import tempfile

ap = argparse.ArgumentParser()
ap.add_argument("leo")
ap.add_argument("shared", nargs="?", default=".")
ap.add_argument("files", nargs="*", default=["klexikon", "maerchen_textgrid", "maerchen_andersen", "gedichte_dlk_1790ff", "saetze_cc0"])
ap.add_argument("--show", type=int, default=5)
ap.add_argument("--repeated", action="store_true", help="let datatrove, too, call only an n-gram frequent that occurs twice")
args = ap.parse_args()
data = os.path.abspath(os.path.join(args.shared, "data"))

from datatrove.data import Document
import datatrove.pipeline.filters.gopher_quality_filter as gq
import datatrove.pipeline.filters.gopher_repetition_filter as gr

for m in (gq, gr):
    m.split_into_words = lambda text, language=None: text.split()


def once_is_no_repetition(ngrams):
    """datatrove takes the most frequent n-gram even if it occurs once, and drops short texts for it. Leo wants two."""
    text, n = gr.Counter(ngrams).most_common(1)[0]
    return len(text) * n if n > 1 or not args.repeated else 0


gr.find_top_duplicate = once_is_no_repetition
stops = "der die das und ist nicht zu mit den von ein eine in im es sich auf er sie ich war als auch daß dass".split()
theirs = {
    "gopher_quality": gq.GopherQualityFilter(language="de", stop_words=stops),
    "gopher_repetition": gr.GopherRepetitionFilter(language="de"),
}

tmp = tempfile.mkdtemp()
try:
    paths = [f"{data}/corpus_de/{f}.jsonl.gz" for f in args.files]
    for name, theirs_filter in theirs.items():
        out = f"{tmp}/{name}"
        with open(f"{tmp}/r.yaml", "w") as f:
            f.write(f"tokenizer: {data}/tokenizer/llama2.model\nlist_dropped: true\nnormalize: {{nfc: false, whitespace: false, control: false}}\n")
            f.write(f"filters: {{mojibake: 'off', length: {{min_chars: 0}}, {name}: {{}}}}\ndedup: {{exact: false}}\ninputs:\n")
            f.writelines(f"  - {{path: {p}}}\n" for p in paths)
        subprocess.run([args.leo, "data", "corpus", "plan", f"{tmp}/r.yaml", "-o", out], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([args.leo, "data", "corpus", "run", out, "--stage", "prep"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        differ = collections.Counter()
        shown = collections.Counter()
        both = kept = 0
        for i, path in enumerate(paths):
            mine = {}
            listed = f"{out}/work/docs/{i:05d}-dropped.jsonl"
            if os.path.exists(listed):
                mine = {d["row"]: f"{d['filter'].split(': ')[1]} ({d['why']})" for d in map(json.loads, open(listed, encoding="utf-8"))}
            with gzip.open(path, "rt", encoding="utf-8") as f:
                for row, line in enumerate(f, 1):
                    r = theirs_filter.filter(Document(text=json.loads(line)["text"], id=str(row)))
                    their = "" if r is True else r[1]
                    my = mine.get(row, "")
                    if bool(my) == bool(their):
                        both, kept = both + bool(my), kept + (not my)
                        continue
                    kind = (my.split(" (")[0] or "kept", their or "kept")
                    differ[kind] += 1
                    shown[kind] += 1
                    if shown[kind] <= args.show:
                        print(f"  {os.path.basename(path)} row {row}: leo {my or 'kept'}, datatrove {their or 'kept'}")
        print(f"{name}: both keep {kept} and both drop {both} documents, they disagree on {sum(differ.values())}", flush=True)
        for (my, their), n in differ.most_common():
            print(f"  {n:6} leo: {my}; datatrove: {their}")
finally:
    shutil.rmtree(tmp)
