"""The simulator's WebSocket: what it accepts, what it refuses, and how it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from gptmock.simulator.accounts import IssuedLogin
from gptmock.simulator.server import Simulator, SimulatorOptions
from gptmock.simulator.websocket import BETA
from tests.harness import until
from tests.simulator.wire import RESPONSES, WEATHER, body, headers_of, user

LAST = ("response.completed", "response.failed", "response.incomplete", "error")


class Caller:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def create(self, text: str = "scene:text", **changes: Any) -> list[dict[str, Any]]:
        await self.socket.send_str(json.dumps({"type": "response.create", **body(text, **changes)}))
        return await self.events()

    async def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while not found or found[-1]["type"] not in LAST:
            found.append(json.loads(await self.socket.receive_str()))
        return found

    async def closed(self) -> int | None:
        message = await self.socket.receive(timeout=30)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
        return self.socket.close_code


@asynccontextmanager
async def connected(simulator: Simulator, login: IssuedLogin, **headers: str) -> AsyncIterator[Caller]:
    given = {**headers_of(login), "openai-beta": BETA, **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.base_url + RESPONSES, headers=given, max_msg_size=0) as socket,
    ):
        yield Caller(socket)


async def refused(simulator: Simulator, login: IssuedLogin, **headers: str) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connected(simulator, login, **headers):
            pass
    return caught.value.status


async def test_what_the_handshake_refuses(simulator, login, client):
    assert await refused(simulator, login, authorization="Bearer other") == 401
    assert await refused(simulator, login, **{"openai-beta": "responses=experimental"}) == 400
    for status in (426, 503):
        simulator.state.options = SimulatorOptions(websocket_status=status)
        assert await refused(simulator, login) == status
    assert (await client.get(RESPONSES)).status_code == 405


async def test_a_turn_says_its_limits_and_headers_first_and_then_the_events_of_http(simulator, login):
    async with connected(simulator, login) as caller:
        limits, metadata, *events = await caller.create()
    assert limits["rate_limits"]["primary"]["used_percent"] == simulator.state.options.used_percent
    assert set(metadata["headers"]) == {"x-models-etag", "openai-model", "x-oai-request-id"}
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")


async def test_a_turn_continues_the_response_before_it_and_no_other(simulator, login):
    async with connected(simulator, login) as caller:
        first = await caller.create("scene:tool", tools=[WEATHER])
        call = next(one["item"] for one in first if one["type"] == "response.output_item.done")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "12"}
        changes: dict[str, Any] = {"input": [output], "tools": [WEATHER]}
        second = await caller.create(previous_response_id=first[2]["response"]["id"], **changes)
        assert second[-1]["type"] == "response.completed"
        (error,) = await caller.create(previous_response_id=first[2]["response"]["id"], **changes)
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        # A whole turn, refused: its output has no call.
        (error,) = await caller.create(**changes)
        assert "No tool call found" in error["error"]["message"]
        (error,) = await caller.create(previous_response_id=second[2]["response"]["id"], input=[user("scene:text")])
        assert error["error"]["code"] == "previous_response_not_found", "forgotten with the turn that failed"
    async with connected(simulator, login) as other:
        (error,) = await other.create(previous_response_id=first[2]["response"]["id"], **changes)
        assert error["error"]["code"] == "previous_response_not_found"


async def test_what_is_refused_in_a_turn_has_a_status(simulator, login):
    async with connected(simulator, login) as caller:
        for changes, status in (
            ({"model": "gpt-0"}, 400),
            ({"store": True}, 400),
            ({"temperature": 1}, 400),
            ({"text": "scene:429-usage"}, 429),
            ({"text": "scene:402"}, 402),
        ):
            text = str(changes.pop("text", "scene:text"))
            (error,) = await caller.create(text, **changes)
            assert (error["type"], error["status"]) == ("error", status)
            assert error["error"]["message"]
        for message in ("{", "[]", '{"type":"response.steer"}'):
            await caller.socket.send_str(message)
            (error,) = await caller.events()
            assert error["status"] == 400
        assert (await caller.create())[-1]["type"] == "response.completed"


async def test_one_turn_at_a_time(simulator, login):
    async with connected(simulator, login) as caller:
        for _ in range(2):
            await caller.socket.send_str(json.dumps({"type": "response.create", **body("scene:silent:0.2")}))
        events = await caller.events()
        assert (events[-1]["type"], events[-1]["status"]) == ("error", 400)
        assert (await caller.events())[-1]["type"] == "response.completed"


async def test_how_a_connection_ends(simulator, login):
    async with connected(simulator, login) as caller:
        await caller.socket.send_bytes(b"{}")
        assert await caller.closed() == 1003
    simulator.state.options = replace(simulator.state.options, websocket_limit_bytes=4096)
    async with connected(simulator, login) as caller:
        await caller.socket.send_str("x" * 4095)
        (error,) = await caller.events()
        assert error["status"] == 400
        await caller.socket.send_str("x" * 4096)
        assert await caller.closed() == 1009
    async with connected(simulator, login) as caller:
        simulator.state.sockets_end()
        (error,) = await caller.create()
        assert (error["status"], error["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert await caller.closed() == 1000
    for scene, code in (("eof-mid", 1011), ("abort-mid", 1006)):
        async with connected(simulator, login) as caller:
            await caller.socket.send_str(json.dumps({"type": "response.create", **body(f"scene:{scene}")}))
            while (await caller.socket.receive(timeout=30)).type is WSMsgType.TEXT:
                pass
            assert caller.socket.close_code == code


async def test_a_client_that_leaves_is_recorded(simulator, login):
    async with connected(simulator, login) as caller:
        await caller.socket.send_str(json.dumps({"type": "response.create", **body("scene:stall:30")}))
        await until(lambda: simulator.state.open_streams == 1)
    assert (await simulator.state.until_closed(seconds=10)).scene == "stall"
    await until(lambda: simulator.state.open_sockets == 0)


async def test_messages_are_recorded_with_their_size(simulator, login):
    async with connected(simulator, login) as caller:
        await caller.create()
    (call,) = simulator.state.socket_calls()
    assert call.body["type"] == "response.create"
    assert call.size_bytes == len(json.dumps({"type": "response.create", **body("scene:text")}))
