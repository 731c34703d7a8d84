"""Ollama's Python client, and what other programs ask Ollama's own interface."""

import json

import ollama

from harness import BASE, Skip, among, check, equal, http, main, model

client = ollama.Client(host=BASE)
question = [{"role": "user", "content": "Nenne eine Farbe."}]
few = {"num_predict": 12, "temperature": 0}


@check
def tags():
    found = http.get("/api/tags").json()["models"]
    assert found, found
    for m in found:
        assert set(m) >= {"name", "model", "modified_at", "size", "digest", "details"}, sorted(m)
        assert set(m["details"]) >= {"format", "family", "families", "parameter_size", "quantization_level"}, m["details"]
    names = [m.model for m in client.list().models]
    among(model(), names + [n.removesuffix(":latest") for n in names], "the model")


@check
def show():
    s = client.show(model())
    assert "completion" in s.capabilities, s.capabilities
    arch = s.modelinfo["general.architecture"]
    assert s.modelinfo[arch + ".context_length"] > 0, s.modelinfo
    assert s.details.family and s.details.parameter_size, s.details
    for field in ("model", "name"):
        equal(http.post("/api/show", json={field: model()}).status_code, 200, f"status with {field}")
    r = http.post("/api/show", json={"model": "nobody"})
    equal(r.status_code, 404, "status of an unknown model")
    assert isinstance(r.json()["error"], str), r.text


@check
def version():
    parts = client._request_raw("GET", "/api/version").json()["version"].split(".")
    equal(len(parts), 3, "parts")
    [int(p) for p in parts]


@check
def root():
    for method in ("GET", "HEAD"):
        equal(http.request(method, "/", headers={"Accept": "*/*"}).status_code, 200, method + " /")


@check
def chat():
    a = client.chat(model=model(), messages=question, options=few)
    equal(a.done, True)
    among(a.done_reason, ("stop", "length"), "done_reason")
    assert a.message.content and a.message.role == "assistant", a
    for k in ("total_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"):
        assert (getattr(a, k) or 0) > 0, f"{k}: {a}"
    parts = list(client.chat(model=model(), messages=question, options=few, stream=True))
    equal("".join(p.message.content for p in parts), a.message.content, "streamed and whole")
    equal([p.done for p in parts], [False] * (len(parts) - 1) + [True], "done")
    equal(parts[-1].eval_count, a.eval_count, "eval_count")


@check
def lines_of_a_stream():
    r = http.post("/api/chat", json={"model": model(), "messages": question, "options": few})  # a stream unless told otherwise
    assert r.headers["content-type"].startswith("application/x-ndjson"), r.headers["content-type"]
    for line in r.text.strip().split("\n"):
        o = json.loads(line)
        assert o["model"] and o["created_at"] and "done" in o, o


@check
def generate():
    a = client.generate(model=model(), prompt="Der Hund", options=few)
    assert a.done and a.response, a
    parts = list(client.generate(model=model(), prompt="Der Hund", options=few, stream=True))
    equal("".join(p.response for p in parts), a.response, "streamed and whole")
    raw = client.generate(model=model(), prompt="Der Hund", raw=True, options=few)
    assert raw.response, raw
    client.generate(model=model(), prompt="Der Hund", system="Antworte knapp.", options=few)


@check
def prompt_eval_count_of_a_cached_prompt():
    long = [{"role": "user", "content": "Erzähle mir etwas über den Wald und seine Tiere. " * 12}]
    counts = {client.chat(model=model(), messages=long, options={"num_predict": 1}).prompt_eval_count for _ in range(2)}
    equal(len(counts), 1, f"different counts {counts}")


@check
def keep_alive():
    for value in ("5m", 300, -1, "0", "1h30m"):
        equal(http.post("/api/chat", json={"model": model(), "messages": question, "stream": False, "options": few, "keep_alive": value}).status_code, 200, f"status with {value!r}")
    for value in ("soon", [], {}, True):
        equal(http.post("/api/chat", json={"model": model(), "messages": question, "stream": False, "keep_alive": value}).status_code, 400, f"status with {value!r}")


