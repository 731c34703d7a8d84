"""Strings that tokenizers get wrong: the generator that the goldens and the full comparison share.

hostile(n, seed) yields n strings: German and foreign words, digits, punctuation, control characters, combining
marks, emoji with joiners, right-to-left text, runs of spaces and line breaks, contractions, special tokens inside
text, literal "▁", and bytes that are no UTF-8 (only with bad=True, as bytes).
"""
import random

WORDS = """der die das und nicht mit ein eine ist Haus Straße Übermut größer Äpfel Öl süß Donaudampfschifffahrtsgesellschaft
Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz gehen ging gegangen Maß Masse naïve café déjà Ångström
the house don't I'll we've they're isn't WE'RE 'S 'ſ it'S 1 12 123 1234 12345 3,14 1.000.000,50 2023-10-05 10:30 §12 10% €5
https://leo.example/a?b=c&d=e#f foo@bar.example C++ x_y a-b 5km/h №7 ½ ² ³ ¹ Ⅷ ① ٣ ४ ໓ 〇 α β Ω Привет мир שלום مرحبا 你好 世界
こんにちは 한국어 ไทย हिन्दी ſaß daſs Ǆ ǅ ﬁ ﬀ ﬃ Å Å K ½ ™ ℡ ㌀ ㎏""".split()
MARKS = ["\u0301", "\u0308", "\u0323", "\u0307", "\u0345", "\u20dd", "\u0903", "\u093f", "\ufe0f", "\u200d", "\u200c", "\u00ad", "\u1abe"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "☃", "1️⃣"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u0085", "\u1680", "\ufeff", "\v", "\f"]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<PAD>", "<0x0A>", "<0xC3>", "[INST]", "<|im_start", "|im_end|>", "<tool>", "<n-tok>", "Zauberwort"]
META = ["▁", "▁▁", "▁und", "Ġ", "Ċ", "##", "<", ">", "<|", "|>", "'", "''", "’s", "…", "–", "„", "“", "\"", "\\n", "\x00", "\x01", "\x7f", "\ufffd", "\uffff", "\ue000", "\U000e0001", "\U0010ffff", "\U0001d54f"]


def hostile(n, seed=1, bad=False):
    r = random.Random(seed)
    for k in range(n):
        parts = []
        kind = r.random()
        for _ in range(r.choice([0, 1, 1, 2, 3, 5, 8, 13, 30])):
            x = r.random()
            if kind < 0.25:
                parts.append(r.choice(WORDS) + r.choice([" ", " ", " ", ", ", ". ", "\n", ""]))
            elif x < 0.30:
                parts.append(r.choice(WORDS))
            elif x < 0.50:
                parts.append(r.choice(SPACES) * r.choice([1, 1, 1, 2, 3, 7]))
            elif x < 0.58:
                parts.append(r.choice(EMOJI))
            elif x < 0.66:
                parts.append(r.choice("aeouAnEi ") + r.choice(MARKS) * r.choice([1, 1, 2]))
            elif x < 0.75:
                parts.append(r.choice(SPECIAL))
            elif x < 0.85:
                parts.append(r.choice(META))
            elif x < 0.92:
                c = r.choice([r.randrange(0x20, 0x7f), r.randrange(0xa0, 0x250), r.randrange(0x250, 0x3000), r.randrange(0x3000, 0xd800),
                              r.randrange(0xe000, 0x10000), r.randrange(0x10000, 0x20000), r.randrange(0x20000, 0x110000), r.randrange(0, 0x20)])
                parts.append(chr(c))
            elif x < 0.97:
                parts.append("".join(r.choice("abcdefgmnorstuvxyzäöüß") for _ in range(r.randrange(1, 25))))
            else:
                parts.append(r.choice(["a", " ", "\n", "0", "-", "ab", "ß", "!", "é"]) * r.choice([10, 50, 100, 300]))
        if k % 5000 == 4999:
            parts.append(r.choice([" ", "a ", "\n", "x", "▁"]) * 10000)
        s = "".join(parts)
        if bad:
            b = bytearray(s.encode("utf-8", "surrogatepass"))
            for _ in range(r.choice([1, 1, 2, 5])):
                at = r.randrange(len(b) + 1)
                what = r.random()
                if what < 0.4:
                    b[at:at] = bytes([r.choice([0x80, 0xbf, 0xc0, 0xc1, 0xc3, 0xe2, 0xed, 0xf0, 0xf5, 0xff, 0xe2, 0x96])])
                elif what < 0.6:
                    b[at:at] = r.choice([b"\xed\xa0\x80", b"\xc0\xaf", b"\xe2\x96", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xe0\x80\x80"])
                elif at < len(b):
                    del b[at]
            yield bytes(b)
        else:
            yield s
