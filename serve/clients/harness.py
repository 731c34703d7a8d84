"""What the programs of this folder share: checks of a server at BASE_URL, each with a name and an outcome.

A check is a function that raises: AssertionError or anything else is a failure, Skip is not. BASE_URL is the server's
address without /v1; MODEL is the model to ask, by default the first of /v1/models. A word as argument runs only the
checks whose names contain it.
"""

import json
import os
import sys
import time
import traceback

import httpx

BASE = os.environ.get("BASE_URL", "http://127.0.0.1:8080").rstrip("/")
KEY = os.environ.get("OPENAI_API_KEY", "none")  # clients refuse to start without one
os.environ["OPENAI_API_KEY"] = KEY

http = httpx.Client(base_url=BASE, timeout=120, headers={"Authorization": f"Bearer {KEY}"})

_checks = []


class Skip(Exception):
    """What a check needs is not there."""


def check(f):
    _checks.append(f)
    return f


def model():
    return os.environ.get("MODEL") or http.get("/v1/models").json()["data"][0]["id"]


def equal(got, want, what=""):
    assert got == want, f"{what}: {got!r} instead of {want!r}"


def among(got, allowed, what=""):
    assert got in allowed, f"{what}: {got!r} is none of {allowed!r}"


def refused(r, status=400, param=None, code=None):
    """An answer is an error in OpenAI's shape. status: one or several; param: how the name of the field begins."""
    among(r.status_code, status if isinstance(status, tuple) else (status,), f"status, with {r.text[:200]!r}")
    assert "json" in r.headers.get("content-type", ""), f"Content-Type {r.headers.get('content-type')!r}"
    body = r.json()
    equal(list(body), ["error"], "keys of the body")
    e = body["error"]
    assert set(e) >= {"message", "type", "param", "code"}, f"keys of the error: {sorted(e)}"
    assert isinstance(e["message"], str) and e["message"], f"message {e['message']!r}"
    assert isinstance(e["type"], str) and e["type"], f"type {e['type']!r}"
    if param is not None:
        assert str(e["param"]).startswith(param), f"param {e['param']!r} instead of {param!r}: {e['message']}"
    if code is not None:
        equal(e["code"], code, "code")
    return e


class each:
    """Runs steps that all should hold, and reports every one that does not: `with every.step(x): …`, then every.done()."""

    def __init__(self):
        self.problems = []
        self.name = ""

    def step(self, *name):
        self.name = " ".join(str(n) for n in name)[:160]
        return self

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if error is None or isinstance(error, (Skip, KeyboardInterrupt)):
            return False
        self.problems.append(f"{self.name}: {kind.__name__ + ': ' if kind is not AssertionError else ''}{str(error)[:300]}")
        return True

    def done(self):
        assert not self.problems, "\n       ".join([f"{len(self.problems)} do not hold", *self.problems])


def post(path, **body):
    return http.post(path, json=body)


def ask(path, **body):
    """A request that must succeed."""
    r = post(path, **body)
    equal(r.status_code, 200, f"status, with {r.text[:300]!r}")
    return r.json()


def chat(content="Nenne eine Farbe.", **more):
    messages = more.pop("messages", [{"role": "user", "content": content}])
    return {"model": model(), "messages": messages, "temperature": 0, "max_tokens": 16, **more}


def events(path, **body):
    """The objects of a stream, which must be well-formed and end with [DONE]."""
    r = post(path, stream=True, **body)
    equal(r.status_code, 200, f"status, with {r.text[:300]!r}")
    assert r.headers["content-type"].startswith("text/event-stream"), r.headers["content-type"]
    blocks = r.content.decode("utf-8").split("\n\n")
    equal(blocks.pop(), "", "what follows the last event")
    blocks = [b for b in blocks if not b.startswith(":")]
    equal(blocks.pop(), "data: [DONE]", "the last event")
    for b in blocks:
        assert b.startswith("data: ") and "\n" not in b, f"event {b!r}"
    return [json.loads(b[len("data: "):]) for b in blocks]


def text_of(chunks, index=0):
    """The text of one choice of a streamed chat."""
    parts = [c["delta"].get("content") or "" for e in chunks for c in e["choices"] if c["index"] == index]
    return "".join(parts)


def main():
    want = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = skipped = passed = 0
    for f in _checks:
        if want not in f.__name__:
            continue
        start = time.time()
        try:
            f()
        except Skip as e:
            skipped += 1
            print(f"skip {f.__name__}: {e}")
        except Exception as e:
            failed += 1
            where = [t for t in traceback.extract_tb(e.__traceback__) if t.filename == f.__code__.co_filename]
            line = where[-1].lineno if where else "?"
            print(f"FAIL {f.__name__} (line {line}): {type(e).__name__}: {str(e)[:4000]}")
        else:
            passed += 1
            print(f"ok   {f.__name__} ({time.time() - start:.2f} s)")
        sys.stdout.flush()
    name = os.path.basename(sys.argv[0])
    print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)
