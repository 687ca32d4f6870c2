"""The steps of a scene as messages of a WebSocket: one JSON text for each event. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from gptmock.simulator.steps import Abort, Cut, Event, Json, Pause, Raw, Step, numbered

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


@dataclass(frozen=True, slots=True)
class Message:
    """One text message."""

    data: bytes
    kind: str = ""
    """Its ``type``, if it has one."""


Sent = Message | Pause | Abort


def messages(steps: Iterable[Step]) -> Iterator[Sent]:
    """
    The same reply on a WebSocket. What a scene does to the framing of an event stream does not exist here: bytes that
    are sent unchanged become the events that they hold. A cut within a chunk is a lost connection.
    """
    rest = b""
    for step in numbered(steps):
        match step:
            case Event(payload):
                yield Message(msgspec.json.encode(payload), str(payload.get("type", "")))
            case Raw(data):
                rest += data
                whole, rest = _whole(rest)
                yield from map(_message, whole)
            case Cut():
                yield Abort()
            case Pause() | Abort():
                yield step


def _whole(data: bytes) -> tuple[list[bytes], bytes]:
    """The data of each event that is complete, and what is left."""
    # The end of a line may still be the first half of CRLF.
    kept = b"\r" if data.endswith(b"\r") else b""
    text = data.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *frames, rest = text.split(b"\n\n")
    found = [b"\n".join(_data_lines(frame)) for frame in frames]
    return [one for one in found if one], rest + kept


def _data_lines(frame: bytes) -> Iterator[bytes]:
    for line in frame.split(b"\n"):
        if line.startswith(b"data:"):
            yield line.removeprefix(b"data:").removeprefix(b" ")


def _message(data: bytes) -> Message:
    try:
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A text message is UTF-8.
        return Message(data.decode("utf-8", "replace").encode())
    kind = content.get("type") if isinstance(content, dict) else None
    return Message(data, kind if isinstance(kind, str) else "")


def output_of(message: Message) -> Json | None:
    """The output item that a message completes."""
    if message.kind != "response.output_item.done":
        return None
    item: Json = msgspec.json.decode(message.data)["item"]
    return item
