"""The official Python client of OpenAI."""

import time
from typing import Literal

import openai
from openai import OpenAI
from pydantic import BaseModel

from harness import BASE, KEY, Skip, check, equal, main, model

client = OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=0, timeout=120)
question = [{"role": "user", "content": "Nenne eine Farbe."}]


def refused(kind, f):
    """f must raise an error of a kind; returns it."""
    try:
        f()
    except kind as e:
        equal(type(e), kind)
        return e
    raise AssertionError(f"no {kind.__name__}")


@check
def chat():
    a = client.chat.completions.create(model=model(), messages=question, max_tokens=16, temperature=0)
    m = a.choices[0].message
    equal(m.role, "assistant")
    assert m.content and m.tool_calls is None, m
    equal(a.usage.total_tokens, a.usage.prompt_tokens + a.usage.completion_tokens)
    assert a.id and a.created > 1.7e9, a


@check
def streamed_chat():
    kwargs = dict(model=model(), messages=question, max_tokens=16, temperature=0)
    whole = client.chat.completions.create(**kwargs).choices[0]
    text = ""
    for c in client.chat.completions.create(stream=True, **kwargs):
        text += c.choices[0].delta.content or ""  # as most programs do: an event without choices would raise
        last = c.choices[0].finish_reason
    equal((text, last), (whole.message.content, whole.finish_reason), "streamed and whole")


@check
def streamed_with_helpers():
    try:
        with client.chat.completions.stream(model=model(), messages=question, max_tokens=300, temperature=0, n=2,
                                            stream_options={"include_usage": True}) as s:
            kinds = {e.type for e in s}
            a = s.get_final_completion()
    except openai.LengthFinishReasonError as e:
        raise Skip("the answer does not end") from e
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    equal(len(a.choices), 2, "choices")
    assert a.usage.completion_tokens > 0, a.usage


@check
def stop_n_seed():
    kwargs = dict(model=model(), messages=question, max_tokens=24, temperature=1, seed=5)
    a = client.chat.completions.create(n=3, **kwargs)
    b = client.chat.completions.create(n=3, **kwargs)
    equal([c.message.content for c in b.choices], [c.message.content for c in a.choices], "texts of one seed")
    equal([c.index for c in a.choices], [0, 1, 2])
    text = a.choices[0].message.content
    if len(text) < 6:
        raise Skip(f"the answer is too short to stop in: {text!r}")
    stop = text[2:5]
    c = client.chat.completions.create(stop=[stop], **kwargs).choices[0]
    assert stop not in c.message.content, c


@check
def logprobs():
    c = client.chat.completions.create(model=model(), messages=question, max_tokens=8, temperature=0, logprobs=True, top_logprobs=3).choices[0]
    for t in c.logprobs.content:
        equal(len(t.top_logprobs), 3)
        assert t.logprob <= 0 and t.bytes is not None, t


@check
def completions_with_echo():
    a = client.completions.create(model=model(), prompt=["Der Hund", "Die Katze"], max_tokens=4, echo=True, logprobs=1, temperature=0)
    equal([c.index for c in a.choices], [0, 1])
    for c, prompt in zip(a.choices, ("Der Hund", "Die Katze")):
        assert c.text.startswith(prompt), c.text
        equal(c.logprobs.token_logprobs[0], None)
        assert all(v <= 0 for v in c.logprobs.token_logprobs[1:]), c.logprobs
    text = "".join(c.choices[0].text for c in client.completions.create(model=model(), prompt="Der Hund", max_tokens=4, temperature=0, stream=True))
    equal("Der Hund" + text, a.choices[0].text, "streamed and whole")


weather = {"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 10}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"], "additionalProperties": False}}}


@check
def a_round_with_a_tool():
    messages = [{"role": "user", "content": "Wie warm ist es in Ulm?"}]
    kwargs = dict(model=model(), tools=[weather], max_tokens=120, temperature=0)
    a = client.chat.completions.create(messages=messages, tool_choice="required", **kwargs).choices[0]
    equal(a.finish_reason, "tool_calls")
    call = a.message.tool_calls[0]
    equal(call.function.name, "get_weather")
    # As the client gives it back: with all its fields.
    messages += [a.message, {"role": "tool", "tool_call_id": call.id, "content": "21 Grad"}]
    b = client.chat.completions.create(messages=messages, tool_choice="none", **kwargs).choices[0]
    assert b.message.tool_calls is None and b.message.content is not None, b
    messages[1] = a.message.model_dump()
    client.chat.completions.create(messages=messages, tool_choice="auto", **kwargs)


@check
def streamed_tools():
    with client.chat.completions.stream(model=model(), messages=question, tools=[weather], tool_choice="required", max_tokens=120, temperature=0) as s:
        kinds = [e.type for e in s]
        a = s.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.delta" in kinds and "tool_calls.function.arguments.done" in kinds, set(kinds)
    args = a.message.tool_calls[0].function.parsed_arguments
    assert args["unit"] in ("C", "F"), args


