"""
Runs of deltas found in the bytes of a stream, without decoding them. Knows the two orders of members that the backend
writes; an event in any other form is no run and is left to the decoder of ``protocol.events``.

A run is exact: it is valid JSON in valid UTF-8, its events differ in nothing but the delta, ``sequence_number`` and
``obfuscation``, and every literal can be copied into other JSON as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import msgspec

from gptmock.protocol import events as ev

DeltaEvent: TypeAlias = (
    ev.OutputTextDelta
    | ev.ReasoningSummaryTextDelta
    | ev.ReasoningTextDelta
    | ev.FunctionCallArgumentsDelta
    | ev.CustomToolCallInputDelta
)
_KINDS: dict[bytes, type[DeltaEvent]] = {
    b"response.output_text.delta": ev.OutputTextDelta,
    b"response.reasoning_summary_text.delta": ev.ReasoningSummaryTextDelta,
    b"response.reasoning_text.delta": ev.ReasoningTextDelta,
    b"response.function_call_arguments.delta": ev.FunctionCallArgumentsDelta,
    b"response.custom_tool_call_input.delta": ev.CustomToolCallInputDelta,
}

_COUNTED: dict[type[DeltaEvent], bytes] = {
    ev.OutputTextDelta: b"content_index",
    ev.ReasoningSummaryTextDelta: b"summary_index",
    ev.ReasoningTextDelta: b"content_index",
}

_NUMBER = rb"(?:0|[1-9][0-9]{0,8}+)"
# Not empty: an empty delta adds nothing, and most clients are not told of it. No half of a surrogate pair: it is no
# text, and the decoder has to mend it.
_TEXT = rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))++'
_ESCAPED_SEPARATORS = ("\u0085".encode(), "\u2028".encode(), "\u2029".encode())
"""Written raw by the upstream and as escapes to clients (``dialects.json_text``)."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One order of members."""

    pattern: re.Pattern[bytes]
    """One event; its groups are those of ``places``, with the delta's literal among them."""
    places: tuple[int, ...]
    """Numbers of the groups that say where the text is."""
    literal: int
    """Number of the group that holds the literal without its quotes."""
    padding: int
    """Number of the group that holds the member ``obfuscation``."""


# The group inside the type is set for all kinds but text, of which alone the schema knows logprobs.
_TYPE = (
    rb"(response\.(?:output_text|(reasoning_summary_text|reasoning_text|function_call_arguments|custom_tool_call_input))"
    rb"\.delta)"
)
_LOGPROBS = rb'(?(2)|(?:,"logprobs":\[\])?+)'
_WORD = rb"[ !#-\[\]-~]*+"
"""Printable ASCII without an escape."""
_PADDING = rb'((?:,"obfuscation":"' + _WORD + rb'")?+)'
BY_SCHEMA = Form(
    re.compile(
        rb"event: "
        + _TYPE
        + rb'\ndata: \{"type":"\1"(?:,"sequence_number":'
        + _NUMBER
        + rb')?+((?:,"item_id":"'
        + _WORD
        + rb'")?+(?:,"output_index":'
        + _NUMBER
        + rb')?+(?:,"(?:content|summary)_index":'
        + _NUMBER
        + rb')?+),"delta":"('
        + _TEXT
        + rb')"'
        + _LOGPROBS
        + _PADDING
        + rb"\}\n\n"
    ),
    places=(1, 3),
    literal=4,
    padding=5,
)
"""``type`` first, as in the schema and in raw traces."""
BY_NAME = Form(
    re.compile(
        rb"event: "
        + _TYPE
        + rb'\ndata: \{((?:"content_index":'
        + _NUMBER
        + rb',)?+)"delta":"('
        + _TEXT
        + rb')"((?:,"item_id":"'
        + _WORD
        + rb'")?+)'
        + _LOGPROBS
        + _PADDING
        + rb'((?:,"output_index":'
        + _NUMBER
        + rb')?+)(?:,"sequence_number":'
        + _NUMBER
        + rb')?+((?:,"summary_index":'
        + _NUMBER
        + rb')?+),"type":"\1"\}\n\n'
    ),
    places=(1, 3, 5, 7, 8),
    literal=4,
    padding=6,
)
"""Sorted by name, as recordings have them."""
_MEMBER = re.compile(rb'"(item_id|output_index|content_index|summary_index)":(?:"(' + _WORD + rb')"|([0-9]+))')


@dataclass(frozen=True, slots=True, eq=False)
class DeltaPlace:
    """Which text a delta adds to; the same object for all runs in a row, so it can be compared by ``is``."""

    kind: type[DeltaEvent]
    item_id: str | None = None
    output_index: int | None = None
    index: int = 0
    """``content_index`` or ``summary_index``."""
    is_regular: bool = True
    """Its events have no member beyond the schema's."""


