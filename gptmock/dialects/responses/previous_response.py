"""
Finds the references of a Responses body (``previous_response_id``, ``item_reference``) and replaces them with the
stored items. Pure.

Source: client contracts 3.3 and 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gptmock.conversations import IMAGE_ITEM, ContextReferences, LoadedContext, PendingSnapshot, Reference
from gptmock.dialects.bodies import decode_json, missing
from gptmock.dialects.dialect import Call
from gptmock.errors import BadRequest
from gptmock.protocol.request import JsonObject

RESPONSE_PREFIX = "resp"
_REFERENCE = "item_reference"
_SHOWN_CHARACTERS = 100


class _ReferencingBody(Struct, frozen=True):
    """The members of a body that may hold references."""

    previous_response_id: str | None = None
    input: Raw = Raw(b"null")


class _Item(Struct, frozen=True):
    type: str | None = None
    id: str | None = None
    role: str | None = None


_BODY = msgspec.json.Decoder(_ReferencingBody)
_ITEMS = msgspec.json.Decoder(list[Raw])
_TEXT = msgspec.json.Decoder(str)
_ITEM = msgspec.json.Decoder(_Item)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def context_references(body: bytes) -> ContextReferences:
    """
    The references of a body; empty if the body cannot be decoded.

    Raises:
        BadRequest: ``previous_response_id`` lacks the prefix of response ids.
    """
    try:
        refers = decode_json(body, _BODY.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ContextReferences()
    previous = refers.previous_response_id
    if previous is not None and not previous.startswith(RESPONSE_PREFIX):
        shown = "".join(character for character in previous[:_SHOWN_CHARACTERS] if character.isprintable())
        raise BadRequest(
            f"Invalid 'previous_response_id': '{shown}'. Expected an ID that begins with '{RESPONSE_PREFIX}'.",
            param="previous_response_id",
        )
    return ContextReferences(previous, tuple(_references(refers.input)))


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
    """The input of a request with all references resolved."""

    inherited: list[JsonObject]
    """The items of the conversation that it continues, oldest first."""
    own: list[JsonObject]
    """The items of the request, references replaced."""
    places: list[int]
    """The index in the request's ``input`` of each item of ``own``."""

    @property
    def items(self) -> list[JsonObject]:
        """The complete input, oldest first."""
        return self.inherited + self.own

    def where(self, place: int) -> str:
        """The path to ``items[place]`` for an error message; ``input`` if the item is inherited."""
        own = place - len(self.inherited)
        return f"input[{self.places[own]}]" if 0 <= own < len(self.own) else "input"


def continued(given: str | list[JsonObject] | None, context: LoadedContext) -> Continued:
    """
    Resolve the references of a request.

    A reference to an item that the continued conversation already holds is dropped, so that no item is sent twice.

    Args:
        given: ``input`` of the request; ``None`` and an empty string add nothing to a conversation.
        context: what the store had for the references of the request.

    Raises:
        BadRequest: there is neither an input nor a conversation.
    """
    inherited = [_stored(item) for item in context.items]
    if not inherited and given is None:
        raise missing("input")
    if not inherited and given == "":
        raise BadRequest("'input' is empty.", param="input")
    held = {bytes(item) for item in context.items}
    own: list[JsonObject] = []
    places: list[int] = []
    for place, item in enumerate(_listed(given)):
        referred = context.referred.get(str(item.get("id"))) if _is_reference(item) else None
        if referred is not None and bytes(referred) in held:
            continue
        own.append(_whole(item) if referred is None else _stored(referred))
        places.append(place)
    return Continued(inherited, own, places)


def _listed(given: str | list[JsonObject] | None) -> list[JsonObject]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}] if given else []
    return given or []


def pending_snapshot_of(tenant: str, given: Continued, context: LoadedContext) -> PendingSnapshot:
    """The part of the snapshot that is known before the response."""
    own = tuple(Raw(msgspec.json.encode(item)) for item in given.own)
    return PendingSnapshot(tenant, context.items + own, len(context.items))


def pending_snapshot(call: Call) -> PendingSnapshot | None:
    """
    As ``pending_snapshot_of``, from the body of a call whose context is loaded; what is inherited is not decoded again.

    Returns:
        ``None`` if the body cannot be decoded.
    """
    try:
        given = decode_json(call.body, _BODY.decode).input
        if bytes(memoryview(given)[:1]) == b'"':
            listed = [Raw(msgspec.json.encode(item)) for item in _listed(decode_json(given, _TEXT.decode))]
        else:
            listed = decode_json(given, _ITEMS.decode) if bytes(given) != b"null" else []
        held = {bytes(item) for item in call.context.items} if call.context.referred else set()
        own = [item for one in listed if (item := _kept(one, call.context, held)) is not None]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return PendingSnapshot(call.tenant, call.context.items + tuple(own), len(call.context.items))


def _kept(item: Raw, context: LoadedContext, held: set[bytes]) -> Raw | None:
    """An item of a request as it is stored; ``None`` for a reference to one that the conversation holds."""
    known = _object(item)
    referred = context.referred.get(str(known.get("id"))) if _is_reference(known) else None
    if referred is not None:
        return None if bytes(referred) in held else referred
    whole = _whole(known)
    return item if whole is known else Raw(msgspec.json.encode(whole))


def _is_reference(item: JsonObject) -> bool:
    # ``type`` may be omitted; the item then holds nothing but ``id``.
    kind = item.get("type")
    return isinstance(item.get("id"), str) and (kind == _REFERENCE or (kind is None and set(item) <= {"id", "type"}))


def _whole(item: JsonObject) -> JsonObject:
    """An item in the stored form: a message has ``type``, and a list of parts as ``content``."""
    if item.get("role") is None or item.get("type") not in (None, "message"):
        return item
    content: Any = item.get("content")
    if isinstance(content, str):
        content = [{"type": "output_text" if item["role"] == "assistant" else "input_text", "text": content}]
    return {**item, "type": "message", "content": content}


def _stored(item: Raw) -> JsonObject:
    """A stored item; in place of an image whose data is not stored (``conversations.MAX_IMAGE_BYTES``), a message."""
    known = _object(item)
    if known.get("type") != IMAGE_ITEM or known.get("result"):
        return known
    text = f"[An image was generated here ({known.get('id')}); its data is no longer available.]"
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def _object(item: Raw) -> JsonObject:
    return decode_json(item, _OBJECT.decode)
