"""The law of the fast path: runs of deltas that are copied give the frames that the events one by one give."""

import json
import re
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.table import DIALECTS
from gptmock.errors import UpstreamBroken
from gptmock.protocol.delta_runs import DeltaRun
from gptmock.protocol.reader import EventReader, Received, joined, received_of
from tests.playbook import HEAD, STYLES, client_of, decode, events_of, split, translate, translate_fast
from tests.streams import stories
from tests.test_laws import SMALL, upstream_of

routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
ORDERS = ("schema", "name")
_SCHEMA = ("type", "sequence_number", "item_id", "output_index", "content_index", "summary_index", "delta", "logprobs")
_JSON = re.compile(rb"(?:data: )?(\{.*\})")
KINDS = ("output_text", "reasoning_summary_text", "reasoning_text", "function_call_arguments", "custom_tool_call_input")


def as_backend(upstream: bytes, order: str) -> bytes:
    """The same events with the members that the backend adds, in an order in which it writes them."""
    return b"".join(frame(received.document(), number, order) for number, received in enumerate(events_of(upstream)))


def frame(event: dict[str, Any], number: int, order: str) -> bytes:
    kind = event["type"]
    if kind.endswith(".delta"):
        added = {"sequence_number": number, "obfuscation": "Uh-_"[: number % 5]}
        event = {**event, **added, **({"logprobs": []} if kind == "response.output_text.delta" else {})}
        event = {name: event[name] for name in sorted(event, key=lambda n: _SCHEMA.index(n) if n in _SCHEMA else 99)}
    if order == "name":
        event = dict(sorted(event.items()))
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def parsed(frames: bytes) -> list[Any]:
    """Everything that was said, but for how a character is escaped."""
    lines = frames.split(b"\n")
    return [
        json.loads(match[1].decode(errors="surrogateescape")) if (match := _JSON.fullmatch(line)) else line
        for line in lines
    ]


def runs_of(upstream: bytes) -> list[DeltaRun]:
    reader = EventReader(finds_runs=True)
    # What comes first may begin with a byte-order mark; only after it the finder looks.
    reader.feed(b": begin\n\n")
    with suppress(UpstreamBroken):
        return [one for one in reader.feed(upstream) if isinstance(one, DeltaRun)]
    return []


@routes
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("style", STYLES)
@given(story=stories(mixed=True), data=st.data())
def test_copied_deltas_say_what_translated_ones_say(route, order, style, story, data):
    upstream = as_backend(story.upstream, order)
    cuts = data.draw(st.lists(st.integers(0, len(upstream)), max_size=12))
    if data.draw(st.booleans(), label="an event in each read"):
        # As a model's pace makes it: single deltas take the lane.
        cuts = [*cuts[:2], *(match.end() for match in re.finditer(b"\n\n", upstream))]
    chunks = split(upstream, cuts)
    turn = decode(route, client_of(route).body(), style=style)
    assert parsed(translate_fast(turn, chunks)) == parsed(translate(turn, upstream).joined)


@routes
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scene", SMALL)
def test_copied_deltas_of_a_scene(route, order, scene):
    whole = upstream_of(scene)
    turn = decode(route, client_of(route).body())
    for upstream in (whole, as_backend(whole, order)):
        expected = parsed(translate(turn, upstream).joined)
        assert parsed(translate_fast(turn, upstream)) == expected
        assert parsed(translate_fast(turn, [upstream[at : at + 1] for at in range(len(upstream[:9000]))])) == (
            parsed(translate(turn, upstream[:9000]).joined)
        )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_holds_the_events_as_they_came(kind, order):
    index = {
        "output_text": "content_index",
        "reasoning_text": "content_index",
        "reasoning_summary_text": "summary_index",
    }
    place = {"item_id": "x_1", "output_index": 3, **({index[kind]: 2} if kind in index else {})}
    texts = ["a", " b\n", '"', "é", "\\", "🙂", "</script>"]
    events = [{"type": f"response.{kind}.delta", **place, "delta": text} for text in texts]
    upstream = b"".join(frame(event, number, order) for number, event in enumerate(events))
    plain = events_of(upstream)
    reader = EventReader(finds_runs=True)
    learned = len(reader.feed(upstream))
    [run] = reader.feed(upstream)
    assert learned == 2
    assert isinstance(run, DeltaRun)
    assert [(one.event, one.data) for one in received_of(run)] == [(one.event, one.data) for one in plain]
    assert msgspec.structs.asdict(joined(run).event)["delta"] == "".join(texts)
    assert (run.place.item_id, run.place.output_index) == ("x_1", 3)
    assert run.place.index == (2 if kind in index else 0)


