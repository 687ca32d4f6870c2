"""
The messages of a Responses WebSocket: what a client asks for, and how errors are told. Knows JSON, no connection.

Source: the contract of the next doors, B.1; openai/openai-python ``resources/responses`` for the events of clients.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from gptmock.dialects.bodies import decode_json
from gptmock.dialects.openai_errors import USAGE_LIMIT_REACHED, error_reply
from gptmock.errors import BadRequest, GptmockError
from gptmock.server.json_bounds import check_json_bounds
from gptmock.server.large_bodies import LARGE_BYTES

CREATE, STEER = "response.create", "response.steer"
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)
_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_DROPPED = ("type", "stream_id", "generate", "background", "stream", "event_id")
"""Of the message, and of no request body."""
_HEADER_PREFIX = "ws_request_header_"
"""Of members of ``client_metadata`` that stand for a header."""
_QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "?"}]}
_OVERLOADED, _RETRY = "server_is_overloaded", frozenset({"retry-after", "retry-after-ms"})
"""With the headers, Codex 0.171.0 repeats a turn for which there is no capacity; without them it says so at once."""
_IDENTITY = frozenset({"session_id", "thread_id"})
_HEADER_PREFIXES = ("x-codex-", "x-openai-")
_MAX_STREAM_ID = 256
_MAX_HEADER = 8 * 1024
_MAX_SHOWN = 100
MAX_STEER_BYTES = 1024 * 1024
"""Of each member of a ``response.steer`` that is sent back; a longer one is left out."""


@dataclass(frozen=True, slots=True)
class Create:
    """A ``response.create``: a turn, or the warm-up of one."""

    body: bytes
    """As that of ``POST /v1/responses``, streamed."""
    lane: Raw | None = None
    """``stream_id`` as it came."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What HTTP carries in headers; names in lower case."""
    previous: str | None = None
    """``previous_response_id``."""
    warms_up: bool = False


@dataclass(frozen=True, slots=True)
class Steer:
    """A ``response.steer``, which is not supported."""

    lane: Raw | None
    answer: bytes


