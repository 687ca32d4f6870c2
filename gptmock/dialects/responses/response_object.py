"""
Builds the Response object for clients: every event that has one carries all members, and those that repeat the request
repeat the client's, not the upstream's. Source: client contracts 3.4.
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
_DEFAULTS: JsonObject = {
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
"""The members of the public API in order, with defaults; further upstream members follow them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesOptions:
    """What rendering a reply needs from its request."""

    model: str
    """The client's model name, for a response in which the upstream names none."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Members of the Response object that repeat the client's request."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Tool name sent upstream to the client's name, where they differ."""
    obfuscation: bool = True
    """Keep ``obfuscation`` in deltas: padding that hides their length."""
    codex: bool = False
    """The client is Codex: unknown events and vendor events are forwarded too."""
    hides_plan: bool = False
    """The client has an account of its own: vendor events do not tell it the plan of ours."""
    stored: bool = False
    """The response is to be stored: the last frame is withheld until storing has succeeded or failed."""


class ResponseShape:
    """Builds the Response object of one reply; id, model and echoed members stay the same in all its events."""

    __slots__ = ("_fixed", "_head", "_known", "_options")

    def __init__(self, options: ResponsesOptions, head: ReplyHead) -> None:
        self._options = options
        self._head = head
        self._known: JsonObject = {}
        """The upstream's members so far."""
        self._fixed: JsonObject | None = None
        """Members that later events must not change; set by the first event."""

    def told(self, response: JsonObject) -> None:
        """Merge the ``response`` of an upstream event; members that it lacks keep their earlier values."""
        self._known |= {name: value for name, value in response.items() if value is not None or name not in _DEFAULTS}

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
        body = {**object_of(self._known.get("error")), "code": error.code, "message": error.message}
        return self._object(
            status="failed", output=output, usage=_usage(self._known.get("usage")), error=body, completed_at=None
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
        return {**_DEFAULTS, **self._known, **self._fixed, **state}

    def _created_at(self) -> int:
        given = self._known.get("created_at")
        return int(given) if isinstance(given, int | float) else self._head.created


def _usage(usage: Any) -> JsonObject | None:
    """``usage`` with both detail objects and all counters; a counter that the upstream omits is 0."""
    if not isinstance(usage, dict):
        return None
    input_tokens, output_tokens = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    return {
        **usage,
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            **_numbers(usage.get("input_tokens_details")),
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0, **_numbers(usage.get("output_tokens_details"))},
        "total_tokens": usage.get("total_tokens") or input_tokens + output_tokens,
    }


def _numbers(details: Any) -> JsonObject:
    return {name: value for name, value in object_of(details).items() if value is not None}
