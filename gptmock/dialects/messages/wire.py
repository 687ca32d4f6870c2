"""What message streams and documents have in common: reply options, usage, stop reasons, errors that are answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from gptmock.dialects.dialect import Sealing
from gptmock.dialects.json_text import json_bytes
from gptmock.errors import GptmockError
from gptmock.protocol.items import InputTokensDetails, OutputTokensDetails, ResponseUsage
from gptmock.protocol.request import ResponsesRequest

ID_PREFIX = "msg_"
ThinkingBlocks: TypeAlias = Literal["none", "signed", "shown"]
"""No thinking blocks, blocks with a signature only, or with the summary."""
StopReason: TypeAlias = Literal[
    "end_turn", "tool_use", "stop_sequence", "max_tokens", "refusal", "model_context_window_exceeded"
]
_CONTEXT_CODES = frozenset({"context_length_exceeded", "max_context_length", "context_window_exceeded"})
_POLICY_CODES: Mapping[str, str | None] = {
    "cyber_policy": "cyber",
    "bio_policy": "bio",
    "content_policy_violation": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesOptions:
    """What rendering a reply needs from its request."""

    model: str
    """The client's model name, repeated in the reply."""
    request: ResponsesRequest
    """As sent upstream; its tokens are estimated if it is too long."""
    stream: bool = False
    thinking: ThinkingBlocks = "none"
    stops: tuple[str, ...] = ()
    """Stop sequences; emulated, see ``stop_sequences``."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Tool name sent upstream to the client's name, where they differ."""
    context_window: int | None = None
    """Tokens; ``None`` for a model that the catalogue does not know."""
    sealing: Sealing | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a message ends."""

    reason: StopReason
    sequence: str | None = None
    """The stop sequence, if it was one."""
    details: Mapping[str, Any] | None = None
    """``stop_details`` of a refusal."""
    usage: ResponseUsage | None = None
    searches: int = 0

    def members(self) -> dict[str, Any]:
        """``stop_reason`` and the members beside it."""
        said: dict[str, Any] = {"stop_reason": self.reason, "stop_sequence": self.sequence}
        return said if self.details is None else {**said, "stop_details": self.details}


def incomplete_ending(reason: str) -> StopReason:
    """The stop reason for an upstream that stopped early."""
    if reason == "content_filter":
        return "refusal"
    return "model_context_window_exceeded" if reason in _CONTEXT_CODES else "max_tokens"


def refusal_details(category: str | None, explanation: str | None) -> dict[str, Any]:
    """``stop_details``."""
    return {"type": "refusal", "category": category, "explanation": explanation}


def ending_of(error: GptmockError, *, has_content: bool) -> Ending | None:
    """
    The ending that a failure of the turn amounts to: a refusal by policy, or a context that is full after content.
    ``None`` for what is an error.
    """
    if error.code in _POLICY_CODES:
        return Ending("refusal", details=refusal_details(_POLICY_CODES[error.code], error.message))
    if error.code in _CONTEXT_CODES and has_content:
        return Ending("model_context_window_exceeded")
    return None


def is_too_long(error: GptmockError) -> bool:
    """Whether the upstream refused the request for its length."""
    return error.code in _CONTEXT_CODES


def usage_members(usage: ResponseUsage | None, *, searches: int = 0) -> dict[str, Any]:
    """``usage``: the three input figures add up to the upstream's one."""
    usage = usage or ResponseUsage()
    inward = usage.input_tokens_details or InputTokensDetails()
    outward = usage.output_tokens_details or OutputTokensDetails()
    cached = min(inward.cached_tokens, usage.input_tokens)
    written = min(inward.cache_write_tokens or 0, usage.input_tokens - cached)
    members: dict[str, Any] = {
        "input_tokens": usage.input_tokens - cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": outward.reasoning_tokens},
    }
    return {**members, "server_tool_use": {"web_search_requests": searches}} if searches else members


def message(
    head_id: str, model: str, content: list[Any], members: Mapping[str, Any], usage: Mapping[str, Any]
) -> bytes:
    """The ``message`` object."""
    return json_bytes(
        {
            "id": ID_PREFIX + head_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            **members,
            "usage": usage,
        }
    )
