"""
LangChain's ``ChatOllama`` and ``OllamaLLM``. Numbers are those of the conformance checks (client contracts, section 8).
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import ollama
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, Bench, main
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM


@tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"rain in {city}"


class Person(pydantic.BaseModel):
    """A person."""

    name: str
    age: int


def places(bench: Bench) -> dict[str, Any]:
    """Where the server is, and the key."""
    headers = {"authorization": f"Bearer {bench.api_key}"}
    return {"base_url": bench.root_url, "client_kwargs": {"headers": headers, "timeout": 30}}


def opened(bench: Bench, **options: Any) -> ChatOllama:
    """A chat model that looks for its name when it is made."""
    return ChatOllama(**{"model": MODEL, "validate_model_on_init": True, **places(bench), **options})


def joined(model: Any, text: str) -> AIMessageChunk:
    """All chunks of a stream added up, as LangChain does it."""
    return reduce(add, model.stream(text))


def failure(kind: type[Exception], call: Any) -> Any:
    """The error that a call raises."""
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} but {answer!r:.200}")


def check_invoke_and_stream(bench: Bench) -> None:
    """19, 37, 95, 96: by either way the same, with counts once."""
    model = opened(bench)
    for message in (model.invoke("scene:text"), joined(model, "scene:text")):
        assert message.content == GREETING
        assert message.response_metadata["done_reason"] == "stop"
        usage = message.usage_metadata
        assert usage is not None
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert joined(model, "scene:separators").content == SEPARATED


def check_tool_calls(bench: Bench) -> None:
    """96, 20: parsed, streamed and not."""
    model = opened(bench).bind_tools([get_weather])
    for message in (model.invoke("scene:tool"), joined(model, "scene:tool")):
        (call,) = message.tool_calls
        assert call["name"] == "get_weather"
        assert call["args"] == {"city": "Paris"}
        assert not message.invalid_tool_calls


def check_tool_loop(bench: Bench) -> None:
    """96, 21."""
    model = opened(bench).bind_tools([get_weather])
    messages: list[BaseMessage] = [SystemMessage("Be kind."), HumanMessage("What does get_weather say?")]
    first = model.invoke(messages)
    assert isinstance(first, AIMessage)
    outputs = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
    assert len(outputs) == 1
    assert "rain in Paris" in str(model.invoke([*messages, first, *outputs]).content)
    body = bench.bodies()[-1]
    assert body["instructions"] == "Be kind."
    call, output = body["input"][-2:]
    assert call["type"] == "function_call"
    assert output["type"] == "function_call_output"
    assert call["call_id"] == output["call_id"]


def check_structured_output(bench: Bench) -> None:
    """43, 96: by a schema, and by a function."""
    for method in ("json_schema", "function_calling"):
        asked = opened(bench).with_structured_output(Person, method=method)  # type: ignore[arg-type]
        found = asked.invoke("Use Person: who wrote the first program?")
        assert isinstance(found, Person), method


def check_reasoning(bench: Bench) -> None:
    """58: beside the content when it is asked for."""
    message = joined(opened(bench, reasoning=True), "scene:reasoning")
    assert message.content == GREETING
    assert "I look at what was asked." in message.additional_kwargs["reasoning_content"]
    quiet = opened(bench, reasoning=False).invoke("scene:reasoning")
    assert quiet.content == GREETING
    assert not quiet.additional_kwargs.get("reasoning_content")


def check_llm(bench: Bench) -> None:
    """98: the route of plain texts."""
    model = OllamaLLM(model=MODEL, **places(bench))
    assert model.invoke("scene:text") == GREETING
    assert "".join(model.stream("scene:text")) == GREETING


def check_errors(bench: Bench) -> None:
    """34, 82, 88: what is refused, and what breaks; a silent end would be taken for success."""
    error = failure(
        ollama.ResponseError, lambda: opened(bench, validate_model_on_init=False).invoke("scene:400-detail")
    )
    assert "Unsupported parameter" in str(error)
    unknown = opened(bench, model=UNKNOWN_MODEL, validate_model_on_init=False)
    assert "not found" in str(failure(ollama.ResponseError, lambda: unknown.invoke("hi")))
    failure(ValueError, lambda: opened(bench, model=UNKNOWN_MODEL))
    for name in ("eof-mid", "abort-mid", "failed-mid"):
        failure(ollama.ResponseError, lambda text=name: joined(opened(bench), f"scene:{text}"))
    embeddings = OllamaEmbeddings(model=MODEL, **places(bench))
    assert "embeddings" in str(failure(ollama.ResponseError, lambda: embeddings.embed_query("hi")))


async def check_async(bench: Bench) -> None:
    """19, 96 with the async methods."""
    model = opened(bench)
    assert (await model.ainvoke("scene:text")).content == GREETING
    assert reduce(add, [chunk async for chunk in model.astream("scene:text")]).content == GREETING


if __name__ == "__main__":
    main(globals())
