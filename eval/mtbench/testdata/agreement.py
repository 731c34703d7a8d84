"""Writes agreement.json: python agreement.py > agreement.json, with scipy, scikit-learn and numpy.

Ratings of two judges with Cohen's kappa (plain and quadratic), Spearman's correlation, the exact sign test and quantiles.
"""
import json, random
import numpy as np
from scipy import stats
from sklearn.metrics import cohen_kappa_score

rng = random.Random(8)
cases = []
for n in [2, 5, 10, 40, 160]:
    for noise in [0, 1, 3, 9]:
        x = [rng.randrange(1, 11) for _ in range(n)]
        y = [min(10, max(1, v + rng.randrange(-noise, noise + 1))) for v in x]
        if len(set(x)) == 1 or len(set(y)) == 1:
            continue
        cases.append({"x": x, "y": y, "kappa": cohen_kappa_score(x, y, labels=range(1, 11)),
                      "weighted": cohen_kappa_score(x, y, labels=range(1, 11), weights="quadratic"),
                      "spearman": float(stats.spearmanr(x, y).statistic)})
signs = [[w, l, float(stats.binomtest(w, w + l, 0.5).pvalue)] for w, l in [(1, 0), (5, 5), (8, 2), (2, 8), (60, 40), (80, 80), (3, 20)]]
values = sorted(rng.random() for _ in range(37))
quantiles = [[q, float(np.quantile(values, q))] for q in [0, 0.025, 0.5, 0.9, 0.975, 1]]
print(json.dumps({"cases": cases, "signs": signs, "values": values, "quantiles": quantiles}))
