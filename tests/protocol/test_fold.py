import pytest
from hypothesis import given

from gptmock.errors import UpstreamBroken, UpstreamFailed, UpstreamUnavailable
from gptmock.protocol.assembler import OutputAssembler
from gptmock.protocol.fold import ResponseFold, join_neighbours
from gptmock.protocol.items import Annotation
from gptmock.protocol.output_parts import (
    CallInput,
    CallOpened,
    Cited,
    Finished,
    ItemEnded,
    Piece,
    Reasoning,
    ReasoningSealed,
    Refusal,
    Text,
)
from gptmock.simulator.scene_replies import GREETING, THOUGHTS
from gptmock.simulator.scenes import render_scene
from tests.playbook import events_of
from tests.streams import stories


def folded(data):
    fold = ResponseFold()
    for received in events_of(data):
        fold.feed(received)
    return fold.finish()


def test_a_turn_is_folded_into_one_piece_for_each_part():
    whole = folded(render_scene("reasoning"))
    assert tuple(piece for piece in whole.pieces if not isinstance(piece, ReasoningSealed | ItemEnded)) == (
        Reasoning(THOUGHTS[0], part=0, source="summary"),
        Reasoning(THOUGHTS[1], part=1, source="summary"),
        Text(GREETING, part=0, message=0),
    )
    assert whole.finished.model == "gpt-5.5"
    assert whole.finished.usage is not None
    assert whole.finished.usage.total_tokens == whole.finished.usage.input_tokens + whole.finished.usage.output_tokens


def test_the_order_of_arrival_is_kept():
    kinds = [type(piece).__name__ for piece in folded(render_scene("interleaved")).pieces]
    assert kinds == ["Reasoning", "ReasoningSealed", "ItemEnded", "Text", "ItemEnded"] * 2


@pytest.mark.parametrize("scene", ["eof-first", "eof-mid", "truncated-chunk"])
def test_half_an_answer_is_no_answer(scene):
    with pytest.raises(UpstreamBroken, match="ended before the response was complete") as caught:
        folded(render_scene(scene))
    assert caught.value.code == "upstream_stream_truncated"


@pytest.mark.parametrize(
    ("scene", "kind", "code"),
    [
        ("failed-mid:context_length_exceeded", UpstreamFailed, "context_length_exceeded"),
        ("failed-first", UpstreamUnavailable, "server_error"),
        ("overload", UpstreamUnavailable, "server_is_overloaded"),
        ("error-event", UpstreamUnavailable, "server_error"),
        ("error-event-nested", UpstreamFailed, "invalid_prompt"),
    ],
)
def test_a_failed_turn_raises_its_failure(scene, kind, code):
    with pytest.raises(kind) as caught:
        folded(render_scene(scene))
    assert caught.value.code == code


def test_what_comes_after_the_end_is_ignored():
    data = render_scene("text")
    assert folded(data + render_scene("failed-first")) == folded(data)


def test_an_incomplete_turn_is_an_answer_that_says_so():
    assert folded(render_scene("incomplete")).finished.incomplete_reason == "max_output_tokens"


def test_neighbours_of_one_part_are_joined_and_others_are_not():
    note = Cited(0, Annotation(type="url_citation", url="u"))
    pieces: list[Piece] = [
        Text("a", part=0, message=0),
        Text("b", part=0, message=0),
        Text("c", part=1, message=0),
        note,
        note,
        Refusal("d"),
        Refusal("e"),
        CallOpened(0, kind="function", call_id="c", name="f"),
        CallInput(0, "f"),
        CallInput(0, "g"),
        CallInput(1, "h"),
    ]
    assert join_neighbours(pieces) == (
        Text("ab", part=0, message=0),
        Text("c", part=1, message=0),
        note,
        note,
        Refusal("de"),
        CallOpened(0, kind="function", call_id="c", name="f"),
        CallInput(0, "fg"),
        CallInput(1, "h"),
    )


@given(story=stories(mixed=True))
def test_joining_keeps_every_character_in_its_place(story):
    assembler = OutputAssembler()
    pieces = [piece for one in events_of(story.upstream) for piece in assembler.feed(one.event)]
    joined = folded(story.upstream)

    def characters(some):
        return [(type(piece), getattr(piece, "part", None), char) for piece in some for char in _text_of(piece)]

    assert characters([*joined.pieces, joined.finished]) == characters(pieces)
    assert joined.finished == next(piece for piece in pieces if isinstance(piece, Finished))


def _text_of(piece):
    return getattr(piece, "text", "-")
