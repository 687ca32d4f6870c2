"""The terms of client keys on the whole program: limits, allowed models, defaults of their own, separate tenants."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import pytest

from gptmock import shared_state
from gptmock.clients import KeyDefaults, KeyTerms
from gptmock.server.turns import TurnRequest
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.catalogue import Catalogue, Model
from gptmock.simulator.server import Simulator
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.key_limits import StoreKeyLimits
from gptmock.stores.store import FreedSlot, Record, SlotAnswer, WantedSlot
from tests.harness import CHAT_PATH, chat, client, serving_simulator, until
from tests.server.test_client_keys import second_account

T = TypeVar("T")
in_request: ContextVar[bool] = ContextVar("in_request", default=False)
ORIGINAL_RUN = TurnRequest.run

RESPONSES = "/v1/responses"
MODEL = "gpt-5.5"
OTHER = "gpt-6-sol"
ROUTES: dict[str, dict[str, Any]] = {
    CHAT_PATH: chat("scene:text"),
    "/v1/completions": {"model": MODEL, "prompt": "scene:text"},
    RESPONSES: {"model": MODEL, "input": "scene:text"},
    "/v1/messages": {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": "scene:text"}]},
    "/api/chat": {"model": MODEL, "messages": [{"role": "user", "content": "scene:text"}]},
    "/api/generate": {"model": MODEL, "prompt": "scene:text"},
}
COUNTS: dict[str, dict[str, Any]] = {
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses/input_tokens": {"model": MODEL, "input": "hi"},
}
CLAUDE_NAMES = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-gpt-6.2-sol")
ANTHROPIC = {"anthropic-version": "2023-06-01"}
NO_LIMITS = {"x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"}


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


@pytest.fixture
async def url(simulator: Simulator, home: Path) -> AsyncIterator[str]:
    async with serving_simulator(simulator, home) as base_url:
        yield base_url


@pytest.fixture
async def opened(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened_client:
        yield opened_client


async def headers_of(state: State, name: str = "ada", **terms: Any) -> dict[str, str]:
    issued = await state.keys.create(name, KeyTerms(**terms))
    return {"authorization": f"Bearer {issued.text.reveal()}"}


async def used(state: State) -> dict[str, int]:
    """What the key uses of each of its limits."""
    return {one.kind: one.used for one in await StoreKeyLimits(state.store).states(await state.keys.show("ada"))}


async def tokens_used(state: State) -> int:
    limits = await StoreKeyLimits(state.store).states(await state.keys.show("ada"))
    return next(one.used for one in limits if one.kind == "tokens_per_day")


async def test_each_dialect_counts_down_and_refuses_in_its_own_shape(opened: httpx.AsyncClient, state: State):
    for path, body in ROUTES.items():
        headers = await headers_of(state, path, rpm=2, tokens_per_day=10_000)
        first = await opened.post(path, json={**body, "stream": False}, headers=headers)
        streamed = await opened.post(path, json={**body, "stream": True}, headers=headers)
        refused = await opened.post(path, json={**body, "stream": True}, headers=headers)
        assert [one.status_code for one in (first, streamed, refused)] == [200, 200, 429], path
        left = [one.headers["x-ratelimit-remaining-requests"] for one in (first, streamed, refused)]
        assert left == ["1", "0", "0"], path
        assert {one.headers["x-ratelimit-limit-requests"] for one in (first, streamed, refused)} == {"2"}
        assert first.headers["x-ratelimit-remaining-tokens"] == "10000"
        assert int(streamed.headers["x-ratelimit-remaining-tokens"]) < 10_000, path
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        error = refused.json()["error"]
        if path.startswith("/api/"):
            assert "2 requests per minute" in error
        else:
            assert (error.get("code", "rate_limit_exceeded"), error["type"]) == (
                "rate_limit_exceeded",
                "rate_limit_error",
            )
            assert "2 requests per minute" in error["message"]


async def test_without_a_limited_key_there_are_no_such_headers(opened: httpx.AsyncClient, state: State):
    for headers in ({}, await headers_of(state, models=(MODEL,))):
        answer = await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)
        assert answer.status_code == 200
        assert not NO_LIMITS & set(answer.headers)


async def test_tokens_are_settled_from_the_terminal_event_whole_or_streamed(opened: httpx.AsyncClient, state: State):
    headers = await headers_of(state, tokens_per_day=100_000)
    expected = 0
    for stream in (False, True):
        body = {**ROUTES[RESPONSES], "stream": stream}
        answer = await opened.post(RESPONSES, json=body, headers=headers)
        text = answer.text
        response = answer.json() if not stream else json.loads(text[text.rindex("data: {") + 6 :])["response"]
        expected += response["usage"]["total_tokens"]
    several = {"model": MODEL, "prompt": ["scene:text", "scene:text", "scene:text"]}
    expected += (await opened.post("/v1/completions", json=several, headers=headers)).json()["usage"]["total_tokens"]
    # Neither a failed turn nor a refused request costs anything.
    await opened.post(CHAT_PATH, json=chat("scene:500"), headers=headers)
    await opened.post(CHAT_PATH, content=b"{", headers=headers)
    async with asyncio.timeout(10):
        while await tokens_used(state) != expected:  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.02)
    await state.keys.update("ada", lambda _: KeyTerms(tokens_per_day=expected))

    async def refused() -> httpx.Response:
        return await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)

    async with asyncio.timeout(10):
        while (answer := await refused()).status_code != 429:  # until the worker has heard of the change
            assert int(answer.headers["x-ratelimit-limit-tokens"]) == 100_000
            await asyncio.sleep(0.05)
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"


async def test_a_stream_holds_its_place_and_gives_it_back_however_it_ends(
    opened: httpx.AsyncClient, state: State, simulator: Simulator
):
    headers = await headers_of(state, concurrency=1)
    for scene in ("stall:30", "text", "abort-mid", "500"):
        async with opened.stream("POST", CHAT_PATH, json=chat(f"scene:{scene}", stream=True), headers=headers) as one:
            if scene.startswith("stall"):
                assert one.status_code == 200
                assert "x-ratelimit-limit-requests" not in one.headers
                received = one.aiter_bytes()
                assert await anext(received)
                refused = await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
                assert "1 concurrent requests" in refused.json()["error"]["message"]
            else:
                await one.aread()
        if scene.startswith("stall"):
            # A client that leaves is noticed when the transport says so.
            await until(lambda: not simulator.state.open_streams)
    assert (await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": MODEL, "prompt": ["scene:silent:0.05"] * 4}),
        ("/v1/completions", {"model": MODEL, "prompt": ["scene:silent:0.05"] * 4, "stream": True}),
        ("/v1/images/generations", {"prompt": "scene:silent:0.05", "n": 4}),
    ],
)
async def test_a_request_of_several_turns_has_one_place(
    opened: httpx.AsyncClient, state: State, simulator: Simulator, path: str, body: dict[str, Any]
):
    headers = await headers_of(state, concurrency=1, rpm=10)
    asking = asyncio.get_running_loop().create_task(opened.post(path, json=body, headers=headers))
    open_streams = []
    while not asking.done():
        open_streams.append(simulator.state.open_streams)
        await asyncio.wait({asking}, timeout=0.005)
    answer = await asking
    assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (200, "9")
    assert (simulator.state.model_call_count + simulator.state.image_call_count, max(open_streams)) == (4, 1)


@pytest.mark.check(309)
@pytest.mark.parametrize("path", COUNTS)
async def test_a_count_takes_no_place_and_no_request(opened: httpx.AsyncClient, state: State, path: str):
    """Neither before the one turn that the key may have, nor beside it, nor after it."""
    headers = await headers_of(state, concurrency=1, rpm=1)

    async def count() -> None:
        answers = await asyncio.gather(*(opened.post(path, json=COUNTS[path], headers=headers) for _ in range(25)))
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.headers for answer in answers if NO_LIMITS & set(answer.headers)] == []

    await count()
    async with opened.stream("POST", CHAT_PATH, json=chat("scene:stall:30", stream=True), headers=headers) as turn:
        assert (turn.status_code, turn.headers["x-ratelimit-remaining-requests"]) == (200, "0")
        received = turn.aiter_bytes()
        assert await anext(received)
        assert await used(state) == {"turns": 1, "requests": 1}
        await count()
        assert await used(state) == {"turns": 1, "requests": 1}
    refused = await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)
    assert refused.status_code == 429
    await count()


async def test_the_metrics_tell_the_places_of_a_limited_key(
    opened: httpx.AsyncClient, state: State, simulator: Simulator
):
    headers = await headers_of(state, concurrency=3)
    series = f'gptmock_key_open_turns{{key="{(await state.keys.show("ada")).id}"}}'
    asking = [
        asyncio.get_running_loop().create_task(
            opened.post(CHAT_PATH, json=chat("scene:stall:60", stream=True), headers=headers)
        )
        for _ in range(2)
    ]
    await until(lambda: simulator.state.open_streams == 2)
    await until_told(opened, f"{series} 2.0")
    for task in asking:
        task.cancel()
    await until_told(opened, f"{series} 0.0")


async def until_told(opened: httpx.AsyncClient, line: str, path: str = "/metrics") -> None:
    async with asyncio.timeout(20):
        while line not in (await opened.get(path)).text:  # noqa: ASYNC110 - sampled some times a second
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_model_that_the_key_may_not_use_is_a_403(
    opened: httpx.AsyncClient, state: State, simulator: Simulator, path: str
):
    headers = await headers_of(state, models=("gpt-6*",), rpm=5)
    refused = await opened.post(path, json=ROUTES[path], headers=headers)
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert "It allows: gpt-6*." in (error if path.startswith("/api/") else error["message"])
    if path == "/v1/messages":
        assert error["type"] == "permission_error"
    elif not path.startswith("/api/"):
        assert (error["code"], error["param"]) == ("model_not_allowed", "model")
    assert simulator.state.model_call_count == 0
    allowed = await opened.post(path, json={**ROUTES[path], "model": f"{OTHER}-high", "stream": False}, headers=headers)
    assert (allowed.status_code, allowed.headers["x-ratelimit-remaining-requests"]) == (200, "4")


async def test_only_allowed_models_are_listed(opened: httpx.AsyncClient, state: State):
    headers = await headers_of(state, models=("GPT-6-*", "gpt-5.5"))
    everything = {one["id"] for one in (await opened.get("/v1/models")).json()["data"]}
    wanted = {one for one in everything if one.startswith("gpt-6-")} | {"gpt-5.5"}
    assert wanted < everything
    listed = (await opened.get("/v1/models", headers=headers)).json()["data"]
    assert {one["id"] for one in listed} == wanted
    tags = (await opened.get("/api/tags", headers=headers)).json()["models"]
    assert {one["name"].removesuffix(":latest") for one in tags} == wanted
    hidden = next(iter(everything - wanted))
    missing = await opened.get(f"/v1/models/{hidden}", headers=headers)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert (await opened.post("/api/show", json={"model": hidden}, headers=headers)).status_code == 404
    assert (await opened.get("/v1/models/gpt-5.5", headers=headers)).status_code == 200
    nothing = await headers_of(state, "bob", models=("no-such-*",))
    assert (await opened.get("/v1/models", headers=nothing)).json()["data"] == []


@pytest.mark.check(232)
@pytest.mark.parametrize(
    ("models", "asked"),
    [
        (("gpt-5.5",), ["gpt-5.5", "gpt-5.5", "gpt-5.5", None]),
        (("gpt-6*",), ["gpt-6.2-sol", "gpt-6.2-sol", "gpt-6-luna", "gpt-6.2-sol"]),
        (("gpt-6.1-terra", "gpt-6-luna"), ["gpt-6.1-terra", "gpt-6.1-terra", "gpt-6-luna", None]),
        (("no-such-*",), [None, None, None, None]),
    ],
)
async def test_a_claude_name_is_one_model_in_the_list_and_in_a_call(
    simulator: Simulator, home: Path, state: State, models: tuple[str, ...], asked: list[str | None]
):
    headers = {**await headers_of(state, models=models), **ANTHROPIC}
    async with serving_simulator(simulator, home, anthropic_models="opus=gpt-6.2-sol") as url, client(url) as opened:
        for name, model in zip(CLAUDE_NAMES, asked, strict=True):
            shown = await opened.get(f"/v1/models/{name}", headers=headers)
            body = {**ROUTES["/v1/messages"], "model": name}
            answer = await opened.post("/v1/messages", json=body, headers=headers)
            if model is None:
                assert (shown.status_code, answer.status_code) == (404, 403), name
                continue
            assert (shown.status_code, answer.status_code) == (200, 200), answer.text
            sent = simulator.state.model_calls()[-1].body["model"]
            display_name = shown.json()["display_name"].lower().replace(" ", "-")
            assert (display_name, sent) == (model, model), name


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (
            "gpt-5.5",
            {"gpt-5.5-high": 404, "openai/gpt-5.5-High": 404, "gpt-5.5-high-fast": 404, "gpt-5.5-low": 200},
        ),
        ("gpt-5.5-high", {"gpt-5.5-high": 200, "gpt-5.5-high-low": 200, "gpt-5.5": 404, "gpt-5.5-low": 404}),
        ("gpt-5.5*", {"gpt-5.5-high": 200, "gpt-5.5": 200, "gpt-6-sol": 404}),
    ],
)
async def test_a_name_is_one_model_in_the_list_and_in_a_call(
    simulator: Simulator, home: Path, state: State, model: str, shown: dict[str, int]
):
    """Also if the whole list has a model whose name is that of another one and an effort."""
    known = simulator.state.catalogue.models
    entry = {**known[MODEL].entry, "slug": "gpt-5.5-high", "display_name": "GPT-5.5 High"}
    simulator.state.catalogue = Catalogue({**known, "gpt-5.5-high": Model(entry)})
    headers = await headers_of(state, models=(model,))
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        await until_told(opened, "GPT-5.5 High", path="/v1/models")
        for name, status in shown.items():
            answers = [
                await opened.get(f"/v1/models/{name}", headers=headers),
                await opened.get(f"/v1/models/{name}", headers={**headers, **ANTHROPIC}),
                await opened.post("/api/show", json={"model": name}, headers=headers),
                await opened.post("/api/pull", json={"model": name, "stream": False}, headers=headers),
            ]
            assert [answer.status_code for answer in answers] == [status] * 4, name
            called = await opened.post(CHAT_PATH, json=chat("scene:text", model=name), headers=headers)
            assert called.status_code == {200: 200, 404: 403}[status], name


async def test_a_request_that_names_no_model_gets_one_that_the_key_allows(
    opened: httpx.AsyncClient, state: State, simulator: Simulator
):
    headers = await headers_of(state, models=("gpt-5.5",))
    body = {name: value for name, value in chat("scene:text").items() if name != "model"}
    assert (await opened.post(CHAT_PATH, json=body, headers=headers)).status_code == 200
    assert [call.body["model"] for call in simulator.state.model_calls()] == ["gpt-5.5"]


async def test_a_key_has_defaults_of_its_own_and_a_request_the_last_word(
    opened: httpx.AsyncClient, state: State, simulator: Simulator
):
    own = KeyDefaults("reasoning-content", "high", web_search=True)
    headers = await headers_of(state, defaults=own)
    for more, given in (({}, headers), ({"reasoning_effort": "low"}, headers), ({}, {})):
        answer = await opened.post(CHAT_PATH, json={**chat("scene:reasoning"), **more}, headers=given)
        message = answer.json()["choices"][0]["message"]
        assert ("reasoning_content" in message, "<think>" in message["content"]) == (
            (True, False) if given else (False, True)
        )
    calls = [call.body for call in simulator.state.model_calls()]
    assert [call["reasoning"]["effort"] for call in calls] == ["high", "low", "medium"]
    assert [any(tool["type"] == "web_search" for tool in call.get("tools", [])) for call in calls] == [
        True,
        True,
        False,
    ]
    codex = {**headers, "user-agent": "codex_cli_rs/0.171.0", "originator": "codex_cli_rs"}
    sent = {"model": MODEL, "instructions": "x", "input": [], "stream": True, "store": False}
    sent["input"] = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "scene:text"}]}]
    assert (await opened.post(RESPONSES, json=sent, headers=codex)).status_code == 200
    assert "tools" not in simulator.state.model_calls()[-1].body


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
async def test_the_key_comes_in_any_of_its_headers(opened: httpx.AsyncClient, state: State, header: str):
    bearer = (await headers_of(state, rpm=5))["authorization"]
    value = bearer if header == "authorization" else bearer.removeprefix("Bearer ")
    answer = await opened.post(CHAT_PATH, json=chat("scene:text"), headers={header: value})
    assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (200, "4")


class SlowStore(GuardedStore):
    """A store whose answers take a while; remembers which of its calls each request has waited for."""

    waits: ClassVar[list[tuple[float, float]]] = []

    async def exchange_slots(
        self, freed: Sequence[FreedSlot], wanted: Sequence[WantedSlot], *, ttl_seconds: float
    ) -> list[SlotAnswer]:
        """See ``Store.exchange_slots``. Nobody waits for one that only settles."""
        call = super().exchange_slots(freed, wanted, ttl_seconds=ttl_seconds)
        return await (self._slowly(call) if wanted else call)

    async def observed(self, names: Sequence[str]) -> list[bytes | None]:
        """See ``Store.observed``."""
        return await self._slowly(super().observed(names))

    async def read(self, name: str) -> Record | None:
        """See ``Store.read``."""
        return await self._slowly(super().read(name))

    async def read_many(self, names: Sequence[str]) -> list[Record | None]:
        """See ``Store.read_many``."""
        return await self._slowly(super().read_many(names))

    async def _slowly(self, call: Coroutine[Any, Any, T]) -> T:
        began = time.monotonic()
        if in_request.get():
            await asyncio.sleep(0.3)
        answer = await call
        if in_request.get():
            self.waits.append((began, time.monotonic()))
        return answer


async def test_with_a_pool_and_limits_a_turn_waits_for_the_store_once(
    simulator: Simulator, home: Path, state: State, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shared_state, "GuardedStore", SlowStore)

    async def run(self: TurnRequest) -> Any:
        in_request.set(True)
        return await ORIGINAL_RUN(self)

    monkeypatch.setattr(TurnRequest, "run", run)
    await second_account(state, simulator, home)
    label = (await state.vault.logins())[0].label
    headers = await headers_of(state, rpm=100, concurrency=9, tokens_per_day=10**6)
    async with serving_simulator(simulator, home, account_pool=f"{label},bob") as url, client(url) as opened:
        for _ in range(3):
            SlowStore.waits.clear()
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)).status_code == 200
            called = max(call.at for call in simulator.state.model_calls()) - time.time() + time.monotonic()
            before = [wait for wait in SlowStore.waits if wait[1] <= called]
            assert len(before) == 2
            # Both at once: each began before the other had ended.
            assert max(began for began, _ in before) < min(ended for _, ended in before)


# --- Tenants ----------------------------------------------------------------------------------


async def test_two_keys_share_nothing(opened: httpx.AsyncClient, state: State, simulator: Simulator):
    ada, bob = await headers_of(state, "ada-planted"), await headers_of(state, "bob-planted")
    body = {"model": MODEL, "input": "scene:text", "store": True, "prompt_cache_key": "canary", "instructions": "same"}
    session = {"x-session-id": "one-session"}
    answers = [await opened.post(RESPONSES, json=body, headers={**key, **session}) for key in (ada, bob)]
    ids = [answer.json()["id"] for answer in answers]
    assert len(set(ids)) == 2
    calls = simulator.state.model_calls()
    for name in ("session-id", "thread-id"):
        assert len({call.headers[name] for call in calls}) == 2, name
    assert len({call.body["prompt_cache_key"] for call in calls}) == 2
    for path in (f"{RESPONSES}/{ids[0]}", f"{RESPONSES}/{ids[0]}/input_items"):
        assert (await opened.get(path, headers=ada)).status_code == 200
        foreign, unknown = (
            await opened.get(path, headers=bob),
            await opened.get(path.replace(ids[0], "resp_0"), headers=bob),
        )
        assert (foreign.status_code, unknown.status_code) == (404, 404)
        assert foreign.text.replace(ids[0], "ID") == unknown.text.replace("resp_0", "ID")
        assert "ada-planted" not in foreign.text
    assert (await opened.delete(f"{RESPONSES}/{ids[0]}", headers=bob)).status_code == 404
    taken_up = {**body, "previous_response_id": ids[0]}
    assert (await opened.post(RESPONSES, json=taken_up, headers=bob)).status_code in (400, 404)
    assert (await opened.post(RESPONSES, json=taken_up, headers=ada)).status_code == 200
    assert (await opened.get(f"{RESPONSES}/{ids[0]}", headers={})).status_code == 404


@pytest.mark.parametrize("path", ["/v1/usage", "/usage"])
async def test_a_key_sees_its_own_usage_and_limits_and_no_other(opened: httpx.AsyncClient, state: State, path: str):
    ada = await headers_of(state, "ada-planted", rpm=10, tokens_per_week=10**6)
    bob = await headers_of(state, "bob-planted")
    for headers, model in ((ada, MODEL), (ada, OTHER), (bob, MODEL), ({}, MODEL)):
        body = {**chat("scene:text"), "model": model}
        assert (await opened.post(CHAT_PATH, json=body, headers=headers)).status_code == 200

    async def usage(headers: dict[str, str]) -> Any:
        answer = await opened.get(path, headers=headers)
        assert answer.status_code == 200
        return answer.json()

    async with asyncio.timeout(20):
        while (await usage({}))["total"]["requests"] != 1:  # noqa: ASYNC110 - written once a second
            await asyncio.sleep(0.05)
    own, other = await usage(ada), await usage(bob)
    assert {row["model"]: row["requests"] for row in own["data"]} == {MODEL: 1, OTHER: 1}
    assert (own["key"], own["total"]["requests"], other["total"]["requests"]) == ("ada-planted", 2, 1)
    limits = {one["kind"]: (one["limit"], one["used"]) for one in own["limits"]}
    tokens = own["total"]["input_tokens"] + own["total"]["output_tokens"]
    assert limits == {"requests": (10, 2), "tokens_per_week": (10**6, tokens)}
    assert (other["limits"], "ada-planted" in str(other), (await usage({}))["key"]) == ([], False, None)
    assert (await opened.get(path, params={"days": "1"}, headers=ada)).json()["total"] == own["total"]
    for wrong in ("0", "32", "x", "-1", "٣", "9999999"):
        refused = await opened.get(path, params={"days": wrong}, headers=ada)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "days")


# --- Clients that leave -------------------------------------------------------------------


async def left(
    opened: httpx.AsyncClient, simulator: Simulator, path: str, body: dict[str, Any], **headers: str
) -> None:
    """Leave a call when its answer has begun, or stays away."""
    asking = asyncio.ensure_future(opened.post(path, json=body, headers=headers))
    await until(lambda: simulator.state.open_streams == 1)
    await asyncio.sleep(0.3)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: simulator.state.open_streams == 0)


def with_text(body: dict[str, Any], text: str) -> dict[str, Any]:
    return dict(json.loads(json.dumps(body).replace("scene:text", text)))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_its_client_leaves_counts_what_it_has_used_once(
    opened: httpx.AsyncClient,
    state: State,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    for path, body in ROUTES.items():
        headers = await headers_of(state, path, tokens_per_day=1_000_000)
        counted = []
        for scene in ("slow-head:30", "silent:30", "stall:30") if path == RESPONSES else ("stall:30",):
            asked = {**with_text(body, f"scene:{scene}"), "stream": stream}
            before = await used_by(state, path)
            await left(opened, simulator, path, asked, **headers)
            await asyncio.sleep(0.1)
            counted.append(await used_by(state, path) - before)
        assert 10 < counted[-1] < 200, path
        if path == RESPONSES:
            unanswered, silent, begun = counted
            assert unanswered == 0, "the upstream had accepted nothing"
            assert 5 < silent < begun < silent + 50, "the input, and what had come of the answer"


async def test_a_call_that_fails_counts_nothing_and_a_complete_one_what_the_upstream_says(
    opened: httpx.AsyncClient, state: State
):
    headers = await headers_of(state, tokens_per_day=1_000_000)
    for scene in ("eof-mid", "failed-mid", "failed-first"):
        for stream in (True, False):
            await opened.post(CHAT_PATH, json=chat(f"scene:{scene}", stream=stream), headers=headers)
    await asyncio.sleep(0.2)
    assert await tokens_used(state) == 0
    answer = await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)
    total = answer.json()["usage"]["total_tokens"]
    await eventually_used(state, total)


async def eventually_used(state: State, total: int) -> None:
    async with asyncio.timeout(10):
        while await tokens_used(state) != total:  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)


async def used_by(state: State, name: str) -> int:
    limits = await StoreKeyLimits(state.store).states(await state.keys.show(name))
    return next(one.used for one in limits if one.kind == "tokens_per_day")
