"""
The Response object as clients get it: whole in every event that has one, with the client's own request in it and not
what became of that upstream. Source: client contracts 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.responses.output import object_of
from gptmock.errors import GptmockError
from gptmock.protocol.request import JsonObject

ID_PREFIX = "resp_"
_ORDER: JsonObject = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "status": "in_progress",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}
"""Every member, its default, and their order; what else the upstream says follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesOptions:
    """What a Responses request asks of its reply."""

    model: str
    """Repeated as the client wrote it, where the upstream names no model."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Members of the Response object that repeat the client's own request, whatever became of it upstream."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Name sent upstream to the client's own, where they differ."""
    obfuscation: bool = True
    """Deltas keep the padding that hides their length."""
    codex: bool = False
    """A Codex client asks: events that are unknown here, and the vendor's own, are forwarded."""
    stored: bool = False
    """The response is to be stored: the last frame is withheld until it is known whether it was."""


class ResponseShape:
    """The Response object of one reply; the id that was told first is the id of all its events."""

    __slots__ = ("_fixed", "_head", "_known", "_options")

    def __init__(self, options: ResponsesOptions, head: ReplyHead) -> None:
        self._options = options
        self._head = head
        self._known: JsonObject = {}
        """What the upstream has said of the response so far."""
        self._fixed: JsonObject | None = None
        """What no later event changes, once it has been shown."""

    def told(self, response: JsonObject) -> None:
        """The upstream speaks of the response; what it said before and leaves out now still holds."""
        self._known |= {name: value for name, value in response.items() if value is not None or name not in _ORDER}

    def running(self, status: str) -> JsonObject:
        """The object of ``created``, ``in_progress`` and ``queued``."""
        return self._object(status=status, output=[], usage=None, completed_at=None)

    def ended(self, status: str, output: list[JsonObject]) -> JsonObject:
        """The object of ``completed`` and ``incomplete``."""
        usage = _usage(self._known.get("usage"))
        done = self._known.get("completed_at") or self._created_at() + int(self._head.elapsed())
        return self._object(
            status=status,
            output=output,
            usage=usage,
            completed_at=done if status == "completed" else None,
            error=None,
            incomplete_details=self._known.get("incomplete_details") if status == "incomplete" else None,
        )

    def failed(self, error: GptmockError, output: list[JsonObject]) -> JsonObject:
        """The object of ``failed``, with the items that were complete by then."""
        told = {**object_of(self._known.get("error")), "code": error.code, "message": error.message}
        return self._object(
            status="failed", output=output, usage=_usage(self._known.get("usage")), error=told, completed_at=None
        )

    def _object(self, **state: Any) -> JsonObject:
        if self._fixed is None:
            given, model = self._known.get("id"), self._known.get("model")
            self._fixed = {
                "id": given if isinstance(given, str) and given else ID_PREFIX + self._head.id,
                "object": "response",
                "created_at": self._created_at(),
                "model": model if isinstance(model, str) and model else self._options.model,
                **self._options.echo,
                "store": self._options.stored,
            }
        return {**_ORDER, **self._known, **self._fixed, **state}

    def _created_at(self) -> int:
        given = self._known.get("created_at")
        return int(given) if isinstance(given, int | float) else self._head.created


def _usage(told: Any) -> JsonObject | None:
    """Both detail objects and all counters are there; one that the upstream does not tell is 0."""
    if not isinstance(told, dict):
        return None
    spent, made = told.get("input_tokens") or 0, told.get("output_tokens") or 0
    return {
        **told,
        "input_tokens": spent,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            **_numbers(told.get("input_tokens_details")),
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0, **_numbers(told.get("output_tokens_details"))},
        "total_tokens": told.get("total_tokens") or spent + made,
    }


def _numbers(details: Any) -> JsonObject:
    return {name: value for name, value in object_of(details).items() if value is not None}
