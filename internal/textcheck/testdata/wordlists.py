"""Writes the word frequencies that the language model is trained on.

  pip download --no-deps wordfreq==3.1.1 && unzip wordfreq-*.whl -d wf && pip install msgpack
  python wordlists.py wf/wordfreq/data OUT

OUT gets one file per language, "word TAB frequency" a line. The data of the
PyPI package wordfreq is CC BY-SA 4.0; only hashed n-gram weights learned from it
are in the repository.
"""
import gzip, os, sys
import msgpack

data, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
langs = "de en fr es it nl da sv nb pl cs sk pt tr hu ro fi sh ca id lt lv sl is vi ru uk bg mk".split()
for lang in langs:
    path = f"{data}/large_{lang}.msgpack.gz"
    if not os.path.exists(path):
        path = f"{data}/small_{lang}.msgpack.gz"
    pack = msgpack.load(gzip.open(path, "rb"), raw=False)
    assert pack[0]["format"] == "cB", pack[0]
    n = 0
    with open(f"{out}/{lang}.tsv", "w", encoding="utf-8") as f:
        for i, words in enumerate(pack[1:]):  # bucket i holds words of frequency 10^(-i/100)
            for w in words:
                if n < 60000 and any(c.isalpha() for c in w):
                    f.write(f"{w}\t{10 ** (-i / 100):.3e}\n")
                    n += 1
