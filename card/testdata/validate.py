"""Reads cards as huggingface_hub does: python card/testdata/validate.py README.md...

For reference only: no test needs Python. It parses the front matter, turns model-index into EvalResults and back, and
compares. With --online it also asks the hub (ModelCard.validate), which needs the network but no account.
"""

import sys

from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
import yaml

online = "--online" in sys.argv
for path in [a for a in sys.argv[1:] if not a.startswith("--")]:
    text = open(path, encoding="utf-8").read()
    raw = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    card = ModelCard(text, ignore_metadata_errors=False)
    data = card.data
    for key in ("license", "language", "library_name", "pipeline_tag", "base_model", "datasets", "tags"):
        assert getattr(data, key) == raw.get(key), (path, key, getattr(data, key), raw.get(key))
    results = data.eval_results or []
    index = raw.get("model-index")
    if index:
        name, again = model_index_to_eval_results(index)
        assert name == index[0]["name"] and again == results, (path, name)
        back = eval_results_to_model_index(name, results)
        flat = lambda i: sorted((r["dataset"]["type"], m["type"], m["value"]) for r in i[0]["results"] for m in r["metrics"])
        assert flat(back) == flat(index), path
        assert not any(r.verified for r in results), path
    assert ModelCard(str(card)).data.to_dict() == data.to_dict(), path
    if online:
        card.validate(repo_type="model")
    print(f"{path}: {len(results)} results, license {data.license}, language {data.language}")
