"""Runs the checks of a script inside a client's environment, one at a time and each with a deadline."""

from __future__ import annotations

import ast
import json
import selectors
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import plain_environment

HERE = Path(__file__).parent
CHECK_SECONDS = 60
_STRANGE = ("OPENAI_", "LANGCHAIN_", "LANGSMITH_", "LOGFIRE_", "OTEL_")
"""What the libraries would read from the environment; some of it would send traces somewhere."""


@dataclass(frozen=True)
class Server:
    """gptmock with two workers, and the simulator behind it."""

    url: str
    api_key: str
    simulator_url: str


def check_names(script: str) -> list[str]:
    """The checks of ``scripts/<script>.py``, read and not imported: its library is not installed here."""
    tree = ast.parse(_path(script).read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    names = [node.name for node in functions if node.name.startswith("check_")]
    assert names, f"no checks in {script}"
    return names


class Client:
    """A script under way in its environment; it is started again after a check that hung or killed it."""

    def __init__(self, python: Path, script: str, server: Server) -> None:
        # -I: neither the user's packages nor PYTHON* variables; the script's own folder is said by hand.
        start = f"import sys, runpy; sys.path.insert(0, {str(HERE / 'scripts')!r}); "
        start += f"runpy.run_path({str(_path(script))!r}, run_name='__main__')"
        self._command = [str(python), "-I", "-X", "utf8", "-c", start]
        self._command += [f"{server.url}/v1", server.api_key, server.simulator_url]
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
                self._command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        return self._process


def _environment() -> dict[str, str]:
    return {name: value for name, value in plain_environment().items() if not name.startswith(_STRANGE)}


def _path(script: str) -> Path:
    return HERE / "scripts" / f"{script}.py"
