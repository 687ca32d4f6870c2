"""Scenes with transport faults: truncated streams, pauses, invalid events, unusual framing. Pure."""

from collections.abc import Callable, Iterator

import msgspec

from gptmock.simulator.call import Call
from gptmock.simulator.events import Composer, event
from gptmock.simulator.scene_replies import GREETING, opening, reasoning, text, whole
from gptmock.simulator.steps import Abort, Cut, Event, Pause, Raw, Step, event_bytes, framed, numbered

GIANT_BYTES = 16 * 1024 * 1024 + 1024
"""Size of the delta in ``giant``: above the event limit of 16 MiB."""

STALL_SECONDS = 60.0
SLOW_HEAD_SECONDS = 5.0
ODD_SIZES = (1, 3, 7, 2, 5, 13, 1, 31)


def eof_mid(call: Call) -> Iterator[Step]:
    """The body ends cleanly after some text, without an ending event."""
    return opening(Composer(call))


def eof_first(_call: Call) -> Iterator[Step]:
    """The body is empty."""
    return iter(())


def abort_mid(call: Call) -> Iterator[Step]:
    """The connection is reset after some text."""
    yield from opening(Composer(call))
    # A reset may discard data in flight; the text must arrive.
    yield Pause(0.02)
    yield Abort()


def truncated_chunk(call: Call) -> Iterator[Step]:
    """The connection closes in the middle of a chunk, inside an event."""
    yield from opening(Composer(call))
    yield Cut(b'event: response.output_text.delta\ndata: {"type":"response.output_te')


def stall(call: Call) -> Iterator[Step]:
    """A pause after some text, then the rest; the parameter is the length in seconds."""
    steps = list(whole(text)(call))
    middle = len(steps) // 2
    yield from steps[:middle]
    yield Pause(seconds(call, STALL_SECONDS))
    yield from steps[middle:]


def silent(call: Call) -> Iterator[Step]:
    """A pause between ``response.in_progress`` and the first content; the parameter is the length in seconds."""
    composer = Composer(call)
    yield from composer.start()
    yield Pause(seconds(call, STALL_SECONDS))
    yield from composer.message(GREETING)
    yield composer.completed()


def slow_head(call: Call) -> Iterator[Step]:
    """The response head comes late; the parameter is the delay in seconds."""
    yield Pause(seconds(call, SLOW_HEAD_SECONDS))
    yield from whole(text)(call)


def garbage(call: Call) -> Iterator[Step]:
    """Invalid events between valid ones: no JSON, no object, no type, undecodable bytes."""
    bad = (
        b"event: response.output_text.delta\ndata: {not json\n\n",
        b"data: [1,2,3]\n\n",
        b'data: "a string"\n\n',
        b'event: response.output_text.delta\ndata: {"delta":"no type"}\n\n',
        b'data: {"type":"codex.blob","blob":"\xff\xfe\xc3"}\n\n',
        b"data: \xff\xfe\n\n",
        b"nonsense without a colon\n\n",
        b"data:\n\n",
    )
    for number, step in enumerate(numbered(whole(text)(call))):
        yield step
        if number < len(bad):
            yield Raw(bad[number])


def odd_splits(call: Call) -> Iterator[Step]:
    """Every write ends at an odd place: inside lines, JSON and UTF-8 sequences."""
    data = rendered(whole(reasoning)(call))
    start = turn = 0
    while start < len(data):
        size = ODD_SIZES[turn % len(ODD_SIZES)]
        yield Raw(data[start : start + size])
        start += size
        turn += 1


def line_ends(line_end: bytes) -> Callable[[Call], Iterator[Step]]:
    """A scene whose lines end with CRLF or CR."""

    def play(call: Call) -> Iterator[Step]:
        for step in numbered(whole(reasoning)(call)):
            yield Raw(event_bytes(step.payload, line_end=line_end)) if isinstance(step, Event) else step

    return play


def bom(call: Call) -> Iterator[Step]:
    """A byte order mark precedes the first event."""
    yield Raw(b"\xef\xbb\xbf")
    yield from whole(text)(call)


def comments(call: Call) -> Iterator[Step]:
    """Comments, ids and retry fields between and inside the events."""
    yield Raw(b": welcome\n\n")
    for step in framed(whole(text)(call)):
        if isinstance(step, Raw):
            yield Raw(b": keepalive\nid: 7\nretry: 1000\n" + step.data + b":\n\n")


def multiline(call: Call) -> Iterator[Step]:
    """The JSON of an event is split over several ``data:`` lines."""
    for step in numbered(whole(text)(call)):
        if isinstance(step, Event):
            lines = msgspec.json.format(msgspec.json.encode(step.payload), indent=1).split(b"\n")
            yield Raw(b"".join(b"data: " + line + b"\n" for line in lines) + b"\n")


def no_break(call: Call) -> Iterator[Step]:
    """The last event lacks its empty line, so a parser does not dispatch it: the stream has no terminal event."""
    steps = list(framed(whole(text)(call)))
    yield from steps[:-1]
    last = steps[-1]
    if isinstance(last, Raw):
        yield Raw(last.data.removesuffix(b"\n"))


def giant(call: Call) -> Iterator[Step]:
    """One delta is over 16 MiB."""
    composer = Composer(call)
    yield from opening(composer)
    spot = {"item_id": call.identify("msg", 0), "output_index": 0, "content_index": 0}
    yield event("output_text.delta", **spot, delta="x" * GIANT_BYTES, logprobs=[])
    yield composer.completed()


def encoded(call: Call) -> Iterator[Step]:
    """A short text; the body leaves in the codings of the parameter."""
    yield from whole(text)(call)


def seconds(call: Call, default: float) -> float:
    """The parameter as seconds."""
    return float(call.parameter) if call.parameter else default


def rendered(steps: Iterator[Step]) -> bytes:
    """The bytes of a stream, up to its end or its fault."""
    return b"".join(step.data for step in framed(steps) if isinstance(step, Raw | Cut))
