"""
Decides whether a request continues the response before it on the same WebSocket, so that only its new input is sent.
Pure: compares values, guesses nothing.

A request continues a response if everything but ``input``, ``client_metadata`` and ``stream_options`` is equal, and its
input begins with the last input and the last output, item by item. Of an item everything counts but what says nothing:
an absent ``id`` or ``status``, and empty lists. An ``id`` that is there must be the one that was received.

Source: openai/codex ``core/src/client.rs``; upstream protocol 9.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gptmock.protocol.request import JsonObject, ResponsesRequest

_OF_THE_TURN = frozenset({"input", "client_metadata", "stream_options"})
"""Members that may differ from one turn to the next."""
_SILENT = frozenset({"id", "status"})
"""Members of an item that the model does not see."""
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ItemMark:
    """What is kept of an input or output item, to recognise it."""

    digest: bytes
    id: str | None = None

    def matches(self, received: ItemMark) -> bool:
        """Whether this item of a request is that item of the conversation so far."""
        return self.digest == received.digest and self.id in (None, received.id)


@dataclass(frozen=True, slots=True)
class TurnMarks:
    """A request, as far as it takes to recognise what continues it."""

    settings: bytes
    """Digest of all members that must not differ."""
    items: tuple[ItemMark, ...]


@dataclass(frozen=True, slots=True)
class Continuation:
    """The last response on a connection."""

    response_id: str
    turn: TurnMarks
    """Its request, with the output items behind those of the input."""

    def new_items(self, request: TurnMarks) -> int | None:
        """How many items at the end of a request are new; ``None`` if it does not continue this response."""
        known = self.turn.items
        if request.settings != self.turn.settings or len(request.items) <= len(known):
            return None
        if not all(item.matches(received) for item, received in zip(request.items, known, strict=False)):
            return None
        return len(request.items) - len(known)


def marks_of(members: Mapping[str, Any]) -> TurnMarks:
    """The marks of a request, from its members as JSON values."""
    settings = {name: value for name, value in members.items() if name not in _OF_THE_TURN}
    return TurnMarks(_digest(settings), tuple(map(_mark, members["input"])))


def members_of(request: ResponsesRequest) -> JsonObject:
    """The members of a request as JSON values."""
    members: JsonObject = msgspec.json.decode(request.to_json())
    return members


def continued(request: TurnMarks, response_id: str, output: Iterable[bytes]) -> Continuation | None:
    """
    What the next request may continue.

    Args:
        request: of the turn that has ended.
        response_id: of its response.
        output: the JSON of its output items, in order.

    Returns ``None`` if an item is no JSON object: it cannot be recognised.
    """
    items: list[Any] = []
    try:
        items = [msgspec.json.decode(item) for item in output]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not all(isinstance(item, dict) for item in items):
        return None
    return Continuation(response_id, TurnMarks(request.settings, (*request.items, *map(_mark, items))))


def _mark(item: Any) -> ItemMark:
    if not isinstance(item, dict):
        return ItemMark(_digest(item))
    told = {name: _told(value) for name, value in item.items() if name not in _SILENT and value not in (None, [])}
    if "role" in told:
        told.setdefault("type", "message")
    given = item.get("id")
    return ItemMark(_digest(told), given if isinstance(given, str) else None)


def _told(value: Any) -> Any:
    """Content parts without empty lists: clients leave out ``annotations`` and ``logprobs``."""
    if not isinstance(value, list):
        return value
    return [_part(part) for part in value]


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if value not in (None, [])}


def _digest(value: Any) -> bytes:
    encoded = msgspec.json.encode(value, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


def new_input(items: Sequence[Any], count: int) -> list[Any]:
    """The last ``count`` items."""
    return list(items[len(items) - count :])
