"""
Requests that continue something: what a Responses body refers to, and its input with that put in place. Pure.

Source: client contracts 3.3 and 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gptmock.conversations import Memo, Recalled, Reference, Wanted
from gptmock.dialects.bodies import decode_json, missing
from gptmock.errors import BadRequest
from gptmock.protocol.request import JsonObject

RESPONSE_PREFIX = "resp"
_REFERENCE = "item_reference"
_SHOWN_CHARACTERS = 100


class _Refers(Struct, frozen=True):
    """A body, as far as it refers to something."""

    previous_response_id: str | None = None
    input: Raw = Raw(b"null")


class _Item(Struct, frozen=True):
    type: str | None = None
    id: str | None = None
    role: str | None = None


_BODY = msgspec.json.Decoder(_Refers)
_ITEMS = msgspec.json.Decoder(list[Raw])
_ITEM = msgspec.json.Decoder(_Item)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def wanted_of(body: bytes) -> Wanted:
    """
    What a body refers to; of one that cannot be read, nothing.

    Raises:
        BadRequest: the previous response has an id that no response has.
    """
    try:
        refers = decode_json(body, _BODY.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Wanted()
    previous = refers.previous_response_id
    if previous is not None and not previous.startswith(RESPONSE_PREFIX):
        shown = "".join(character for character in previous[:_SHOWN_CHARACTERS] if character.isprintable())
        raise BadRequest(
            f"Invalid 'previous_response_id': '{shown}'. Expected an ID that begins with '{RESPONSE_PREFIX}'.",
            param="previous_response_id",
        )
    return Wanted(previous, tuple(_references(refers.input)))


def _references(given: Raw) -> list[Reference]:
    try:
        items = decode_json(given, _ITEMS.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [Reference(name, place) for place, item in enumerate(items) if (name := _referred(item)) is not None]


def _referred(item: Raw) -> str | None:
    try:
        read = decode_json(item, _ITEM.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if read.type is not None or read.role is not None:
        return read.id if read.type == _REFERENCE else None
    return read.id if read.id is not None and _is_reference(_object(item)) else None


@dataclass(frozen=True, slots=True)
class Continued:
    """The input of a request with everything that it refers to."""

    inherited: list[JsonObject]
    """The conversation that it continues, oldest first."""
    own: list[JsonObject]
    """The items of the request, references replaced."""
    places: list[int]
    """Where each of ``own`` stood in the input."""

    @property
    def items(self) -> list[JsonObject]:
        """All that the model is given."""
        return self.inherited + self.own

    def where(self, place: int) -> str:
        """The path to one of ``items``, for an error; ``input`` for what is not the request's own."""
        own = place - len(self.inherited)
        return f"input[{self.places[own]}]" if 0 <= own < len(self.own) else "input"


def continued(given: str | list[JsonObject] | None, recalled: Recalled) -> Continued:
    """
    Put in place what a request refers to.

    An item that the conversation has already is not said twice: clients refer to what the previous response holds.

    Args:
        given: the input of the request; ``None`` and an empty string add nothing to a conversation.
        recalled: what ``wanted_of`` its body has been found to be.

    Raises:
        BadRequest: there is neither an input nor a conversation.
    """
    inherited = [_object(item) for item in recalled.items]
    if not inherited and given is None:
        raise missing("input")
    if not inherited and given == "":
        raise BadRequest("'input' is empty.", param="input")
    held = {bytes(item) for item in recalled.items}
    own: list[JsonObject] = []
    places: list[int] = []
    for place, item in enumerate(_listed(given)):
        referred = recalled.referred.get(str(item.get("id"))) if _is_reference(item) else None
        if referred is not None and bytes(referred) in held:
            continue
        own.append(_whole(item) if referred is None else _object(referred))
        places.append(place)
    return Continued(inherited, own, places)


def _listed(given: str | list[JsonObject] | None) -> list[JsonObject]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}] if given else []
    return given or []


def memo_of(tenant: str, given: Continued, recalled: Recalled) -> Memo:
    """What a turn with this input is stored with."""
    own = tuple(Raw(msgspec.json.encode(item)) for item in given.own)
    return Memo(tenant, recalled.items + own, len(recalled.items))


def _is_reference(item: JsonObject) -> bool:
    # The type of a reference may be left out; there is nothing but an id in it then.
    kind = item.get("type")
    return isinstance(item.get("id"), str) and (kind == _REFERENCE or (kind is None and set(item) <= {"id", "type"}))


def _whole(item: JsonObject) -> JsonObject:
    """An item as the API stores and lists it: a message has its type, and parts for content."""
    if item.get("role") is None or item.get("type") not in (None, "message"):
        return item
    content: Any = item.get("content")
    if isinstance(content, str):
        content = [{"type": "output_text" if item["role"] == "assistant" else "input_text", "text": content}]
    return {**item, "type": "message", "content": content}


def _object(item: Raw) -> JsonObject:
    return decode_json(item, _OBJECT.decode)
