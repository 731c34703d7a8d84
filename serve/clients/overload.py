"""A server that may answer one and let two wait: what the others get, and that clients come back."""

import threading
import time

from openai import OpenAI

from harness import BASE, KEY, chat, check, equal, http, main, model, refused


def at_once(n, f):
    """Runs f in n threads, and returns what they returned or raised."""
    got = [None] * n

    def one(i):
        try:
            got[i] = f(i)
        except Exception as e:
            got[i] = e

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


@check
def a_full_queue():
    answers = at_once(16, lambda i: http.post("/v1/chat/completions", json=chat(max_tokens=200, stream=i % 2 == 0)))
    turned_away = [r for r in answers if r.status_code == 429]
    assert turned_away and len(turned_away) < 16, [r.status_code for r in answers]
    for r in turned_away:
        refused(r, 429)
        assert int(r.headers["retry-after"]) >= 1, "Retry-After"
        equal(r.json()["error"]["type"] in ("rate_limit_exceeded", "rate_limit_error", "requests"), True, f"type {r.json()['error']['type']}")


@check
def clients_come_back():
    client = OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=30, timeout=120)
    question = [{"role": "user", "content": "Nenne eine Farbe."}]
    for r in at_once(12, lambda i: client.chat.completions.create(model=model(), messages=question, max_tokens=4)):
        assert not isinstance(r, Exception), r


@check
def several_choices_count():
    """Four choices need more room than one: they are refused, or answered when there is room, but never half."""
    r = http.post("/v1/chat/completions", json=chat(n=4, max_tokens=4))
    if r.status_code != 200:
        refused(r, (400, 429))
        return
    equal(len(r.json()["choices"]), 4)


@check
def waiting_ends_with_the_client():
    """Who waits and leaves makes room in the queue."""
    client = OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=0, timeout=0.2)
    question = [{"role": "user", "content": "Erzähle eine lange Geschichte."}]
    at_once(6, lambda i: client.chat.completions.create(model=model(), messages=question, max_tokens=900, temperature=1))
    time.sleep(1)
    equal(http.post("/v1/chat/completions", json=chat(max_tokens=2)).status_code, 200, "status, when all the others have left")


if __name__ == "__main__":
    main()
