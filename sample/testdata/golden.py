"""Writes golden.json and beams.json: what transformers' logits processors and
beam search make of logits that the Go test computes for itself.

    python sample/testdata/golden.py

Logits come from splitmix64, so the files hold results only.
"""
import json, os
import torch
from transformers import (RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper,
                          TopPLogitsWarper, MinPLogitsWarper, TypicalLogitsWarper,
                          NoRepeatNGramLogitsProcessor, MinNewTokensLengthLogitsProcessor,
                          PretrainedConfig, PreTrainedModel, GenerationMixin)
from transformers.generation.logits_process import SequenceBiasLogitsProcessor, SuppressTokensLogitsProcessor
from transformers.modeling_outputs import CausalLMOutput

M = (1 << 64) - 1
here = os.path.dirname(os.path.abspath(__file__))


def unit(seed, i):
    z = (seed * 0x9E3779B97F4A7C15 + (i + 1) * 0xD1B54A32D192ED03) & M
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return ((z ^ (z >> 31)) >> 40) / (1 << 24)


def logits(seed, v, spread, ties):
    out = []
    for i in range(v):
        x = (unit(seed, i) - 0.5) * spread
        if ties:
            x = round(x)
        out.append(x)
    return torch.tensor([out], dtype=torch.float32)


cases = []
n = 0
for v in (7, 100, 1000):
    for spread in (1.0, 8.0, 30.0):
        for p in ({"top_k": 5}, {"top_k": 40}, {"top_p": 0.5}, {"top_p": 0.95}, {"top_p": 0.999}, {"min_p": 0.05},
                  {"min_p": 0.3}, {"typical_p": 0.2}, {"typical_p": 0.9},
                  {"top_k": 50, "top_p": 0.95}, {"top_k": 40, "top_p": 0.9, "rep": 1.1, "temp": 0.9},
                  {"temp": 0.7, "top_k": 30, "top_p": 0.95, "min_p": 0.05, "typical_p": 0.95},
                  {"temp": 2.5, "top_p": 0.8, "ties": True}, {"top_k": 6, "ties": True}, {"min_p": 0.1, "ties": True},
                  {"rep": 1.3, "ngram": 2}, {"ngram": 3, "bias": {"1": 2.5, "3": -4.0}}, {"ngram": 1},
                  {"min_new": 5, "stop": [2, 6], "suppress": [1, 4]}):
            n += 1
            ties = p.get("ties", False)
            s = logits(n, v, spread, ties)
            hist = [int(unit(n + 5000, i) * min(v, 9)) for i in range(30)]
            ids = torch.tensor([hist])
            if "bias" in p:
                s = SequenceBiasLogitsProcessor([[[int(k)], b] for k, b in p["bias"].items()])(ids, s)
            if "rep" in p:
                s = RepetitionPenaltyLogitsProcessor(p["rep"])(ids, s)
            if "ngram" in p:
                s = NoRepeatNGramLogitsProcessor(p["ngram"])(ids, s)
            if "min_new" in p:
                s = MinNewTokensLengthLogitsProcessor(28, p["min_new"], p["stop"])(ids, s)
                s = SuppressTokensLogitsProcessor(p["suppress"])(ids, s)
            if "temp" in p:
                s = TemperatureLogitsWarper(p["temp"])(ids, s)
            if "top_k" in p:
                s = TopKLogitsWarper(p["top_k"])(ids, s)
            if "top_p" in p:
                s = TopPLogitsWarper(p["top_p"])(ids, s)
            if "min_p" in p:
                s = MinPLogitsWarper(p["min_p"])(ids, s)
            if "typical_p" in p:
                s = TypicalLogitsWarper(p["typical_p"])(ids, s)
            kept = [i for i in range(v) if s[0, i] > -1e30]
            cases.append({"seed": n, "vocab": v, "spread": spread, "params": p, "history": hist, "kept": kept,
                          "scores": [round(float(s[0, i]), 6) for i in kept[:12]]})
json.dump(cases, open(os.path.join(here, "golden.json"), "w"), separators=(",", ":"))
print(len(cases), "filter cases")


class Config(PretrainedConfig):
    model_type = "markov"

    def __init__(self, vocab_size=11, seed=1, **kw):
        super().__init__(**kw)
        self.vocab_size, self.seed = vocab_size, seed


class Markov(PreTrainedModel, GenerationMixin):
    """The next token's logits are a function of the last token and its position."""
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.p = torch.nn.Parameter(torch.zeros(1))
        v = config.vocab_size
        self.tables = torch.stack([torch.cat([logits(config.seed * 100000 + pos * 100 + t, v, 6.0, False)
                                              for t in range(v)]) for pos in range(10)])
        self.post_init()

    def prepare_inputs_for_generation(self, input_ids, **kw):
        return {"input_ids": input_ids}

    def forward(self, input_ids, **kw):
        return CausalLMOutput(logits=self.tables[torch.arange(input_ids.shape[1])[None, :], input_ids])


beams = []
for seed in range(1, 13):
    for nb in (1, 2, 4):
        for lp in (0.0, 1.0, -0.5, 2.0):
            for es in (False, True, "never"):
                v = 11 if seed % 2 else 40
                stops = [2] if seed % 3 else [2, 5]
                m = Markov(Config(vocab_size=v, seed=seed)).eval()
                if nb == 1:
                    continue
                out = m.generate(torch.tensor([[1]]), num_beams=nb, num_return_sequences=nb, length_penalty=lp,
                                 early_stopping=es, max_new_tokens=8, eos_token_id=stops, pad_token_id=0,
                                 do_sample=False, use_cache=False, return_dict_in_generate=True, output_scores=True)
                seqs = []
                for s, bi in zip(out.sequences, out.beam_indices):
                    length = int((bi >= 0).sum())
                    seqs.append(s[1:1 + length].tolist())
                beams.append({"seed": seed, "vocab": v, "stops": stops, "beams": nb, "length_penalty": lp,
                              "early": {False: 0, True: 1, "never": 2}[es], "sequences": seqs,
                              "scores": [round(float(x), 5) for x in out.sequences_scores]})
json.dump(beams, open(os.path.join(here, "beams.json"), "w"), separators=(",", ":"))
print(len(beams), "beam searches")
