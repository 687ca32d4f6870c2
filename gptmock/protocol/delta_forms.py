"""
The forms in which the backend writes delta events: two orders of members, as patterns. An event in any other form is
left to the decoder of ``protocol.events``.

A pattern matches only valid JSON in which no string but ``delta`` has an escape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from gptmock.protocol import events as ev

DeltaEvent: TypeAlias = (
    ev.OutputTextDelta
    | ev.ReasoningSummaryTextDelta
    | ev.ReasoningTextDelta
    | ev.FunctionCallArgumentsDelta
    | ev.CustomToolCallInputDelta
)
KINDS: Mapping[bytes, type[DeltaEvent]] = {
    b"response.output_text.delta": ev.OutputTextDelta,
    b"response.reasoning_summary_text.delta": ev.ReasoningSummaryTextDelta,
    b"response.reasoning_text.delta": ev.ReasoningTextDelta,
    b"response.function_call_arguments.delta": ev.FunctionCallArgumentsDelta,
    b"response.custom_tool_call_input.delta": ev.CustomToolCallInputDelta,
}

_NUMBER = rb"(?:0|[1-9][0-9]{0,8}+)"
# Not empty: an empty delta adds nothing, and most clients are not told of it. No half of a surrogate pair: it is no
# text, and the decoder has to mend it.
_TEXT = rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))++'
_WORD = rb"[ !#-\[\]-~]*+"
"""Printable ASCII without an escape."""
_MEMBERS = {
    "sequence_number": _NUMBER,
    "item_id": b'"' + _WORD + b'"',
    "output_index": _NUMBER,
    "content_index": _NUMBER,
    "summary_index": _NUMBER,
    "logprobs": rb"\[\]",
    "obfuscation": b'"' + _WORD + b'"',
}
"""Those that may stand beside ``type`` and ``delta``."""
# The group inside the type is set for all kinds but text, of which alone the schema knows logprobs.
_ANY_TYPE = (
    rb"(response\.(?:output_text|(reasoning_summary_text|reasoning_text|function_call_arguments|custom_tool_call_input))"
    rb"\.delta)"
)
_TYPE_GROUPS = 2
_ORDERS: dict[str, tuple[str | bytes, ...]] = {
    "schema": (
        rb'event: %(type)b\ndata: \{"type":"%(again)b"',
        "sequence_number",
        b"(",
        "item_id",
        "output_index",
        "content_index",
        "summary_index",
        b'),"delta":"(' + _TEXT + b')"',
        "logprobs",
        b"(",
        "obfuscation",
        rb")\}\n\n",
    ),
    "name": (
        rb"event: %(type)b\ndata: \{(",
        "content_index",
        b')"delta":"(' + _TEXT + b')"(',
        "item_id",
        b")",
        "logprobs",
        b"(",
        "obfuscation",
        b")(",
        "output_index",
        b")",
        "sequence_number",
        b"(",
        "summary_index",
        rb'),"type":"%(again)b"\}\n\n',
    ),
}
"""The patterns of one event, with a name for each member that may be there."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One order of members."""

    order: str
    """Its name."""
    pattern: re.Pattern[bytes]
    """One event; its groups are those of ``places``, with the delta's literal among them."""
    places: tuple[int, ...]
    """Numbers of the groups that say where the text is."""
    literal: int
    """Number of the group that holds the literal without its quotes."""
    padding: int
    """Number of the group that holds the member ``obfuscation``."""

    def alike(self, event: re.Match[bytes]) -> Form:
        """The form of those events alone that have the type and the members of this one; they are found sooner."""
        begin, end = event.span(self.literal)
        others = event.string[event.start() : begin] + event.string[end : event.end()]
        return _alike(self, event[1], tuple(name for name in _MEMBERS if b'"%b":' % name.encode() in others))


def _form(order: str, places: tuple[int, ...], literal: int, padding: int) -> Form:
    def maybe(name: str) -> bytes:
        member = b"(?:" + _member(order, name) + b")?+"
        return b"(?(2)|" + member + b")" if name == "logprobs" else member

    pattern = _pattern(order, maybe, {b"type": _ANY_TYPE, b"again": rb"\1"})
    return Form(order, pattern, places, literal, padding)


@lru_cache(maxsize=256)
def _alike(form: Form, kind: bytes, names: tuple[str, ...]) -> Form:
    def there(name: str) -> bytes:
        return _member(form.order, name) if name in names else b""

    pattern = _pattern(form.order, there, dict.fromkeys((b"type", b"again"), re.escape(kind)))
    places = tuple(place - _TYPE_GROUPS for place in form.places if place > _TYPE_GROUPS)
    return Form(form.order, pattern, places, form.literal - _TYPE_GROUPS, form.padding - _TYPE_GROUPS)


def _pattern(order: str, member: Callable[[str], bytes], types: Mapping[bytes, bytes]) -> re.Pattern[bytes]:
    parts = (member(part) if isinstance(part, str) else part for part in _ORDERS[order])
    return re.compile(b"".join(parts) % types)


def _member(order: str, name: str) -> bytes:
    """The pattern of a member with the comma beside it."""
    member = b'"%b":%b' % (name.encode(), _MEMBERS[name])
    is_first = order == "name" and name == "content_index"
    return member + b"," if is_first else b"," + member


BY_SCHEMA = _form("schema", places=(1, 3), literal=4, padding=5)
"""``type`` first, as in the schema and in raw traces."""
BY_NAME = _form("name", places=(1, 3, 5, 7, 8), literal=4, padding=6)
"""Sorted by name, as recordings have them."""
PLACE_MEMBER = re.compile(rb'"(item_id|output_index|content_index|summary_index)":(?:"(' + _WORD + rb')"|([0-9]+))')
