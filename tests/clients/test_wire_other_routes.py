"""The wire of the routes beside chat, where the client libraries hide it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.harness import CHAT_PATH, chat

pytestmark = pytest.mark.clients

MODEL = "gpt-5.5"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": name, "parameters": WEATHER} for name in ("get_weather", "get_time")
]
SUCCESSES = [
    "text",
    "reasoning",
    "interleaved",
    "tools2",
    "text+tool",
    "refusal",
    "search",
    "done-only",
    "noids",
    "vendor-first",
]
FAILURES = ["failed-mid", "error-event", "eof-mid", "abort-mid", "truncated-chunk"]
SEPARATORS = ("\u0085", "\u2028", "\u2029")
PLACED = {"output_item.added", "output_item.done", "content_part.added", "content_part.done", "output_text.delta"}


@pytest.fixture(scope="module")
def http(server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.api_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60.0, trust_env=False) as client:
        yield client


# --- Responses ----------------------------------------------------------------------------


def events_of(http: httpx.Client, scene: str, **members: Any) -> list[dict[str, Any]]:
    """All events of a stream, each framed as it should be."""
    body = {"model": MODEL, "input": f"scene:{scene}", "stream": True, **members}
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].replace(" ", "") == "text/event-stream;charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-request-id"]
    assert answer.content.endswith(b"\n\n")
    assert b"\r" not in answer.content
    events = []
    for frame in answer.content[:-2].split(b"\n\n"):
        if frame.startswith(b":"):
            continue
        name, data = frame.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name.decode() == f"event: {event['type']}"
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


@pytest.mark.check(18, 65, 66, 67, 68, 69, 85, 90)
@pytest.mark.parametrize("scene", SUCCESSES)
def test_grammar_of_a_responses_stream(http, scene):
    events = events_of(http, scene, tools=TOOLS)
    types = [event["type"].removeprefix("response.") for event in events]
    assert types[0] == "created"
    assert types[-1] == "completed"
    assert not {"failed", "incomplete", "error"} & set(types)
    opened, done = events[0]["response"], events[-1]["response"]
    assert opened["output"] == []
    assert opened["model"]
    assert opened["id"] == done["id"]
    assert opened["id"].startswith("resp_")
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    ids: dict[int, str] = {}
    parts: set[tuple[str, int]] = set()
    for event, kind in zip(events, types, strict=True):
        assert kind not in PLACED or isinstance(event["output_index"], int)
        if kind == "output_item.added":
            assert event["output_index"] == len(ids)
            ids[event["output_index"]] = event["item"]["id"]
        elif kind == "output_item.done":
            assert event["item"]["id"] == ids[event["output_index"]]
        elif "item_id" in event:
            assert event["item_id"] == ids[event["output_index"]]
        if kind == "content_part.added":
            parts.add((event["item_id"], event["content_index"]))
        elif kind in {"output_text.delta", "refusal.delta"}:
            assert (event["item_id"], event["content_index"]) in parts
        elif kind == "function_call_arguments.done":
            assert event["name"] in {"get_weather", "get_time"}
            assert json.loads(event["arguments"]) == {"city": "Paris"}
    assert [item["id"] for item in done["output"]] == list(ids.values())
    assert all(ids.values())


@pytest.mark.check(35)
@pytest.mark.parametrize("scene", FAILURES)
def test_a_broken_responses_stream_ends_with_both_frames(http, scene):
    *before, error, failed = events_of(http, scene)
    assert error["type"] == "error"
    assert error.keys() == {"type", "sequence_number", "code", "message", "param", "error"}
    assert error["error"].keys() == {"type", "code", "message", "param"}
    assert all(error[name] == error["error"][name] for name in ("code", "message", "param"))
    assert error["code"]
    assert error["message"]
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": error["code"], "message": error["message"]}
    endings = {"error", "response.failed", "response.completed", "response.incomplete"}
    assert not endings & {event["type"] for event in before}


# --- Ollama -------------------------------------------------------------------------------


def lines_of(http: httpx.Client, scene: str, **members: Any) -> list[dict[str, Any]]:
    """All lines of a stream of Ollama's chat, which is one unless another is asked for."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"scene:{scene}"}], **members}
    answer = http.post("/api/chat", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-request-id"]
    assert answer.content.endswith(b"\n")
    lines = answer.content[:-1].split(b"\n")
    assert all(lines), "no empty line"
    return [json.loads(line) for line in lines]


@pytest.mark.check(19, 85, 90)
@pytest.mark.parametrize("scene", SUCCESSES)
def test_grammar_of_ollamas_stream(http, scene):
    tools = [{"type": "function", "function": {**tool, "type": None}} for tool in TOOLS]
    lines = lines_of(http, scene, tools=tools)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all(line["message"]["role"] == "assistant" for line in lines)
    assert all(isinstance(line["message"]["content"], str) for line in lines)
    assert all(line["created_at"].endswith("Z") for line in lines)
    assert all(line["model"] == MODEL for line in lines)
    assert lines[-1]["done_reason"] == "stop"
    assert all("done_reason" not in line for line in lines[:-1])
    assert not lines[-1]["message"].get("tool_calls")


@pytest.mark.check(34)
@pytest.mark.parametrize("scene", FAILURES)
def test_a_broken_stream_of_ollamas_ends_with_an_error(http, scene):
    *before, last = lines_of(http, scene)
    assert last.keys() == {"error"}
    assert isinstance(last["error"], str)
    assert last["error"]
    assert not [line for line in before if line["done"] or "error" in line]


# --- All routes ----------------------------------------------------------------------------


@pytest.mark.check(37)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"model": MODEL, "input": "scene:separators"}),
        ("/v1/completions", {"model": MODEL, "prompt": "scene:separators"}),
        ("/api/chat", {"model": MODEL, "messages": [{"role": "user", "content": "scene:separators"}]}),
        ("/api/generate", {"model": MODEL, "prompt": "scene:separators"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_separators_are_escaped_at_every_route(http, path, body, stream):
    content = http.post(path, json={**body, "stream": stream}).content
    assert not [raw for raw in SEPARATORS if raw.encode() in content]
    assert b"\\u2028" in content


@pytest.mark.check(23)
def test_ollama_is_running(http):
    got, headed = http.get("/"), http.head("/")
    assert (got.status_code, got.text) == (200, "Ollama is running")
    assert (headed.status_code, headed.content) == (200, b"")


@pytest.mark.check(93)
@pytest.mark.parametrize(
    ("method", "path", "same"),
    [
        ("POST", "/chat/completions", CHAT_PATH),
        ("POST", "/v1/chat/completions/", CHAT_PATH),
        ("POST", "//v1//chat/completions", CHAT_PATH),
        ("GET", "/models", "/v1/models"),
        ("GET", "/v1/models/", "/v1/models"),
        ("GET", "/v1/models/gpt-5.5/", "/v1/models/gpt-5.5"),
        ("GET", "//api/tags", "/api/tags"),
        ("GET", "/api/tags/", "/api/tags"),
    ],
)
def test_slashes_do_not_matter(http, method, path, same):
    """The same answer at once: a redirect would lose the body or the key in several clients."""
    body = chat("scene:text") if method == "POST" else None
    url = httpx.URL(f"{http.base_url}").copy_with(raw_path=path.encode())
    odd, plain = http.request(method, url, json=body), http.request(method, same, json=body)
    assert (odd.status_code, plain.status_code) == (200, 200)
    shown = [answer.json() for answer in (odd, plain)]
    if method == "POST":
        shown = [answer["choices"] for answer in shown]
    assert shown[0] == shown[1]


@pytest.mark.check(40)
def test_a_limit_at_every_route(http):
    *_, last = events_of(http, "incomplete")
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert lines_of(http, "incomplete")[-1]["done_reason"] == "length"


@pytest.mark.check(89)
def test_comments_are_no_events(http):
    """Between two events of an answer that is late, nothing but comments is added."""
    body = {"model": MODEL, "input": "scene:silent:11", "stream": True}
    frames = http.post("/v1/responses", json=body).content[:-2].split(b"\n\n")
    assert any(frame.startswith(b":") for frame in frames)
    assert not [1 for one, other in pairwise(frames) if one == other == b""]
    assert b"response.completed" in frames[-1]
