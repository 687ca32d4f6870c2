import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import UpstreamBroken
from gptmock.protocol.assembler import OutputAssembler
from gptmock.protocol.events import decode_event
from gptmock.protocol.fold import join_neighbours
from gptmock.protocol.items import Annotation
from gptmock.protocol.output_parts import (
    CallInput,
    CallKind,
    CallOpened,
    Cited,
    Finished,
    ItemEnded,
    Reasoning,
    ReasoningSealed,
    Refusal,
    Searched,
    Text,
)
from gptmock.simulator.scenes import render_scene
from tests.playbook import events_of
from tests.streams import stories

COMPLETED = {"type": "response.completed", "response": {"model": "m", "service_tier": "default"}}
FINISHED = Finished(incomplete_reason=None, usage=None, service_tier="default", model="m")
CITE: dict[str, Any] = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}


def assemble(*events):
    """All pieces but the ends of items, which have tests of their own."""
    return [piece for piece in assemble_all(*events) if not isinstance(piece, ItemEnded)]


def assemble_all(*events):
    assembler = OutputAssembler()
    decoded = [decode_event(json.dumps(event).encode()) for event in events]
    return [piece for event in decoded if event is not None for piece in assembler.feed(event)]


def delta(text, *, kind="output_text", **place):
    return {"type": f"response.{kind}.delta", "delta": text, **place}


def added(item, **place):
    return {"type": "response.output_item.added", "item": item, **place}


def done(item, **place):
    return {"type": "response.output_item.done", "item": item, **place}


def call(call_id="call_1", arguments="", **more):
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": arguments, **more}


def message(text, **more):
    return {"type": "message", "content": [{"type": "output_text", "text": text}], **more}


# --- Each thing is told once ---------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [{"output_index": 0, "item_id": "m"}, {"output_index": 0}, {"item_id": "m"}, {}],
    ids=["both", "index", "id", "none"],
)
def test_text_that_is_told_four_times_is_passed_on_once(place):
    item_place = {"output_index": 0} if "output_index" in place else {}
    item = message("Hello", id="m") if "item_id" in place else message("Hello")
    pieces = assemble(
        added({**item, "content": []}, **item_place),
        delta("Hel", **place),
        delta("lo", **place),
        {"type": "response.output_text.done", "text": "Hello", **place},
        {"type": "response.content_part.done", "part": item["content"][0], **place},
        done(item, **item_place),
        COMPLETED,
    )
    assert join_neighbours(pieces) == (Text("Hello", part=0, message=0), FINISHED)


@pytest.mark.parametrize(
    ("final", "tail"),
    [("Hello", "lo"), ("Hel", ""), ("He", ""), ("Jello", ""), ("", "")],
    ids=["longer", "equal", "shorter", "different", "empty"],
)
@pytest.mark.parametrize("where", ["text.done", "part.done", "item.done", "completed"])
def test_only_the_missing_tail_of_a_final_text_is_passed_on(final, tail, where):
    last = {
        "text.done": {"type": "response.output_text.done", "text": final, "output_index": 0},
        "part.done": {
            "type": "response.content_part.done",
            "part": {"type": "output_text", "text": final},
            "output_index": 0,
        },
        "item.done": done(message(final), output_index=0),
        "completed": {"type": "response.completed", "response": {"output": [message(final)]}},
    }[where]
    texts = [piece.text for piece in assemble(delta("Hel", output_index=0), last) if isinstance(piece, Text)]
    assert texts == ["Hel", tail] if tail else ["Hel"]


def test_a_refusal_is_told_once():
    pieces = assemble(
        delta("No", kind="refusal", output_index=0),
        {"type": "response.refusal.done", "refusal": "Not now", "output_index": 0},
        done({"type": "message", "content": [{"type": "refusal", "refusal": "Not now"}]}, output_index=0),
    )
    assert pieces == [Refusal("No"), Refusal("t now")]


