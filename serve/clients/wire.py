"""Bytes and fields that no client library shows: shapes of streams, errors, bounds of fields."""

import base64
import json
import math
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

import httpx

from harness import BASE, Skip, among, ask, chat, check, each, equal, events, http, main, model, post, refused, text_of

CHAT, LEGACY, EMBED, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"
ENDS = ("stop", "length", "tool_calls", "content_filter", "function_call")

weather = {"type": "function", "function": {"name": "get_weather", "description": "Das Wetter eines Ortes", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"], "additionalProperties": False}}}


# Streams


@check
def stream_of_a_chat():
    chunks = events(CHAT, **chat())
    for key in ("id", "object", "created", "model"):
        equal(len({json.dumps(c.get(key)) for c in chunks}), 1, f"different values of {key}")
    equal(chunks[0]["object"], "chat.completion.chunk")
    equal(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""}, "the first delta")
    for c in chunks:
        assert c.get("usage") is None, f"usage unasked: {c}"
        equal(len(c["choices"]), 1, "choices")
        assert "finish_reason" in c["choices"][0], f"no finish_reason: {c}"
        equal(c["choices"][0]["index"], 0)
    for c in chunks[:-1]:
        equal(c["choices"][0]["finish_reason"], None, "finish_reason before the end")
    equal(chunks[-1]["choices"][0]["delta"], {}, "the last delta")
    among(chunks[-1]["choices"][0]["finish_reason"], ENDS, "finish_reason")
    equal(text_of(chunks), ask(CHAT, **chat())["choices"][0]["message"]["content"], "streamed and whole text")


@check
def stream_with_usage():
    for path, body in ((CHAT, chat()), (LEGACY, {"model": model(), "prompt": "Der Hund", "max_tokens": 8, "temperature": 0})):
        chunks = events(path, stream_options={"include_usage": True}, **body)
        for c in chunks[:-1]:
            assert "usage" in c and c["usage"] is None, f"{path}: usage is not null: {c}"
            assert c["choices"], f"{path}: no choices: {c}"
        equal(chunks[-1]["choices"], [], f"{path}: choices of the last event")
        u = chunks[-1]["usage"]
        equal(u["total_tokens"], u["prompt_tokens"] + u["completion_tokens"], "total_tokens")
        equal(u["completion_tokens"] > 0 and u["prompt_tokens"] > 0, True, f"{u}")
        plain = ask(path, **body)["usage"]
        for k in ("prompt_tokens", "completion_tokens", "total_tokens"):
            equal(u[k], plain[k], f"{path}: {k} streamed and whole")


@check
def stream_of_a_completion():
    chunks = events(LEGACY, model=model(), prompt="Der Hund", max_tokens=8, temperature=0)
    equal({c["object"] for c in chunks}, {"text_completion"})
    equal(len({c["id"] for c in chunks}), 1, "ids")
    for c in chunks:
        assert c.get("usage") is None, f"usage unasked: {c}"
    for c in chunks[:-1]:
        equal(c["choices"][0]["finish_reason"], None, "finish_reason before the end")
    among(chunks[-1]["choices"][0]["finish_reason"], ("stop", "length"), "finish_reason")
    whole = ask(LEGACY, model=model(), prompt="Der Hund", max_tokens=8, temperature=0)["choices"][0]["text"]
    equal("".join(c["choices"][0]["text"] for c in chunks), whole, "streamed and whole text")


@check
def stream_is_not_buffered():
    with http.stream("POST", CHAT, json=chat(stream=True, max_tokens=64), headers={"Accept-Encoding": "gzip, br"}) as r:
        equal(r.status_code, 200)
        equal(r.headers.get("content-encoding"), None, "Content-Encoding")
        assert "no-cache" in r.headers.get("cache-control", ""), f"Cache-Control {r.headers.get('cache-control')!r}"
        equal(r.headers.get("x-accel-buffering"), "no", "X-Accel-Buffering")
        equal(len([b for b in r.iter_raw() if b]) > 1, True, "the whole answer came in one piece")


@check
def stream_refused_before_it_begins():
    refused(post(CHAT, **chat(stream=True, n=0)), 400, "n")
    refused(post(CHAT, **chat(stream=True, messages=[])), 400, "messages")


# Errors


@check
def errors_have_one_shape():
    every = each()
    for path in (CHAT, LEGACY, EMBED, RESPONSES):
        for body in (b"{", b"", b"[]", b"null", b'"text"', b'{"model":', b"\xff\xfe", b"{}"):
            with every.step(path, body):
                refused(http.post(path, content=body, headers={"Content-Type": "application/json"}), 400)
        with every.step("GET", path):
            r = http.get(path)
            refused(r, 405)
            assert "POST" in r.headers.get("allow", ""), f"Allow {r.headers.get('allow')!r}"
    with every.step("paths that do not exist"):
        refused(http.get("/v1/nothing"), 404)
        refused(http.get("/nothing/at/all", headers={"Accept": "application/json"}), 404)
    with every.step("DELETE /v1/models"):
        refused(http.delete("/v1/models"), 405)
    every.done()


@check
def errors_name_the_field():
    every = each()
    for name, value in (("messages", "text"), ("messages", [1]), ("messages", [{"role": "user"}]), ("messages", [{"content": "x"}]),
                        ("messages", [{"role": "king", "content": "x"}]), ("temperature", "warm"), ("max_tokens", 1.5), ("stream", "yes"), ("stop", 7),
                        ("tools", {}), ("response_format", "json"), ("logit_bias", []), ("n", "two"), ("seed", "x")):
        with every.step(name, value):
            refused(post(CHAT, **chat(**{name: value})), 400, name)
    every.done()


@check
def large_bodies_are_refused():
    def body():
        yield b'{"model":"m","messages":[{"role":"user","content":"'
        for _ in range(100):
            yield b"a" * (1 << 20)
        yield b'"}]}'

    try:
        r = http.post(CHAT, content=body(), headers={"Content-Type": "application/json"})
    except httpx.TransportError:
        # It may hang up before everything is sent; a client that reads then still finds the answer.
        r = raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\nExpect: 100-continue\r\n\r\n")
        equal(r.split(b" ")[1], b"413", "status")
        return
    refused(r, 413)


def raw(data, wait=5):
    """Sends bytes and reads until the server closes or says nothing for a while."""
    u = urlsplit(BASE)
    with socket.create_connection((u.hostname, u.port), timeout=wait) as s:
        s.sendall(data)
        got = b""
        try:
            while part := s.recv(65536):
                got += part
                if b"\r\n\r\n" in got:
                    s.settimeout(0.5)
        except TimeoutError:
            pass
        return got


@check
def expect_continue_does_not_stall():
    body = json.dumps(chat(max_tokens=1)).encode()
    u = urlsplit(BASE)
    with socket.create_connection((u.hostname, u.port), timeout=30) as s:
        s.sendall(b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
                  % (CHAT.encode(), u.netloc.encode(), len(body)))
        start = time.time()
        first = s.recv(100)
        assert first.startswith(b"HTTP/1.1 100"), first
        assert time.time() - start < 0.9, f"100 Continue after {time.time() - start:.2f} s"
        s.sendall(body)
        assert s.recv(100).startswith(b"HTTP/1.1 200")


@check
def deep_json_is_refused():
    deep = b'{"model":"m","messages":' + b"[" * 100000 + b"]" * 100000 + b"}"
    refused(http.post(CHAT, content=deep, headers={"Content-Type": "application/json"}), (400, 413))


@check
def many_stop_strings_are_refused():
    refused(post(CHAT, **chat(stop=["x%d" % i for i in range(10000)])), 400, "stop")


# Fields


@check
def values_out_of_range():
    wrong = [("temperature", -0.1), ("temperature", 2.1), ("top_p", -0.1), ("top_p", 1.1), ("presence_penalty", 2.1), ("presence_penalty", -2.1),
             ("frequency_penalty", 2.1), ("frequency_penalty", -2.1), ("n", 0), ("n", 129), ("n", -1), ("max_tokens", -1), ("max_tokens", 0),
             ("max_completion_tokens", 0), ("max_completion_tokens", -5), ("stop", ["a", "b", "c", "d", "e"]), ("stop", ""), ("stop", ["a", ""]),
             ("top_logprobs", 21), ("top_logprobs", -1), ("logit_bias", {"5": 101}), ("logit_bias", {"5": -101}), ("logit_bias", {"99999999": 1}),
             ("logit_bias", {"-1": 1}), ("logit_bias", {"x": 1}), ("logit_bias", {"5": "high"})]
    every = each()
    for name, value in wrong:
        body = chat(**{name: value})
        if name == "top_logprobs":
            body["logprobs"] = True
        with every.step(name, value):
            refused(post(CHAT, **body), 400, name)
    every.done()


@check
def top_logprobs_needs_logprobs():
    refused(post(CHAT, **chat(top_logprobs=3)), 400)


@check
def limits_of_tokens():
    a = ask(CHAT, **chat(max_tokens=None, max_completion_tokens=4))
    assert a["usage"]["completion_tokens"] <= 4, a["usage"]
    a = ask(CHAT, **chat(max_tokens=32, max_completion_tokens=1))
    equal(a["usage"]["completion_tokens"], 1, "max_completion_tokens wins over max_tokens")
    equal(a["choices"][0]["finish_reason"], "length")
    body = chat()
    del body["max_tokens"]
    absent = ask(CHAT, **body)
    null = ask(CHAT, **{**body, "max_tokens": None})
    equal(absent["choices"][0]["message"]["content"], null["choices"][0]["message"]["content"], "max_tokens null and absent")
    short = ask(LEGACY, model=model(), prompt="Der Hund", temperature=0)
    assert short["usage"]["completion_tokens"] <= 16, f"a completion's default is 16 tokens: {short['usage']}"
    refused(post(LEGACY, model=model(), prompt="Der Hund", max_tokens=-1), 400, "max_tokens")
    refused(post(LEGACY, model=model(), prompt="Der Hund", max_tokens=0), 400, "max_tokens")


@check
def unknown_fields_are_ignored():
    a = ask(CHAT, **chat(foo=1, user="u", store=False, metadata={"a": "b"}, service_tier="auto", parallel_tool_calls=True))
    equal(a["object"], "chat.completion")
    equal(a["choices"][0]["message"]["role"], "assistant")


@check
def ids_outside_the_vocabulary():
    every = each()
    for ids in ([99999999], [-1], [5, 99999999], [1.5]):
        with every.step("prompt", ids):
            refused(post(LEGACY, model=model(), prompt=ids, max_tokens=2), 400, "prompt")
    with every.step("input"):
        refused(post(EMBED, model=model(), input=[99999999]), 400, "input")
    every.done()


@check
def seed_repeats():
    def text(seed):
        return ask(CHAT, **chat(temperature=1, seed=seed, max_tokens=24))["choices"][0]["message"]["content"]

    equal(len({text(7) for _ in range(3)}), 1, "texts of one seed")
    assert len({text(s) for s in range(8)}) > 1, "eight seeds gave one text"


@check
def alone_and_in_company():
    questions = [f"Was ist {a} und {b}?" for a in range(2) for b in range(4)]
    alone = [ask(CHAT, **chat(q, max_tokens=24))["choices"][0]["message"]["content"] for q in questions]
    together = [None] * len(questions)

    def one(i):
        together[i] = ask(CHAT, **chat(questions[i], max_tokens=24))["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(questions))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(together, alone, "greedy answers")


@check
def stop_strings():
    whole = ask(CHAT, **chat(max_tokens=48))["choices"][0]["message"]["content"]
    if len(whole) < 12:
        raise Skip(f"the answer is too short to stop in: {whole!r}")
    for at in range(1, len(whole) - 6, max(1, len(whole) // 6)):
        stop = whole[at:at + 5]
        want = whole[:whole.find(stop)]
        for body in (chat(max_tokens=48, stop=stop), chat(max_tokens=48, stop=["§§§", stop])):
            a = ask(CHAT, **body)["choices"][0]
            equal(a["message"]["content"], want, f"text before {stop!r}")
            equal(a["finish_reason"], "stop")
            equal(text_of(events(CHAT, **body)), want, f"streamed text before {stop!r}")
    # A stop string that begins in the text but never ends: what was held back must come.
    body = chat(max_tokens=48, stop=whole[-3:] + "§§§")
    equal(text_of(events(CHAT, **body)), whole, "text that looks like a stop string until its end")
    equal(ask(CHAT, **chat(max_tokens=48, stop=None))["choices"][0]["message"]["content"], whole, "stop null")


@check
def several_choices():
    a = ask(CHAT, **chat(n=3, temperature=1, seed=1))
    equal([c["index"] for c in a["choices"]], [0, 1, 2], "indices")
    one = ask(CHAT, **chat(n=1, temperature=1, seed=1))
    equal(a["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"], "the prompt is counted once")
    chunks = events(CHAT, stream_options={"include_usage": True}, **chat(n=3, temperature=1, seed=1))
    equal(chunks[-1]["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"], "streamed: the prompt is counted once")
    equal(chunks[-1]["usage"]["completion_tokens"], a["usage"]["completion_tokens"], "streamed and whole completion_tokens")
    for i in range(3):
        equal(text_of(chunks, i), a["choices"][i]["message"]["content"], f"streamed text of choice {i}")
        last = [c for e in chunks for c in e["choices"] if c["index"] == i][-1]
        among(last["finish_reason"], ENDS, f"finish_reason of choice {i}")


@check
def usage_of_a_cached_prompt():
    body = chat("Erzähle mir etwas über den Wald und seine Tiere. " * 12, max_tokens=4)
    first, second = ask(CHAT, **body)["usage"], ask(CHAT, **body)["usage"]
    equal(second["prompt_tokens"], first["prompt_tokens"], "prompt_tokens of a cached prompt")
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert 0 < cached < second["prompt_tokens"], f"{cached} cached tokens of {second['prompt_tokens']}"


# Tools


def history(**call):
    """A conversation with a call and its result."""
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Ulm","days":1}'}, **call}
    return [{"role": "user", "content": "Wie wird das Wetter in Ulm?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "Regen"}]


def fold(chunks):
    """The calls of a stream, and the checks of how they come."""
    calls = {}
    for e in chunks:
        for c in e["choices"]:
            for d in c["delta"].get("tool_calls") or []:
                assert type(d.get("index")) is int, f"index: {d}"
                if d["index"] not in calls:
                    assert d.get("id") and d.get("type") == "function" and d["function"].get("name"), f"the first delta of a call: {d}"
                    calls[d["index"]] = {"id": d["id"], "name": d["function"]["name"], "arguments": ""}
                calls[d["index"]]["arguments"] += d["function"].get("arguments") or ""
    equal(sorted(calls), list(range(len(calls))), "indices of calls")
    equal(len({c["id"] for c in calls.values()}), len(calls), "ids of calls")
    return [calls[i] for i in sorted(calls)]


def valid_call(name, arguments):
    equal(name, "get_weather")
    assert isinstance(arguments, str), f"arguments: {arguments!r}"
    a = json.loads(arguments)
    equal(sorted(a), ["city", "days"], "arguments")
    assert isinstance(a["city"], str) and 1 <= a["days"] <= 7, a


@check
def tools_required_and_named():
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        body = chat("Wie wird das Wetter in Ulm?", tools=[weather], tool_choice=choice, max_tokens=200)
        a = ask(CHAT, **body)["choices"][0]
        m = a["message"]
        assert m["tool_calls"], m
        assert m["content"] in (None, ""), m
        for c in m["tool_calls"]:
            equal(c["type"], "function")
            assert c["id"], c
            valid_call(c["function"]["name"], c["function"]["arguments"])
        chunks = events(CHAT, **body)
        calls = fold(chunks)
        assert calls, chunks
        for c in calls:
            valid_call(c["name"], c["arguments"])
        equal([c["arguments"] for c in calls], [c["function"]["arguments"] for c in m["tool_calls"]], "streamed and whole arguments")
        equal(chunks[-1]["choices"][0]["finish_reason"], a["finish_reason"], "streamed and whole finish_reason")
        among(a["finish_reason"], ("tool_calls",) if choice == "required" else ("tool_calls", "stop"), f"finish_reason of {choice}")


@check
def tools_auto_and_none():
    for choice in ("auto", "none", None):
        body = chat("Guten Tag!", tools=[weather], max_tokens=48)
        if choice:
            body["tool_choice"] = choice
        a = ask(CHAT, **body)["choices"][0]
        calls = a["message"].get("tool_calls")
        chunks = events(CHAT, **body)
        streamed = fold(chunks)
        if choice == "none":
            assert not calls and not streamed, f"a call although none may come: {a}"
        equal(bool(calls), bool(streamed), "a call streamed and whole")
        if calls:
            among(a["finish_reason"], ("tool_calls", "length"), "finish_reason with a call")
        else:
            assert calls is None, f"tool_calls without any: {a}"
            among(a["finish_reason"], ("stop", "length"), "finish_reason without a call")


@check
def a_cut_call_says_length():
    body = chat("Wie wird das Wetter in Ulm?", tools=[weather], tool_choice="required", max_tokens=2)
    equal(ask(CHAT, **body)["choices"][0]["finish_reason"], "length")
    equal(events(CHAT, **body)[-1]["choices"][0]["finish_reason"], "length", "streamed")


@check
def calls_in_the_history():
    for messages in (history(), history(function={"name": "get_weather", "arguments": {"city": "Ulm", "days": 1}})):
        ask(CHAT, **chat(messages=messages, tools=[weather], max_tokens=4))
    absent = history()
    del absent[1]["content"]
    ask(CHAT, **chat(messages=absent, max_tokens=4))
    empty = history()
    empty[1]["content"] = ""
    ask(CHAT, **chat(messages=empty, max_tokens=4))
    reasoned = history()
    reasoned[1].update(content="Ich sehe nach.", reasoning_content="Das Wetter also.")
    ask(CHAT, **chat(messages=reasoned, tools=[weather], max_tokens=4))
    refused(post(CHAT, **chat(messages=history(function={"name": "get_weather", "arguments": "{"}), max_tokens=4)), 400, "messages")


@check
def null_id_in_the_history():
    ask(CHAT, **chat(messages=history(id=None), tools=[weather], max_tokens=4))


@check
def tools_that_do_not_fit():
    every = each()
    for body in (dict(tools=[weather], tool_choice={"type": "function", "function": {"name": "nobody"}}), dict(tool_choice="required"),
                 dict(tools=[weather], tool_choice="maybe"), dict(tools=[{"type": "function"}]),
                 dict(tools=[{"type": "function", "function": {"name": "a b", "parameters": {}}}])):
        with every.step(body.get("tool_choice"), body.get("tools")):
            refused(post(CHAT, **chat(**body)), 400, "tool")
    every.done()


# Structured output


def schema(s, **more):
    return chat("Gib etwas aus.", max_tokens=300, response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": s, **more}})


@check
def schemas_are_kept():
    import jsonschema

    def obj(**p):
        return {"type": "object", "properties": p, "required": list(p), "additionalProperties": False}

    small = {"type": "string", "maxLength": 8}
    schemas = [
        obj(a={"type": "integer", "minimum": 3, "maximum": 9}), obj(a={"enum": ["rot", "grün"]}), obj(a={"const": "😀 ä"}), obj(a={"type": "boolean"}, b={"type": "null"}),
        obj(a={"type": "array", "items": small, "minItems": 2, "maxItems": 3}), obj(a={"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2, "maxItems": 3, "uniqueItems": True}),
        obj(a={"type": "string", "minLength": 3, "maxLength": 5}), obj(a={"type": "string", "pattern": "^[a-c]{2,4}$"}), obj(a={"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 0, "maximum": 99}]}),
        obj(a={"type": "number", "multipleOf": 5, "minimum": 0, "maximum": 100}), obj(a={"type": "string", "format": "date"}), obj(a={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}),
        {"type": "object", "properties": {"a": small}, "minProperties": 1, "additionalProperties": False}, {"$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, **obj(a={"$ref": "#/$defs/n"})},
        {"$defs": {"t": {"type": "object", "properties": {"v": {"enum": [1, 2]}, "c": {"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 2}}, "required": ["v", "c"], "additionalProperties": False}}, "$ref": "#/$defs/t"},
        obj(a={"allOf": [{"type": "integer"}, {"minimum": 2, "maximum": 5}]}), obj(a={"not": {"type": "string"}}), obj(a={"type": ["integer", "null"], "maximum": 9, "minimum": 0}),
        {"type": "array", "prefixItems": [{"const": 1}, {"const": "x"}], "minItems": 2, "maxItems": 2, "items": False}, {"if": {"type": "object"}, "then": {"required": ["a"]}, **obj(a={"const": 1})},
        obj(a={"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False, "minProperties": 1}), obj(a={"type": "object", "propertyNames": {"pattern": "^k"}, "additionalProperties": {"enum": [1]}, "minProperties": 1, "maxProperties": 1}),
        obj(a={"type": "array", "contains": {"const": 3}, "items": {"enum": [1, 3]}, "maxItems": 3}), obj(a={"dependentRequired": {"b": ["c"]}, "type": "object", "properties": {"b": {"const": 1}, "c": {"const": 2}}, "additionalProperties": False}),
    ]
    every, unsupported = each(), 0
    for s in schemas:
        for strict in (True, False):
            with every.step(json.dumps(s, ensure_ascii=False)):
                r = post(CHAT, **schema(s, strict=strict))
                if r.status_code == 400:
                    refused(r, 400, "response_format")
                    print("     refused:", r.json()["error"]["message"])
                    unsupported += 1
                    continue
                equal(r.status_code, 200, f"status, with {r.text[:200]!r}")
                c = r.json()["choices"][0]
                if c["finish_reason"] != "length":  # nothing is promised of what was cut off
                    jsonschema.validate(json.loads(c["message"]["content"]), s)
    every.done()
    assert unsupported < len(schemas), "most schemas are refused"


@check
def hostile_schemas_are_refused():
    hostile = [{"type": "string", "pattern": "("}, {"type": "string", "pattern": "[z-a]"}, {"$ref": "http://localhost:1/schema.json"}, {"$ref": "#/$defs/nobody"},
               {"type": "nonsense"}, {"type": "string", "minLength": 10**9}, {"enum": []}, {"type": "array", "items": 7}, {"type": "integer", "minimum": 5, "maximum": 4}, {"$ref": "#"}]
    # What can be answered, but not by writing all cases down.
    large = [{"type": "string", "pattern": "^((((a{1,100}){1,100}){1,100}){1,100})$"}, {"type": "string", "maxLength": 10**9}, {"type": "array", "maxItems": 10**9, "items": {"const": 1}},
             {"enum": [f"word {i}" for i in range(20000)]}, {"anyOf": [{"const": i} for i in range(5000)]}, {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(2000)}}]
    every = each()
    for s in hostile + large:
        with every.step(json.dumps(s)):
            start = time.time()
            r = post(CHAT, **{**schema(s), "max_tokens": 8})
            if s in hostile or r.status_code != 200:
                refused(r, 400, "response_format")
            assert time.time() - start < 5, f"took {time.time() - start:.1f} s"
    for depth in (200, 3000):
        body = json.dumps(chat(max_tokens=8)).encode()[:-1] + b',"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":' + nested(depth) + b"}}}"
        with every.step(depth, "arrays within each other"):
            refused(http.post(CHAT, content=body, headers={"Content-Type": "application/json"}), 400)
    with every.step("afterwards"):
        ask(CHAT, **chat(max_tokens=2))
    every.done()


def nested(n):
    return b'{"type":"array","items":' * n + b'{"type":"integer"}' + b"}" * n


@check
def types_of_response_format():
    ask(CHAT, **chat(response_format={"type": "text"}))
    for seed in range(5):
        a = ask(CHAT, **chat("Gib JSON aus.", response_format={"type": "json_object"}, max_tokens=120, temperature=1, seed=seed))["choices"][0]
        if a["finish_reason"] == "stop":
            assert isinstance(json.loads(a["message"]["content"]), dict), a
    every = each()
    for wrong in ({"type": "xml"}, {}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "s", "schema": 5}}):
        with every.step(wrong):
            refused(post(CHAT, **chat(response_format=wrong)), 400, "response_format")
    every.done()


@check
def cut_json_is_not_called_complete():
    s = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 50, "maxItems": 60}}, "required": ["a"], "additionalProperties": False}
    equal(ask(CHAT, **{**schema(s), "max_tokens": 5})["choices"][0]["finish_reason"], "length")


# Logprobs


def finite(v):
    assert isinstance(v, (int, float)) and math.isfinite(v) and v <= 1e-6, f"logprob {v!r}"


@check
def logprobs_of_a_chat():
    for n in (0, 1, 20):
        c = ask(CHAT, **chat("Nenne ein Emoji: 😀", logprobs=True, top_logprobs=n))["choices"][0]
        content = c["logprobs"]["content"]
        for t in content:
            assert set(t) >= {"token", "logprob", "bytes", "top_logprobs"}, t
            finite(t["logprob"])
            equal(len(t["top_logprobs"]), n, "top_logprobs")
            tops = [x["logprob"] for x in t["top_logprobs"]]
            equal(tops, sorted(tops, reverse=True), "the order of top_logprobs")
            for x in t["top_logprobs"]:
                assert set(x) >= {"token", "logprob", "bytes"}, x
                finite(x["logprob"])
            if n > 0:
                assert math.isclose(t["logprob"], tops[0], abs_tol=1e-4), f"greedy, but not the likeliest: {t['logprob']} and {tops[0]}"
        text = b"".join(bytes(t["bytes"]) for t in content).decode("utf-8", "replace")
        assert text.startswith(c["message"]["content"]), f"{text!r} and {c['message']['content']!r}"
    plain = ask(CHAT, **chat())["choices"][0]
    equal(plain.get("logprobs"), None, "logprobs unasked")
    chunks = events(CHAT, **chat(logprobs=True, top_logprobs=2))
    n = sum(len((c.get("logprobs") or {}).get("content") or []) for e in chunks for c in e["choices"])
    equal(n, ask(CHAT, **chat(logprobs=True, top_logprobs=2))["usage"]["completion_tokens"], "tokens with logprobs in a stream")


@check
def logprobs_of_a_banned_token():
    c = ask(CHAT, **chat(logprobs=True, top_logprobs=20, max_tokens=1))["choices"][0]["logprobs"]["content"][0]
    ids = http.post("/tokenize", json={"content": c["token"], "prompt": c["token"], "add_special_tokens": False}).json()["tokens"]
    for t in ask(CHAT, **chat(logprobs=True, top_logprobs=20, max_tokens=4, logit_bias={str(i): -100 for i in ids}))["choices"][0]["logprobs"]["content"]:
        finite(t["logprob"])
        for x in t["top_logprobs"]:
            finite(x["logprob"])


@check
def echo_with_logprobs():
    prompt = "Der Hund läuft über die Wiese."
    for n in (0, 1):
        c = ask(LEGACY, model=model(), prompt=prompt, max_tokens=n, echo=True, logprobs=2, temperature=0)["choices"][0]
        assert c["text"].startswith(prompt), c["text"]
        p = c["logprobs"]
        equal(len({len(p[k]) for k in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}), 1, "lengths")
        equal(p["token_logprobs"][0], None, "the first token's logprob")
        equal(p["top_logprobs"][0], None, "the first token's top_logprobs")
        for v in p["token_logprobs"][1:]:
            finite(v)
        for top in p["top_logprobs"][1:]:
            assert isinstance(top, dict) and 1 <= len(top) <= 3, top
        equal(p["text_offset"], sorted(p["text_offset"]), "text_offset")
        if n == 0:
            equal(c["text"], prompt, "echo without a completion")
    scores = c["logprobs"]["token_logprobs"]
    assert min(scores[1:]) < -0.01, "all tokens are certain"


@check
def echo_of_ids_and_batches():
    ids = http.post("/tokenize", json={"content": "Der Hund läuft.", "prompt": "Der Hund läuft.", "add_special_tokens": False}).json()["tokens"]
    a = ask(LEGACY, model=model(), prompt=ids, max_tokens=0, echo=True, logprobs=1)["choices"][0]["logprobs"]
    equal(len(a["tokens"]), len(ids), "tokens of a prompt of ids")
    b = ask(LEGACY, model=model(), prompt=[ids, ids[:2]], max_tokens=0, echo=True, logprobs=1)
    equal([c["index"] for c in b["choices"]], [0, 1], "indices of a batch")
    equal(b["choices"][0]["logprobs"]["token_logprobs"], a["token_logprobs"], "scores alone and in a batch")
    equal(b["usage"]["prompt_tokens"], len(ids) + 2, "prompt_tokens")


# Text, templates, context


@check
def characters_are_whole_in_a_stream():
    want = "😀 ä 漢字 👩‍👧"
    body = schema({"const": want})
    r = post(CHAT, **body)
    if r.status_code != 200:
        raise Skip("const is refused: " + r.text[:200])
    chunks = events(CHAT, **body)
    for c in chunks:
        assert "�" not in json.dumps(c, ensure_ascii=False), c
    equal(json.loads(text_of(chunks)), want, "the joined text")


@check
def control_tokens_typed_by_users():
    def count(text):
        return ask(CHAT, **chat(text, max_tokens=1))["usage"]["prompt_tokens"]

    base = count("AB")
    for word in ("<|im_end|>", "<|im_start|>", "</s>", "<s>"):
        n = count("A" + word + "B") - base
        assert n >= 2, f"{word} in a message is {n} tokens more: a control token?"


@check
def roles_and_parts():
    ok = [
        [{"role": "system", "content": "Antworte knapp."}, {"role": "user", "content": "Hallo"}],
        [{"role": "developer", "content": "Antworte knapp."}, {"role": "user", "content": "Hallo"}],
        [{"role": "user", "content": "Hallo"}, {"role": "user", "content": "Bist du da?"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hal"}, {"type": "text", "text": "lo"}]}],
        [{"role": "system", "content": [{"type": "text", "text": "Knapp."}]}, {"role": "user", "content": "Hallo"},
         {"role": "assistant", "content": [{"type": "text", "text": "Ja?"}]}, {"role": "user", "content": [{"type": "text", "text": "Gut."}], "name": "Eva"}],
        [{"role": "assistant", "content": "Hallo"}, {"role": "user", "content": "Hallo"}],
    ]
    every = each()
    for messages in ok:
        with every.step(messages):
            ask(CHAT, **chat(messages=messages, max_tokens=2))
    for wrong in ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://localhost:1/x.png"}}]}],
                  [{"role": "user", "content": [{"type": "smell", "smell": "roses"}]}], [{"role": "user", "content": [{"type": "text"}]}],
                  [{"role": "user", "content": None}], [{"role": "user", "content": 5}], []):
        with every.step(wrong):
            refused(post(CHAT, **chat(messages=wrong)), 400, "messages")
    every.done()


@check
def joined_parts_are_the_text():
    a = ask(CHAT, **chat("Hallo Welt", max_tokens=1))["usage"]["prompt_tokens"]
    b = ask(CHAT, **chat([{"type": "text", "text": "Hallo"}, {"type": "text", "text": " Welt"}], max_tokens=1))["usage"]["prompt_tokens"]
    assert a <= b <= a + 1, f"two parts have {b} tokens, one text {a}"  # a line break may stand between them


@check
def a_prompt_that_does_not_fit():
    long = "Das ist ein langer Satz. " * 20000
    every = each()
    for path, body in ((CHAT, chat(long)), (CHAT, chat(long, stream=True)), (LEGACY, {"model": model(), "prompt": long}),
                       (RESPONSES, {"model": model(), "input": long}), (EMBED, {"model": model(), "input": long})):
        with every.step(path):
            e = refused(post(path, **body), 400, code="context_length_exceeded")
            numbers = sum(w.strip(".,:;()").isdigit() for w in e["message"].split())
            assert numbers >= 2, f"both numbers are missing in {e['message']!r}"
    every.done()


# Embeddings


@check
def embeddings():
    r = post(EMBED, model=model(), input="Hallo")
    if r.status_code in (404, 501):
        raise Skip(r.text[:200])
    texts = ["Der Hund läuft.", "Die Katze schläft.", "Ein Haus."]
    a = ask(EMBED, model=model(), input=texts, encoding_format="float")
    equal(a["object"], "list")
    equal([d["index"] for d in a["data"]], [0, 1, 2], "indices")
    equal({d["object"] for d in a["data"]}, {"embedding"})
    assert a["usage"]["prompt_tokens"] > 0 and a["usage"]["total_tokens"] == a["usage"]["prompt_tokens"], a["usage"]
    b = ask(EMBED, model=model(), input=texts, encoding_format="base64")
    for x, y in zip(a["data"], b["data"]):
        raw_floats = base64.b64decode(y["embedding"])
        got = struct.unpack(f"<{len(raw_floats) // 4}f", raw_floats)
        assert len(got) == len(x["embedding"]) and all(abs(p - q) < 1e-6 for p, q in zip(got, x["embedding"])), "float and base64 differ"
    alone = ask(EMBED, model=model(), input=texts[1])["data"][0]["embedding"]
    assert all(abs(p - q) < 1e-6 for p, q in zip(alone, a["data"][1]["embedding"])), "alone and in a list differ"
    ids = http.post("/tokenize", json={"content": texts[0], "prompt": texts[0], "add_special_tokens": False}).json()["tokens"]
    equal(len(ask(EMBED, model=model(), input=ids)["data"]), 1, "a list of ids")
    equal(len(ask(EMBED, model=model(), input=[ids, ids[:2]])["data"]), 2, "lists of ids")
    every = each()
    for wrong in ("", [], [""], ["a", ""], [[]], [1.5], {"a": 1}, None, ["x"] * 2049):
        with every.step(str(wrong)[:40]):
            refused(post(EMBED, model=model(), input=wrong), 400, "input")
    with every.step("encoding_format"):
        refused(post(EMBED, model=model(), input="a", encoding_format="hex"), 400, "encoding_format")
    every.done()


@check
def dimensions_of_embeddings():
    r = post(EMBED, model=model(), input="Hallo", dimensions=16)
    if r.status_code != 200:
        refused(r, 400, "dimensions")
        return
    v = r.json()["data"][0]["embedding"]
    equal(len(v), 16, "dimensions")
    assert abs(sum(x * x for x in v) - 1) < 1e-3, "not of length 1"


# Models


@check
def models():
    r = http.get("/v1/models").json()
    equal(r["object"], "list")
    for m in r["data"]:
        assert set(m) >= {"id", "object", "created", "owned_by"}, m
        equal(m["object"], "model")
    one = http.get("/v1/models/" + model())
    equal(one.status_code, 200, "status")
    equal(one.json()["id"], model())
    equal(ask(CHAT, **chat(max_tokens=1))["model"], model(), "the model of an answer")


@check
def unknown_models():
    every = each()
    with every.step("/v1/models/nobody"):
        refused(http.get("/v1/models/nobody"), 404, code="model_not_found")
    for path, body in ((CHAT, chat()), (LEGACY, {"prompt": "a"}), (EMBED, {"input": "a"}), (RESPONSES, {"input": "a"})):
        with every.step(path):
            e = refused(post(path, **{**body, "model": "nobody"}), 404, code="model_not_found")
            assert "nobody" in e["message"], e["message"]
    every.done()


# Responses


@check
def response_events():
    r = post(RESPONSES, model=model(), input="Nenne eine Farbe.", max_output_tokens=16, temperature=0, stream=True)
    equal(r.status_code, 200, f"status, with {r.text[:200]!r}")
    found = []
    for block in r.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if not lines or lines.get("data") == "[DONE]":
            continue
        e = json.loads(lines["data"])
        equal(lines.get("event"), e["type"], "event: and type")
        found.append(e)
    types = [e["type"] for e in found]
    deltas = types.count("response.output_text.delta")
    end = found[-1]["type"]
    among(end, ("response.completed", "response.incomplete"), "the last event")
    equal(types, ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
          + ["response.output_text.delta"] * deltas + ["response.output_text.done", "response.content_part.done", "response.output_item.done", end], "order")
    numbers = [e["sequence_number"] for e in found]
    equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "sequence_number")
    text = ""
    for e in found:
        if e["type"] == "response.output_text.delta":
            assert e["item_id"] and e["output_index"] == 0 and e["content_index"] == 0, e
            text += e["delta"]
    last = found[-1]["response"]
    assert last["id"] and last["id"] == found[0]["response"]["id"], "id"
    equal(last["output"][0]["content"][0]["text"], text, "the text of the last event")
    assert last["usage"]["input_tokens"] > 0 and last["usage"]["output_tokens"] > 0, last["usage"]
    equal(last["status"], end.removeprefix("response."), "status")


@check
def response_formats():
    base = {"model": model(), "input": "Gib etwas aus.", "max_output_tokens": 200, "temperature": 0}
    ask(RESPONSES, **base)
    ask(RESPONSES, text={"format": {"type": "text"}}, **base)
    s = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["a"], "additionalProperties": False}
    a = ask(RESPONSES, text={"format": {"type": "json_schema", "name": "s", "schema": s, "strict": True}}, **base)
    assert 1 <= json.loads(a["output"][0]["content"][0]["text"])["a"] <= 9, a
    refused(post(RESPONSES, text={"format": {"type": "xml"}}, **base), 400, "text")
    refused(post(RESPONSES, model=model(), input=5), 400, "input")
    refused(post(RESPONSES, model=model(), input="a", previous_response_id="resp_1"), (400, 404))


# Network


@check
def other_hosts_and_origins():
    every = each()
    with every.step("Host: evil.test"):
        equal(http.get("/v1/models", headers={"Host": "evil.test"}).status_code, 403, "status")
    with every.step("a foreign origin"):
        r = http.post(CHAT, json=chat(max_tokens=1), headers={"Origin": "http://evil.test"})
        equal(r.headers.get("access-control-allow-origin"), None, "is let in")
        equal(r.status_code, 403, "status")
    with every.step("a foreign origin with text/plain, which needs no preflight"):
        r = http.post(CHAT, content=json.dumps(chat(max_tokens=1)), headers={"Origin": "http://evil.test", "Content-Type": "text/plain"})
        among(r.status_code, (403, 415), "status")
    with every.step("a preflight from the page itself"):
        r = http.options(CHAT, headers={"Origin": BASE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"})
        assert r.status_code < 300, f"status {r.status_code}"
    every.done()


@check
def a_client_that_leaves():
    """A request whose client has gone must not run on: many of them would block the next one."""
    def metric():
        for line in http.get("/metrics").text.splitlines():
            if "requests_running" in line.replace(":", "_") and not line.startswith("#"):
                return float(line.split()[-1])
        raise Skip("/metrics has no number of running requests")

    u = urlsplit(BASE)
    body = json.dumps(chat("Erzähle eine lange Geschichte.", max_tokens=800, stream=True, logit_bias={})).encode()
    for stream in (body, body.replace(b'"stream": true', b'"stream": false')):
        for _ in range(8):
            s = socket.create_connection((u.hostname, u.port), timeout=10)
            s.sendall(b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), u.netloc.encode(), len(stream)) + stream)
            time.sleep(0.02)
            s.close()
    time.sleep(1)
    equal(metric(), 0, "running requests a second later")


@check
def a_reader_that_stops_reading():
    u = urlsplit(BASE)
    body = json.dumps(chat("Erzähle eine lange Geschichte.", max_tokens=800, stream=True)).encode()
    s = socket.create_connection((u.hostname, u.port), timeout=10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), u.netloc.encode(), len(body)) + body)
    start = time.time()
    ask(CHAT, **chat(max_tokens=8))
    assert time.time() - start < 10, "one slow reader delays others"
    s.close()


@check
def health():
    every = each()
    for path in ("/livez", "/readyz"):
        with every.step(path):
            equal(http.get(path).status_code, 200, "status")
    with every.step("/metrics"):
        assert "# TYPE" in http.get("/metrics").text, "no metrics"
    every.done()


@check
def it_still_answers():
    ask(CHAT, **chat(max_tokens=2))


if __name__ == "__main__":
    main()
