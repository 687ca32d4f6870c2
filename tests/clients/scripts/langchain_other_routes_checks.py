"""
LangChain beyond chat: ``ChatOpenAI`` at the Responses API, where names like codex lead it by themselves, and the
``OpenAI`` of plain completions. Numbers are those of the conformance checks (client contracts, section 8).
"""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import add
from typing import Any

import openai
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, Bench, main, texts_of
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI


@tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"rain in {city}"


class Person(pydantic.BaseModel):
    """A person."""

    name: str = pydantic.Field(description="full name")
    age: int


def opened(bench: Bench, **options: Any) -> ChatOpenAI:
    """A model at the Responses API that gives up at once."""
    given = {"model": MODEL, "max_retries": 0, "timeout": 30, "use_responses_api": True, **options}
    return ChatOpenAI(base_url=bench.base_url, api_key=bench.api_key, **given)  # type: ignore[arg-type]


def plain(bench: Bench, **options: Any) -> OpenAI:
    """The model of plain texts."""
    given = {"model": MODEL, "max_retries": 0, "timeout": 30, **options}
    return OpenAI(base_url=bench.base_url, api_key=bench.api_key, **given)  # type: ignore[arg-type]


def joined(model: Any, text: str) -> AIMessageChunk:
    """All chunks of a stream added up, as LangChain does it."""
    return reduce(add, model.stream(text))


def text_of(message: BaseMessage) -> str:
    """The text of a message whose content is a list of blocks."""
    return str(message.text)


def failure(kind: type[Exception], call: Any) -> Any:
    """The error that a call raises."""
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} but {answer!r:.200}")


def check_invoke_and_stream(bench: Bench) -> None:
    """15, 17, 37: by either way the same, with usage once."""
    model = opened(bench)
    for message in (model.invoke("scene:text"), joined(model, "scene:text")):
        assert text_of(message) == GREETING
        assert message.response_metadata["status"] == "completed"
        assert message.response_metadata["id"].startswith("resp_")
        usage = message.usage_metadata
        assert usage is not None
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert text_of(joined(model, "scene:separators")) == SEPARATED


def check_a_name_with_codex(bench: Bench) -> None:
    """61: it is led to the Responses API without being told, and gets its text."""
    model = opened(bench, model="codex-auto-review", use_responses_api=None)
    assert text_of(model.invoke("scene:text")) == GREETING
    assert text_of(joined(model, "scene:text")) == GREETING
    assert {body["model"] for body in bench.bodies()} == {"codex-auto-review"}


def check_tool_loop(bench: Bench) -> None:
    """70, 71, 45: what came back goes up again, reasoning included."""
    model = opened(bench, reasoning={"summary": "auto"})
    messages: list[BaseMessage] = [SystemMessage("Be kind."), HumanMessage("What does get_weather say?")]
    asked_for = model.bind_tools([get_weather], tool_choice="any")
    for ask in (asked_for.invoke, lambda given: reduce(add, asked_for.stream(given))):
        first = ask(messages)
        assert bench.bodies()[-1]["tool_choice"] == "required"
        assert isinstance(first, AIMessage)
        (call,) = first.tool_calls
        assert call["args"] == {"city": "Paris"}
        assert not first.invalid_tool_calls
        output = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        last = model.bind_tools([get_weather]).invoke([*messages, first, output])
        assert "rain in Paris" in text_of(last)
        asked, answered = bench.bodies()[-1]["input"][-2:]
        assert asked["type"] == "function_call"
        assert answered["type"] == "function_call_output"
        assert asked["call_id"] == answered["call_id"] == call["id"]


def check_structured_output(bench: Bench) -> None:
    """41, 44."""
    for method in ("json_schema", "function_calling"):
        asked = opened(bench).with_structured_output(Person, method=method)  # type: ignore[arg-type]
        assert isinstance(asked.invoke("Who wrote the first program?"), Person)
        assert isinstance(list(asked.stream("Who wrote the first program?"))[-1], Person)
    bodies = bench.bodies()
    assert bodies[0]["text"]["format"]["type"] == "json_schema"
    assert bodies[-1]["tool_choice"] == {"type": "function", "name": "Person"}


def check_reasoning_and_search(bench: Bench) -> None:
    """59, 72: as blocks of content; citations are flat."""
    message = opened(bench, reasoning={"summary": "auto"}).invoke("scene:reasoning")
    kinds = [block["type"] for block in message.content if isinstance(block, dict)]
    assert kinds == ["reasoning", "text"]
    found = opened(bench).bind_tools([{"type": "web_search"}]).invoke("scene:search")
    (block,) = (block for block in found.content if isinstance(block, dict) and block["type"] == "text")
    (note,) = block["annotations"]
    assert (note["type"], note["url"]) == ("url_citation", "https://example.test/source")


def check_previous_response(bench: Bench) -> None:
    """76: its own way to go on."""
    model = opened(bench, use_previous_response_id=True)
    first = model.invoke([HumanMessage("hello")])
    model.invoke([HumanMessage("hello"), first, HumanMessage("and now?")])
    texts = texts_of(bench.bodies()[-1])
    assert texts == ["hello", "You said: hello", "and now?"]


def check_errors(bench: Bench) -> None:
    """26, 35, 82: a 200 that has failed would be a ValueError, or nothing at all."""
    error = failure(openai.NotFoundError, lambda: opened(bench, model=UNKNOWN_MODEL).invoke("hi"))
    assert error.code == "model_not_found"
    error = failure(openai.BadRequestError, lambda: opened(bench).invoke("scene:400-detail"))
    assert "Unsupported parameter" in str(error)
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        failure(openai.APIError, lambda text=name: joined(opened(bench), f"scene:{text}"))
        failure(openai.InternalServerError, lambda text=name: opened(bench).invoke(f"scene:{text}"))


async def check_async(bench: Bench) -> None:
    """15, 17, 112 with the async methods."""
    model = opened(bench)
    assert text_of(reduce(add, [chunk async for chunk in model.astream("scene:text")])) == GREETING
    answers = await asyncio.gather(*(model.ainvoke(f"number {number}") for number in range(6)))
    assert [text_of(answer) for answer in answers] == [f"You said: number {number}" for number in range(6)]


def check_completions(bench: Bench) -> None:
    """100, 101: a text for a text, collected and streamed."""
    model = plain(bench, temperature=0.1)
    assert model.invoke("scene:text") == GREETING
    assert "".join(model.stream("scene:text")) == GREETING


def check_completions_in_a_batch(bench: Bench) -> None:
    """102: three prompts in one request."""
    questions = [f"number {number}" for number in range(3)]
    assert plain(bench).batch(questions) == [f"You said: {question}" for question in questions]


if __name__ == "__main__":
    main(globals())
