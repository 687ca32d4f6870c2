"""LangChain's ``ChatAnthropic``. Numbers are those of next doors, section G."""

from __future__ import annotations

import asyncio
import base64
from functools import reduce
from operator import add
from typing import Any

import anthropic
import pydantic
from checking import GREETING, SEPARATED, Bench, main
from langchain_anthropic import ChatAnthropic
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

MODEL = "claude-opus-4-6"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj << /Type /Page >> endobj\n").decode()
THINKING = {"type": "enabled", "budget_tokens": 1024}


@tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"rain in {city}"


@tool
def get_time(city: str) -> str:
    """Time in a city."""
    return f"noon in {city}"


class Person(pydantic.BaseModel):
    """A person."""

    name: str
    age: int


def opened(bench: Bench, **options: Any) -> ChatAnthropic:
    """A model that gives up at once."""
    given = {"model": MODEL, "max_retries": 0, "timeout": 30, "max_tokens": 4096, **options}
    return ChatAnthropic(base_url=bench.root_url, api_key=bench.api_key, **given)  # type: ignore[arg-type]


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
    """214, 231, 318."""
    model = opened(bench)
    for message in (model.invoke("scene:text"), joined(model, "scene:text")):
        assert message.text == GREETING
        assert message.response_metadata["stop_reason"] == "end_turn"
        assert message.response_metadata["model_name"] == MODEL
        usage = message.usage_metadata
        assert usage is not None
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert joined(model, "scene:separators").text == SEPARATED


def check_tool_loop(bench: Bench) -> None:
    """214, 221, 223: any tool, two results of one message, and the system prompt."""
    model = opened(bench)
    messages: list[BaseMessage] = [SystemMessage("Be kind."), HumanMessage("What do get_weather and get_time say?")]
    first = model.bind_tools([get_weather, get_time], tool_choice="any").invoke(messages)
    assert bench.bodies()[-1]["tool_choice"] == "required"
    assert isinstance(first, AIMessage)
    assert first.response_metadata["stop_reason"] == "tool_use"
    named = {"get_weather": get_weather, "get_time": get_time}
    outputs = [
        ToolMessage(named[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
    ]
    last = model.bind_tools([get_weather, get_time]).invoke([*messages, first, *outputs])
    assert "rain in Paris" in last.text
    body = bench.bodies()[-1]
    assert body["instructions"] == "Be kind."
    calls = [item["call_id"] for item in body["input"] if item["type"] == "function_call"]
    assert calls == [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
    assert calls == [call["id"] for call in first.tool_calls]


def check_tools_streamed(bench: Bench) -> None:
    """214, 228: two calls after a thought, which goes up again as it came."""
    model = opened(bench, thinking=THINKING).bind_tools([get_weather, get_time])
    message = joined(model, "scene:tools2")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_time", {"city": "Paris"}),
    ]
    assert not message.invalid_tool_calls
    outputs = [ToolMessage("done", tool_call_id=call["id"]) for call in message.tool_calls]
    model.invoke([HumanMessage("scene:tools2"), message, *outputs])
    kinds = [item["type"] for item in bench.bodies()[-1]["input"]]
    assert kinds == ["message", "reasoning", *["function_call"] * 2, *["function_call_output"] * 2]


def check_structured_output(bench: Bench) -> None:
    """206, 214: by schema and by a tool."""
    for method in ("json_schema", "function_calling"):
        asked = opened(bench).with_structured_output(Person, method=method)  # type: ignore[arg-type]
        assert isinstance(asked.invoke("Who wrote the first program?"), Person)
        assert isinstance(list(asked.stream("Who wrote the first program?"))[-1], Person)
    by_schema, _, by_tool, _ = bench.bodies()
    assert by_schema["text"]["format"]["type"] == "json_schema"
    assert by_tool["tool_choice"] == {"type": "function", "name": "Person"}


def check_images_and_documents(bench: Bench) -> None:
    """214, 236: LangChain's own blocks, and OpenAI's block of an image."""
    content: list[Any] = [
        {"type": "text", "text": "see"},
        {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "file", "base64": PDF, "mime_type": "application/pdf"},
    ]
    opened(bench).invoke([HumanMessage(content)])
    parts = bench.bodies()[-1]["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_image", "input_file"]
    assert {part.get("image_url") for part in parts[1:3]} == {f"data:image/png;base64,{PIXEL}"}
    assert parts[3]["file_data"] == f"data:application/pdf;base64,{PDF}"


def check_web_search(bench: Bench) -> None:
    """204, 214: its blocks come and go up again."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    model = opened(bench).bind_tools([search])
    first = model.invoke("search for gptmock")
    joined(model, "search for gptmock")
    kinds = [block["type"] for block in first.content if isinstance(block, dict)]
    assert kinds == ["server_tool_use", "web_search_tool_result", "text"]
    model.invoke([HumanMessage("search for gptmock"), first, HumanMessage("and?")])
    assert "https://example.test/source" in str(bench.bodies()[-1]["input"])


def check_count_tokens(bench: Bench) -> None:
    """212, 214, 235: no model call."""
    count = opened(bench).get_num_tokens_from_messages([HumanMessage("word " * 100)], tools=[get_weather])
    assert 100 < count < 300
    assert bench.calls() == []


def check_errors(bench: Bench) -> None:
    """119, 214: its classes, with its own for a prompt that is too long."""
    failure(anthropic.NotFoundError, lambda: opened(bench, model="gpt-nowhere").invoke("hi"))
    failure(anthropic.AuthenticationError, lambda: opened(bench, anthropic_api_key="wrong").invoke("hi"))
    failure(anthropic.RateLimitError, lambda: opened(bench).invoke("scene:429-burst"))
    long = "scene:failed-first:context_length_exceeded"
    for ask in (lambda: opened(bench).invoke(long), lambda: joined(opened(bench), long)):
        assert "prompt is too long: " in str(failure(ContextOverflowError, ask))
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        failure(anthropic.APIStatusError, lambda text=name: joined(opened(bench), f"scene:{text}"))
        failure(anthropic.InternalServerError, lambda text=name: opened(bench).invoke(f"scene:{text}"))


async def check_async(bench: Bench) -> None:
    """214: many at once."""
    model = opened(bench)
    questions = [f"number {number}" for number in range(6)]
    answers = await asyncio.gather(*(model.ainvoke(question) for question in questions))
    assert [answer.text.rpartition("You said: ")[2] for answer in answers] == questions


if __name__ == "__main__":
    main(globals())