class Animal(BaseModel):
    kind: Literal["Hund", "Katze"]
    legs: Literal[2, 4]
    tame: bool


@check
def parse():
    a = client.chat.completions.parse(model=model(), messages=question, response_format=Animal, max_tokens=200, temperature=0)
    assert isinstance(a.choices[0].message.parsed, Animal), a
    refused(openai.LengthFinishReasonError, lambda: client.chat.completions.parse(
        model=model(), messages=question, response_format=Animal, max_tokens=3, temperature=0))
    b = client.chat.completions.parse(model=model(), messages=question, tools=[openai.pydantic_function_tool(Animal)], tool_choice="required",
                                      max_tokens=200, temperature=0)
    assert isinstance(b.choices[0].message.tool_calls[0].function.parsed_arguments, Animal), b


class Node(BaseModel):
    name: Literal["a", "b"]
    children: list["Node"]


@check
def parse_of_a_tree():
    try:
        a = client.chat.completions.parse(model=model(), messages=question, response_format=Node, max_tokens=400, temperature=1, seed=3)
    except openai.LengthFinishReasonError:
        return  # a tree may grow for ever
    assert isinstance(a.choices[0].message.parsed, Node), a


@check
def embeddings():
    a = client.embeddings.create(model=model(), input=["Hund", "Katze"])  # asks for base64
    b = client.embeddings.create(model=model(), input=["Hund", "Katze"], encoding_format="float")
    for x, y in zip(a.data, b.data):
        assert len(x.embedding) == len(y.embedding) > 8, len(x.embedding)
        assert all(abs(p - q) < 1e-6 for p, q in zip(x.embedding, y.embedding)), "base64 and float differ"
    refused(openai.BadRequestError, lambda: client.embeddings.create(model=model(), input=""))


@check
def errors():
    e = refused(openai.BadRequestError, lambda: client.chat.completions.create(model=model(), messages=question, temperature=9))
    equal(e.param, "temperature")
    e = refused(openai.BadRequestError, lambda: client.chat.completions.create(model=model(), messages=[{"role": "user", "content": "Wort " * 100000}]))
    equal(e.code, "context_length_exceeded")
    e = refused(openai.NotFoundError, lambda: client.chat.completions.create(model="nobody", messages=question))
    equal(e.code, "model_not_found")
    refused(openai.NotFoundError, lambda: client.models.retrieve("nobody"))
    e = refused(openai.BadRequestError, lambda: client.chat.completions.create(model=model(), messages=question, temperature=9, stream=True))
    equal(e.param, "temperature")


@check
def models():
    names = [m.id for m in client.models.list()]
    assert model() in names, names
    equal(client.models.retrieve(model()).id, model())


@check
def cancellation():
    start = time.time()
    for _ in range(20):
        s = client.chat.completions.create(model=model(), messages=question, max_tokens=800, temperature=1, stream=True)
        next(iter(s))
        s.close()
    client.chat.completions.create(model=model(), messages=question, max_tokens=2)
    assert time.time() - start < 60, "canceled answers run on"
    # An answer that cannot be there within a millisecond.
    refused(openai.APITimeoutError, lambda: client.with_options(timeout=0.001).chat.completions.create(
        model=model(), messages=question, max_tokens=400, extra_body={"ignore_eos": True}))


@check
def responses():
    kwargs = dict(model=model(), input="Nenne eine Farbe.", max_output_tokens=300, temperature=0)
    a = client.responses.create(**kwargs)
    if a.status == "incomplete":
        raise Skip("the answer does not end")  # the helper raises then
    assert a.id and a.output_text and a.usage.output_tokens > 0, a
    text = ""
    numbers = []
    for e in client.responses.create(stream=True, **kwargs):
        numbers.append(e.sequence_number)
        if e.type == "response.output_text.delta":
            text += e.delta
    equal(text, a.output_text, "streamed and whole")
    equal(numbers, sorted(set(numbers)), "sequence numbers")
    with client.responses.stream(**kwargs) as s:
        for e in s:
            pass
        equal(s.get_final_response().output_text, a.output_text, "the helper's text")
    b = client.responses.create(model=model(), instructions="Antworte knapp.", max_output_tokens=8, input=[{"role": "user", "content": [{"type": "input_text", "text": "Hallo"}]}])
    assert b.output_text is not None, b


@check
def responses_parse():
    a = client.responses.parse(model=model(), input="Nenne ein Tier.", text_format=Animal, max_output_tokens=200, temperature=0)
    assert isinstance(a.output_parsed, Animal), a


if __name__ == "__main__":
    main()
