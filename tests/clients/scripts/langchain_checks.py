"""
LangChain's ``ChatOpenAI``: it adds up what repeats, so it shows at once what is sent twice. Numbers are those of the
conformance checks (client contracts, section 8).
"""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import add
from typing import Any

import openai
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, Bench, main
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


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

    name: str = pydantic.Field(description="full name")
    age: int
    languages: list[str]


def opened(bench: Bench, **options: Any) -> ChatOpenAI:
    """A model that gives up at once, unless told otherwise."""
    given = {"model": MODEL, "max_retries": 0, "timeout": 30, "use_responses_api": False, **options}
    return ChatOpenAI(base_url=bench.base_url, api_key=bench.api_key, **given)  # type: ignore[arg-type]


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


def check_invoke(bench: Bench) -> None:
    """1, 14, 60: the id is no Responses id, which LangChain would send back as one."""
    message = opened(bench).invoke("scene:text")
    assert message.content == GREETING
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["model_name"] == MODEL
    assert message.response_metadata["id"].startswith("chatcmpl-")
    assert not (message.id or "").startswith("resp_")
    usage = message.usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_token_details"]["reasoning"] == 0
    assert usage["input_token_details"]["cache_read"] == 0


def check_stream(bench: Bench) -> None:
    """2, 12, 60: nothing is doubled by adding up."""
    model = opened(bench, stream_usage=True)
    message = joined(model, "scene:text")
    assert message.content == GREETING
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["model_name"] == MODEL
    assert message.usage_metadata == model.invoke("scene:text").usage_metadata


def check_stream_without_usage(bench: Bench) -> None:
    """13."""
    message = joined(opened(bench, stream_usage=False), "scene:text")
    assert message.content == GREETING
    assert message.usage_metadata is None


def check_separators(bench: Bench) -> None:
    """37."""
    assert opened(bench).invoke("scene:separators").content == SEPARATED
    assert joined(opened(bench), "scene:separators").content == SEPARATED


def check_reasoning(bench: Bench) -> None:
    """57."""
    model = opened(bench, stream_usage=True)
    for message in (model.invoke("scene:reasoning"), joined(model, "scene:reasoning")):
        content = str(message.content)
        assert content.startswith("<think>")
        assert content.count("<think>") == content.count("</think>") == 1
        assert content.endswith(GREETING)
        assert message.usage_metadata is not None
        assert message.usage_metadata["output_token_details"]["reasoning"] > 0


def check_tool_call_streamed(bench: Bench) -> None:
    """60."""
    message = joined(opened(bench, stream_usage=True).bind_tools([get_weather]), "scene:tool")
    (call,) = message.tool_calls
    assert call["name"] == "get_weather"
    assert call["args"] == {"city": "Paris"}
    assert (call["id"] or "").count("call_") == 1
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.usage_metadata is not None


def check_parallel_calls_streamed(bench: Bench) -> None:
    """6."""
    message = joined(opened(bench).bind_tools([get_weather, get_time]), "scene:tools2")
    assert [call["name"] for call in message.tool_calls] == ["get_weather", "get_time"]
    assert all(call["args"] == {"city": "Paris"} for call in message.tool_calls)
    assert not message.invalid_tool_calls


def check_tool_loop(bench: Bench) -> None:
    """8, 45."""
    plain = opened(bench)
    any_tool = plain.bind_tools([get_weather, get_time], tool_choice="any")
    messages: list[BaseMessage] = [SystemMessage("Be kind."), HumanMessage("Is it dry?")]
    first = any_tool.invoke(messages)
    assert bench.bodies()[-1]["tool_choice"] == "required"
    assert isinstance(first, AIMessage)
    outputs = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
    assert len(outputs) == 1
    last = plain.bind_tools([get_weather, get_time]).invoke([*messages, first, *outputs])
    assert "rain in Paris" in str(last.content)
    body = bench.bodies()[-1]
    assert body["instructions"] == "Be kind."
    call, output = body["input"][-2:]
    assert call["type"] == "function_call"
    assert output["type"] == "function_call_output"
    assert call["call_id"] == output["call_id"] == first.tool_calls[0]["id"]


def check_structured_output(bench: Bench) -> None:
    """41, 44: by schema, and by a named function."""
    for method in ("json_schema", "function_calling"):
        asked = opened(bench).with_structured_output(Person, method=method)  # type: ignore[arg-type]
        assert isinstance(asked.invoke("Who wrote the first program?"), Person)
    by_schema, by_function = bench.bodies()
    assert by_schema["text"]["format"]["type"] == "json_schema"
    assert by_schema["text"]["format"]["name"] == "Person"
    assert by_schema["text"]["format"]["strict"] is True
    assert by_function["tool_choice"] == {"type": "function", "name": "Person"}


def check_structured_output_streamed(bench: Bench) -> None:
    """41, streamed."""
    for method in ("json_schema", "function_calling"):
        asked = opened(bench).with_structured_output(Person, method=method)  # type: ignore[arg-type]
        assert isinstance(list(asked.stream("Who wrote the first program?"))[-1], Person)


