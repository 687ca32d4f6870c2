"""Runs Claude Code without anything of this machine's user, and reads what it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

    @property
    def responses(self) -> list[dict[str, Any]]:
        """What it answered to each of the control requests."""
        responses = [event["response"] for event in self.events if event["type"] == "control_response"]
        return [response["response"] for response in responses]

    def blocks(self, role: str, kind: str) -> list[dict[str, Any]]:
        """The content blocks of a type that its messages had."""
        contents = [event["message"]["content"] for event in self.events if event["type"] == role]
        return [
            block for content in contents if isinstance(content, list) for block in content if block["type"] == kind
        ]


def claude(
    program: Path,
    url: str,
    home: Path,
    arguments: Sequence[str],
    *,
    prompts: Sequence[str] = (),
    requests: Sequence[Mapping[str, str]] = (),
    **variables: str,
) -> Run:
    """
    ``claude -p`` in the folder ``work`` of a home of its own.

    Args:
        program: see ``environments.client_claude``.
        url: of gptmock, without ``/v1``.
        home: made if it does not exist.
        arguments: options and the prompt.
        prompts: the turns of a session, instead of a prompt; each waits for the answer to the one before it.
        requests: control requests, as an editor sends them, before the first turn.
        variables: more of its environment; an empty one is taken away.
    """
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    environment = {**client_environment(), **QUIET, "HOME": str(home), "ANTHROPIC_BASE_URL": url, **variables}
    lines: list[dict[str, Any]] = [
        {"type": "control_request", "request_id": str(number), "request": request}
        for number, request in enumerate(requests)
    ]
    lines += [{"type": "user", "message": {"role": "user", "content": prompt}} for prompt in prompts]
    options = ["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
    options += ["--input-format", "stream-json"] if lines else []
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [str(program), *options, *arguments],
            env={name: value for name, value in environment.items() if value},
            cwd=work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            start_new_session=True,
        ) as process,
    ):
        late = threading.Timer(RUN_SECONDS, _kill, [process])
        late.start()
        try:
            events = list(_talk(process, lines))
        finally:
            late.cancel()
            _kill(process)
        errors.seek(0)
        return Run(process.wait(), events, errors.read().decode(errors="replace"))


def _talk(process: subprocess.Popen[str], lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Write one line after the other; gives the events until it ends by itself."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as told:
        for line in lines:
            told.write(f"{json.dumps(line)}\n")
            told.flush()
            # What is said while it works becomes part of the same turn.
            for event in _events(process.stdout):
                yield event
                if event["type"] in {"result", "control_response"}:
                    break
    yield from _events(process.stdout)
    process.wait()


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in lines if line.startswith("{"))


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
