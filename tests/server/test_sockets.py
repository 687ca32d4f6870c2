"""``GET /v1/responses`` as WebSocket, with the simulator behind."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gptmock.clients import KeyTerms
from gptmock.server.client_bounds import ConnectionDeadlines
from gptmock.server.context import ServerOptions
from gptmock.server.sockets import connection as sockets
from gptmock.server.sockets.messages import MAX_STEER_BYTES
from gptmock.server.sockets.session import MAX_RUNNING, MAX_WAITING, Ages
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.server import Simulator
from gptmock.simulator.state import RecordedRequest
from tests.harness import client as open_client
from tests.harness import serving_simulator, until
from tests.responses_client import responses_text
from tests.timing import generous
from tests.websocket_client import create, opened, rest, said, turn

STATIC = "sk-server-0123456789"
CODEX = {"originator": "codex_exec", "user-agent": "codex_exec/0.171.0 (Debian 13.0.0; x86_64) unknown"}
WATCHFUL = ServerOptions(deadlines=ConnectionDeadlines(idle_seconds=0.5))
"""Connections are looked at twenty times a second."""
LITE = "x-openai-internal-codex-responses-lite"


@pytest.fixture
async def connection(base_url: str) -> AsyncIterator[ClientConnection]:
    async with opened(base_url) as it:
        yield it


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    """Another process on the store of the server, as a command is."""
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as shared:
        yield shared


@asynccontextmanager
async def ages(simulator: Simulator, home: Path, **seconds: float) -> AsyncIterator[str]:
    """A server whose connections have these ages."""
    configured = Ages(**seconds)
    async with serving_simulator(
        simulator, home, options=WATCHFUL, configure=lambda app: setattr(app.ctx, "socket_ages", configured)
    ) as url:
        yield url


def last(simulator: Simulator) -> RecordedRequest:
    return simulator.state.model_calls()[-1]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def close_code(connection: ClientConnection) -> int | None:
    """The code that the server closes with; messages before it are passed over."""
    try:
        while True:
            await said(connection)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


def turn_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.getMessage() == "turn"]


# --- Turns ---------------------------------------------------------------------------------


async def test_a_turn(base_url: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock")
    for path in ("/responses", "//v1/responses/?beta=true"):
        async with opened(base_url, path) as it:
            assert (await turn(it, create("scene:text")))[-1]["type"] == "response.completed"
    async with opened(base_url) as it:
        events = await turn(it, create("scene:text", background=False, stream=False))
        again = await turn(it, create("scene:text"))
    assert kinds(events)[0] == kinds(again)[0] == "response.created"
    assert responses_text(events[-1]["response"]).startswith("Hello from the simulator.")
    await until(lambda: len(turn_lines(caplog)) == 4)
    lines = turn_lines(caplog)
    assert [(line["transport"], line["status"], line["ended"]) for line in lines] == [("websocket", 200, "ok")] * 4
    assert len({line["request_id"] for line in lines}) == 4
    assert all(line["bytes"] > 0 and line["input_tokens"] > 0 for line in lines)


async def test_a_turn_below_a_base_path(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, base_path="/gptmock") as url:
        async with opened(url, "/gptmock/v1/responses") as it:
            assert (await turn(it, create("scene:text")))[-1]["type"] == "response.completed"
        with pytest.raises(InvalidStatus):
            async with opened(url):
                pass


@pytest.mark.parametrize(
    "parts",
    [
        ("", "\\ud83d and \\udE00", ""),
        ("\ufeff", "\ufffd and \ufffd", ""),
        ("", "\ufffd and \ufffd", ',"client_metadata":{"title":"\\ud83d"}'),
    ],
    ids=["halves", "byte order mark", "half in the metadata"],
)
async def test_text_is_read_as_over_http(
    connection: ClientConnection, client: httpx.AsyncClient, simulator: Simulator, parts: tuple[str, str, str]
):
    before, given, after = parts
    text = f'{before}{{"type": "response.create", "model": "gpt-5.5", "input": "{given}"{after}}}'
    await connection.send(text)
    assert (await rest(connection))[-1]["type"] == "response.completed"
    content = text.replace('"type": "response.create", ', "").encode()
    assert (await client.post("/v1/responses", content=content)).status_code == 200
    by_socket, by_http = (call.body["input"] for call in simulator.state.model_calls())
    assert by_socket == by_http
    assert by_socket[0]["content"][0]["text"] == "\ufffd and \ufffd"


@pytest.mark.check(327)
async def test_what_belongs_to_the_transport_stays_here(base_url: str, simulator: Simulator):
    metadata = {
        "x-codex-turn-metadata": '{"turn_id":"t"}',
        "x-codex-window-id": "w:0",
        "session_id": "s-1",
        "authorization": "Bearer theirs",
        f"ws_request_header_{LITE.replace('-', '_')}": "true",
        "ws_request_header_authorization": "Bearer theirs",
    }
    async with opened(base_url, headers=CODEX) as it:
        message = create([message_item("hi")], stream_id="a", generate=True, client_metadata=metadata)
        message |= {"parallel_tool_calls": False, "reasoning": {"context": "all_turns"}}
        assert (await turn(it, message))[-1]["type"] == "response.completed"
    call = last(simulator)
    assert not {"type", "stream_id", "generate"} & set(call.body)
    assert not [name for name in call.body["client_metadata"] if name.startswith("ws_request_header_")]
    assert (call.headers[LITE], call.headers["x-codex-window-id"]) == ("true", "w:0")
    assert "theirs" not in str(dict(call.headers))


def message_item(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


@pytest.mark.check(241)
async def test_lanes_run_beside_each_other_and_turns_of_a_lane_do_not(
    connection: ClientConnection, simulator: Simulator
):
    slow, quick = create("scene:slow-head:1", stream_id="a"), create("scene:text", stream_id="a")
    for message in (slow, quick, create("scene:text", stream_id="b")):
        await connection.send(json.dumps(message))
    first = await rest(connection)
    assert {event["stream_id"] for event in first} == {"b"}, "another lane does not wait"
    assert len(simulator.state.model_calls()) == 2, "the second turn of a lane waits"
    second, third = await rest(connection), await rest(connection)
    assert {event["stream_id"] for event in second + third} == {"a"}
    assert second[-1]["type"] == third[-1]["type"] == "response.completed"


async def test_so_many_lanes_run_and_so_many_turns_wait(connection: ClientConnection, simulator: Simulator):
    for number in range(MAX_RUNNING + MAX_WAITING + 1):
        await connection.send(json.dumps(create("scene:slow-head:30", stream_id=f"lane {number}")))
    refused = await said(connection)
    assert (refused["type"], refused["status"]) == ("error", 429)
    await until(lambda: len(simulator.state.model_calls()) == MAX_RUNNING)
    await connection.close()
    await until(lambda: simulator.state.open_streams == 0)


# --- previous_response_id --------------------------------------------------------------------


@pytest.mark.check(242)
@pytest.mark.parametrize("headers", [{}, CODEX], ids=["anybody", "codex"])
async def test_a_response_of_the_connection_is_continued(base_url: str, simulator: Simulator, headers: dict[str, str]):
    async with opened(base_url, headers=headers) as it:
        members: dict[str, Any] = {
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"summary": "auto"},
        }
        for text in ("scene:reasoning", "and now?", "more"):
            events = await turn(it, create([message_item(text)], **members))
            assert events[-1]["type"] == "response.completed"
            members["previous_response_id"] = events[-1]["response"]["id"]
    calls = [call.body["input"] for call in simulator.state.model_calls()]
    assert calls[1][0] == calls[0][0]
    assert [item["type"] for item in calls[1]] == ["message", "reasoning", "message", "message"]
    assert calls[2][:4] == calls[1]
    assert len(calls[2]) > len(calls[1])


@pytest.mark.check(243)
async def test_a_stored_response_is_continued_on_another_connection(base_url: str, simulator: Simulator):
    async with opened(base_url) as it:
        first = (await turn(it, create("scene:text")))[-1]["response"]
    assert first["store"] is True
    async with opened(base_url) as it:
        again = await turn(it, create("and now?", previous_response_id=first["id"]))
    assert again[-1]["type"] == "response.completed"
    assert len(last(simulator).body["input"]) == 3


@pytest.mark.check(244)
async def test_an_unknown_response_is_told_by_its_code(simulator: Simulator, home: Path):
    for ttl in (3600, 0):
        async with serving_simulator(simulator, home, responses_ttl=ttl) as url, opened(url) as it:
            (refused,) = await turn(it, create("hi", previous_response_id="resp_unknown", stream_id="a"))
            assert (refused["type"], refused["status"], refused["stream_id"]) == ("error", 400, "a")
            assert refused["error"]["code"] == "previous_response_not_found"
            assert (await turn(it, create("hi")))[-1]["type"] == "response.completed"


@pytest.mark.check(322)
@pytest.mark.parametrize("headers", [{}, CODEX], ids=["anybody", "codex"])
async def test_a_warm_up_is_no_turn(
    base_url: str,
    simulator: Simulator,
    headers: dict[str, str],
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    async with opened(base_url, headers=headers) as it:
        prewarm = {"prompt_cache_options": {"prewarm": True}}
        for given, items, warm in (([], 1, {"generate": False}), ([message_item("remember this")], 2, prewarm)):
            made, done = await turn(it, create(given, instructions="You are.", **warm))
            assert (made["type"], done["type"]) == ("response.created", "response.completed")
            assert done["response"]["output"] == []
            assert done["response"]["usage"] is None
            before = len(simulator.state.model_calls())
            more = create([message_item("hi")], instructions="You are.", previous_response_id=done["response"]["id"])
            assert (await turn(it, more))[-1]["type"] == "response.completed"
            assert len(last(simulator).body["input"]) == items
            assert len(simulator.state.model_calls()) == before + 1
    assert len(turn_lines(caplog)) == 2


# --- What cannot be served -------------------------------------------------------------------


@pytest.mark.check(245, 320)
async def test_what_is_no_turn_is_refused_and_the_connection_stays(connection: ClientConnection):
    for text in (
        "{",
        "[]",
        '"text"',
        "null",
        '{"type": "response.cancel"}',
        "{}",
        '{"type": 1}',
        "[" * 5000,
        json.dumps(create(background=True)),
        json.dumps(create(stream_id=7)),
        json.dumps({**create(), "model": 7}),
        json.dumps({"type": "response.create"}),
    ):
        await connection.send(text)
        refused = await said(connection)
        assert refused["type"] == "error", text
        assert refused["status"] == 400, text
        assert refused["error"]["message"]
    assert (await turn(connection, create("scene:text")))[-1]["type"] == "response.completed"


@pytest.mark.check(245)
async def test_binary_closes(connection: ClientConnection):
    await connection.send(b"{}")
    assert await close_code(connection) == 1003


@pytest.mark.check(245)
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_what_is_too_large_is_told_and_closes(simulator: Simulator, home: Path, compression: str | None):
    async with (
        serving_simulator(simulator, home, max_body_bytes=20 * 1024 * 1024) as url,
        opened(url, compression=compression) as it,
    ):
        size = 17 if compression is None else 21
        with suppress(ConnectionClosed):
            await it.send(json.dumps(create("x" * (size * 1024 * 1024))))
        refused = await said(it)
        assert (refused["status"], refused["error"]["code"]) == (400, "payload_too_large")
        assert await close_code(it) == 1009


FLOODS = {
    "steer": ({"type": "response.steer", "input": "x" * 500_000}, 100),
    "warm-up": (create("x", generate=False, instructions="x" * 100_000), 400),
}
"""Messages, and how many of them have answers of more than the kernel holds."""


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_client_that_does_not_read_is_read_no_further(base_url: str, kind: str):
    message, count = FLOODS[kind]
    text, sent, answered = json.dumps(message), 0, 0
    async with opened(base_url, compression=None, ping_interval=None) as it:
        it.transport.pause_reading()
        with suppress(TimeoutError):
            while sent < count:
                sent += 1
                await asyncio.wait_for(it.send(text), 2.0)
        assert sent < count
        it.transport.resume_reading()
        while answered < sent:
            answered += (await said(it))["type"] in ("error", "response.steer.failed", "response.completed")


@pytest.mark.check(323)
async def test_steering_is_refused_whole(connection: ClientConnection):
    too_long = [message_item("x" * MAX_STEER_BYTES)]
    await connection.send(json.dumps({"type": "response.steer", "input": too_long, "previous_response_id": "resp_1"}))
    assert (await said(connection))["steer"] == {"previous_response_id": "resp_1"}
    steer = {"input": [message_item("left")], "previous_response_id": "resp_1"}
    (refused,) = await turn(connection, {"type": "response.steer", "stream_id": "a", **steer})
    assert refused["type"] == "response.steer.failed"
    assert refused["steer"] == steer
    assert (refused["stream_id"], refused["error"]["code"]) == ("a", "steering_not_supported")


FAILURES = {
    "400-detail": 400,
    "500": 502,
    "503-overload": 503,
    "eof-mid": 502,
    "failed-first": None,
    "failed-mid": None,
    "error-event": None,
    "error-event-nested": None,
    "429-usage": 429,
}
"""Scene to the status of its error; the last ends the account."""


@pytest.mark.check(320)
async def test_each_failure_has_a_status(connection: ClientConnection, client: httpx.AsyncClient):
    for scene, status in FAILURES.items():
        events = await turn(connection, create(f"scene:{scene}", stream_id="a"))
        (error,) = [event for event in events if event["type"] == "error"]
        assert error["status"] >= 400, scene
        assert status in (None, error["status"]), scene
        assert error["stream_id"] == "a"
        asked = {"model": "gpt-5.5", "input": f"scene:{scene}", "stream": True}
        if scene != "429-usage" and (response := await client.post("/v1/responses", json=asked)).status_code != 200:
            assert response.status_code == error["status"]
            assert response.json()["error"] == error["error"]
    assert error["error"]["type"] == "usage_limit_reached"
    assert error["error"]["resets_in_seconds"] > 0
    assert error["error"]["resets_at"] > 0


# --- Who may -----------------------------------------------------------------------------------


@pytest.mark.check(250)
async def test_a_key_is_checked_for_each_turn(simulator: Simulator, home: Path, state: State):
    issued = await state.keys.create("ada", KeyTerms())
    key = {"authorization": f"Bearer {issued.text.reveal()}"}
    async with serving_simulator(simulator, home, api_key=STATIC) as url:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(url):
                pass
        assert refused.value.response.status_code == 401
        async with opened(url, headers=key) as it:
            assert (await turn(it, create("scene:text")))[-1]["type"] == "response.completed"
            await state.keys.revoke(issued.key.id)
            for _ in range(int(generous(100))):
                *_, error = await turn(it, create("scene:text"))
                if error["type"] == "error":
                    break
                await asyncio.sleep(0.1)
    assert (error["type"], error["status"]) == ("error", 403)


async def test_a_signed_in_client_without_a_key_goes_to_http(simulator: Simulator, home: Path):
    token = simulator.state.logins.issue().auth_json()["tokens"]["access_token"]
    async with serving_simulator(simulator, home, api_key=STATIC) as url:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(url, headers={"authorization": f"Bearer {token}", "chatgpt-account-id": "x"}):
                pass
    assert refused.value.response.status_code == 426


@pytest.mark.check(252)
async def test_pages_of_others_are_kept_out(base_url: str):
    port = int(base_url.rsplit(":", 1)[1])
    for url, headers in (
        (base_url, {"origin": "https://evil.example"}),
        (base_url, {"origin": "null"}),
        (f"http://evil.example:{port}", {}),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with opened(url, headers=headers, host="127.0.0.1", port=port):
                pass
        assert refused.value.response.status_code in (403, 421), headers
    async with opened(base_url, headers={"origin": base_url}) as it:
        assert (await turn(it, create("scene:text")))[-1]["type"] == "response.completed"


async def test_what_is_no_handshake_is_answered(client: httpx.AsyncClient):
    plain = await client.get("/v1/responses")
    assert (plain.status_code, plain.headers["allow"]) == (405, "POST")
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    for more in ({}, {"sec-websocket-key": "short"}):
        broken = await client.get("/v1/responses", headers={**upgrade, **more})
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "bad_handshake")


async def test_nothing_of_the_account_comes_down(base_url: str, simulator: Simulator):
    for headers in ({}, CODEX):
        async with opened(base_url, headers={**headers, "cookie": "planted=theirs"}) as it:
            heard = [await turn(it, create(f"scene:{scene}")) for scene in ("vendor-first", "400-detail", "eof-mid")]
            assert it.response is not None
            text = f"{heard}{it.response.headers}"
        for call in simulator.state.model_calls():
            assert call.headers["authorization"].removeprefix("Bearer ") not in text
            assert call.headers["chatgpt-account-id"] not in text
            assert "planted" not in str(dict(call.headers))


# --- The connection ------------------------------------------------------------------------------


@pytest.mark.check(246)
async def test_a_client_that_goes_ends_its_turns(base_url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    async with opened(base_url) as it:
        for lane in ("a", "b"):
            await it.send(json.dumps(create("scene:stall:60", stream_id=lane)))
        await until(lambda: simulator.state.open_streams == 2)
        it.transport.abort()
        await until(lambda: simulator.state.open_streams == 0)
    await until(lambda: len(turn_lines(caplog)) == 2)
    assert {line["ended"] for line in turn_lines(caplog)} == {"client_gone"}


@pytest.mark.check(248)
async def test_an_old_connection_ends_after_its_turn(simulator: Simulator, home: Path):
    async with ages(simulator, home, age_seconds=0.5) as url, opened(url) as it:
        await it.send(json.dumps(create("scene:slow-head:1")))
        await it.send(json.dumps(create("never")))
        events = await rest(it)
        assert events[-1]["type"] == "response.completed"
        limit = await said(it)
        assert (limit["status"], limit["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert await close_code(it) == 1000
    assert simulator.state.model_call_count == 1


async def test_an_idle_connection_is_closed_and_one_with_a_turn_is_not(simulator: Simulator, home: Path):
    async with ages(simulator, home, idle_seconds=0.5) as url, opened(url) as busy, opened(url) as idle:
        await busy.send(json.dumps(create("scene:slow-head:1")))
        assert await close_code(idle) == 1000
        assert (await rest(busy))[-1]["type"] == "response.completed"


async def test_a_silent_client_is_given_up(simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.3)
    async with serving_simulator(simulator, home, options=WATCHFUL) as url, opened(url, ping_interval=None) as it:
        await asyncio.sleep(1.5)
        assert (await turn(it, create("scene:text")))[-1]["type"] == "response.completed", "pings are answered"
        it.transport.pause_reading()
        await asyncio.sleep(2.0)
        it.transport.resume_reading()
        assert await close_code(it) is None


@pytest.mark.check(249)
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_compressed_messages_are_read(base_url: str, simulator: Simulator, compression: str | None):
    async with opened(base_url, compression=compression) as it:
        agreed = it.response.headers.get("sec-websocket-extensions", "") if it.response is not None else ""
        assert ("permessage-deflate" in agreed) == (compression is not None)
        for text in ("short", "long " * 100_000):
            assert (await turn(it, create(text)))[-1]["type"] == "response.completed"
            assert last(simulator).body["input"][0]["content"][0]["text"] == text


async def test_a_message_in_fragments_is_one(connection: ClientConnection):
    text = json.dumps(create("scene:text"))
    await connection.send([text[:5], text[5:9], text[9:]])
    assert (await rest(connection))[-1]["type"] == "response.completed"


@pytest.mark.check(247)
async def test_a_server_that_stops_lets_turns_end(simulator: Simulator, home: Path):
    apps: list[Any] = []
    async with (
        serving_simulator(simulator, home, options=WATCHFUL, configure=apps.append) as url,
        opened(url) as it,
        opened(url) as idle,
    ):
        await it.send(json.dumps(create("scene:slow-head:2")))
        await until(lambda: simulator.state.model_call_count == 1)
        apps[0].ctx.services.draining = True
        assert await close_code(idle) == 1012
        assert (await rest(it))[-1]["type"] == "response.completed"
        assert await close_code(it) == 1012


@pytest.mark.check(325)
async def test_clients_hear_of_a_silent_turn(simulator: Simulator, home: Path):
    options = ServerOptions(heartbeat_seconds=0.2, keepalive_seconds=0.3)
    async with serving_simulator(simulator, home, options=options) as url:
        for headers, is_codex in ((CODEX, True), ({}, False)):
            async with opened(url, headers=headers) as it:
                events = await turn(it, create("scene:stall:1", stream_id="a", instructions="Be brief."))
                early = await turn(it, create("scene:slow-head:1"))
            assert ("codex.keepalive" in kinds(events)) == is_codex
            again = [event for event in events if event["type"] == "response.in_progress"][1:]
            assert bool(again) != is_codex
            for event in again:
                assert (event["stream_id"], event["response"]) == ("a", events[0]["response"])
            assert events[-1]["type"] == "response.completed"
            assert kinds(early).count("response.in_progress") == 1


# --- The same over both ------------------------------------------------------------------------


VOLATILE = frozenset(
    {
        "id",
        "prompt_cache_key",
        "safety_identifier",
        "item_id",
        "call_id",
        "created_at",
        "completed_at",
        "obfuscation",
        "encrypted_content",
    }
)


def still(value: Any) -> Any:
    """Without what differs between two turns that are alike."""
    if isinstance(value, dict):
        return {
            name: None if name in VOLATILE or name.endswith(("_id", "-state")) else still(inner)
            for name, inner in value.items()
        }
    return [still(one) for one in value] if isinstance(value, list) else value


@pytest.mark.check(326)
@pytest.mark.parametrize("headers", [{}, CODEX], ids=["anybody", "codex"])
async def test_scenes_are_the_same_over_both_transports(base_url: str, headers: dict[str, str]):
    async with open_client(base_url) as http, opened(base_url, headers=headers) as it:
        for scene in (
            "text", "long", "reasoning", "interleaved", "tools2", "custom", "search", "refusal", "image", "done-only",
            "noids", "vendor-first", "unknown", "filled", "queued", "separators", "incomplete", "filter", "failed-mid",
            "overload", "error-event", "eof-mid", "garbage", "odd-splits", "crlf", "multiline", "nobreak",
        ):  # fmt: skip
            members = {"model": "gpt-5.5", "input": [message_item(f"scene:{scene}")]}
            response = await http.post("/v1/responses", json={**members, "stream": True}, headers=headers)
            events = await turn(it, {"type": "response.create", **members})
            told = [event for event in events if event["type"] != "codex.rate_limits" or scene == "vendor-first"]
            if response.status_code != 200:
                assert still(told[-1]["error"]) == still(response.json()["error"])
                continue
            blocks = response.text.split("\n\n")
            plain = [json.loads(block.split("data: ", 1)[1]) for block in blocks if "data: " in block]
            for event in told:
                if event["type"] == "error":
                    assert event.pop("status") >= 400
            skipped = [event for event in told if event["type"] != "codex.rate_limits"]
            expected = [event for event in plain if event["type"] != "codex.rate_limits"]
            assert still(skipped) == still(expected), scene
