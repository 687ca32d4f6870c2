"""The steps of a scene (event, raw bytes, pause, cut, abort), and SSE framing. Knows no socket and no clock."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One event; it gets the next ``sequence_number`` if ``numbered``."""

    payload: Json
    numbered: bool = True


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are sent unchanged, in one write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause. As the first step it also delays the response head."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection in the middle of an HTTP chunk, after ``data``."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """Reset the connection (TCP RST)."""


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
