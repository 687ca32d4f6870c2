"""Runs Claude Code without anything of this machine's user, and reads what it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.checks import client_environment

RUN_SECONDS = 90
QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "IS_SANDBOX": "1",
}
"""Nobody else is called, and it may run as root."""


@dataclass(frozen=True)
class Run:
    """What a run of ``claude -p --output-format stream-json`` said."""

    code: int
    events: list[dict[str, Any]]
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        """The last event."""
        return next(event for event in reversed(self.events) if event["type"] == "result")

    @property
    def text(self) -> str:
        """The answer."""
        return str(self.result["result"])

    def blocks(self, role: str, kind: str) -> list[dict[str, Any]]:
        """The content blocks of a type that its messages had."""
        contents = [event["message"]["content"] for event in self.events if event["type"] == role]
        return [
            block for content in contents if isinstance(content, list) for block in content if block["type"] == kind
        ]


def claude(program: Path, url: str, home: Path, arguments: Sequence[str], **variables: str) -> Run:
    """
    ``claude -p`` in the folder ``work`` of a home of its own.

    Args:
        program: see ``environments.client_claude``.
        url: of gptmock, without ``/v1``.
        home: made if it does not exist.
        arguments: options and the prompt.
        variables: more of its environment.
    """
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    environment = {**client_environment(), **QUIET, "HOME": str(home), "ANTHROPIC_BASE_URL": url, **variables}
    options = ["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
    with subprocess.Popen(
        [str(program), *options, *arguments],
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            out, errors = process.communicate(timeout=RUN_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return Run(process.returncode, [json.loads(line) for line in out.split("\n") if line.startswith("{")], errors)
