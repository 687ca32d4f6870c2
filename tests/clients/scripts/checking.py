"""
What the check scripts share. They run inside a client's own environment, so this knows the standard library only.

A check is a function ``check_...(bench)``, plain or async. The script reads names of checks from its standard input
and writes one JSON line for each: ``{"name", "ok", "detail"}``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MODEL = "gpt-5.5"
UNKNOWN_MODEL = "gpt-4-classic"
GREETING = "Hello from the simulator. Zażółć gęślą jaźń, 你好, 🙂!"
SEPARATED = "next\u0085line\u2028line\u2029paragraph\x0bvertical\x0cform\x1cend"
MODEL_PATH = "/backend-api/codex/responses"
DETAIL_CHARACTERS = 6000
VALUE_CHARACTERS = 400

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Bench:
    """Where a check works."""

    base_url: str
    """Of gptmock, ``/v1`` included."""
    api_key: str
    simulator_url: str

    @property
    def root_url(self) -> str:
        """The base URL without ``/v1``: where Ollama's routes are."""
        return self.base_url.removesuffix("/v1")

    def queue(self, *scenes: str) -> None:
        """What the next model calls meet, whatever they say."""
        self._control("/simulator/scenes", {"scenes": scenes})

    def queued(self) -> list[str]:
        """Scenes that nobody has met yet."""
        return list(self._control("/simulator/scenes")["queued"])

    def calls(self) -> list[dict[str, Any]]:
        """The model calls of this check as the upstream received them, oldest first."""
        return list(self._control(f"/simulator/requests?path={MODEL_PATH}")["requests"])

    def bodies(self) -> list[dict[str, Any]]:
        """Their bodies."""
        return [call["body"] for call in self.calls()]

    def reset(self) -> None:
        """No records, no queue; logins stay."""
        self._control("/simulator/reset", {})

    def _control(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own simulator
            self.simulator_url + path, data, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
            return dict(json.load(response))


def user(text: str) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def scene(name: str) -> list[dict[str, Any]]:
    """A conversation that the simulator answers with this scene."""
    return user(f"Please play scene:{name}")


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """The texts of the messages that a model call has, oldest first; thinking stands between them."""
    return [item["content"][0]["text"] for item in body["input"] if item["type"] == "message"]


def main(namespace: Mapping[str, Any]) -> None:
    """Run checks by name until standard input ends. Arguments: base URL, key, URL of the simulator."""
    bench = Bench(*sys.argv[1:])
    answers = sys.stdout
    # A library that prints must not break the protocol.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        name = line.strip()
        detail = _run(namespace[name], bench)
        answers.write(json.dumps({"name": name, "ok": detail is None, "detail": detail}) + "\n")
        answers.flush()


def _run(check: Callable[[Bench], Any], bench: Bench) -> str | None:
    try:
        bench.reset()
        if inspect.iscoroutinefunction(check):
            asyncio.run(check(bench))
        else:
            check(bench)
        left = bench.queued()
        if left:
            raise AssertionError(f"scenes that were never asked for: {left}")  # noqa: TRY301 - reported like the rest
    except Exception as error:  # noqa: BLE001 - any failure is a finding, and the next check must run
        return _told(error)
    return None


def _told(error: Exception) -> str:
    """The traceback with the values at hand in the checks: nobody rewrites asserts here."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True, compact=True)
    link: traceback.TracebackException | None = told
    while link is not None:
        for frame in link.stack:
            ours = frame.filename.endswith("_checks.py")
            frame.locals = {name: shown[:VALUE_CHARACTERS] for name, shown in (frame.locals or {}).items() if ours}
        link = link.__cause__ or link.__context__
    return "".join(told.format())[-DETAIL_CHARACTERS:]