@check
def loading_and_unloading():
    for path, body in (("/api/generate", {}), ("/api/generate", {"prompt": ""}), ("/api/chat", {"messages": []})):
        for alive, reason in ((None, "load"), (0, "unload")):
            r = http.post(path, json={"model": model(), "stream": False, **({} if alive is None else {"keep_alive": alive}), **body})
            equal(r.status_code, 200, f"{path} {body}: status, with {r.text[:200]!r}")
            equal((r.json()["done"], r.json()["done_reason"]), (True, reason), f"{path} {body}")
    client.chat(model=model(), messages=question, options=few)


@check
def tools():
    def get_weather(city: str) -> str:
        """Das Wetter eines Ortes.

        Args:
            city: der Ort
        """
        return "Regen"

    a = client.chat(model=model(), messages=question, tools=[get_weather], options=few)
    if a.message.tool_calls:
        assert isinstance(a.message.tool_calls[0].function.arguments, dict), a
    among(a.done_reason, ("stop", "length"), "done_reason")
    history = question + [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Ulm"}}}]},
                          {"role": "tool", "content": "Regen", "tool_name": "get_weather"}]
    client.chat(model=model(), messages=history, tools=[get_weather], options=few)


@check
def formats():
    s = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["a"], "additionalProperties": False}
    a = client.chat(model=model(), messages=question, format=s, options={"num_predict": 60, "temperature": 0})
    assert 1 <= json.loads(a.message.content)["a"] <= 9, a
    b = client.generate(model=model(), prompt="Gib JSON aus.", format="json", options={"num_predict": 200, "temperature": 0})
    if b.done_reason == "stop":
        json.loads(b.response)
    equal(http.post("/api/chat", json={"model": model(), "messages": question, "format": "xml", "stream": False}).status_code, 400, "status of format xml")


@check
def options():
    kwargs = dict(model=model(), messages=question)
    one = client.chat(options={"seed": 3, "temperature": 1, "num_predict": 16}, **kwargs).message.content
    equal(client.chat(options={"seed": 3, "temperature": 1, "num_predict": 16}, **kwargs).message.content, one, "the text of one seed")
    equal(client.chat(options={"num_predict": 1}, **kwargs).eval_count, 1, "eval_count")
    equal(client.chat(options={"num_predict": 1}, **kwargs).done_reason, "length", "done_reason")
    stopped = client.chat(options={"stop": [one[1:3] or "x"], "seed": 3, "temperature": 1, "num_predict": 16}, **kwargs).message.content
    assert (one[1:3] or "x") not in stopped, stopped


@check
def thinking():
    r = http.post("/api/chat", json={"model": model(), "messages": question, "stream": False, "think": True, "options": few})
    among(r.status_code, (200, 400), "status")
    if r.status_code == 400:
        assert "think" in r.json()["error"], r.text
    equal(http.post("/api/chat", json={"model": model(), "messages": question, "stream": False, "think": False, "options": few}).status_code, 200, "status of think false")


@check
def images_are_refused():
    r = http.post("/api/chat", json={"model": model(), "stream": False, "messages": [{"role": "user", "content": "Was ist das?", "images": ["iVBORw0KGgo="]}]})
    equal(r.status_code, 400, f"status, with {r.text[:200]!r}")
    assert isinstance(r.json()["error"], str), r.text


@check
def errors():
    try:
        client.chat(model="nobody", messages=question)
    except ollama.ResponseError as e:
        equal(e.status_code, 404)
        assert "nobody" in e.error, e.error
    else:
        raise AssertionError("an unknown model answers")
    r = http.post("/api/chat", content=b"{")
    equal(r.status_code, 400, "status of bad JSON")
    assert isinstance(r.json()["error"], str), r.text
    long = http.post("/api/chat", json={"model": model(), "stream": False, "messages": [{"role": "user", "content": "Wort " * 100000}]})
    equal(long.status_code, 400, "status of a prompt that does not fit")


@check
def embed():
    try:
        a = client.embed(model=model(), input=["Hund", "Katze"])
    except ollama.ResponseError as e:
        if e.status_code == 404:
            raise Skip("no /api/embed") from e
        raise
    equal(len(a.embeddings), 2)


@check
def running():
    r = http.get("/api/ps")
    if r.status_code == 404:
        raise Skip("no /api/ps")
    assert isinstance(r.json()["models"], list), r.text


if __name__ == "__main__":
    main()
