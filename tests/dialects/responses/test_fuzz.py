"""Any upstream events, in any order: the reply is valid for a client, or ends with an error."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.dialect import Call, Turn
from gptmock.errors import BadRequest
from gptmock.simulator.scenes import render_scene
from tests.dialects.responses.asked import RESPONSES, understood
from tests.dialects.responses.test_stream import CODEX, ROUTE
from tests.playbook import as_client, collect, events_of, sse, terms, translate
from tests.streams import stories

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "text"]), inner),
    max_leaves=4,
)


@functools.cache
def pool() -> tuple[dict[str, Any], ...]:
    """A few events of every kind."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for scene in (
        "interleaved",
        "reasoning-raw",
        "tools2",
        "custom",
        "search",
        "refusal",
        "noids",
        "unknown",
        "filled",
    ):
        for received in events_of(render_scene(scene)):
            kinds.setdefault(str(received.document()["type"]), []).append(received.document())
    odd: list[dict[str, Any]] = [
        {"type": "response.queued", "response": {}},
        {"type": "response.content_part.added", "content_index": 0, "part": {"type": "reasoning_text", "text": "t"}},
        {"type": "response.content_part.added", "content_index": 1, "part": {"type": "hologram"}},
        {"type": "response.content_part.done", "content_index": 1, "part": {"type": "hologram"}},
    ]
    return tuple([event for events in kinds.values() for event in events[:4]] + odd)


def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], event: dict[str, Any]) -> dict[str, Any]:
    """The event with one member replaced or gone, at any depth."""
    changed = json.loads(json.dumps(event))
    place = changed
    while True:
        name = draw(st.sampled_from(sorted(place)))
        inner = place[name][0] if isinstance(place[name], list) and place[name] else place[name]
        if isinstance(inner, dict) and inner and draw(st.booleans()):
            place = inner
            continue
        if draw(st.booleans()):
            place[name] = draw(values)
        else:
            del place[name]
        return dict(changed)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Events in any order, some of them odd, with or without an end."""
    chosen = draw(st.lists(st.sampled_from(pool()), max_size=12))
    return sse(*[mutated(draw, event) if draw(st.integers(0, 2)) == 0 else event for event in chosen])


def turn_of(*, codex: bool) -> Turn:
    return understood(stream=True, headers=CODEX if codex else {})


@given(upstream=streams())
@pytest.mark.check(120)
def test_odd_events_break_no_more_than_the_stream(upstream: bytes):
    read = as_client(ROUTE, translate(turn_of(codex=False), upstream))
    collected = collect(ROUTE, upstream)
    assert isinstance(collected, bytes) is read.succeeded
    if isinstance(collected, bytes):
        assert json.loads(collected) == read.reply


@given(upstream=streams())
def test_a_codex_gets_whole_frames_too(upstream: bytes):
    frames = translate(turn_of(codex=True), upstream)
    numbers = [json.loads(frame.partition(b"data: ")[2])["sequence_number"] for frame in frames]
    assert numbers == list(range(len(frames)))


@given(story=stories(mixed=True))
def test_a_codex_reads_any_stream_as_everybody_does(story: Any):
    frames = translate(turn_of(codex=True), story.upstream)
    shown = [frame for frame in frames if b'"type":"codex.' not in frame]
    ends = [json.loads(frame.partition(b"data: ")[2])["type"] for frame in shown[-1:]]
    assert ends == [f"response.{story.ending}"]


@given(data=st.data())
def test_no_body_is_more_than_a_400(data: st.DataObject):
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": {"url": "https://x.test/"}}]},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "namespace", "tools": [{"name": "g"}]}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
        "stream_options": {"include_obfuscation": False},
        "include": ["x"],
        "metadata": {"a": "b"},
    }
    changed = mutated(data.draw, mutated(data.draw, body))
    for headers in ({}, CODEX):
        try:
            turn = RESPONSES.decode(Call(json.dumps(changed).encode(), headers), terms())
        except BadRequest as error:
            assert error.message  # noqa: PT017 - either is fine, a third thing is not
        else:
            assert turn.request.to_json()
