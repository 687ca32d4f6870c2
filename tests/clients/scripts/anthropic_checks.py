"""
The official anthropic library for Python. Numbers are those of next doors, section G.

Runs in two versions of the library: what only the newer one has is asked for where it is there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import anthropic
from checking import GREETING, Bench, main, scene, user

MODEL = "claude-opus-5-5"
TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

LARGEST_BODY_BYTES = 64 * 1024 * 1024
FOREIGN = {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2lnbmVk", "x-api-key": ""}
"""A login of ChatGPT in the place of a key."""


def opened(bench: Bench, **options: object) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        **{"base_url": bench.root_url, "api_key": bench.api_key, "max_retries": 0, "timeout": 30.0, **options}
    )


def asked(bench: Bench, messages: list, **more: object):
    return opened(bench).messages.create(**{"model": MODEL, "max_tokens": 64, "messages": messages, **more})


def raised(make: Callable[[], object], kind: type[anthropic.APIStatusError]) -> anthropic.APIStatusError:
    """The error that a call raises."""
    try:
        make()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_create(bench: Bench) -> None:
    """212, 231, 318: a message and its usage."""
    message = asked(bench, scene("text"))
    assert message.content[0].text == GREETING
    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id


def check_auth_token(bench: Bench) -> None:
    """233: a bearer token in the place of the key."""
    client = opened(bench, api_key=None, auth_token=bench.api_key)
    message = client.messages.create(model=MODEL, max_tokens=64, messages=user("hi"))
    assert "You said: hi" in message.content[0].text


def check_stream_helper(bench: Bench) -> None:
    """117, 212, 229: the stream helper adds up."""
    with opened(bench).messages.stream(model=MODEL, max_tokens=64, messages=scene("text")) as stream:
        assert "".join(stream.text_stream) == GREETING
        message = stream.get_final_message()
    assert message.content[0].text == GREETING
    assert message.usage.output_tokens > 0


def check_stream_events(bench: Bench) -> None:
    """212, 229: the raw events."""
    events = list(asked(bench, scene("text"), stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1


def check_tool_loop(bench: Bench) -> None:
    """118, 212, 221: a tool and its result."""
    first = asked(bench, user("use get_weather"), tools=[TOOL])
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert (first.stop_reason, call.name, call.input) == ("tool_use", "get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"}
    history = [*user("use get_weather"), {"role": "assistant", "content": first.content}]
    last = asked(bench, [*history, {"role": "user", "content": [result]}], tools=[TOOL])
    assert last.content[0].text == "The tools answered: 18 degrees"


def check_tools_streamed(bench: Bench) -> None:
    """212, 228: two calls after a thought."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    client = opened(bench)
    with client.messages.stream(
        model=MODEL,
        max_tokens=2048,
        messages=scene("tools2"),
        tools=[TOOL, {**TOOL, "name": "get_time"}],
        thinking=thinking,
    ) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "tool_use", "tool_use"]
    assert [block.input for block in message.content[1:]] == [{"city": "Paris"}] * 2
    assert message.content[0].thinking
    assert message.content[0].signature.startswith("gms1.")


def check_tool_runner(bench: Bench) -> None:
    """212: the runner of the library ends by itself."""

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"18 degrees in {city}"

    runner = opened(bench).beta.messages.tool_runner(
        model=MODEL, max_tokens=64, tools=[get_weather], messages=user("use get_weather")
    )
    last = list(runner)[-1]
    assert last.content[0].text == "The tools answered: 18 degrees in Paris"


def check_thinking_over_two_turns(bench: Bench) -> None:
    """207: the same encrypted content comes back."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    first = asked(bench, scene("reasoning"), thinking=thinking, max_tokens=2048)
    assert [block.type for block in first.content] == ["thinking", "text"]
    history = [*scene("reasoning"), {"role": "assistant", "content": first.content}, *user("and?")]
    asked(bench, history, thinking=thinking, max_tokens=2048)
    sent = [item for item in bench.bodies()[-1]["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"][:5] for item in sent] == ["gAAAA"]


def check_structured_output(bench: Bench) -> None:
    """206: a schema for the answer."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    schema["additionalProperties"] = False
    wanted = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    message = asked(bench, user("where?"), extra_body=wanted)
    assert json.loads(message.content[0].text) == {"city": "Paris"}
    assert bench.bodies()[-1]["text"]["format"]["strict"] is True


