from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gptmock.protocol.request import InputText, Message, ResponsesRequest
from gptmock.upstream.continuation import Continuation, continued, marks_of, members_of
from gptmock.upstream.websocket_choice import has_history, prefers_websockets

texts = st.text(max_size=6)
items = st.one_of(
    st.builds(
        lambda number, text: {
            "type": "message",
            "id": f"msg_{number}",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
        },
        st.integers(0, 9),
        texts,
    ),
    st.builds(
        lambda number, text: {"type": "function_call", "call_id": f"call_{number}", "name": "f", "arguments": text},
        st.integers(0, 9),
        texts,
    ),
    st.builds(lambda text: {"type": "function_call_output", "call_id": "call_0", "output": text}, texts),
)
lists = st.lists(items, max_size=5)


def members(*given_items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "instructions": "i", "input": list(given_items), **more}


def after(first: dict[str, Any], output: list[Any]) -> Continuation:
    made = continued(marks_of(first), "resp_1", [msgspec.json.encode(item) for item in output])
    assert made is not None
    return made


@given(before=lists, output=lists, new=st.lists(items, min_size=1, max_size=3))
def test_what_appends_is_new_and_nothing_else(before: list[Any], output: list[Any], new: list[Any]):
    known = after(members(*before), output)
    assert known.new_items(marks_of(members(*before, *output, *new))) == len(new)
    assert known.new_items(marks_of(members(*before, *output))) is None


@given(before=lists, output=lists, new=st.lists(items, min_size=1, max_size=3), place=st.integers(0, 20))
def test_one_changed_item_is_another_conversation(before: list[Any], output: list[Any], new: list[Any], place: int):
    history = copy.deepcopy([*before, *output])
    if not history:
        return
    changed = history[place % len(history)]
    changed["call_id" if "call_id" in changed else "role"] = "other"
    assert after(members(*before), output).new_items(marks_of(members(*history, *new))) is None


def test_only_members_of_the_turn_may_differ():
    known = after(members({"role": "user", "content": "a"}, tools=[]), [])
    new = ({"role": "user", "content": "a"}, {"role": "user", "content": "b"})
    for more, expected in (
        ({"tools": []}, 1),
        ({"tools": [], "client_metadata": {"a": "b"}, "stream_options": {}}, 1),
        ({"tools": [{}]}, None),
        ({}, None),
    ):
        assert known.new_items(marks_of(members(*new, **more))) == expected


def test_an_id_that_is_there_must_be_the_one_that_was_received():
    item = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": []}
    known = after(members(), [item])
    new = {"role": "user", "content": "b"}
    lean = {name: item[name] for name in ("role", "content")}
    for shown, expected in ((item, 1), (lean, 1), ({**item, "id": "msg_2"}, None), ({**item, "phase": "x"}, None)):
        assert known.new_items(marks_of(members(shown, new))) == expected


def test_output_that_cannot_be_read_is_continued_by_nothing():
    for output in (b"", b"[]", b"{"):
        assert continued(marks_of(members()), "resp_1", [output]) is None


def test_marks_do_not_depend_on_the_order_of_members():
    one, other = members({"a": 1, "b": 2}), members({"b": 2, "a": 1})
    assert marks_of(one) == marks_of(dict(reversed(other.items())))


def test_which_turns_have_a_history():
    first = ResponsesRequest(
        model="m", prompt_cache_key="k", input=[Message(role="user", content=[InputText("a")]), {"role": "developer"}]
    )
    assert not has_history(first)
    for item in ({"role": "assistant"}, {"type": "reasoning"}, Message(role="assistant", content=[])):
        assert has_history(msgspec.structs.replace(first, input=[*first.input, item]))
    assert members_of(first)["input"][0]["role"] == "user"


def test_which_models_prefer_websockets():
    assert prefers_websockets(None)
    assert prefers_websockets(b"{}")
    assert prefers_websockets(b"no JSON")
    assert not prefers_websockets(b'{"prefer_websockets":false}')
