"""What JSON Schema cannot say of requests, for schemathesis.

Generated requests that are meant to be valid are mended where fields depend on each other or have a syntax of their own;
those that are meant to be invalid are left alone. Answers are kept short.
"""
import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("go-duration", st.sampled_from(["5m", "10s", "1h", "-1s", "90m"]))

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
GRAMMARS = ["response_format", "grammar", "guided_regex", "guided_choice", "guided_json"]


def mend_tools(body):
    tools = (body.get("tools") or [])[:2]
    for i, t in enumerate(tools):
        f = t.get("function", t)
        for d in t, f:
            for k in set(d) - {"type", "function", "name", "description", "parameters", "strict"}:
                del d[k]
        f["name"] = f"f{i}"
        if f.get("description"):
            f["description"] = f["description"][:20]
        if f.get("parameters") is not None:
            f["parameters"] = SCHEMA
    if "tools" in body:
        body["tools"] = tools
    choice = body.get("tool_choice")
    if not tools:
        body.pop("tool_choice", None)
    elif isinstance(choice, dict):
        choice.get("function", choice)["name"] = "f0"
    return bool(tools) and choice != "none"


def mend_messages(messages):
    for m in messages:
        if m.get("role") != "assistant":
            m.pop("tool_calls", None)
        for c in m.get("tool_calls") or []:
            if isinstance(c["function"]["arguments"], str):
                c["function"]["arguments"] = "{}"
        if m.get("type") == "function_call":
            m["arguments"] = "{}"
        if isinstance(m.get("content"), str):
            m["content"] = m["content"][:20]
        elif m.get("content"):
            del m["content"][1:]
    del messages[4:]


def mend_grammar(body, tools):
    used = [k for k in GRAMMARS if body.get(k) not in (None, "", [])]
    for k in used if tools else used[1:]:
        del body[k]
    for k, v in {"grammar": 'root ::= "a" | "b"', "guided_regex": "a|b", "guided_json": SCHEMA}.items():
        if k in used and k in body:
            body[k] = v
    f = (body.get("response_format") or {}).get("json_schema")
    if f:
        f["schema"] = SCHEMA
    if isinstance(body.get("format"), dict) or body.get("format") == "json" and tools:
        body["format"] = SCHEMA
        if tools:
            del body["format"]
    f = (body.get("text") or {}).get("format")
    if f and (f.get("schema") is not None or f["type"] == "json_object"):
        f["schema"] = SCHEMA
        if tools:
            del body["text"]


def mend(path, body):
    tools = mend_tools(body)
    for key in "messages", "input":
        if isinstance(body.get(key), list) and body[key] and isinstance(body[key][0], dict):
            mend_messages(body[key])
    mend_grammar(body, tools)
    if not body.get("stream"):
        body.pop("stream_options", None)
    if path == "/v1/completions":
        if body.get("max_tokens") == 0 and not body.get("echo"):
            del body["max_tokens"]
        if body.get("echo") and body.get("logprobs") is not None:
            body.pop("stream", None)
            body.pop("stream_options", None)
        if isinstance(body["prompt"], list) and len(body["prompt"]) > 8:
            del body["prompt"][8:]
    elif not body.get("logprobs") and path != "/v1/responses":
        body.pop("top_logprobs", None)
    for key in "dimensions", "continue_final_message", "chat_template_kwargs":
        body.pop(key, None)
    if body.get("n"):
        body["n"] = min(body["n"], 2)
    if body.get("best_of"):
        body["best_of"] = body.get("n") or 1
    if body.get("raw"):
        body.pop("system", None)
        body.pop("context", None)
    if body.get("think"):
        body["think"] = False
    short(path, body)


def short(path, body):
    """Keeps answers short."""
    if path in ("/api/chat", "/api/generate"):
        if body.get("context"):
            del body["context"][50:]
        body.setdefault("options", None)
        body["options"] = body["options"] or {}
        body["options"]["num_predict"] = 5
    elif path == "/v1/responses":
        body["max_output_tokens"] = min(body.get("max_output_tokens") or 5, 5)
    elif path in ("/v1/chat/completions", "/v1/completions"):
        for key in "max_tokens", "max_completion_tokens":
            if body.get(key):
                body[key] = min(body[key], 5)
        if body.get("max_tokens") is None:
            body["max_tokens"] = 5


@schemathesis.hook
def before_call(ctx, case, kwargs):
    if case.meta is not None and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        mend(case.operation.path, case.body)