def check_json_mode(bench: Bench) -> None:
    """42."""
    asked = opened(bench).with_structured_output(method="json_mode", schema=None)
    assert isinstance(asked.invoke("Tell me something as JSON"), dict)
    assert bench.bodies()[-1]["text"]["format"] == {"type": "json_object"}


def check_parameters_stay_here(bench: Bench) -> None:
    """4: LangChain sends them with every call."""
    model = opened(bench, temperature=0.3, max_tokens=100, top_p=0.5, seed=1, stop=["zzz"], n=1)
    assert model.invoke("scene:text").content == GREETING
    (body,) = bench.bodies()
    assert not {"temperature", "max_tokens", "max_completion_tokens", "top_p", "seed", "stop", "n"} & set(body)


def check_incomplete(bench: Bench) -> None:
    """40, 110."""
    for name, reason in (("incomplete", "length"), ("filter", "content_filter")):
        assert opened(bench).invoke(f"scene:{name}").response_metadata["finish_reason"] == reason
        assert joined(opened(bench), f"scene:{name}").response_metadata["finish_reason"] == reason


def check_refusal(bench: Bench) -> None:
    """55."""
    message = opened(bench).invoke("scene:refusal")
    assert message.additional_kwargs["refusal"] == "I'm sorry, but I can't help with that."
    assert message.content == ""


def check_errors(bench: Bench) -> None:
    """26, 27, 82, 84."""
    error = failure(openai.NotFoundError, lambda: opened(bench, model=UNKNOWN_MODEL).invoke("hi"))
    assert error.code == "model_not_found"
    error = failure(openai.BadRequestError, lambda: opened(bench, n=2).invoke("hi"))
    assert error.param == "n"
    error = failure(openai.BadRequestError, lambda: opened(bench).invoke("scene:400-detail"))
    assert "Unsupported parameter" in str(error)
    long = "scene:failed-first:context_length_exceeded"
    error = failure(openai.BadRequestError, lambda: opened(bench).invoke(long))
    assert error.code == "context_length_exceeded"
    # The last, since it parks the account.
    before = len(bench.calls())
    error = failure(openai.RateLimitError, lambda: opened(bench, max_retries=2).invoke("scene:429-usage"))
    assert error.code == "usage_limit_reached"
    assert len(bench.calls()) == before + 1


def check_broken_streams(bench: Bench) -> None:
    """30, 31: LangChain takes a silent end for success, so there is none."""
    for name, code in (("failed-mid", "server_error"), ("eof-mid", "upstream"), ("abort-mid", "upstream")):
        error = failure(openai.APIError, lambda text=name: joined(opened(bench), f"scene:{text}"))
        assert error.code.startswith(code), name


def check_cut_answers(bench: Bench) -> None:
    """32."""
    for name in ("eof-mid", "abort-mid", "failed-mid"):
        error = failure(openai.InternalServerError, lambda text=name: opened(bench).invoke(f"scene:{text}"))
        assert error.status_code == 502


def check_embeddings(bench: Bench) -> None:
    """88."""
    embeddings = OpenAIEmbeddings(
        base_url=bench.base_url,
        api_key=bench.api_key,  # type: ignore[arg-type]
        model=MODEL,
        check_embedding_ctx_length=False,
    )
    error = failure(openai.NotFoundError, lambda: embeddings.embed_query("hi"))
    assert error.code in {"unsupported_endpoint", "unknown_url"}
    assert error.response.request.headers["x-stainless-retry-count"] == "0"


def check_images(bench: Bench) -> None:
    """51, in LangChain's own block and in OpenAI's."""
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    url = f"data:image/png;base64,{pixel}"
    content: list[Any] = [
        {"type": "text", "text": "see"},
        {"type": "image", "base64": pixel, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    opened(bench).invoke([HumanMessage(content)])
    parts = bench.bodies()[-1]["input"][0]["content"]
    assert [part.get("image_url") for part in parts] == [None, url, url]


async def check_async(bench: Bench) -> None:
    """1, 2, 60, 112 with the async methods."""
    model = opened(bench, stream_usage=True)
    assert (await model.ainvoke("scene:text")).content == GREETING
    chunks = [chunk async for chunk in model.astream("scene:text")]
    assert reduce(add, chunks).content == GREETING
    questions = [f"number {number}" for number in range(10)]
    answers = await asyncio.gather(*(model.ainvoke(question) for question in questions))
    assert [str(answer.content).rpartition("You said: ")[2] for answer in answers] == questions
    assert len({answer.response_metadata["id"] for answer in answers}) == 10


def check_batch(bench: Bench) -> None:
    """112."""
    questions = [f"number {number}" for number in range(6)]
    answers = opened(bench).batch(questions)
    assert [str(answer.content).rpartition("You said: ")[2] for answer in answers] == questions


if __name__ == "__main__":
    main(globals())
