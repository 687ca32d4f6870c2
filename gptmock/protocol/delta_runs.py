"""
Runs of deltas found in the bytes of a stream, without decoding them. Knows the forms of ``protocol.delta_forms``; an
event in any other form is no run and is left to the decoder of ``protocol.events``.

A run is exact: it is valid JSON in valid UTF-8, its events differ in nothing but the delta, ``sequence_number`` and
``obfuscation``, and every literal can be copied into other JSON as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from gptmock.protocol import events as ev
from gptmock.protocol.delta_forms import BY_NAME, BY_SCHEMA, KINDS, PLACE_MEMBER, DeltaEvent, Form

_COUNTED: dict[type[DeltaEvent], bytes] = {
    ev.OutputTextDelta: b"content_index",
    ev.ReasoningSummaryTextDelta: b"summary_index",
    ev.ReasoningTextDelta: b"content_index",
}

_ESCAPED_SEPARATORS = ("\u0085".encode(), "\u2028".encode(), "\u2029".encode())
"""Written raw by the upstream and as escapes to clients (``dialects.json_text``)."""


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
        match = form.pattern.search(block)
        if match is None:
            return [block]
        key = match.group(*form.places)
        if match.end() - match.start() < len(block):
            return self._alike(block, key, form.alike(match)) or self._split(block)
        # One event in one read, as a model's pace makes it.
        literals = [match[form.literal]]
        if not _can_be_copied(literals):
            return [block]
        return [DeltaRun(self._known(key), literals, [match[form.padding]], block, form)]

    def _alike(self, block: bytes, key: tuple[bytes, ...], alike: Form) -> list[bytes | DeltaRun] | None:
        """The block, if the deltas like its first are one run, as nearly always; else ``None``."""
        parts = alike.pattern.split(block)
        stride = alike.pattern.groups + 1
        between, literals = parts[::stride], parts[alike.literal :: stride]
        if any(between[1:-1]) or not _can_be_copied(literals):
            return None
        for place in alike.places:
            groups = parts[place::stride]
            if groups.count(groups[0]) < len(groups):
                return None
        run = DeltaRun(self._known(key), literals, parts[alike.padding :: stride], block, self._form)
        before, behind = between[0], between[-1]
        return [*([before] if before else ()), run, *(self._split(behind) if behind else ())]

    def _split(self, block: bytes) -> list[bytes | DeltaRun]:
        form = self._form
        parts = form.pattern.split(block)
        if len(parts) == 1:
            return [block]
        stride = form.pattern.groups + 1
        literals = parts[form.literal :: stride]
        if not _can_be_copied(literals):
            return [block]
        places = [parts[number::stride] for number in form.places]
        deltas = list(zip(literals, parts[form.padding :: stride], strict=True))
        return self._several(block, deltas, list(zip(*places, strict=True)), parts[::stride])

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
    kind = KINDS[key[0]]
    members = {name: text or number for name, text, number in PLACE_MEMBER.findall(b"".join(key[1:]))}
    item_id, output_index = members.get(b"item_id"), members.get(b"output_index")
    counted = _COUNTED.get(kind, b"")
    return DeltaPlace(
        kind,
        None if item_id is None else item_id.decode(),
        None if output_index is None else int(output_index),
        int(members.get(counted, 0)),
        is_regular=members.keys() <= {b"item_id", b"output_index", counted},
    )