@pytest.mark.parametrize("order", ORDERS)
def test_what_stands_between_two_runs_parts_them(order):
    """A form for just the first events' members finds the first run; the others are found all the same."""

    def delta(text: str, kind: str = "output_text", item: str = "x") -> bytes:
        return frame({"type": f"response.{kind}.delta", "item_id": item, "delta": text}, 4, order)

    other = frame({"type": "response.in_progress"}, 9, order)
    reader = EventReader(finds_runs=True)
    reader.feed(b": begin\n\n" + delta("learn"))
    for between in (b"", other):
        first, second = (delta("a") + delta("b"), delta("c", "reasoning_text") + delta("d", "reasoning_text"))
        blocks = [first, second, first, delta("e", item="y") * 2, delta("", item="y"), first]
        upstream = between.join(blocks) + other
        batch = reader.feed(upstream)
        runs = [one for one in batch if isinstance(one, DeltaRun)]
        assert [run.literals for run in runs] == [[b"a", b"b"], [b"c", b"d"], [b"a", b"b"], [b"e", b"e"], [b"a", b"b"]]
        assert [run.place.item_id for run in runs] == ["x", "x", "x", "y", "x"]
        assert [frame for run in runs for frame in run.frames()] == [
            one + b"\n\n" for block in blocks for one in block.split(b"\n\n") if one and b'"delta":""' not in one
        ]
        assert len(batch) - len(runs) == upstream.count(other) + 1, "and the empty delta"


@routes
@pytest.mark.parametrize("order", ORDERS)
def test_the_fast_path_is_taken(route, order):
    """Else the laws above would hold for a fast path that nobody takes."""
    upstream = as_backend(upstream_of("text"), order)
    translator: Any = decode(route, client_of(route).body()).reply.translator(HEAD)
    in_lane = 0
    reader, copied, lane = EventReader(finds_runs=True), 0, None
    for block in upstream.split(b"\n\n"):
        if lane is not None and (delta := reader.further(block + b"\n\n")) is not None:
            assert lane(*delta)
            copied += 1
            in_lane += 1
            continue
        lane = None
        for one in reader.feed(block + b"\n\n"):
            if isinstance(one, DeltaRun) and translator.copy(one) is not None:
                copied += 1
                lane = translator.lane(one.place)
                continue
            for received in [one] if isinstance(one, Received) else received_of(one):
                translator.feed(received)
    assert copied > 1
    assert in_lane > 1


@pytest.mark.parametrize(
    "delta",
    [
        '"\\ud83d"',
        '"\\ud83d\\ude00"',
        '"\\x"',
        '"\t"',
        '""',
        "5",
        "null",
        '"a","delta":"b"',
        '"a","unknown":1',
        '"\u2028"',
    ],
)
def test_what_cannot_be_copied_is_no_run(delta):
    data = (
        f'event: response.output_text.delta\ndata: {{"type":"response.output_text.delta","delta":{delta}}}\n\n'.encode()
    )
    assert runs_of(data) == []
    assert len(runs_of(data.replace(delta.encode(), b'"plain"'))) == 1


@pytest.mark.parametrize(
    "before",
    [b"data: 1\n", b"event: other\n", b"data: 1\r", b"data", b": comment"],
)
def test_what_begins_before_a_delta_belongs_to_it(before):
    delta = frame({"type": "response.output_text.delta", "delta": "a"}, 0, "schema")
    start = b": begin\n\n"
    plain, fast = EventReader(), EventReader(finds_runs=True)
    assert plain.feed(start + before + delta + delta) == [
        event
        for one in fast.feed(start + before + delta + delta)
        for event in ([one] if isinstance(one, Received) else received_of(one))
    ]
    assert plain.skipped == fast.skipped


def test_a_character_cut_in_two_is_not_made_whole():
    raw = "é".encode()
    deltas = b"".join(
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"%b"}\n\n' % half
        for half in (raw[:1], raw[1:])
    )
    assert runs_of(deltas) == []
    reader = EventReader(finds_runs=True)
    reader.feed(b": begin\n\n")
    assert all(isinstance(one, Received) for one in reader.feed(deltas))
