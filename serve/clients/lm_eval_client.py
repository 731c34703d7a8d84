"""lm-evaluation-harness with model "local-completions": log-likelihoods by echo, held against leo's own.

LEO is the program, MODEL_FILE what it evaluates (nothing: the embedded model, as the server).
"""

import json
import os
import subprocess
import tempfile

from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

from harness import BASE, Skip, ask, check, equal, http, main, model

texts = ["Der Hund lief über die Wiese und freute sich.", "Heute scheint die Sonne, morgen regnet es.", "x = 3 + 4"]


class Ids:
    """The tokenizer of the server, for a server without the endpoints of lm-eval's own RemoteTokenizer."""

    eos_token_id = eot_token = 2

    def encode(self, text, **_):
        if not isinstance(text, str):
            return [self.encode(t) for t in text]
        return http.post("/tokenize", json={"content": text, "prompt": text, "add_special_tokens": False, "add_special": False}).json()["tokens"]


def harness_model(**more):
    kwargs = dict(base_url=BASE + "/v1/completions", model=model(), max_retries=1, batch_size=1, **more)
    lm = LocalCompletionsAPI(tokenizer_backend="auto" if remote() else "none", **kwargs)
    if not remote():
        lm.tokenizer_backend, lm.tokenizer, lm.tokenized_requests = "own", Ids(), True
    return lm


def remote():
    return http.get("/tokenizer_info").status_code == 200


def instances(kind, arguments):
    return [Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(arguments)]


@check
def remote_tokenizer():
    if not remote():
        raise Skip("no /tokenizer_info")
    from lm_eval.utils import check_remote_tokenizer_support

    assert check_remote_tokenizer_support(BASE + "/v1/completions"), "lm-eval does not accept /tokenizer_info and /tokenize"
    t = harness_model().tokenizer
    for text in texts:
        equal(t.decode(t.encode(text)), text, "decoded ids of a text")
    assert t.eos_token, t.tokenizer_info


@check
def loglikelihood():
    lm = harness_model()
    pairs = [(t[:len(t) // 2].rsplit(" ", 1)[0], " " + t[len(t[:len(t) // 2].rsplit(" ", 1)[0]) + 1:]) for t in texts[:2]]
    got = lm.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    for (context, rest), (score, greedy) in zip(pairs, got):
        assert score < -0.1 and greedy in (True, False), f"{rest!r} after {context!r}: {score}"
    batched = harness_model(num_concurrent=4).loglikelihood(instances("loglikelihood", pairs * 4), disable_tqdm=True)
    for i, g in enumerate(batched):
        assert abs(g[0] - got[i % 2][0]) < 1e-4, f"{g} concurrently, {got[i % 2]} alone"


@check
def a_greedy_continuation_is_greedy():
    lm = harness_model()
    context = lm.tok_encode("Der Hund lief")
    a = ask("/v1/completions", model=model(), prompt=context, max_tokens=4, temperature=0, logprobs=1)["choices"][0]
    ids = Ids().encode(a["text"])
    whole = Ids().encode("Der Hund lief" + a["text"])
    if whole[:len(context)] != context:
        raise Skip("the text splits into other tokens")
    score, greedy = lm._loglikelihood_tokens([(("", ""), context, whole[len(context):])], disable_tqdm=True)[0]
    if whole[len(context):] == ids or len(whole) == len(context) + 4:
        assert greedy, "the model's own continuation is not greedy"
        assert abs(score - sum(a["logprobs"]["token_logprobs"])) < 1e-3, f"{score} by echo, {sum(a['logprobs']['token_logprobs'])} when generated"


@check
def the_same_as_leo():
    leo = os.environ.get("LEO")
    if not leo:
        raise Skip("LEO is not set")
    lm = harness_model()
    bos = int(os.environ.get("BOS", "1"))
    for text in texts:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
            f.write(text)
            f.flush()
            args = [leo, "eval", "perplexity", "--json", "--bos", "always", "--quiet", f.name]
            if os.environ.get("MODEL_FILE"):
                args += ["--model", os.environ["MODEL_FILE"]]
            want = json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)[0]
        ids = lm.tok_encode(text)
        equal(len(ids), want["tokens"], "tokens")
        score, _ = lm._loglikelihood_tokens([(("", ""), [bos], ids)], disable_tqdm=True)[0]
        assert abs(-score - want["nll"]) < 1e-4, f"{text!r}: {-score} by the server, {want['nll']} by leo"


@check
def generate_until():
    lm = harness_model()
    args = [("Der Hund", {"until": ["."], "max_gen_toks": 24, "temperature": 0}), ("Die Katze", {"until": ["\n"], "max_gen_toks": 8})]
    got = lm.generate_until(instances("generate_until", args), disable_tqdm=True)
    equal(len(got), 2)
    assert "." not in got[0], got


if __name__ == "__main__":
    main()