def test_only_the_first_of_the_two_sources_of_reasoning_is_shown_for_an_item():
    pieces = assemble(
        delta("sum", kind="reasoning_summary_text", output_index=0, summary_index=0),
        delta("raw", kind="reasoning_text", output_index=0, content_index=0),
        delta("two", kind="reasoning_summary_text", output_index=0, summary_index=1),
        delta("raw", kind="reasoning_text", output_index=1, content_index=0),
        delta("sum", kind="reasoning_summary_text", output_index=1, summary_index=0),
    )
    assert pieces == [
        Reasoning("sum", part=0, source="summary"),
        Reasoning("two", part=1, source="summary"),
        Reasoning("raw", part=2, source="text", item=1),
    ]


def test_an_item_ends_once_and_only_if_it_said_something():
    text, silent = message("Hi", id="m"), {"type": "message", "id": "n", "content": []}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
    empty = {"type": "reasoning", "id": "rs_2", "summary": []}
    ended = {"type": "response.completed", "response": {"output": [thought, text, silent, call(), empty]}}
    items = [done(item, output_index=place) for place, item in enumerate([thought, text, silent, call(), empty])]
    assert assemble_all(*items, ended)[:-1] == [
        ReasoningSealed(0, "rs_1", "sealed"),
        ItemEnded("reasoning", 0),
        Text("Hi", part=0, message=0),
        ItemEnded("message", 0),
        CallOpened(0, kind="function", call_id="call_1", name="f"),
        ItemEnded("call", 0),
    ]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}, {"url": "u"}, {}]}, ("q", ("u",))),
        ({"type": "search", "queries": ["a", "b"]}, ("a", ())),
        ({"type": "open_page", "url": "u"}, None),
        ({"type": "search", "query": 5}, None),
        ("odd", None),
        (None, None),
    ],
)
def test_a_search_is_told_when_it_has_a_query(action, expected):
    item = {"type": "web_search_call", "id": "ws_1", "action": action}
    pieces = assemble_all(done(item, output_index=0), done(item, output_index=0))
    assert pieces == ([] if expected is None else [Searched("ws_1", *expected)])


def test_an_empty_summary_does_not_hide_the_raw_thought():
    item = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "raw"}]}
    empty = {"type": "response.reasoning_summary_text.done", "text": "", "output_index": 0}
    assert assemble(empty, done(item, output_index=0)) == [Reasoning("raw", part=0, source="text")]


def test_a_citation_is_told_once_wherever_it_stands():
    note = {"type": "response.output_text.annotation.added", "annotation": CITE, "output_index": 0}
    other = {**CITE, "url": "v"}
    part = {"type": "output_text", "text": "ab", "annotations": [CITE, other]}
    whole = {"type": "message", "content": [part]}
    pieces = assemble(delta("ab", output_index=0), note, note, done(whole, output_index=0))
    first, second = (Annotation(**one) for one in (CITE, other))
    assert pieces == [Text("ab", part=0, message=0), Cited(0, first), Cited(0, second)]


def test_messages_and_parts_are_numbered_by_first_text():
    pieces = assemble(
        added({"type": "reasoning"}, output_index=0),
        delta("a", output_index=1),
        delta("b", output_index=1, content_index=1),
        delta("c", output_index=3),
        delta("d", output_index=1),
    )
    assert pieces == [
        Text("a", part=0, message=0),
        Text("b", part=1, message=0),
        Text("c", part=2, message=1),
        Text("d", part=0, message=0),
    ]


# --- Calls ------------------------------------------------------------------------------------


def test_calls_are_numbered_by_first_sight_and_not_by_output_index():
    pieces = assemble(
        added({"type": "reasoning"}, output_index=0),
        added(call("call_1"), output_index=4),
        added(call("call_2"), output_index=2),
    )
    assert [(piece.index, piece.call_id) for piece in pieces] == [(0, "call_1"), (1, "call_2")]