class BadMessage(BadRequest):
    """A message that cannot be read; ``lane`` is where it came from, if that could."""

    def __init__(self, message: str, *, lane: Raw | None = None, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.lane = lane


def read_message(text: bytes) -> Create | Steer:
    """
    Read a client's message, as forgivingly as a body over HTTP.

    Raises:
        BadRequest: it is no JSON object of a known type; a ``BadMessage`` once its lane is known.
    """
    if len(text) >= LARGE_BYTES:
        check_json_bounds(text)
    try:
        members = decode_json(text, _MEMBERS.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The message is not a JSON object: {error}.", code="invalid_json") from None
    lane = _lane(members)
    kind = _value(members, "type")
    if kind == STEER:
        return Steer(lane, _unsteered(members, lane))
    if kind != CREATE:
        shown = "".join(one for one in str(kind)[:_MAX_SHOWN] if one.isprintable())
        raise BadMessage(
            f"Messages of type '{shown}' are not supported here; send '{CREATE}'.",
            lane=lane,
            code="unsupported_message",
            param="type",
        )
    return _create(members, lane)


def error_message(error: GptmockError, lane: Raw | None = None, *, headers: Mapping[str, str] | None = None) -> bytes:
    """An error as the last message of its turn; it always has ``status``."""
    reply = error_reply(error)
    return told(reply.status, reply.body, {**reply.headers, **(headers or {})}, lane)


def told(status: int, body: bytes, headers: Mapping[str, str], lane: Raw | None = None) -> bytes:
    """
    The answer to a refused turn, as a message.

    Args:
        status: of the answer over HTTP.
        body: the same, with ``error``.
        headers: the same.
        lane: ``stream_id`` of the turn.
    """
    error: dict[str, Any] = dict(_OBJECT.decode(body)["error"])
    after = headers.get("retry-after")
    if error.get("type") == USAGE_LIMIT_REACHED and after is not None:
        # As the upstream tells it; Codex shows the time.
        error |= {"resets_in_seconds": int(after), "resets_at": int(time.time()) + int(after)}
    message: dict[str, Any] = {"type": "error", "status": status, "error": error}
    hidden = _RETRY if error.get("code") == _OVERLOADED else frozenset()
    shown = {name: value for name, value in headers.items() if name not in hidden}
    if shown:
        message["headers"] = shown
    if lane is not None:
        message["stream_id"] = lane
    return msgspec.json.encode(message)


def without_previous(body: bytes) -> bytes:
    """A body that continues no response."""
    members = _MEMBERS.decode(body)
    members.pop("previous_response_id", None)
    return msgspec.json.encode(members)


def answerable(body: bytes) -> bytes:
    """The body of a warm-up, which may ask for nothing, as that of a turn."""
    members = _MEMBERS.decode(body)
    given = _value(members, "input")
    members["input"] = Raw(msgspec.json.encode([*(given if isinstance(given, list) else ()), _QUESTION]))
    return msgspec.json.encode(members)


def _create(members: dict[str, Raw], lane: Raw | None) -> Create:
    if _value(members, "background") is True:
        raise BadMessage(
            "'background' is not supported over WebSocket.", lane=lane, code="unsupported_parameter", param="background"
        )
    previous = _value(members, "previous_response_id")
    warms_up = _value(members, "generate") is False or _prewarms(members)
    headers: dict[str, str] = {}
    metadata = _value(members, "client_metadata")
    if isinstance(metadata, dict):
        headers = _headers(metadata)
        kept = {name: value for name, value in metadata.items() if not str(name).startswith(_HEADER_PREFIX)}
        if len(kept) < len(metadata):
            members["client_metadata"] = Raw(msgspec.json.encode(kept))
    for name in _DROPPED:
        members.pop(name, None)
    if warms_up:
        members["store"] = Raw(b"false")
    members["stream"] = Raw(b"true")
    body = msgspec.json.encode(members)
    return Create(body, lane, headers, previous if isinstance(previous, str) else None, warms_up)


def _prewarms(members: dict[str, Raw]) -> bool:
    options = _value(members, "prompt_cache_options")
    return isinstance(options, dict) and options.get("prewarm") is True


def _headers(metadata: dict[str, Any]) -> dict[str, str]:
    """Headers of the turn; never of the caller's identity, which is that of the handshake."""
    headers = {}
    for name, value in metadata.items():
        if not isinstance(value, str) or len(value) > _MAX_HEADER or not value.isprintable():
            continue
        if name in _IDENTITY or name.startswith("x-codex-"):
            headers[name] = value
        elif name.startswith(_HEADER_PREFIX):
            header = name.removeprefix(_HEADER_PREFIX).lower().replace("_", "-")
            if header.startswith(_HEADER_PREFIXES):
                headers[header] = value
    return headers


def _lane(members: dict[str, Raw]) -> Raw | None:
    given = _value(members, "stream_id")
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > _MAX_STREAM_ID:
        raise BadRequest(f"'stream_id' is not a string of at most {_MAX_STREAM_ID} characters.", param="stream_id")
    return Raw(msgspec.json.encode(given))


def _unsteered(members: dict[str, Raw], lane: Raw | None) -> bytes:
    answer: dict[str, Any] = {
        "type": "response.steer.failed",
        "error": {
            "code": "steering_not_supported",
            "type": "invalid_request_error",
            "message": "A response under way cannot be steered here; send the input with the next response.create.",
        },
        "steer": {
            name: value for name in ("input", "previous_response_id") if _can_be_sent_back(value := members.get(name))
        },
    }
    if lane is not None:
        answer["stream_id"] = lane
    return msgspec.json.encode(answer)


def _can_be_sent_back(member: Raw | None) -> bool:
    """Whether a member is short enough, and UTF-8: it stands as it came, and was not decoded."""
    if member is None or len(bytes(member)) > MAX_STEER_BYTES:
        return False
    try:
        bytes(member).decode()
    except UnicodeDecodeError:
        return False
    return True


def _value(members: dict[str, Raw], name: str) -> Any:
    raw = members.get(name)
    try:
        return None if raw is None else decode_json(raw, _ANY.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
