"""
Lines as Ollama writes them: the model, one time for all lines of a reply, what is said, and at the end the numbers.

Where the two routes differ is a ``Shape``. Source: client contracts 5.1, 5.5 and 5.6; ollama/ollama ``api/types.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.ndjson import ndjson_line

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a line of one route holds what is said."""

    before: bytes
    """From the line's beginning to the text."""
    after: bytes
    """Behind thinking and calls, which stand beside the text."""


MESSAGE = Shape(b'"message":{"role":"assistant","content":', b"}")
RESPONSE = Shape(b'"response":', b"")


def rfc3339(seconds: int) -> str:
    """Unix seconds as Go's parsers and pydantic read a time: in UTC, with ``Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Lines:
    """The lines of one reply; what they repeat is encoded once."""

    __slots__ = ("_after", "_before", "_head", "_shape")

    def __init__(self, shape: Shape, model: str, head: ReplyHead) -> None:
        fixed = json_bytes({"model": model, "created_at": rfc3339(head.created)})
        self._shape = shape
        self._before = fixed[:-1] + b"," + shape.before
        self._after = ndjson_line(shape.after + b',"done":false}')
        self._head = head

    def text(self, text: str) -> bytes:
        """A line with more of the answer; an empty one is a sign of life."""
        return self._before + json_bytes(text) + self._after

    def beside(self, member: str, value: Any) -> bytes:
        """A line with no text, but with ``thinking`` or ``tool_calls``."""
        return self._before + b'""' + _members({member: value}) + self._after

    def end(self, reason: str, usage: ResponseUsage | None, *, text: str = "", beside: dict[str, Any]) -> bytes:
        """
        The last object, without a line end: that of a collected reply holds everything.

        Args:
            reason: ``done_reason``.
            usage: the upstream's; what it does not say is left out.
            text: the answer, where nothing was streamed.
            beside: ``thinking`` and ``tool_calls``, likewise; and ``images``.
        """
        numbers = {"done": True, "done_reason": reason, **metrics(self._head, usage)}
        return self._before + json_bytes(text) + _members(beside) + self._shape.after + _members(numbers) + b"}"

    def ready(self, reason: str) -> bytes:
        """The one object of a reply that took no model turn."""
        return self._before + b'""' + self._shape.after + _members({"done": True, "done_reason": reason}) + b"}"


def _members(values: dict[str, Any]) -> bytes:
    return b"," + json_bytes(values)[1:-1] if values else b""


def metrics(head: ReplyHead, usage: ResponseUsage | None) -> dict[str, int]:
    """
    Counts of tokens, and durations in nanoseconds.

    Loading lasts until the upstream has accepted the turn, evaluating the prompt until it begins to answer, and the
    rest is the answer: never 0, since clients divide by it.
    """
    accepted = _nanoseconds(head.progress.accepted_seconds or 0.0)
    begun = max(accepted, _nanoseconds(head.progress.begun_seconds or 0.0))
    total = max(begun + 1, _nanoseconds(head.elapsed()))
    numbers = {"total_duration": total, "load_duration": accepted}
    if usage is not None:
        numbers["prompt_eval_count"] = usage.input_tokens
    numbers["prompt_eval_duration"] = begun - accepted
    if usage is not None:
        numbers["eval_count"] = usage.output_tokens
    return {**numbers, "eval_duration": total - begun}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)
