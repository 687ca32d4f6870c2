"""What a scene consists of, as small frozen values, and how events become bytes. Knows no socket and no clock."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the stream; it gets the next ``sequence_number`` unless ``numbered`` is off."""

    payload: Json
    numbered: bool = True


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes exactly as they leave, in one write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence. Before anything else was played, it holds back the response head too."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection closes in the middle of a chunk of which ``data`` still arrives."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """The connection is reset (RST), nothing more arrives."""


Step = Event | Raw | Pause | Cut | Abort
Framed = Raw | Pause | Cut | Abort


def event_bytes(payload: Json, *, line_end: bytes = b"\n") -> bytes:
    """One frame of the stream: ``event:``, ``data:`` on one line, an empty line."""
    kind = str(payload.get("type", "")).encode()
    return b"event: " + kind + line_end + b"data: " + msgspec.json.encode(payload) + line_end + line_end


def numbered(steps: Iterable[Step]) -> Iterator[Step]:
    """The same steps, each numbered event with its ``sequence_number`` behind its ``type``."""
    number = 0
    for step in steps:
        if isinstance(step, Event) and step.numbered:
            rest = {key: value for key, value in step.payload.items() if key != "type"}
            yield Event({"type": step.payload["type"], "sequence_number": number, **rest}, numbered=False)
            number += 1
        else:
            yield step


def framed(steps: Iterable[Step]) -> Iterator[Framed]:
    """The same steps with every event numbered and encoded, ready to be written."""
    for step in numbered(steps):
        yield Raw(event_bytes(step.payload)) if isinstance(step, Event) else step
