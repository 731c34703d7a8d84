"""Makes pretokenizers.json.gz: what tokenizers 0.23 makes of texts with every pre-tokenizer of ../pretokenizers.json.

All share one small byte-level vocabulary that was trained without any splitting, so that its merges reach over
every border that a pre-tokenizer should have drawn. Run in this folder; needs the package tokenizers.
"""

import gzip
import json
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

with open("saetze.txt", encoding="utf-8") as f:
    sentences = f.read().split("\n")

extra = [
    "Im Jahr 2024 kosteten 1234567 Stück 3,50 €; 12 345 678 mehr.", "It's we'll I'VE don'T 'S 'ſ O'Neill's",
    "Zeile eins\nZeile zwei\r\n\r\nZeile drei\n\n\n  eingerückt\t\tTab ", "  zwei Leerzeichen   drei    vier ",
    "😀👍🏽🇩🇪 und ❤️!", "Größe: ½ m², ÄÖÜ äöü ß ẞ", "ABCdefGHIjkl CamelCase HTTPServer iPhone", "a/b//c\n/d/e/", "x = y + 1; # $%&|~^`<>",
    "日本語とカタカナ、漢字。中文！", "한국어 텍스트 ㄱㄴ", "Привет мир", "مرحبا بالعالم ١٢٣ ۔", "e\u0301a\u0308 n\u0303", "नमस्ते दुनिया",
    "(Klammer) [eckig] {geschweift}… „deutsch“ ‚einfach‘ – Strich — lang", "<sentinel:12> IMGIMGABCZ", "\u00a0\u3000\u2028 \u0085x",
    "1", "12", "123", "1234", "12345", "123456", "1234567", " 1 22 333 4444", "a1b22c333d4444", "Ende mit Leerzeichen   ", "\n", " ", "",
    "½¾²³¹", "café naïve òóô", "''s ''", "-5 +3 .5 @home #tag", "Viele\n\n\nZeilen\n \n \n Ende", " \n", "\n ", "\t\n\t", "ǅ ǈ ʰ ª º",
]

table = json.load(open("../pretokenizers.json", encoding="utf-8"))

byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
base = Tokenizer(models.BPE())
base.pre_tokenizer = byte_level
base.train_from_iterator((sentences + extra) * 2, trainers.BpeTrainer(
    vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, special_tokens=[], max_token_length=6))
model = json.loads(base.to_str())["model"]

rng = random.Random(5)
parts = ["ä", "Ö", "ß", "Wort", "wort", "WORT", " ", " ", "  ", "\n", "\r\n", "\t", "1", "23", "456", ".", ",", "!", "'s", "'T", "/", "-", "€", "😀",
         "中", "か", "한", "\u0301", "\u00a0", "½", "²", "(", ")", "…", "„", "“", "é", "ò", "x", "Q", "\u0663", "ʰ", "ǅ"]
texts = extra + sentences[:40] + ["".join(rng.choice(parts) for _ in range(rng.randint(2, 16))) for _ in range(200)]

ids = {}
for row in table:
    file = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": row["pre_tokenizer"], "post_processor": None, "decoder": None,
            "model": dict(model, ignore_merges=row.get("ignore_merges", False))}
    t = Tokenizer.from_str(json.dumps(file))
    ids[row["names"][0]] = [t.encode(s).ids for s in texts]

out = {"vocab": model["vocab"], "merges": model["merges"], "texts": texts, "ids": ids}
with gzip.GzipFile("pretokenizers.json.gz", "wb", mtime=0) as f:
    f.write(json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode())
