"""Runs the Codex CLI without anything of this machine's user, and reads what it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.checks import client_environment
from tests.clients.environments import Node

RUN_SECONDS = 90


@dataclass(frozen=True)
class Run:
    """What a run of ``codex exec --json`` said."""

    code: int
    events: list[dict[str, Any]]
    errors: str

    def said(self, kind: str) -> list[dict[str, Any]]:
        """The items of a type that it completed."""
        items = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in items if item["type"] == kind]

    @property
    def text(self) -> str:
        """The last message of the agent."""
        return str(self.said("agent_message")[-1]["text"])

    @property
    def failure(self) -> str:
        """Why the turn failed."""
        (failed,) = [event for event in self.events if event["type"] == "turn.failed"]
        return str(failed["error"]["message"])


def codex_exec(node: Node, home: Path, arguments: Sequence[str], **variables: str) -> Run:
    """
    ``codex exec --json`` in an empty folder.

    Args:
        node: where the package is.
        home: ``CODEX_HOME``, with its ``config.toml``.
        arguments: options and the prompt.
        variables: more of its environment.
    """
    work = home / "work"
    work.mkdir(exist_ok=True)
    program = [str(node.program), str(node.root / "node_modules/@openai/codex/bin/codex.js"), "exec"]
    options = ["--json", "--skip-git-repo-check", "--sandbox", "read-only", "--cd", str(work)]
    environment = {**client_environment(), "CODEX_HOME": str(home), "HOME": str(work), **variables}
    with _process([*program, *options, *arguments], environment) as process:
        out, errors = process.communicate(timeout=RUN_SECONDS)
    return Run(process.returncode, [json.loads(line) for line in out.split("\n") if line], errors)


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program and whatever it starts; nothing of it is left."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