class DeltaRun(msgspec.Struct, frozen=True, eq=False):
    """Deltas of one text, one after another."""

    place: DeltaPlace
    literals: list[bytes]
    """Of each delta, its JSON string without the quotes: to be copied, or decoded by ``text_of``."""
    paddings: list[bytes]
    """Of each delta, its member ``obfuscation`` with a comma before it, or nothing."""
    block: bytes
    """The bytes that hold it."""
    form: Form
    first: int = 0
    """Which of the events in the block is the first of these."""

    def frames(self) -> Iterator[bytes]:
        """Each event as it came, with its blank line."""
        matches = self.form.pattern.finditer(self.block)
        return (match.group() for match in islice(matches, self.first, self.first + len(self.literals)))

    def parted(self) -> tuple[DeltaRun, DeltaRun | None]:
        """The first delta, and the others if there are any."""
        if len(self.literals) == 1:
            return self, None
        first = DeltaRun(self.place, self.literals[:1], self.paddings[:1], self.block, self.form, self.first)
        others = DeltaRun(self.place, self.literals[1:], self.paddings[1:], self.block, self.form, self.first + 1)
        return first, others

    def joined(self) -> bytes:
        """One event that says all of it, as it would have come."""
        match = next(islice(self.form.pattern.finditer(self.block), self.first, None))
        begin, end = (edge - match.start() for edge in match.span(self.form.literal))
        frame = match.group()
        return frame[:begin] + b"".join(self.literals) + frame[end:]


def text_of(literals: bytes | bytearray) -> str:
    """The text of literals, one behind the other."""
    text: str = msgspec.json.decode(b"".join((b'"', literals, b'"')), type=str)
    return text


class RunFinder:
    """Finds the runs in blocks of whole events. Remembers in which order the backend writes members, and the place."""

    __slots__ = ("_form", "_key", "_place")

    def __init__(self) -> None:
        self._form = BY_SCHEMA
        self._key: tuple[bytes, ...] = ()
        self._place = DeltaPlace(ev.OutputTextDelta)

    def missed(self, data: bytes) -> None:
        """A delta was decoded that stood in no run: look for the order that it has from now on."""
        self._form = BY_SCHEMA if data.startswith(b'{"type":') else BY_NAME

    def further(self, block: bytes) -> tuple[bytes, bytes] | None:
        """
        The literal and the padding of a block that is one delta at the place of the last run, and nothing else.

        ``None`` for any other block: ``cut`` has to look at it.
        """
        form = self._form
        match = form.pattern.fullmatch(block)
        if match is None or match.group(*form.places) != self._key:
            return None
        literal: bytes
        literal, padding = match.group(form.literal, form.padding)
        return (literal, padding) if literal.isascii() or _can_be_copied([literal]) else None

    def cut(self, block: bytes) -> list[bytes | DeltaRun]:
        """
        The block in order: runs, and between them bytes that are none.

        Args:
            block: begins with an event; may end within one.
        """
        form = self._form
        match = form.pattern.match(block)
        if match is not None and match.end() == len(block):
            # One event in one read, as a model's pace makes it.
            key = match.group(*form.places)
            literals = [match[form.literal]]
            if not _can_be_copied(literals):
                return [block]
            return [
                DeltaRun(
                    self._place if key == self._key else self._known(key), literals, [match[form.padding]], block, form
                )
            ]
        parts = form.pattern.split(block)
        if len(parts) == 1:
            return [block]
        stride = form.pattern.groups + 1
        literals = parts[form.literal :: stride]
        if not _can_be_copied(literals):
            return [block]
        places = [parts[number::stride] for number in form.places]
        paddings = parts[form.padding :: stride]
        between = parts[::stride]
        if not any(between[1:-1]) and all(group.count(group[0]) == len(group) for group in places):
            run: list[bytes | DeltaRun] = [
                DeltaRun(self._known(tuple([group[0] for group in places])), literals, paddings, block, form)
            ]
            # Nearly always this is all; what is around it is often empty.
            return [*([between[0]] if between[0] else ()), *run, *([between[-1]] if between[-1] else ())]
        return self._several(
            block, list(zip(literals, paddings, strict=True)), list(zip(*places, strict=True)), between
        )

    def _several(
        self, block: bytes, deltas: list[tuple[bytes, bytes]], keys: list[tuple[bytes, ...]], between: list[bytes]
    ) -> list[bytes | DeltaRun]:
        cut: list[bytes | DeltaRun] = []
        first = 0
        for number, key in enumerate(keys):
            if number == 0 or between[number] or key != keys[number - 1]:
                if between[number]:
                    cut.append(between[number])
                first = number
                cut.append(DeltaRun(self._known(key), [], [], block, self._form, first))
            last = cut[-1]
            assert isinstance(last, DeltaRun)  # noqa: S101 - appended above, and nothing behind it
            last.literals.append(deltas[number][0])
            last.paddings.append(deltas[number][1])
        if between[-1]:
            cut.append(between[-1])
        return cut

    def _known(self, key: tuple[bytes, ...]) -> DeltaPlace:
        if key != self._key:
            self._key, self._place = key, _place_of(key)
        return self._place


def _can_be_copied(literals: list[bytes]) -> bool:
    # With a byte between them: a character cut in two must not become whole.
    text = literals[0] if len(literals) == 1 else b'"'.join(literals)
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return not any(separator in text for separator in _ESCAPED_SEPARATORS)


def _place_of(key: tuple[bytes, ...]) -> DeltaPlace:
    kind = _KINDS[key[0]]
    members = {name: text or number for name, text, number in _MEMBER.findall(b"".join(key[1:]))}
    item_id, output_index = members.get(b"item_id"), members.get(b"output_index")
    counted = _COUNTED.get(kind, b"")
    return DeltaPlace(
        kind,
        None if item_id is None else item_id.decode(),
        None if output_index is None else int(output_index),
        int(members.get(counted, 0)),
        is_regular=members.keys() <= {b"item_id", b"output_index", counted},
    )
