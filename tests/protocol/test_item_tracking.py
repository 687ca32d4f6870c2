import pytest

from gptmock.protocol.item_tracking import GrowingText, ItemTracker, TrackedItem


@pytest.fixture
def slots() -> ItemTracker[TrackedItem]:
    return ItemTracker(TrackedItem)


def test_an_index_and_an_id_lead_to_the_same_item(slots: ItemTracker[TrackedItem]):
    first = slots.found(0, ("msg_1",), begins=True)
    assert slots.of(0, None) is first
    assert slots.of(None, "msg_1") is first
    assert slots.of(0, "msg_changed") is first
    assert slots.of(None, "msg_changed") is first


def test_the_same_id_at_another_index_is_another_item(slots: ItemTracker[TrackedItem]):
    first = slots.found(0, ("x",), begins=True)
    assert slots.found(1, ("x",), begins=True) is not first


def test_what_has_no_name_belongs_to_what_was_last_begun(slots: ItemTracker[TrackedItem]):
    first = slots.found(None, (None,), begins=True)
    assert slots.of(None, None) is first
    assert slots.found(None, ("late",), begins=False) is first
    first.done = True
    assert slots.of(None, None) is not first


def test_an_unseen_item_of_the_final_output_is_new_only_if_all_are(slots: ItemTracker[TrackedItem]):
    assert list(slots.repeated([("a",), ("b",)])) == [(0, 0), (1, 1)]
    slots.found(3, ("b",), begins=True)
    assert list(slots.repeated([("a",), ("b",)])) == [(1, None)]


def test_a_text_says_each_thing_once():
    text = GrowingText()
    assert text.more("Hel") == "Hel"
    assert text.tail("Hello") == "lo"
    assert text.tail("Hello") == ""
    assert text.tail("Help, I was changed") == ""
    assert text.sent == "Hello"
