"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

from harness import BASE, KEY, check, equal, main, model

llm = ChatOpenAI(base_url=BASE + "/v1", api_key=KEY, model=model(), temperature=0, max_tokens=120, max_retries=0)


@check
def a_round():
    messages = [SystemMessage("Antworte knapp."), HumanMessage("Nenne eine Farbe.")]
    a = llm.invoke(messages)
    assert a.content and a.usage_metadata["output_tokens"] > 0, a
    b = llm.invoke(messages + [a, HumanMessage("Und noch eine.")])
    assert b.content, b


@check
def streamed():
    chunks = list(llm.stream("Nenne eine Farbe."))
    assert len(chunks) > 1, chunks
    equal("".join(c.content for c in chunks), llm.invoke("Nenne eine Farbe.").content, "streamed and whole")
    assert any(c.usage_metadata for c in ChatOpenAI(base_url=BASE + "/v1", api_key=KEY, model=model(), max_tokens=8, stream_usage=True).stream("Hallo"))


@tool
def get_weather(city: str) -> str:
    """Das Wetter eines Ortes."""
    return "Regen"


@check
def tools():
    a = llm.bind_tools([get_weather], tool_choice="any").invoke("Wie wird das Wetter in Ulm?")
    if a.response_metadata["finish_reason"] == "length":
        return  # a city without end: the model's fault
    equal(a.tool_calls[0]["name"], "get_weather")
    result = ToolMessage(get_weather.invoke(a.tool_calls[0]["args"]), tool_call_id=a.tool_calls[0]["id"])
    b = llm.bind_tools([get_weather]).invoke([HumanMessage("Wie wird das Wetter in Ulm?"), a, result])
    assert b is not None


class Color(BaseModel):
    red: int = Field(ge=0, le=9)
    warm: bool


@check
def structured():
    a = llm.with_structured_output(Color, method="json_schema").invoke("Beschreibe eine Farbe.")
    assert isinstance(a, Color), a
    b = llm.with_structured_output(Color, method="function_calling").invoke("Beschreibe eine Farbe.")
    assert isinstance(b, Color), b


@check
def embeddings():
    e = OpenAIEmbeddings(base_url=BASE + "/v1", api_key=KEY, model=model())  # sends ids of tiktoken, in base64
    try:
        e.embed_query("Hund")
    except Exception as err:
        assert "vocabulary" in str(err) or "tiktoken" in str(err) or "resolve" in str(err), err
    own = OpenAIEmbeddings(base_url=BASE + "/v1", api_key=KEY, model=model(), check_embedding_ctx_length=False)
    vectors = own.embed_documents(["Der Hund", "Die Katze"])
    equal(len(vectors), 2)
    assert len(vectors[0]) > 8, len(vectors[0])


if __name__ == "__main__":
    main()
