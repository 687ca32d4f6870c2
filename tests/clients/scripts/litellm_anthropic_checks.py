"""LiteLLM as a client of Anthropic's Messages: by its chat, and by its own Messages. Numbers: next doors, section G."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from checking import GREETING, SEPARATED, WEATHER, Bench, main, scene, user

# It would fetch a table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

litellm.telemetry = False
litellm.suppress_debug_info = True

MODEL = "claude-opus-4-6"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj << /Type /Page >> endobj\n").decode()


def function(name: str) -> dict[str, Any]:
    """A tool as LiteLLM takes it."""
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": WEATHER}}


TOOLS = [function("get_weather"), function("get_time")]


def ask(bench: Bench, messages: list[Any], *, model: str = MODEL, **more: Any) -> Any:
    """An answer; it gives up at once."""
    given: dict[str, Any] = {"max_retries": 0, "timeout": 30, "api_key": bench.api_key, **more}
    return litellm.completion(model=f"anthropic/{model}", messages=messages, api_base=bench.root_url, **given)


def text_of(chunks: Any) -> str:
    """The joined content."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def failure(call: Any) -> Any:
    """The error that a call raises."""
    try:
        answer = call()
    except Exception as error:  # noqa: BLE001 - its class is what the check looks at
        return error
    raise AssertionError(f"no error but {answer!r:.200}")


def check_chat_and_stream(bench: Bench) -> None:
    """217, 231."""
    answer = ask(bench, [{"role": "system", "content": "Be kind."}, *scene("text")])
    assert answer.choices[0].message.content == GREETING
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert bench.bodies()[-1]["instructions"] == "Be kind."
    chunks = list(ask(bench, scene("text"), stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == GREETING
    assert [reason for chunk in chunks if chunk.choices and (reason := chunk.choices[0].finish_reason)] == ["stop"]
    assert [chunk.usage.total_tokens > 0 for chunk in chunks if getattr(chunk, "usage", None)] == [True]
    assert text_of(ask(bench, scene("separators"), stream=True)) == SEPARATED


def check_tool_loop(bench: Bench) -> None:
    """217, 221: two calls, collected and streamed, and their results."""
    question: list[Any] = user("What do get_weather and get_time say?")
    whole = litellm.stream_chunk_builder(list(ask(bench, question, tools=TOOLS, stream=True)))
    for answer in (ask(bench, question, tools=TOOLS), whole):
        assert answer is not None
        made = answer.choices[0].message
        assert answer.choices[0].finish_reason == "tool_calls"
        assert [call.function.name for call in made.tool_calls] == ["get_weather", "get_time"]
        assert all(json.loads(call.function.arguments) == {"city": "Paris"} for call in made.tool_calls)
        outputs = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in made.tool_calls]
        last = ask(bench, [*question, made.model_dump(exclude_none=True), *outputs], tools=TOOLS)
        assert "rain" in last.choices[0].message.content
        items = bench.bodies()[-1]["input"]
        assert [item["type"] for item in items[-4:]] == [*["function_call"] * 2, *["function_call_output"] * 2]
        assert [item["call_id"] for item in items[-2:]] == [call.id for call in made.tool_calls]


def check_thinking(bench: Bench) -> None:
    """207, 217: its signature goes up again."""
    first = ask(bench, scene("reasoning"), reasoning_effort="low").choices[0].message
    assert first.content == GREETING
    assert first.reasoning_content
    assert first.thinking_blocks[0]["signature"].startswith("gms1.")
    ask(bench, [*scene("reasoning"), first.model_dump(exclude_none=True), *user("and?")], reasoning_effort="low")
    sent = [item for item in bench.bodies()[-1]["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"][:5] for item in sent] == ["gAAAA"]


def check_structured_output(bench: Bench) -> None:
    """206, 217."""
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": WEATHER, "strict": True}}
    answer = ask(bench, user("where?"), response_format=wanted)
    assert json.loads(answer.choices[0].message.content) == {"city": "Paris"}


def check_images_and_documents(bench: Bench) -> None:
    """217, 236."""
    content = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
    ]
    ask(bench, [{"role": "user", "content": content}])
    parts = bench.bodies()[-1]["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_file"]
    assert parts[1]["image_url"] == f"data:image/png;base64,{PIXEL}"
    assert parts[2]["file_data"] == f"data:application/pdf;base64,{PDF}"


async def check_count_tokens(bench: Bench) -> None:
    """212, 217: counted here, by no model call."""
    places = {"api_base": bench.root_url, "api_key": bench.api_key}
    counted = await litellm.acount_tokens(f"anthropic/{MODEL}", user("word " * 100), **places)
    assert 100 < counted.total_tokens < 300
    assert counted.tokenizer_type == "anthropic_api", counted
    assert bench.calls() == []


async def check_its_own_messages(bench: Bench) -> None:
    """217: as a gateway that passes Messages on. Its stream needs what only its proxy installs."""
    given: dict[str, Any] = {"model": f"anthropic/{MODEL}", "messages": scene("text"), "max_tokens": 64}
    places = {"api_base": bench.root_url, "api_key": bench.api_key}
    answer = await litellm.anthropic.messages.acreate(**given, **places)
    assert answer["content"][0]["text"] == GREETING
    assert answer["stop_reason"] == "end_turn"


def check_errors(bench: Bench) -> None:
    """119, 217: as its own classes."""
    for call, kind in (
        (lambda: ask(bench, user("hi"), model="gpt-nowhere"), litellm.NotFoundError),
        (lambda: ask(bench, user("hi"), api_key="wrong"), litellm.AuthenticationError),
        (lambda: ask(bench, scene("400-detail")), litellm.BadRequestError),
        (lambda: ask(bench, user("scene:failed-first:context_length_exceeded")), litellm.ContextWindowExceededError),
        (lambda: ask(bench, scene("429-burst")), litellm.RateLimitError),
    ):
        error = failure(call)
        assert isinstance(error, kind), repr(error)
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        failure(lambda text=name: text_of(ask(bench, scene(text), stream=True)))
        failure(lambda text=name: ask(bench, scene(text)))


if __name__ == "__main__":
    main(globals())
