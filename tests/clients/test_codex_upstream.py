"""The Codex CLI as a client, and WebSockets to the backend: what it sends back continues what it got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gptmock.simulator.server import Simulator
from tests.clients.codex import codex_exec
from tests.clients.environments import Node
from tests.clients.test_codex import CONFIG, NEW, OLD
from tests.harness import serving_simulator, write_login

pytestmark = pytest.mark.clients


@pytest.mark.check(253)
@pytest.mark.parametrize(("model", "tool"), [(OLD, "exec_command"), (NEW, "exec")])
async def test_a_tool_round_trip_sends_only_what_is_new(
    installed: Callable[[str], Path | Node], tmp_path: Path, model: str, tool: str
):
    node = installed("node")
    assert isinstance(node, Node)
    async with Simulator() as simulator:
        home = tmp_path / "server"
        write_login(home, simulator.state.logins.issue().auth_json())
        async with serving_simulator(simulator, home, upstream_transport="websocket") as url:
            (tmp_path / "config.toml").write_text(CONFIG.format(url=url))
            arguments = ["--model", model, f"What does {tool} say?"]
            run = await asyncio.to_thread(codex_exec, node, tmp_path, arguments, GPTMOCK_CLIENT_KEY="any")
        assert run.code == 0, run
        assert run.text.startswith("The tools answered: ")
        first, second = simulator.state.socket_calls()
        assert simulator.state.model_calls() == []
        assert "previous_response_id" not in first.body
        assert second.body["previous_response_id"]
        (result,) = second.body["input"]
        assert result["type"].endswith("_call_output")