@pytest.mark.parametrize("kind", ["function_call", "custom_tool_call"])
def test_arguments_told_three_times_are_passed_on_once(kind):
    member, wire = ("arguments", "function_call_arguments") if kind == "function_call" else ("input", kind + "_input")
    item = {"type": kind, "call_id": "call_1", "name": "f", member: ""}
    pieces = assemble(
        added(item, output_index=0),
        delta('{"a"', kind=wire, output_index=0),
        delta(":1", kind=wire, output_index=0),
        {"type": f"response.{wire}.done", member: '{"a":1}', "output_index": 0},
        done({**item, member: '{"a":1}'}, output_index=0),
    )
    call_kind: CallKind = "function" if kind == "function_call" else "custom"
    opened = CallOpened(0, kind=call_kind, call_id="call_1", name="f")
    assert pieces == [opened, CallInput(0, '{"a"'), CallInput(0, ":1"), CallInput(0, "}")]


def test_a_call_that_nobody_opened_is_opened_when_it_is_done():
    pieces = assemble(
        delta('{"a"', kind="function_call_arguments", output_index=0),
        done(call(arguments='{"a":1}'), output_index=0),
    )
    opened = CallOpened(0, kind="function", call_id="call_1", name="f")
    assert pieces == [opened, CallInput(0, '{"a"'), CallInput(0, ":1}")]


def test_arguments_that_come_before_their_call_wait_for_it():
    pieces = assemble(
        delta("{", kind="function_call_arguments", output_index=0),
        {"type": "response.function_call_arguments.done", "arguments": "{}", "output_index": 0},
        added(call(), output_index=0),
        done(call(arguments="{}"), output_index=0),
    )
    assert pieces == [CallOpened(0, kind="function", call_id="call_1", name="f"), CallInput(0, "{}")]


def test_a_call_without_input_is_still_a_call():
    assert assemble(done(call(), output_index=0)) == [CallOpened(0, kind="function", call_id="call_1", name="f")]


# --- Who is who -------------------------------------------------------------------------------


@pytest.mark.parametrize("with_added", [True, False])
@pytest.mark.parametrize("with_delta", [True, False])
def test_items_without_index_and_id_are_told_apart(with_added, with_delta):
    events = []
    for number in (1, 2):
        whole = call(f"call_{number}", arguments=f'{{"n":{number}}}')
        if with_added:
            events.append(added({**whole, "arguments": ""}))
            if with_delta:
                events.append(delta('{"n":', kind="function_call_arguments"))
        events.append(done(whole))
        if with_added:
            events.append(added({"type": "message", "content": []}))
        if with_delta:
            events.append(delta("Hel"))
        events.append(done(message(f"Hello {number}")))
    pieces = assemble(*events)
    assert [piece.call_id for piece in pieces if isinstance(piece, CallOpened)] == ["call_1", "call_2"]
    for index in (0, 1):
        inputs = [piece.text for piece in pieces if isinstance(piece, CallInput) and piece.index == index]
        texts = [piece.text for piece in pieces if isinstance(piece, Text) and piece.message == index]
        assert "".join(inputs) == f'{{"n":{index + 1}}}'
        assert "".join(texts) == f"Hello {index + 1}"


def test_ids_that_change_within_an_item_do_not_matter_where_an_index_stands():
    pieces = assemble(
        added({"type": "message", "id": "a"}, output_index=0),
        delta("Hel", output_index=0, item_id="b"),
        delta("lo", output_index=0, item_id="c"),
        done(message("Hello", id="d"), output_index=0),
    )
    assert [piece.text for piece in pieces] == ["Hel", "lo"]


def test_an_index_that_comes_late_belongs_to_the_item_of_that_id():
    pieces = assemble(delta("Hel", item_id="m"), done(message("Hello", id="m"), output_index=0))
    assert pieces == [Text("Hel", part=0, message=0), Text("lo", part=0, message=0)]


def test_names_that_come_only_at_the_end_belong_to_what_was_begun_without():
    pieces = assemble(delta("Hel"), done(message("Hello", id="m"), output_index=0))
    assert pieces == [Text("Hel", part=0, message=0), Text("lo", part=0, message=0)]


