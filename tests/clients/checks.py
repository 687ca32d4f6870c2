"""Runs the checks of a script inside a client's environment, one at a time and each with a deadline."""

from __future__ import annotations

import json
import selectors
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.checks import script_checks
from tests.clients.environments import Node
from tests.harness import plain_environment

SCRIPTS = Path(__file__).parent / "scripts"
CHECK_SECONDS = 60
_STRANGE = (
    "OPENAI_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "LOGFIRE_",
    "OTEL_",
    "OLLAMA_",
    "LITELLM_",
    "NODE_",
    "CODEX_",
    "ANTHROPIC_",
    "CLAUDE_",
)
"""What the libraries would read from the environment; some of it would send traces somewhere."""


@dataclass(frozen=True)
class Server:
    """gptmock with two workers, and the simulator behind it."""

    url: str
    api_key: str
    simulator_url: str


def checks_of(script: str) -> list[ParameterSet]:
    """The checks of a script as parameters of a test, each marked with the conformance checks that it shows."""
    found = script_checks(SCRIPTS / script)
    assert found, f"no checks in {script}"
    return [pytest.param(name, marks=pytest.mark.check(*numbers), id=name) for name, numbers in found.items()]


def python_command(python: Path, script: str) -> list[str]:
    """How a script is run by Python; it is given the server's places as arguments."""
    # -I: neither the user's packages nor PYTHON* variables; the script's own folder is said by hand.
    start = f"import sys, runpy; sys.path.insert(0, {str(SCRIPTS)!r}); "
    start += f"runpy.run_path({str(SCRIPTS / script)!r}, run_name='__main__')"
    return [str(python), "-I", "-X", "utf8", "-c", start]


def node_command(node: Node, script: str) -> list[str]:
    """How a script is run by Node. It is reached through the folder of the packages, and has to seem to be there."""
    kept = ("--preserve-symlinks", "--preserve-symlinks-main")
    return [str(node.program), *kept, str(node.root / "scripts" / "running.mjs"), f"./{script}"]


class Client:
    """A script under way in its environment; it is started again after a check that hung or killed it."""

    def __init__(self, command: Sequence[str], server: Server) -> None:
        self._command = [*command, f"{server.url}/v1", server.api_key, server.simulator_url]
        self._process: subprocess.Popen[str] | None = None

    def run(self, name: str) -> None:
        """Run one check; fails the test with what it found."""
        line = self._ask(name)
        if line is None:
            pytest.fail(f"{name} did not end within {CHECK_SECONDS} s", pytrace=False)
        if not line:
            pytest.fail(f"{name}: the client's process ended", pytrace=False)
        answer = json.loads(line)
        assert answer["name"] == name
        if not answer["ok"]:
            pytest.fail(answer["detail"], pytrace=False)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()

    def _ask(self, name: str) -> str | None:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(CHECK_SECONDS) else None
        if not line:
            self.close()
        return line

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, env=client_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        return self._process


def client_environment() -> dict[str, str]:
    """The variables of this process without those that a client library listens to."""
    return {name: value for name, value in plain_environment().items() if not name.startswith(_STRANGE)}
