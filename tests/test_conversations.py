from __future__ import annotations

import pytest
from msgspec import Raw

from gptmock.conversations import ContextReferences, Reference, item_id
from tests.conversations import answer, raw, said, snapshot, texts, user


def test_a_child_begins_with_all_that_was_said_before():
    first = snapshot("resp_1")
    second = snapshot("resp_2", after=first)
    third = snapshot("resp_3", after=second)
    assert texts(third.conversation) == [
        f"{what} of resp_{turn}" for turn in (1, 2, 3) for what in ("question", "answer")
    ]
    assert third.inherited == 4
    assert texts(third.output) == ["answer of resp_3"]


def test_the_output_is_that_of_the_response_and_byte_for_byte():
    item = Raw(b'{"type":"reasoning","id":"rs_1",  "encrypted_content":"abc","summary":[]}')
    assert snapshot(answered=(item,)).output == (item,)


def test_an_item_keeps_its_own_id():
    assert item_id(0, said("x", "msg_1")) == "msg_1"
    assert item_id(7, raw({"id": "anything", "of": "unknown shape"})) == "anything"


@pytest.mark.parametrize(
    ("item", "prefix"),
    [
        (user("x"), "msg_"),
        (user("x", id=None), "msg_"),
        (raw({"type": "function_call_output", "call_id": "c", "output": ""}), "fc_"),
        (raw({"type": "from_the_future"}), "item_"),
        (raw({}), "item_"),
    ],
)
def test_an_item_without_one_is_given_one(item: Raw, prefix: str):
    made = item_id(0, item)
    assert made.startswith(prefix)
    assert made == item_id(0, item)
    assert len({made, item_id(1, item), item_id(0, user("y"))}) == 3, "equal items are told apart by their place"


def test_ids_stay_the_same_in_every_snapshot_of_a_conversation():
    first = snapshot("resp_1")
    child = snapshot("resp_2", after=first)
    assert [one for one, _ in child.named()][:2] == [one for one, _ in first.named()]
    assert list(child.named(since=child.inherited)) == list(child.named())[2:]


def test_a_made_id_never_gets_into_the_item():
    first = snapshot("resp_1", asked=(user("x"),))
    assert dict(first.named())[item_id(0, user("x"))] == user("x")
    assert first.conversation[0] == user("x")


def test_the_size_is_that_of_all_json_in_it():
    assert snapshot(asked=(), answered=()).size_bytes == len(bytes(answer("resp_1")))
    assert snapshot(asked=(user("x" * 1000),)).size_bytes - snapshot(asked=(user(""),)).size_bytes == 1000


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ContextReferences(), False),
        (ContextReferences(""), True),
        (ContextReferences("resp_1"), True),
        (ContextReferences(references=(Reference("msg_1", 0),)), True),
    ],
)
def test_nearly_no_request_wants_anything(wanted: ContextReferences, expected: bool):  # noqa: FBT001
    assert bool(wanted) is expected
