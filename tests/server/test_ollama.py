"""Ollama's family over real HTTP."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.server.context import ServerOptions
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import UpstreamDeadlines
from tests.harness import client as open_client
from tests.harness import serving_simulator

KEY = "sk-planted-0123456789abcd"
CHAT, GENERATE = "/api/chat", "/api/generate"
both = pytest.mark.parametrize("path", [CHAT, GENERATE])
MANAGED = [("POST", "/api/create"), ("POST", "/api/copy"), ("POST", "/api/push"), ("DELETE", "/api/delete")]


def asked(path: str, text: str = "scene:text", **members: Any) -> dict[str, Any]:
    said = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
    return {"model": "gpt-5.5", **said, **members}


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """Each line of a stream; a blank one would not parse."""
    assert response.status_code == 200, response.text
    assert response.content.endswith(b"\n")
    return [json.loads(line) for line in response.content[:-1].split(b"\n")]


def said(line: dict[str, Any]) -> str:
    text: str = line["response"] if "response" in line else line["message"]["content"]
    return text


def error_of(response: httpx.Response) -> str:
    body = response.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    assert response.headers["x-request-id"]
    return str(body["error"])


# --- Turns -----------------------------------------------------------------------------


@pytest.mark.check(19, 90)
@both
async def test_a_stream_is_lines_that_end_once(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json=asked(path))
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    *before, last = lines(response)
    assert "".join(map(said, [*before, last])).startswith("Hello from the simulator.")
    assert [line["done"] for line in before] == [False] * len(before)
    assert (last["done"], last["done_reason"]) == (True, "stop")


@both
async def test_a_document_is_one_object(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json=asked(path, stream=False))
    assert response.headers["content-type"].startswith("application/json")
    assert said(response.json()).startswith("Hello from the simulator.")
    assert response.json()["done"] is True


@pytest.mark.check(95)
@both
@pytest.mark.parametrize("stream", [True, False])
async def test_numbers_and_times_are_real(
    simulator: Simulator,
    client: httpx.AsyncClient,
    path: str,
    stream: bool,  # noqa: FBT001
):
    started = time.monotonic()
    response = await client.post(path, json=asked(path, "scene:stall:0.5", stream=stream))
    seconds = time.monotonic() - started
    last = lines(response)[-1] if stream else response.json()
    parts = [last[f"{name}_duration"] for name in ("load", "prompt_eval", "eval")]
    assert sum(parts) == last["total_duration"]
    assert all(type(part) is int and part > 0 for part in parts)
    assert 0.5 <= last["total_duration"] / 1e9 <= seconds
    assert last["eval_duration"] / 1e9 >= 0.4
    assert last["eval_count"] > 0
    assert last["prompt_eval_count"] > 0
    since = datetime.now().astimezone() - datetime.fromisoformat(last["created_at"])
    assert timedelta(0) <= since < timedelta(minutes=1)
    assert simulator.state.model_call_count == 1


@pytest.mark.check(20, 21)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_and_its_result(
    simulator: Simulator,
    client: httpx.AsyncClient,
    stream: bool,  # noqa: FBT001
):
    tool = {"type": "function", "function": {"name": "look.up", "parameters": {"properties": {}}}}
    first = await client.post(CHAT, json=asked(CHAT, "scene:tool", tools=[tool], stream=stream))
    replies = lines(first) if stream else [first.json()]
    (call,) = [call for line in replies for call in line["message"].get("tool_calls", ())]
    assert call["function"]["name"] == "look.up"
    assert isinstance(call["function"]["arguments"], dict)
    del call["id"]
    history = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "look.up", "content": "42"},
    ]
    second = await client.post(CHAT, json=asked(CHAT, messages=history, tools=[tool], stream=False))
    assert "42" in second.json()["message"]["content"]
    sent = simulator.state.model_calls()[-1].body["input"]
    assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
    assert sent[1]["call_id"] == sent[2]["call_id"] == "call_1_0"


@both
async def test_what_had_no_effect_is_named(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json=asked(path, options={"temperature": 0, "num_ctx": 4096}, shift=True))
    named = response.headers["x-gptmock-ignored"].split(",")
    assert set(named) == {"shift", "options.temperature", "options.num_ctx"}


@pytest.mark.check(97)
@both
async def test_loading_asks_nothing_of_the_upstream(simulator: Simulator, client: httpx.AsyncClient, path: str):
    for keep_alive, reason in ((None, "load"), (0, "unload")):
        response = await client.post(path, json={"model": "gpt-5.5", "keep_alive": keep_alive})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert (response.json()["done"], response.json()["done_reason"]) == (True, reason)
    assert simulator.state.model_call_count == 0


async def test_loading_needs_no_account(simulator: Simulator, tmp_path: Path):
    async with serving_simulator(simulator, tmp_path) as url, open_client(url) as client:
        assert (await client.post(CHAT, json={"model": "gpt-5.5"})).json()["done_reason"] == "load"
        refused = await client.post(CHAT, json=asked(CHAT))
        assert refused.status_code == 503
        assert error_of(refused).startswith("No ChatGPT account is signed in.")


# --- Failures --------------------------------------------------------------------------


@pytest.mark.check(34)
@both
@pytest.mark.parametrize("scene", ["eof-mid", "abort-mid", "failed-mid", "error-event", "filter"])
async def test_a_stream_that_breaks_ends_with_an_error_line(client: httpx.AsyncClient, path: str, scene: str):
    *before, last = lines(await client.post(path, json=asked(path, f"scene:{scene}")))
    assert set(last) == {"error"}
    assert isinstance(last["error"], str)
    assert before
    assert not any(line["done"] for line in before)


@both
@pytest.mark.parametrize("scene", ["eof-mid", "failed-mid", "filter"])
async def test_half_an_answer_is_no_document(client: httpx.AsyncClient, path: str, scene: str):
    response = await client.post(path, json=asked(path, f"scene:{scene}", stream=False))
    assert response.status_code == (400 if scene == "filter" else 502)
    assert error_of(response)


@both
@pytest.mark.parametrize(("scene", "status"), [("400-detail", 400), ("429-usage", 429), ("failed-first", 502)])
async def test_a_failure_before_the_first_word_is_a_status(
    client: httpx.AsyncClient, path: str, scene: str, status: int
):
    response = await client.post(path, json=asked(path, f"scene:{scene}"))
    assert response.status_code == status
    assert error_of(response)
    assert ("retry-after" in response.headers) is (status == 429)


@pytest.mark.check(82)
@both
async def test_an_unknown_model_is_called_by_the_clients_own_name(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json=asked(path, model="Nobody:latest"))
    assert response.status_code == 404
    assert error_of(response).startswith("model 'Nobody:latest' not found: ")
    assert "gpt-6.1-sol" in error_of(response)


@both
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": []}', b'{"model": "gpt-5.5", "options": 5}'])
async def test_a_bad_body_is_a_400_in_ollamas_shape(client: httpx.AsyncClient, path: str, body: bytes):
    response = await client.post(path, content=body)
    assert response.status_code == 400
    assert error_of(response)


# --- Signs of life -----------------------------------------------------------------------


@pytest.mark.check(89)
@pytest.mark.parametrize(("path", "scene"), [(CHAT, "stall:1.5"), (GENERATE, "stall:1.5"), (CHAT, "silent:6")])
async def test_silence_is_filled_with_lines_that_say_nothing(simulator: Simulator, home: Path, path: str, scene: str):
    options = ServerOptions(heartbeat_seconds=0.2)
    async with serving_simulator(simulator, home, options=options) as url, open_client(url) as client:
        *before, last = lines(await client.post(path, json=asked(path, f"scene:{scene}")))
    beats = [line for line in before if not said(line) and "thinking" not in str(line)]
    assert 3 <= len(beats) <= 8
    assert {(line["model"], line["done"]) for line in beats} == {("gpt-5.5", False)}
    assert len({line["created_at"] for line in [*before, last]}) == 1
    assert last["done_reason"] == "stop"
    assert "".join(map(said, before)).startswith("Hello from the simulator.")


@pytest.mark.check(89)
async def test_a_deadline_in_the_middle_is_an_error_line(simulator: Simulator, home: Path):
    deadlines = UpstreamDeadlines(head=0.4, idle=0.4)
    async with serving_simulator(simulator, home, deadlines=deadlines) as url, open_client(url) as client:
        assert set(lines(await client.post(CHAT, json=asked(CHAT, "scene:stall:20")))[-1]) == {"error"}


# --- Probes and the catalogue --------------------------------------------------------------


@pytest.mark.check(23)
async def test_ollama_is_running(client: httpx.AsyncClient):
    response = await client.get("/")
    assert (response.status_code, response.text) == (200, "Ollama is running")
    assert response.headers["content-type"].startswith("text/plain")
    headed = await client.head("/")
    assert (headed.status_code, headed.content) == (200, b"")


@pytest.mark.check(24)
async def test_the_version_is_recent_and_the_operators(simulator: Simulator, home: Path, client: httpx.AsyncClient):
    version = (await client.get("/api/version")).json()["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert tuple(map(int, version.split("."))) >= (0, 13, 4)
    assert (await client.head("/api/version")).content == b""
    options = ServerOptions(ollama_version="0.14.0")
    async with serving_simulator(simulator, home, options=options) as url, open_client(url) as other:
        assert (await other.get("/api/version")).json() == {"version": "0.14.0"}


@pytest.mark.check(22)
async def test_what_is_listed_can_be_shown_and_asked(client: httpx.AsyncClient):
    models = (await client.get("/api/tags")).json()["models"]
    assert models
    for model in models:
        shown = await client.post("/api/show", json={"model": model["model"]})
        assert shown.json()["model_info"]["gpt.context_length"] == model["details"]["context_length"]
        assert "tools" in shown.json()["capabilities"]
    answer = await client.post(CHAT, json=asked(CHAT, model=models[0]["name"], stream=False))
    assert answer.json()["model"] == models[0]["name"]


@pytest.mark.check(93)
@pytest.mark.parametrize("path", ["//api/tags", "/api/tags/", "/api//tags"])
async def test_clients_may_put_the_slashes_where_they_like(client: httpx.AsyncClient, base_url: str, path: str):
    response = await client.get(httpx.URL(base_url).copy_with(raw_path=path.encode()))
    assert response.status_code == 200
    assert response.content == (await client.get("/api/tags")).content


@pytest.mark.check(94)
async def test_show_takes_either_member_and_any_spelling(client: httpx.AsyncClient):
    bodies = [{"model": "gpt-5.5"}, {"name": "gpt-5.5"}, {"model": "GPT-5.5:latest", "verbose": True}]
    shown = [(await client.post("/api/show", json=body)).json() for body in bodies]
    assert [one["model_info"].pop("general.basename") for one in shown] == ["gpt-5.5", "gpt-5.5", "GPT-5.5:latest"]
    assert shown[0] == shown[1] == shown[2]
    missing = await client.post("/api/show", json={"model": "nobody"})
    assert missing.status_code == 404
    assert error_of(missing).startswith("model 'nobody' not found: ")


@pytest.mark.check(99)
async def test_pull_and_ps(client: httpx.AsyncClient):
    pulled = await client.post("/api/pull", json={"model": "gpt-5.5"})
    assert pulled.headers["content-type"] == "application/x-ndjson"
    assert lines(pulled)[-1] == {"status": "success"}
    assert "error" in lines(await client.post("/api/pull", json={"model": "llama3"}))[-1]
    assert (await client.post("/api/pull", json={"name": "gpt-5.5", "stream": False})).json() == {"status": "success"}
    missing = await client.post("/api/pull", json={"model": "llama3", "stream": False})
    assert (missing.status_code, error_of(missing)) == (404, "pull model manifest: file does not exist")
    assert (await client.get("/api/ps")).json() == {"models": []}


# --- What there is not -------------------------------------------------------------------


@pytest.mark.check(88)
@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
async def test_embeddings_are_refused(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json={"model": "gpt-5.5", "input": "x"})
    assert (response.status_code, error_of(response)) == (400, '"gpt-5.5" does not support embeddings')
    assert error_of(await client.post(path, json={})) == "model is required"


@pytest.mark.check(99)
@pytest.mark.parametrize(("method", "path"), [*MANAGED, ("POST", "/api/blobs/sha256:0123")])
async def test_nobody_manages_models_here(client: httpx.AsyncClient, method: str, path: str):
    response = await client.request(method, path, json={"model": "gpt-5.5"})
    assert response.status_code == 400
    assert error_of(response) == "models are managed by the upstream; this operation is not supported"


async def test_a_blob_is_not_there(client: httpx.AsyncClient):
    assert (await client.head("/api/blobs/sha256:0123")).status_code == 404


@pytest.mark.check(83)
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, {"POST"}),
        ("GET", GENERATE, {"POST"}),
        ("POST", "/api/tags", {"GET", "HEAD"}),
        ("GET", "/api/show", {"POST"}),
        ("POST", "/api/delete", {"DELETE"}),
        ("GET", "/api/blobs/sha256:0123", {"HEAD", "POST"}),
    ],
)
async def test_a_wrong_method_is_a_405_in_ollamas_shape(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
):
    response = await client.request(method, path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == allowed
    assert error_of(response)


@pytest.mark.check(83)
@pytest.mark.parametrize("path", ["/api/me", "/api/signout", "/api/status", "/api/experimental/x", "/api"])
async def test_an_unknown_route_is_a_404_in_ollamas_shape(client: httpx.AsyncClient, path: str):
    response = await client.post(path, json={})
    assert response.status_code == 404
    assert error_of(response)


# --- Keys ------------------------------------------------------------------------------


async def test_the_key_is_asked_for_everywhere_but_at_the_probes(simulator: Simulator, home: Path):
    closed = [("POST", CHAT), ("POST", GENERATE), ("POST", "/api/show"), ("POST", "/api/pull"), ("POST", "/api/embed")]
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        for method, path in [*closed, *MANAGED, ("GET", "/api/tags"), ("GET", "/api/ps")]:
            response = await client.request(method, path)
            assert (response.status_code, error_of(response)) == (401, "unauthorized"), path
        for path in ("/", "/api/version"):
            assert (await client.get(path)).status_code == 200
        key = {"authorization": f"Bearer {KEY}"}
        assert (await client.get("/api/tags", headers=key)).status_code == 200
        assert lines(await client.post(CHAT, json=asked(CHAT), headers=key))[-1]["done"] is True
    assert simulator.state.model_call_count == 1
