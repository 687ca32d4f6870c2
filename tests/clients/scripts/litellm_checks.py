"""
LiteLLM as a client: as OpenAI by chat, completions and responses, and as Ollama. Numbers are those of the conformance
checks (client contracts, section 8).
"""

from __future__ import annotations

import json
import os
from typing import Any

from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, WEATHER, Bench, main, scene, user

# It would fetch a table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

litellm.telemetry = False
litellm.suppress_debug_info = True

TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": WEATHER}}]


def ask(bench: Bench, messages: list[Any], *, model: str = f"openai/{MODEL}", **more: Any) -> Any:
    """A chat answer of whatever kind ``model`` is; it gives up at once."""
    given: dict[str, Any] = {"max_retries": 0, "timeout": 30, **more}
    return litellm.completion(model=model, messages=messages, api_base=bench.base_url, api_key=bench.api_key, **given)


def ask_ollama(bench: Bench, messages: list[Any], **more: Any) -> Any:
    """The same by Ollama's chat."""
    given: dict[str, Any] = {"timeout": 30, **more}
    model = f"ollama_chat/{MODEL}"
    return litellm.completion(model=model, messages=messages, api_base=bench.root_url, api_key=bench.api_key, **given)


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


def tool_loop(call: Any, bench: Bench) -> None:
    """A call, and the answer to its output."""
    messages: list[Any] = user("What does get_weather say?")
    first = call(bench, messages, tools=TOOLS).choices[0]
    (made,) = first.message.tool_calls
    assert made.function.name == "get_weather"
    assert json.loads(made.function.arguments) == {"city": "Paris"}
    output = {"role": "tool", "tool_call_id": made.id, "name": "get_weather", "content": "rain, 9 degrees"}
    last = call(bench, [*messages, first.message.model_dump(exclude_none=True), output], tools=TOOLS)
    assert "rain, 9 degrees" in last.choices[0].message.content
    sent, answered = bench.bodies()[-1]["input"][-2:]
    assert sent["type"] == "function_call"
    assert answered["type"] == "function_call_output"
    assert sent["call_id"] == answered["call_id"]


def check_chat(bench: Bench) -> None:
    """1, 14."""
    answer = ask(bench, scene("text"))
    assert answer.choices[0].message.content == GREETING
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def check_chat_streamed(bench: Bench) -> None:
    """2, 12, 37."""
    chunks = list(ask(bench, scene("text"), stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == GREETING
    assert [reason for chunk in chunks if chunk.choices and (reason := chunk.choices[0].finish_reason)] == ["stop"]
    assert [chunk.usage.total_tokens > 0 for chunk in chunks if getattr(chunk, "usage", None)] == [True]
    assert text_of(ask(bench, scene("separators"), stream=True)) == SEPARATED


def check_chat_tool_loop(bench: Bench) -> None:
    """8."""
    tool_loop(ask, bench)


def check_chat_tool_call_streamed(bench: Bench) -> None:
    """6."""
    tools = [*TOOLS, {"type": "function", "function": {"name": "get_time", "parameters": WEATHER}}]
    chunks = list(ask(bench, scene("tools2"), tools=tools, stream=True))
    whole = litellm.stream_chunk_builder(chunks)
    assert whole is not None
    calls = whole.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert all(json.loads(call.function.arguments) == {"city": "Paris"} for call in calls)


def check_chat_errors(bench: Bench) -> None:
    """26, 27, 82: as its own classes."""
    error = failure(lambda: ask(bench, user("hi"), model=f"openai/{UNKNOWN_MODEL}"))
    assert isinstance(error, litellm.NotFoundError), repr(error)
    error = failure(lambda: ask(bench, scene("400-detail")))
    assert isinstance(error, litellm.BadRequestError), repr(error)
    assert "Unsupported parameter" in str(error)
    # The last, since it parks the account.
    error = failure(lambda: ask(bench, scene("429-usage")))
    assert isinstance(error, litellm.RateLimitError), repr(error)


def check_chat_broken_streams(bench: Bench) -> None:
    """30, 31."""
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        error = failure(lambda text=name: text_of(ask(bench, scene(text), stream=True)))
        assert isinstance(error, litellm.exceptions.MidStreamFallbackError), f"{name}: {error!r}"


def check_text_completion(bench: Bench) -> None:
    """100."""
    places = {"api_base": bench.base_url, "api_key": bench.api_key, "max_retries": 0}
    answer = litellm.text_completion(model=f"text-completion-openai/{MODEL}", prompt="scene:text", **places)
    assert answer.choices[0].text == GREETING
    stream = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="scene:text", stream=True, **places
    )
    assert "".join(chunk.choices[0].text or "" for chunk in stream) == GREETING


def check_responses(bench: Bench) -> None:
    """15, 17, 35: its own route to the Responses API."""
    places = {"api_base": bench.base_url, "api_key": bench.api_key, "max_retries": 0}
    answer = litellm.responses(model=f"openai/{MODEL}", input="scene:text", **places)
    assert answer.output_text == GREETING
    events = list(litellm.responses(model=f"openai/{MODEL}", input="scene:text", stream=True, **places))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == GREETING
    assert events[-1].type == "response.completed"
    error = failure(
        lambda: list(litellm.responses(model=f"openai/{MODEL}", input="scene:eof-mid", stream=True, **places))
    )
    assert "upstream" in str(error), repr(error)


def check_ollama(bench: Bench) -> None:
    """19, 34, 37: by Ollama's chat, collected, streamed and broken."""
    answer = ask_ollama(bench, scene("text"))
    assert answer.choices[0].message.content == GREETING
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0
    assert text_of(ask_ollama(bench, scene("text"), stream=True)) == GREETING
    assert text_of(ask_ollama(bench, scene("separators"), stream=True)) == SEPARATED
    failure(lambda: text_of(ask_ollama(bench, scene("eof-mid"), stream=True)))
    error = failure(lambda: ask_ollama(bench, scene("400-detail")))
    assert "Unsupported parameter" in str(error), repr(error)


def check_ollama_tool_loop(bench: Bench) -> None:
    """20, 21."""
    tool_loop(ask_ollama, bench)


if __name__ == "__main__":
    main(globals())
