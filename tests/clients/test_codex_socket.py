"""The Codex CLI over WebSocket: a custom provider with ``supports_websockets``."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gptmock.simulator.server import Simulator
from gptmock.simulator.state import RecordedRequest
from tests.clients.codex import Run, codex_exec
from tests.clients.environments import Node
from tests.clients.test_codex import CONFIG, GREETING, NEW, OLD
from tests.harness import serving_simulator, until, write_login

pytestmark = pytest.mark.clients


@dataclass
class Place:
    """A server with a Codex that is configured for it."""

    simulator: Simulator
    app: Any
    run: Callable[..., Coroutine[Any, Any, Run]]

    @property
    def calls(self) -> list[RecordedRequest]:
        return self.simulator.state.model_calls()


@pytest.fixture
async def place(installed: Callable[[str], Path | Node], tmp_path: Path) -> AsyncIterator[Place]:
    node, home, client_home = installed("node"), tmp_path / "server", tmp_path / "client"
    assert isinstance(node, Node)
    client_home.mkdir()
    apps: list[Any] = []
    async with Simulator() as simulator:
        write_login(home, simulator.state.logins.issue().auth_json())
        async with serving_simulator(simulator, home, configure=apps.append) as url:
            config = CONFIG.format(url=url).replace("stream_max_retries = 0", "stream_max_retries = 3")
            (client_home / "config.toml").write_text(f"{config}supports_websockets = true\n")

            async def run(model: str, *prompt: str) -> Run:
                arguments = ["--model", model, *prompt]
                return await asyncio.to_thread(codex_exec, node, client_home, arguments, GPTMOCK_CLIENT_KEY="any")

            yield Place(simulator, apps[0], run)


def transports(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = [vars(record) for record in caplog.records if record.getMessage() == "turn"]
    return [(record["transport"], record["ended"]) for record in records]


@pytest.mark.check(240, 322)
@pytest.mark.parametrize(
    ("model", "tool", "kind"), [(OLD, "exec_command", "function_call"), (NEW, "exec", "custom_tool_call")]
)
async def test_a_tool_round_trip(place: Place, caplog: pytest.LogCaptureFixture, model: str, tool: str, kind: str):
    """Warm-up, a turn, and one that sends only the output of the tool."""
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    run = await place.run(model, f"What does {tool} say?")
    assert run.code == 0, run
    assert run.text.startswith("The tools answered: ")
    assert transports(caplog) == [("websocket", "ok")] * 2, "a warm-up is no turn"
    first, second = (call.body for call in place.calls)
    asked, answered = second["input"][-2:]
    assert (asked["type"], asked["name"]) == (kind, tool)
    assert answered["type"] == f"{kind}_output"
    assert second["input"][: len(first["input"])] == first["input"]
    for call in place.calls:
        assert call.headers["originator"] == "codex_exec"
        assert not {"type", "generate", "stream_id", "previous_response_id"} & set(call.body)
        assert not [name for name in call.body["client_metadata"] if name.startswith("ws_request_header")]


@pytest.mark.check(321)
@pytest.mark.parametrize(("scene", "words"), [("429-usage", "hit your usage limit"), ("503-overload", "at capacity")])
async def test_a_refusal_is_told_at_once(place: Place, caplog: pytest.LogCaptureFixture, scene: str, words: str):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    run = await place.run(OLD, f"Please play scene:{scene}")
    assert run.code == 1
    assert re.search(words, run.failure), run
    assert len(transports(caplog)) == 1, "it is not asked again"


@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid"])
async def test_a_turn_that_fails_is_sent_again_on_a_new_connection(
    place: Place, caplog: pytest.LogCaptureFixture, scene: str
):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    place.simulator.state.scenes.extend([scene, "text"])
    run = await place.run(OLD, "hello")
    assert run.code == 0, run
    assert run.text == GREETING
    assert transports(caplog)[-1] == ("websocket", "ok")


@pytest.mark.check(246)
async def test_a_lost_connection_is_made_again(place: Place, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    place.simulator.state.scenes.extend(["stall:30", "text"])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(place.run(OLD, "hello"))
        await until(lambda: place.simulator.state.open_streams == 1)
        for turn in list(place.app.ctx.turns):
            # The network is cut.
            turn._socket.abort()
    run = running.result()
    assert run.code == 0, run
    assert run.text == GREETING
    assert transports(caplog) == [("websocket", "client_gone"), ("websocket", "ok")]


@pytest.mark.check(247)
async def test_a_server_that_drains_lets_the_turn_end(place: Place, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    place.simulator.state.scenes.extend(["slow-head:3"])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(place.run(OLD, "hello"))
        await until(lambda: place.simulator.state.model_call_count == 1)
        place.app.ctx.services.draining = True
    run = running.result()
    assert run.code == 0, run
    assert transports(caplog) == [("websocket", "ok")]
