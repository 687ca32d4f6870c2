"""The logged outcome when a client disconnects: the turn's own after the last byte, ``client_gone`` before it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.dialects.table import DIALECTS, DialectRoute
from gptmock.server.client_wire import SanicWire
from gptmock.server.context import App
from gptmock.simulator.server import Simulator
from tests.harness import client as open_client
from tests.harness import serving_simulator, until
from tests.playbook import client_of

STEPS = 12
"""Event loop steps to test after the last frame; the handler ends within fewer."""
LAST = {
    "chat": b"[DONE]",
    "completions": b"[DONE]",
    "responses": b"response.completed",
    "ollama_chat": b'"done":true',
    "ollama_generate": b'"done":true',
    "messages": b"message_stop",
}
routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)


class Cut:
    """Cancels the handler as Sanic does when a client closes: so many steps after a block was sent, or just before."""

    def __init__(self) -> None:
        self.mark: bytes | None = None
        self.steps: int | None = None

    def install(self, app: App) -> None:
        """``http.lifecycle.send`` comes just before a block is written."""
        app.add_signal(self._before_a_write, "http.lifecycle.send")

    async def _before_a_write(self, data: bytes, **_: object) -> None:
        if self.mark is None or self.mark not in data:
            return
        self.mark, task = None, asyncio.current_task()
        assert task is not None
        if self.steps is None:
            task.cancel()
            await asyncio.sleep(0)
        else:
            _after(self.steps, task.cancel)


def _after(steps: int, act: Callable[[], object]) -> None:
    if steps == 0:
        act()
    else:
        asyncio.get_running_loop().call_soon(_after, steps - 1, act)


@asynccontextmanager
async def cut_server(simulator: Simulator, home: Path) -> AsyncIterator[tuple[str, Cut]]:
    cut = Cut()
    async with serving_simulator(simulator, home, configure=cut.install) as url:
        yield url, cut


def body_of(route: DialectRoute, *, stream: bool, scene: str = "text") -> bytes:
    body = json.loads(client_of(route).body(stream=stream))
    text = f"scene:{scene}"
    for member in ("prompt", "input"):
        if member in body:
            body[member] = text
    if "messages" in body:
        body["messages"] = [{"role": "user", "content": text}]
    return json.dumps(body).encode()


async def lines_of(caplog: pytest.LogCaptureFixture, count: int) -> list[tuple[Any, Any]]:
    def found() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.getMessage() == "turn"]

    await until(lambda: len(found()) >= count)
    return [(vars(record)["status"], vars(record)["ended"]) for record in found()]


async def cut_off(url: str, route: DialectRoute, body: bytes) -> None:
    async with open_client(url) as client:
        try:
            await client.request(route.method, route.paths[0], content=body)
        except httpx.TransportError:
            return


@routes
async def test_who_closes_after_the_last_frame_is_not_gone(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture, route: DialectRoute
):
    caplog.set_level(logging.INFO, logger="gptmock")
    async with cut_server(simulator, home) as (url, cut):
        for steps in range(1, STEPS):
            cut.mark, cut.steps = LAST[route.name], steps
            await cut_off(url, route, body_of(route, stream=True))
            assert (await lines_of(caplog, steps))[-1] == (200, "ok"), steps
            assert cut.mark is None


@routes
async def test_who_closes_before_the_last_frame_is_gone(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture, route: DialectRoute
):
    caplog.set_level(logging.INFO, logger="gptmock")
    async with cut_server(simulator, home) as (url, cut):
        cut.mark, cut.steps = LAST[route.name], None
        await cut_off(url, route, body_of(route, stream=True))
        assert await lines_of(caplog, 1) == [(200, "client_gone")]


@routes
async def test_a_failure_that_was_told_to_its_end_is_that_failure(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture, route: DialectRoute
):
    caplog.set_level(logging.INFO, logger="gptmock")
    async with cut_server(simulator, home) as (url, cut):
        async with open_client(url) as client:
            await client.request(route.method, route.paths[0], content=body_of(route, stream=True, scene="failed"))
        (expected,) = await lines_of(caplog, 1)
        assert expected[1] not in ("ok", "client_gone")
        for steps in range(1, STEPS):
            cut.mark, cut.steps = b"error", steps
            await cut_off(url, route, body_of(route, stream=True, scene="failed"))
            assert (await lines_of(caplog, 1 + steps))[-1] == expected, steps


async def test_of_several_turns_only_the_last_end_is_the_end(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.INFO, logger="gptmock")
    (route,) = (one for one in DIALECTS if one.name == "completions")
    body = json.dumps({"model": "gpt-5.5", "prompt": ["scene:text", "scene:text"], "stream": True}).encode()
    async with cut_server(simulator, home) as (url, cut):
        for steps in range(1, STEPS):
            cut.mark, cut.steps = b"[DONE]", steps
            await cut_off(url, route, body)
            assert (await lines_of(caplog, steps))[-1] == (200, "ok"), steps
        monkeypatch.setattr(SanicWire, "write", _cut_after(b'"finish_reason":"stop"', SanicWire.write))
        await cut_off(url, route, body)
        assert (await lines_of(caplog, STEPS))[-1] == (200, "client_gone")


def _cut_after(mark: bytes, write: Callable[[Any, bytes], bool]) -> Callable[[Any, bytes], bool]:
    """A block that is no reply's first or last passes no signal of Sanic's."""

    def write_and_cut(wire: Any, block: bytes) -> bool:
        if mark in block:
            _after(1, wire._response.stream.protocol._task.cancel)
        return write(wire, block)

    return write_and_cut


@routes
async def test_a_document_is_ok_once_it_was_sent(
    simulator: Simulator, home: Path, caplog: pytest.LogCaptureFixture, route: DialectRoute
):
    caplog.set_level(logging.INFO, logger="gptmock")
    async with cut_server(simulator, home) as (url, cut):
        for steps in range(1, STEPS):
            cut.mark, cut.steps = b"200 OK", steps
            await cut_off(url, route, body_of(route, stream=False))
            assert (await lines_of(caplog, steps))[-1] == (200, "ok"), steps
