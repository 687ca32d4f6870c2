"""``gptmock launch`` with the real Codex CLI and the real Claude Code, beside a server that runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.checks import Server, client_environment
from tests.clients.claude_code import QUIET
from tests.clients.environments import CLAUDE, Node
from tests.harness import CONSOLE_SCRIPT, SimulatorProcess, write_login
from tests.terminal import at_terminal

pytestmark = pytest.mark.clients

RUN_SECONDS = 60
CODEX_CONFIG = """\
model_provider = "somebody-else"
check_for_update_on_startup = false
analytics = { enabled = false }

[model_providers.gptmock]
name = "mine"
base_url = "http://127.0.0.1:1/v1"
env_key = "NOT_SET"

[model_providers.somebody-else]
name = "somebody-else"
base_url = "http://127.0.0.1:1/v1"
"""
CLAUDE_SETTINGS = """\
{
  "env": {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_MODEL": "other", "ANTHROPIC_API_KEY": "sk-ant-other",
    "ANTHROPIC_AUTH_TOKEN": "sk-of-another-server", "CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_USE_VERTEX": "1"
  },
  "apiKeyHelper": "echo sk-of-a-third-server"
}
"""
PROXIES = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
"""Nothing listens there."""


def launch(home: Path, server: Server, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``gptmock launch`` in the home of a person who has the programs of ``home/bin``."""
    environment = client_environment()
    given = {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}:{environment['PATH']}",
        "GPTMOCK_HOME": str(home / "gptmock"),
        "GPTMOCK_PORT": server.url.rpartition(":")[2],
        "GPTMOCK_API_KEY": server.api_key,
    }
    (home / "work").mkdir()
    return subprocess.run(
        [CONSOLE_SCRIPT, "launch", *arguments],
        env={**environment, **given, **variables},
        cwd=home / "work",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


def with_codex(home: Path, node: Path | Node) -> Path:
    """Put Codex into a home, with a configuration of the user for another server, which is returned."""
    assert isinstance(node, Node)
    (home / "bin").mkdir()
    program = home / "bin" / "codex"
    program.write_text(f'#!/bin/sh\nexec "{node.program}" "{node.root}/node_modules/@openai/codex/bin/codex.js" "$@"\n')
    program.chmod(0o755)
    config = home / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text(CODEX_CONFIG)
    return config


CODEX_OPTIONS = ("exec", "--skip-git-repo-check", "--sandbox", "read-only", "Please play scene:text")


def test_codex(installed: Callable[[str], Path | Node], server: Server, tmp_path: Path):
    """Its own configuration names another server, and stays as it is; no proxy is asked."""
    config = with_codex(tmp_path, installed("node"))
    run = launch(tmp_path, server, "codex", "--model", "gpt-5.5", "--", *CODEX_OPTIONS, "--json", **PROXIES)
    assert run.returncode == 0, run
    assert "Hello from the simulator." in run.stdout
    assert config.read_text() == CODEX_CONFIG


def test_codex_at_a_terminal_with_a_server_of_its_own(
    installed: Callable[[str], Path | Node], simulator: SimulatorProcess, tmp_path: Path
):
    config = with_codex(tmp_path, installed("node"))
    write_login(tmp_path, simulator.new_login())
    given = {
        "GPTMOCK_ISSUER": simulator.base_url,
        "GPTMOCK_UPSTREAM_URL": f"{simulator.base_url}/backend-api",
        "GPTMOCK_PORT": "1",
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
    }
    arguments = ("launch", "codex", "--model", "gpt-5.5", "--", *CODEX_OPTIONS)
    with at_terminal(tmp_path, *arguments, **given) as terminal:
        terminal.until("no server answers, so one is started at ")
        terminal.until(r"Hello from the simulator\.", seconds=RUN_SECONDS)
        assert terminal.ended() == 0
    assert config.read_text() == CODEX_CONFIG


def with_claude(home: Path, program: Path | Node) -> Path:
    """Put Claude Code into a home, with settings of the user, which are returned."""
    assert isinstance(program, Path)
    (home / "bin").mkdir()
    (home / "bin" / "claude").symlink_to(program)
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(CLAUDE_SETTINGS)
    return settings


@pytest.mark.check(311)
@pytest.mark.parametrize("version", CLAUDE)
def test_claude(installed: Callable[[str], Path | Node], server: Server, tmp_path: Path, version: str):
    """
    It knows the window of the model, and does not warn that it guesses. Its own settings name another server, a token
    and a helper for it, and other providers; so do its environment, which has a proxy as well, and the
    settings that the user gives for this run.
    """
    settings = with_claude(tmp_path, installed(version))
    mine = {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "CLAUDE_CODE_USE_BEDROCK": "1"}}
    options = ["-p", "--output-format", "stream-json", "--verbose", "--settings", json.dumps(mine), "hello"]
    others = {"CLAUDE_CODE_USE_FOUNDRY": "1", "CLAUDE_CODE_USE_MANTLE": "1"}
    run = launch(tmp_path, server, "claude", "--model", "gpt-6.2-sol", "--", *options, **QUIET, **others, **PROXIES)
    assert run.returncode == 0, run
    events = [json.loads(line) for line in run.stdout.split("\n") if line.startswith("{")]
    result = events[-1]
    assert (result["type"], result["is_error"]) == ("result", False)
    assert result["modelUsage"]["gpt-6.2-sol"]["contextWindow"] == 500_000
    assert settings.read_text() == CLAUDE_SETTINGS
    assert "1,000,000" not in run.stdout + run.stderr


def test_claude_at_its_screen(installed: Callable[[str], Path | Node], server: Server, tmp_path: Path):
    """The key is ours, though the user's own settings have a token."""
    with_claude(tmp_path, installed(CLAUDE[0]))
    project = {str(tmp_path): {"hasTrustDialogAccepted": True}}
    (tmp_path / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": True, "projects": project}))
    given = {"GPTMOCK_PORT": server.url.rpartition(":")[2], "GPTMOCK_API_KEY": server.api_key, **QUIET}
    places = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    with at_terminal(tmp_path, "launch", "claude", "--", "Please play scene:text", **given, **places) as terminal:
        terminal.until(r"Hello\s*from\s*the\s*simulator\.", seconds=120)
