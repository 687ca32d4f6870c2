"""``gptmock launch opencode`` with the real OpenCode at a terminal: beside a server, and with one of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.checks import Server, client_environment
from tests.clients.environments import Node
from tests.harness import SimulatorProcess, server_process, write_login
from tests.terminal import at_terminal

pytestmark = pytest.mark.clients

QUIET = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_SHARE": "1",
}
"""Nobody else is called."""
CONFIG = """{
  // of the user
  "$schema": "https://opencode.ai/config.json",
  "model": "somebody/else",
  "provider": {"somebody": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": "http://127.0.0.1:1/v1"}}},
}
"""
SAYS = r"Hello from the simulator\."


@pytest.fixture
def user(installed: Callable[[str], Path | Node], tmp_path: Path) -> Path:
    """Of a person who has OpenCode, with a configuration for another server."""
    program = installed("opencode")
    assert isinstance(program, Path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "opencode").symlink_to(program)
    config = tmp_path / ".config" / "opencode" / "opencode.jsonc"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG)
    return tmp_path


def variables(home: Path) -> dict[str, str]:
    """What the program is started with."""
    folders = {f"XDG_{kind}_HOME": str(home / f".{kind.lower()}") for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {**QUIET, **folders, "HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}


@pytest.mark.check(328)
def test_its_websockets(user: Path, simulator: SimulatorProcess):
    """Its own plugin for OpenAI speaks WebSocket if it is told to, and only with a key that it has stored itself."""
    write_login(user / "gptmock", simulator.new_login())
    with server_process(user / "gptmock", simulator.base_url, workers=1) as server:
        provider = {"openai": {"options": {"baseURL": f"{server.base_url}/v1"}}}
        config = {"model": "openai/gpt-5.5", "small_model": "openai/gpt-5.5", "provider": provider}
        (user / ".config" / "opencode" / "opencode.jsonc").write_text(json.dumps(config))
        stored = user / ".data" / "opencode" / "auth.json"
        stored.parent.mkdir(parents=True)
        stored.write_text(json.dumps({"openai": {"type": "api", "key": "sk-any"}}))
        environment = {**client_environment(), **variables(user), "OPENCODE_EXPERIMENTAL_WEBSOCKETS": "1"}
        run = subprocess.run(
            ["opencode", "run", "Please play scene:text"],
            executable=user / "bin" / "opencode",
            env=environment,
            cwd=user,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert run.returncode == 0, run
        assert re.search(SAYS, run.stdout)
        turns = [(line["transport"], line["ended"]) for line in server.logs("turn")]
        assert ("websocket", "ok") in turns


def test_its_screen_beside_a_server(user: Path, server: Server):
    given = {"GPTMOCK_PORT": server.url.rpartition(":")[2], "GPTMOCK_API_KEY": server.api_key}
    arguments = ("launch", "opencode", "--model", "gpt-5.5", "--", "--prompt", "Please play scene:text")
    with at_terminal(user, *arguments, **variables(user), **given) as terminal:
        terminal.until(SAYS, seconds=150)
    assert (user / ".config" / "opencode" / "opencode.jsonc").read_text() == CONFIG


def test_a_run_with_a_server_of_its_own(user: Path, simulator: SimulatorProcess):
    write_login(user, simulator.new_login())
    given = {"GPTMOCK_ISSUER": simulator.base_url, "GPTMOCK_UPSTREAM_URL": f"{simulator.base_url}/backend-api"}
    arguments = ("launch", "opencode", "--model", "gpt-5.5", "--", "run", "Please play scene:text")
    with at_terminal(user, *arguments, **variables(user), **given, GPTMOCK_PORT="1") as terminal:
        terminal.until("no server answers, so one is started at ")
        terminal.until(SAYS, seconds=150)
        assert terminal.ended() == 0
        assert "stops" in terminal.text
    assert (user / ".config" / "opencode" / "opencode.jsonc").read_text() == CONFIG