def check_images_and_documents(bench: Bench) -> None:
    """202, 236: an image and a PDF."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(b"%PDF-1.4\n").decode()}
    content = [{"type": "image", "source": source}, {"type": "document", "source": pdf}, {"type": "text", "text": "?"}]
    asked(bench, [{"role": "user", "content": content}])
    parts = bench.bodies()[-1]["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_image", "input_file", "input_text"]


def check_web_search(bench: Bench) -> None:
    """204: the blocks of a search."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    message = asked(bench, user("search for gptmock"), tools=[search])
    assert [block.type for block in message.content] == ["server_tool_use", "web_search_tool_result", "text"]
    assert message.content[1].content[0].url == "https://example.test/source"
    assert message.content[2].citations[0].title == "Example"
    assert message.usage.server_tool_use.web_search_requests == 1
    history = [*user("search for gptmock"), {"role": "assistant", "content": message.content}, *user("and?")]
    asked(bench, history, tools=[search])


def check_count_tokens(bench: Bench) -> None:
    """212, 235: a count costs no model call."""
    count = opened(bench).messages.count_tokens(model=MODEL, messages=user("word " * 100), tools=[TOOL])
    assert 100 < count.input_tokens < 300
    assert bench.calls() == []


def check_models(bench: Bench) -> None:
    """212, 310: models, page by page."""
    client = opened(bench)
    found = [model.id for model in client.models.list(limit=7)]
    assert "gpt-5.5" in found
    assert "claude-gpt-5.5" in found
    assert len(found) == len(set(found))
    assert client.models.retrieve("claude-gpt-5.5").type == "model"


def check_errors(bench: Bench) -> None:
    """119, 212: the class of each error."""
    for make, kind in (
        (
            lambda: asked(bench, user("hi"), tools=[{"type": "computer_20250124", "name": "c"}]),
            anthropic.BadRequestError,
        ),
        (
            lambda: opened(bench, api_key="wrong").messages.create(model=MODEL, max_tokens=1, messages=user("hi")),
            anthropic.AuthenticationError,
        ),
        (lambda: asked(bench, user("hi"), model="gpt-nowhere"), anthropic.NotFoundError),
        (lambda: asked(bench, scene("429-burst")), anthropic.RateLimitError),
        (lambda: asked(bench, scene("eof-mid")), anthropic.InternalServerError),
    ):
        error = raised(make, kind)
        assert error.request_id
        assert error.body["type"] == "error"


def check_errors_by_their_status(bench: Bench) -> None:
    """119, 212: the other classes; some of them only the newer library has."""
    large = user("a" * LARGEST_BODY_BYTES)
    for make, status, kind, class_name in (
        (lambda: asked(bench, user("hi"), extra_headers=FOREIGN), 403, "permission_error", "PermissionDeniedError"),
        (lambda: asked(bench, large), 413, "request_too_large", "RequestTooLargeError"),
        (lambda: asked(bench, scene("402")), 503, "api_error", "ServiceUnavailableError"),
        (lambda: asked(bench, scene("504")), 504, "timeout_error", "GatewayTimeoutError"),
        (lambda: asked(bench, scene("503-overload")), 529, "overloaded_error", "OverloadedError"),
    ):
        error = raised(make, getattr(anthropic, class_name, anthropic.APIStatusError))
        assert (error.status_code, error.body["error"]["type"]) == (status, kind)
        assert error.request_id


def check_failure_in_a_stream(bench: Bench) -> None:
    """119, 211: an error event, never a clean end."""
    error = raised(lambda: list(asked(bench, scene("eof-mid"), stream=True)), anthropic.APIStatusError)
    assert error.body["error"]["type"] == "api_error"


async def check_async_client(bench: Bench) -> None:
    """212: the asynchronous client."""
    client = anthropic.AsyncAnthropic(base_url=bench.root_url, api_key=bench.api_key, max_retries=0)
    async with client.messages.stream(model=MODEL, max_tokens=64, messages=scene("text")) as stream:
        assert (await stream.get_final_message()).content[0].text == GREETING
    await client.close()


if __name__ == "__main__":
    main(globals())