def test_one_id_at_two_indexes_is_two_items():
    pieces = assemble(delta("a", output_index=0, item_id="m"), delta("b", output_index=1, item_id="m"))
    assert pieces == [Text("a", part=0, message=0), Text("b", part=1, message=1)]


# --- The end -----------------------------------------------------------------------------------


def test_a_final_output_says_everything_when_the_stream_said_nothing():
    output = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}, message("Hi"), call()]
    pieces = assemble({"type": "response.completed", "response": {"output": output}})
    assert [type(piece) for piece in pieces] == [Reasoning, Text, CallOpened, Finished]


def test_a_final_output_repeats_nothing_even_where_its_indexes_are_others():
    reasoning = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}]}
    whole = message("Hello", id="m")
    said = [done(reasoning, output_index=0), done(whole, output_index=1)]
    # The reasoning is left out of the final output, so the message has moved to index 0.
    end = {"type": "response.completed", "response": {"output": [whole]}}
    assert [type(piece) for piece in assemble(*said, end)] == [Reasoning, Text, Finished]


def test_a_final_output_of_a_wrong_shape_breaks_the_stream():
    with pytest.raises(UpstreamBroken):
        assemble({"type": "response.completed", "response": {"output": [{"type": "function_call"}]}})


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "max_output_tokens"),
        ({"reason": "weather"}, "weather"),
        ({}, "unknown"),
        (None, "unknown"),
    ],
)
def test_an_incomplete_turn_is_never_taken_for_a_complete_one(details, reason):
    (finished,) = assemble({"type": "response.incomplete", "response": {"incomplete_details": details}})
    assert finished.incomplete_reason == reason


def test_a_failure_is_no_piece():
    assert assemble({"type": "response.failed", "response": {}}, {"type": "error"}) == []


# --- Any stream -----------------------------------------------------------------------------------


def _said(story):
    assembler = OutputAssembler()
    return [piece for one in events_of(story.upstream) for piece in assembler.feed(one.event)]


@given(story=stories())
def test_any_legal_stream_is_told_once_and_whole(story):
    pieces = _said(story)
    # Messages that refuse have numbers too.
    messages: dict[int, str] = {}
    inputs = [""] * len(story.calls)
    for piece in pieces:
        if isinstance(piece, Text):
            messages[piece.message] = messages.get(piece.message, "") + piece.text
        elif isinstance(piece, CallInput):
            inputs[piece.index] += piece.text
    opened = [piece for piece in pieces if isinstance(piece, CallOpened)]
    assert [text for _, text in sorted(messages.items())] == story.messages
    assert [(one.kind, one.name, text) for one, text in zip(opened, inputs, strict=True)] == story.calls
    assert "".join(piece.text for piece in pieces if isinstance(piece, Refusal)) == "".join(story.refusals)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Reasoning)) == "".join(story.thoughts)
    assert isinstance(pieces[-1], Finished)
    assert (pieces[-1].incomplete_reason is None) is (story.ending == "completed")


@given(story=stories(mixed=True))
def test_any_interleaved_stream_loses_and_doubles_nothing(story):
    pieces = _said(story)
    characters = sorted("".join(piece.text for piece in pieces if isinstance(piece, Text)))
    assert characters == sorted("".join(story.messages))
    inputs = sorted("".join(piece.text for piece in pieces if isinstance(piece, CallInput)))
    assert inputs == sorted("".join(text for _, _, text in story.calls))
    assert [piece.index for piece in pieces if isinstance(piece, CallOpened)] == list(range(len(story.calls)))


@given(st.permutations(events_of(render_scene("filled"))))
def test_any_order_of_a_real_stream_opens_calls_in_order(events):
    assembler = OutputAssembler()
    pieces = [piece for one in events for piece in assembler.feed(one.event)]
    assert [piece.index for piece in pieces if isinstance(piece, CallOpened)] == list(range(assembler.calls))
    assert sum(isinstance(piece, Finished) for piece in pieces) == 1
