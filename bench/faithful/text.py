"""Cuts the German text that is scored: 25,000 bytes each of Klexikon, Wikipedia, novels and fairy tales.

python text.py data/corpus_de text.txt
"""
import gzip, json, sys
with open(sys.argv[2], "w") as f:
    for name in ("klexikon", "wikipedia_subset", "novels_eltec", "maerchen_textgrid"):
        text = ""
        for line in gzip.open(f"{sys.argv[1]}/{name}.jsonl.gz", "rt"):
            text += json.loads(line)["text"].strip() + "\n\n"
            if len(text.encode()) >= 25000: break
        f.write(text.encode()[:25000].decode(errors="ignore"))
