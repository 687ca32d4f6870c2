"""The wire itself, where the client libraries hide it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.harness import CHAT_PATH, chat

pytestmark = pytest.mark.clients

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": WEATHER}} for name in ("get_weather", "get_time")
]
SUCCESSES = ["text", "reasoning", "interleaved", "tools2", "text+tool", "refusal", "search", "incomplete", "done-only"]
FAILURES = ["failed-mid", "error-event", "eof-mid", "abort-mid", "truncated-chunk"]
HEARTBEAT_SECONDS = 15.0


@pytest.fixture(scope="module")
def http(server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.api_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60.0, trust_env=False) as client:
        yield client


def lines_of(http: httpx.Client, scene: str, **members: Any) -> list[bytes]:
    answer = http.post(CHAT_PATH, json=chat(f"scene:{scene}", stream=True, **members))
    assert answer.status_code == 200
    assert answer.content.endswith(b"\n\n")
    assert b"\r" not in answer.content
    return answer.content[:-2].split(b"\n\n")


def chunks_of(lines: list[bytes]) -> list[dict[str, Any]]:
    """What the data frames say, ``[DONE]`` apart; nothing but data frames and comments may be there."""
    assert all(line.startswith((b"data: ", b":")) for line in lines)
    payloads = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    return [json.loads(payload) for payload in payloads if payload != b"[DONE]"]


@pytest.mark.check(3, 12, 13, 109)
@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("scene", SUCCESSES)
def test_grammar_of_a_stream(http, scene, include_usage):
    lines = lines_of(http, scene, tools=TOOLS, stream_options={"include_usage": include_usage})
    assert lines[-1] == b"data: [DONE]"
    assert lines.count(b"data: [DONE]") == 1
    chunks = chunks_of(lines)
    assert len({(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert all("error" not in chunk for chunk in chunks)
    if include_usage:
        last = chunks.pop()
        assert last["choices"] == []
        assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= last["usage"].keys()
        assert all(chunk["usage"] is None for chunk in chunks)
    else:
        assert all("usage" not in chunk for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [index for index, choice in enumerate(choices) if "role" in choice["delta"]] == [0]
    assert [index for index, choice in enumerate(choices) if choice["finish_reason"]] == [len(choices) - 1]
    assert choices[-1]["delta"] == {}
    for choice in choices[1:-1]:
        assert len(choice["delta"]) == 1
        assert all(choice["delta"].values())


@pytest.mark.check(7)
def test_calls_say_once_who_they_are(http):
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(lines_of(http, "tools2", tools=TOOLS))]
    parts = [part for delta in deltas for part in delta.get("tool_calls", [])]
    assert all(len(delta["tool_calls"]) == 1 for delta in deltas if "tool_calls" in delta)
    for index in (0, 1):
        first, *rest = [part for part in parts if part["index"] == index]
        assert first.keys() == {"index", "id", "type", "function"}
        assert first["type"] == "function"
        assert first["function"] == {"name": TOOLS[index]["function"]["name"], "arguments": ""}
        assert rest
        assert all(part.keys() == {"index", "function"} for part in rest)
        assert all(part["function"].keys() == {"arguments"} for part in rest)


@pytest.mark.check(37)
def test_separators_are_escaped(http):
    answer = http.post(CHAT_PATH, json=chat("scene:separators", stream=True)).content
    collected = http.post(CHAT_PATH, json=chat("scene:separators")).content
    for body in (answer, collected):
        assert not [raw for raw in ("\u0085", "\u2028", "\u2029") if raw.encode() in body]
        assert b"\\u2028" in body


@pytest.mark.check(30, 31)
@pytest.mark.parametrize("scene", FAILURES)
def test_a_broken_stream_never_looks_complete(http, scene):
    lines = lines_of(http, scene, stream_options={"include_usage": True})
    assert b"data: [DONE]" not in lines
    *chunks, last = chunks_of(lines)
    assert last.keys() == {"error"}
    assert last["error"].keys() == {"message", "type", "param", "code"}
    assert all(chunk["choices"][0]["finish_reason"] is None and chunk["usage"] is None for chunk in chunks)


@pytest.mark.check(33)
def test_a_failure_before_the_first_word_is_a_status(http):
    body = chat("scene:failed-first:context_length_exceeded", stream=True)
    answer = http.post(CHAT_PATH, json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.check(90, 85)
def test_headers_of_a_stream(http):
    with http.stream("POST", CHAT_PATH, json=chat("scene:text", stream=True)) as answer:
        assert answer.headers["content-type"].replace(" ", "") == "text/event-stream;charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in answer.headers
        assert answer.headers["x-request-id"]
        answer.read()


@pytest.mark.check(27)
def test_usage_limit_tells_clients_to_wait(http, simulator):
    before = simulator.stats()["model_calls"]
    answer = http.post(CHAT_PATH, json=chat("scene:429-usage"))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after-ms" not in answer.headers
    assert simulator.stats()["model_calls"] == before + 1


@pytest.mark.check(26)
def test_the_upstreams_envelope_stays_outside(http):
    body = http.post(CHAT_PATH, json=chat("scene:400-detail")).json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.check(89)
def test_silence_has_a_pulse(http):
    """No proxy on the way gives up."""
    times, received = [time.monotonic()], b""
    with http.stream("POST", CHAT_PATH, json=chat("scene:silent:16", stream=True)) as answer:
        for block in answer.iter_raw():
            times.append(time.monotonic())
            received += block
    times.append(time.monotonic())
    assert max(after - before for before, after in pairwise(times)) < HEARTBEAT_SECONDS
    lines = received[:-2].split(b"\n\n")
    assert any(line.startswith(b":") for line in lines)
    assert chunks_of(lines)[-1]["choices"][0]["finish_reason"] == "stop"
