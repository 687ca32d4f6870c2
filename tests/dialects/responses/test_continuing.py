from __future__ import annotations

import json
from typing import Any

import pytest

from gptmock.conversations import ContextReferences, LoadedContext, Reference
from gptmock.dialects.responses.previous_response import context_references, continued
from gptmock.errors import BadRequest
from tests.conversations import raw, said, snapshot, user

CALL: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
RESULT: dict[str, Any] = {"type": "function_call_output", "call_id": "call_1", "output": "42"}


def reference(item_id: str) -> dict[str, Any]:
    return {"type": "item_reference", "id": item_id}


def asked(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(bytes(user(text)))
    return value


def wanted(**body: Any) -> ContextReferences:
    return context_references(json.dumps(body).encode())


# --- What a body refers to -------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": "hi", "previous_response_id": None},
        {"input": [{"role": "user", "content": "x", "id": "msg_1"}]},
        {"input": [{"type": "message", "role": "user", "content": "x", "id": "msg_1"}, CALL, RESULT]},
        {"input": [{"type": None, "id": None}, {}, "text", 7, None, [reference("msg_1")]]},
        {"input": {"type": "item_reference", "id": "msg_1"}},
        {"input": [{"type": 7, "id": "msg_1"}, {"id": "msg_1", "content": "x"}, {"type": "item_reference"}]},
    ],
)
def test_most_bodies_refer_to_nothing(body: dict[str, Any]):
    assert wanted(**body) == ContextReferences()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"input": ' + b"[" * 100_000])
def test_a_body_that_cannot_be_read_refers_to_nothing(body: bytes):
    assert context_references(body) == ContextReferences()


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\ud83dtext\u0041", rb"\ude00", rb"\ud83d\ud83d\ude00"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"previous_response_id":"resp_1","input":[{"id":"msg_1"},{"role":"user","content":"HALF"}]}',
        b'{"HALF":"HALF","previous_response_id":"resp_1","input":[{"type":"item_reference","id":"msg_1","x":"HALF"}]}',
        b'{"input":[{"id":"msg_1","type":null}],"instructions":["HALF"],"previous_response_id":"resp_1"}',
    ],
)
def test_a_body_with_half_an_emoji_refers_as_any_other(body: bytes, bom: bytes, half: bytes):
    assert context_references(bom + body.replace(b"HALF", half)) == ContextReferences(
        "resp_1", (Reference("msg_1", 0),)
    )


def test_what_is_half_an_emoji_and_an_id_is_no_reference():
    assert context_references(rb'{"input":[{"id":"msg_1","\ud83dx":"\ud83dtext"}]}') == ContextReferences()


def test_a_wrong_type_is_left_to_whoever_reads_the_body():
    assert wanted(previous_response_id=7, input=[reference("msg_1")]) == ContextReferences()


def test_the_previous_response_is_named():
    assert wanted(previous_response_id="resp_1", input="x") == ContextReferences("resp_1")


def test_references_are_found_where_they_stand():
    items = [asked("a"), reference("msg_1"), CALL, {"id": "rs_1"}, {"type": None, "id": "fc_2"}]
    assert wanted(input=items) == ContextReferences(
        None, (Reference("msg_1", 1), Reference("rs_1", 3), Reference("fc_2", 4))
    )


@pytest.mark.check(75)
@pytest.mark.parametrize("given", ["", "1", "msg_1", "conv_1", "\x1b[31m", "x" * 9999])
def test_what_is_no_id_of_a_response_is_refused(given: str):
    with pytest.raises(BadRequest) as caught:
        wanted(previous_response_id=given)
    assert caught.value.param == "previous_response_id"
    assert caught.value.message.startswith("Invalid 'previous_response_id': '")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


# --- Put in place ------------------------------------------------------------------------------


def test_without_anything_recalled_the_input_stays():
    items = [asked("a"), CALL, RESULT, {"type": "from_the_future", "role": "x", "content": "y"}]
    result = continued(items, LoadedContext())
    assert (result.inherited, result.own, result.places) == ([], items, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("role", "kind"), [("user", "input_text"), ("system", "input_text"), ("assistant", "output_text")]
)
def test_an_easy_message_is_stored_whole(role: str, kind: str):
    (whole,) = continued([{"role": role, "content": "x", "phase": "commentary"}], LoadedContext()).own
    assert whole == {
        "type": "message",
        "role": role,
        "content": [{"type": kind, "text": "x"}],
        "phase": "commentary",
    }


def test_a_string_is_a_message_of_the_user():
    assert continued("hi", LoadedContext()).items == [asked("hi")]


def test_the_conversation_comes_first():
    before = snapshot("resp_1").conversation
    result = continued("more", LoadedContext(items=before))
    assert result.items == [json.loads(bytes(item)) for item in before] + [asked("more")]


@pytest.mark.check(78)
def test_a_result_finds_its_call_in_the_conversation():
    before = snapshot(answered=(raw(CALL),)).conversation
    assert continued([RESULT], LoadedContext(items=before)).items[-2:] == [CALL, RESULT]


@pytest.mark.check(81)
def test_a_reference_gives_way_to_its_item():
    result = continued([asked("a"), reference("fc_1"), RESULT], LoadedContext(referred={"fc_1": raw(CALL)}))
    assert result.own == [asked("a"), CALL, RESULT]


def test_a_reference_without_a_type_does_so_too():
    assert continued([{"id": "fc_1"}], LoadedContext(referred={"fc_1": raw(CALL)})).own == [CALL]


def test_a_reference_to_what_the_conversation_has_says_nothing_twice():
    before = snapshot("resp_1")
    recalled = LoadedContext(items=before.conversation, referred=dict(before.named()))
    result = continued([reference("msg_of_resp_1"), asked("more")], recalled)
    assert result.items == [json.loads(bytes(item)) for item in before.conversation] + [asked("more")]


def test_an_item_that_has_the_id_of_another_is_no_reference():
    own = json.loads(bytes(said("mine", "msg_1")))
    assert continued([own], LoadedContext(referred={"msg_1": said("theirs", "msg_1")})).own == [own]


def test_mistakes_are_named_by_their_place_in_the_request():
    before = snapshot("resp_1")
    recalled = LoadedContext(items=before.conversation, referred=dict(before.named()))
    result = continued([asked("a"), reference("msg_of_resp_1"), CALL], recalled)
    assert [result.where(place) for place in range(5)] == ["input", "input", "input[0]", "input[2]", "input"]
