"""``/v1/messages`` and what stands beside it, through the whole server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.dialects.messages.reply import PING
from gptmock.server.context import ServerOptions
from gptmock.server.token_counts import COUNTED_BY, TokenCounter
from gptmock.simulator.server import Simulator
from tests.harness import client as open_client
from tests.harness import serving_simulator, until
from tests.messages_client import fold_messages
from tests.timing import generous

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
VERSION = {"anthropic-version": "2023-06-01"}
KEY = "sk-of-the-test-0123456789"
THINKS = {"type": "adaptive", "display": "omitted"}


def asks(text: str = "Hello", *, history: Sequence[Any] = (), **members: Any) -> dict[str, Any]:
    messages = [*history, {"role": "user", "content": text}]
    return {"model": "claude-opus-5-5", "max_tokens": 64, "messages": messages, **members}


async def post(client: httpx.AsyncClient, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = await client.post(PATH, json=body, **more)
    assert response.status_code == 200, response.text
    return dict(response.json())


def counted(number: int = 0) -> dict[str, Any]:
    """A request for a count of some thousand tokens."""
    return {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": f"word {number} " * 500}]}


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    said = response.json()
    assert (said["type"], said["request_id"]) == ("error", response.headers["request-id"])
    return response.status_code, said["error"]["type"], said["error"]["message"]


@pytest.mark.check(117, 318)
async def test_a_message_streamed_and_collected(client: httpx.AsyncClient):
    whole = await post(client, asks("scene:text"), params={"beta": "true"}, headers=VERSION)
    streamed = await client.post(PATH, json=asks("scene:text", stream=True))
    message, error = fold_messages([streamed.content])
    assert error is None
    assert message["content"] == whole["content"]
    assert message["model"] == whole["model"] == "claude-opus-5-5"
    assert streamed.headers["request-id"] == streamed.headers["x-request-id"]


@pytest.mark.check(300)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_claude_code_says_hello(simulator: Simulator, home: Path, method: str):
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        response = await client.request(method, "/api/hello")
        assert (response.status_code, response.content) == (200, b"")


@pytest.mark.check(119, 233, 305)
async def test_keys(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            assert (await client.post(PATH, json=asks(), headers=headers)).status_code == 200
        both = {"x-api-key": "wrong", "authorization": f"Bearer {KEY}"}
        assert (await client.post(PATH, json=asks(), headers=both)).status_code == 200
        for wrong in ({}, {"x-api-key": "wrong", "authorization": "Bearer wrong too"}):
            for path in (PATH, COUNT):
                response = await client.post(path, json=asks(), headers=wrong)
                assert error_of(response)[:2] == (401, "authentication_error")
                assert response.headers["x-should-retry"] == "false"
        calls = simulator.state.model_call_count
        assert calls == 3


@pytest.mark.check(306)
async def test_unknown_betas_and_keys(client: httpx.AsyncClient):
    headers = {**VERSION, "anthropic-beta": "never-heard-of-2099-01-01"}
    response = await client.post(PATH, json=asks(unheard_of=1, top_k=5), headers=headers)
    assert response.status_code == 200
    assert response.headers["x-gptmock-ignored"] == "top_k,unheard_of"


@pytest.mark.check(226, 308)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("scene", ["failed-first:cyber_policy", "failed-mid:bio_policy"])
async def test_a_refusal_by_policy_is_a_message(client: httpx.AsyncClient, scene: str, *, stream: bool):
    response = await client.post(PATH, json=asks(f"scene:{scene}", stream=stream))
    assert response.status_code == 200
    message = fold_messages([response.content])[0] if stream else response.json()
    assert message["stop_reason"] == "refusal"
    assert message["stop_details"]["category"] == scene.partition(":")[2].partition("_")[0]


@pytest.mark.check(210, 307)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_that_is_too_long_is_a_400(client: httpx.AsyncClient, *, stream: bool):
    body = asks("scene:failed-first:context_length_exceeded", stream=stream, model="gpt-5.5")
    status, kind, message = error_of(await client.post(PATH, json=body))
    assert (status, kind, message) == (
        400,
        "invalid_request_error",
        "prompt is too long: 272001 tokens > 272000 maximum",
    )


@pytest.mark.check(308)
async def test_a_400_costs_no_upstream_call(client: httpx.AsyncClient, simulator: Simulator):
    for body in (asks(tools=[{"type": "computer_20250124", "name": "c"}]), asks(max_tokens=0), asks(mcp_servers=[{}])):
        for _ in range(2):
            assert error_of(await client.post(PATH, json=body))[:2] == (400, "invalid_request_error")
    assert simulator.state.model_call_count == 0


@pytest.mark.check(230)
async def test_pings_before_and_after_the_beginning(simulator: Simulator, home: Path):
    options = ServerOptions(heartbeat_seconds=0.3)
    async with serving_simulator(simulator, home, options=options) as url, open_client(url) as client:
        for scene in ("silent:5.8", "stall:1"):
            response = await client.post(PATH, json=asks(f"scene:{scene}", stream=True))
            assert PING in response.content
            assert fold_messages([response.content])[1] is None


# --- Thinking that survives --------------------------------------------------------------------


@pytest.mark.check(118, 207)
async def test_thinking_survives_another_server_and_a_restart(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home) as url, open_client(url) as client:
        first = await post(client, asks("scene:sealed", thinking=THINKS))
    thought = first["content"][0]
    assert (thought["type"], thought["thinking"]) == ("thinking", "")
    history = [{"role": "user", "content": "scene:sealed"}, {"role": "assistant", "content": first["content"]}]
    async with serving_simulator(simulator, home) as url, open_client(url) as client:
        await post(client, asks("and?", history=history, thinking=THINKS))
    sent = simulator.state.model_calls()[-1].body["input"]
    assert [item["type"] for item in sent] == ["message", "reasoning", "message", "message"]
    assert sent[1]["encrypted_content"].startswith("gAAAA")


@pytest.mark.check(222)
async def test_the_signature_of_another_tenant_is_left_out(simulator: Simulator, home: Path):
    histories: list[list[Any]] = []
    for key in (KEY, KEY + "-other"):
        async with serving_simulator(simulator, home, api_key=key) as url, open_client(url) as client:
            headers = {"x-api-key": key}
            if histories:
                await post(client, asks("and?", history=histories[0], thinking=THINKS), headers=headers)
            first = await post(client, asks("scene:sealed", thinking=THINKS), headers=headers)
            user = {"role": "user", "content": "scene:sealed"}
            histories.append([user, {"role": "assistant", "content": first["content"]}])
    sent = simulator.state.model_calls()[1].body["input"]
    assert [item["type"] for item in sent] == ["message", "message", "message"]


@pytest.mark.check(303)
async def test_ten_turns_share_their_prefix_and_key(client: httpx.AsyncClient, simulator: Simulator):
    history: list[Any] = []
    tool = {"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
    headers = {**VERSION, "x-claude-code-session-id": "session-1"}
    words: Any = [{"type": "text", "text": 'call:Read{"path": "a"} ' + "word " * 400}]
    for number in range(10):
        billing = {"type": "text", "text": f"x-anthropic-billing-header: cch={number};"}
        system = [billing, {"type": "text", "text": "You are an agent."}]
        turn = {"role": "user", "content": words}
        body = asks(system=system, tools=[tool], thinking=THINKS) | {"messages": [*history, turn]}
        answer = await post(client, body, headers=headers)
        history += [turn, {"role": "assistant", "content": answer["content"]}]
        calls = [block for block in answer["content"] if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": one["id"], "content": "word " * 50} for one in calls]
        words = results or f'call:Read{{"path": "{number}"}}'
    bodies = [call.body for call in simulator.state.model_calls()]
    assert len(bodies) == 10
    assert len({body["prompt_cache_key"] for body in bodies}) == 1
    for before, after in pairwise(bodies):
        assert after["input"][: len(before["input"])] == before["input"]
        assert {**after, "input": 0} == {**before, "input": 0}
    shared = sum(len(json.dumps(body)) for body in bodies[:-1]) / sum(len(json.dumps(body)) for body in bodies[1:])
    assert shared > 0.8, "the part that a cache could have read"


# --- Counts ------------------------------------------------------------------------------------


async def test_a_count_says_how_it_was_made(client: httpx.AsyncClient, simulator: Simulator):
    response = await client.post(COUNT, json=counted(), headers=VERSION)
    assert response.status_code == 200
    assert set(response.json()) == {"input_tokens"}
    assert 1000 < response.json()["input_tokens"] < 4000
    assert response.headers["x-gptmock-estimate"] == "true"
    assert response.headers[COUNTED_BY] == "characters"
    assert simulator.state.model_call_count == 0


@pytest.mark.alone
@pytest.mark.check(309, 363)
async def test_25_counts_at_once(client: httpx.AsyncClient, simulator: Simulator):
    """
    While three answers are streamed: a p99 of 50 ms. Time is the processor time of this process, which has the client
    and the upstream, too; by the clock on the wall, other processes of the machine add to it.
    """

    async def count(number: int) -> tuple[float, float]:
        wall, own = time.perf_counter(), time.process_time()
        response = await client.post(COUNT, json=counted(number), headers=VERSION)
        assert response.status_code == 200
        return time.perf_counter() - wall, time.process_time() - own

    async with asyncio.TaskGroup() as group:
        streams = [group.create_task(client.post(PATH, json=asks("scene:long", stream=True))) for _ in range(3)]
        taken = [one for _ in range(4) for one in await asyncio.gather(*map(count, range(25)))]
    assert [stream.result().status_code for stream in streams] == [200, 200, 200]
    assert simulator.state.model_call_count == 3
    wall, own = (sorted(seconds)[98] for seconds in zip(*taken, strict=True))
    assert own < generous(0.05)
    assert wall < generous(generous(0.05))


@pytest.mark.check(235)
async def test_what_is_counted_is_what_would_go_upstream(client: httpx.AsyncClient):
    async def count(**members: Any) -> int:
        response = await client.post(COUNT, json={"messages": [{"role": "user", "content": "hi"}], **members})
        assert response.status_code == 200, response.text
        return int(response.json()["input_tokens"])

    tool = {"name": "f", "description": "word " * 50, "input_schema": {"type": "object"}}
    small = await count()
    assert await count(tools=[tool]) > small + 50
    assert await count(tools=[{**tool, "defer_loading": True}]) == small
    assert await count(system="word " * 50) >= small + 50
    assert await count(system="x-anthropic-billing-header: " + "word " * 50) == small
    bad = await client.post(COUNT, json={"messages": [{"role": "user", "content": [{"type": "odd"}]}]})
    assert error_of(bad)[:2] == (400, "invalid_request_error")


@pytest.mark.check(363)
async def test_a_table_is_loaded_by_the_first_count_and_used_when_it_is_there():
    loaded: list[int] = []

    def load() -> Callable[[str], int]:
        loaded.append(1)
        return len

    counter = TokenCounter(load)
    assert loaded == []
    await until(lambda: counter.best()[0] == "o200k_base")
    assert counter.best()[1]("abc") == 3
    assert loaded == [1]
    counter.close()


# --- Models and other paths --------------------------------------------------------------------


@pytest.mark.check(310)
async def test_models_in_anthropics_shape(client: httpx.AsyncClient):
    page = (await client.get("/v1/models", params={"limit": "1000"}, headers=VERSION)).json()
    ids = [one["id"] for one in page["data"]]
    assert "gpt-5.5" in ids
    assert "claude-gpt-5.5" in ids
    plain = (await client.get("/v1/models")).json()
    assert not any(one["id"].startswith("claude-") for one in plain["data"])
    one = (await client.get("/v1/models/claude-gpt-5.5", headers=VERSION)).json()
    assert (one["type"], one["id"]) == ("model", "claude-gpt-5.5")
    assert (await post(client, asks(model="claude-gpt-5.5")))["model"] == "claude-gpt-5.5"
    missing = await client.get("/v1/models/gpt-nowhere", headers=VERSION)
    assert error_of(missing)[:2] == (404, "not_found_error")
    assert error_of(await client.get("/v1/models?limit=0", headers=VERSION))[:2] == (400, "invalid_request_error")
    chat = {"model": "claude-gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    assert (await client.post("/v1/chat/completions", json=chat)).status_code == 200


@pytest.mark.check(232)
async def test_the_operators_table_of_names(simulator: Simulator, home: Path):
    table = "opus=gpt-5.5,haiku=gpt-6.1-terra"
    async with serving_simulator(simulator, home, anthropic_models=table) as url, open_client(url) as client:
        for name in ("claude-opus-4-8", "claude-3-5-haiku-latest", "claude-sonnet-5-5"):
            await post(client, asks(model=name))
    sent = [call.body["model"] for call in simulator.state.model_calls()]
    assert sent == ["gpt-5.5", "gpt-6.1-terra", "gpt-6.2-sol"]


@pytest.mark.check(317)
@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/files", "/v1/skills", "/v1/complete", "/v1/nowhere"])
async def test_what_is_not_here_is_a_404_of_this_family(client: httpx.AsyncClient, path: str):
    for method in ("GET", "POST"):
        response = await client.request(method, path, headers=VERSION)
        status, kind, _ = error_of(response)
        assert (status, kind) == (404, "not_found_error")


@pytest.mark.check(317)
async def test_a_wrong_method(client: httpx.AsyncClient):
    response = await client.get(PATH, headers=VERSION)
    assert error_of(response)[:2] == (405, "invalid_request_error")


@pytest.mark.check(204)
async def test_a_web_search_end_to_end(client: httpx.AsyncClient, simulator: Simulator):
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    answer = await post(client, asks("search for gptmock", tools=[search], tool_choice={"type": "auto"}))
    kinds = [block["type"] for block in answer["content"]]
    assert kinds == ["server_tool_use", "web_search_tool_result", "text"]
    assert answer["content"][1]["content"][0]["url"] == "https://example.test/source"
    assert answer["content"][2]["citations"][0]["title"] == "Example"
    assert simulator.state.model_calls()[-1].body["tools"] == [{"type": "web_search"}]
