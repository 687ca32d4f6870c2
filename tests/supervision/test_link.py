from __future__ import annotations

import os

import pytest

from gptmock.supervision import link
from gptmock.supervision.link import MAX_DESCRIPTORS, DescriptorsLost, Link


def sent(ours: Link, count: int) -> None:
    """One message with descriptors of /dev/null."""
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    ours.send({"count": count}, *descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def received(end: Link, count: int) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    while len(messages) < count:
        messages += end.receive()
    return messages


def test_messages_and_descriptors_arrive_in_their_order():
    ours, theirs = Link.pair()
    readers = []
    for text in (b"first", b"second"):
        read, write = os.pipe()
        os.write(write, text)
        os.close(write)
        ours.send({"text": text.decode()}, read)
        os.close(read)
        readers.append(text)
    ours.send({"text": "a" * 100_000 + "\n\u2028"})
    messages = received(theirs, 3)
    assert [str(one["text"])[:6] for one in messages] == ["first", "second", "aaaaaa"]
    assert str(messages[2]["text"]).endswith("\n\u2028")
    assert [os.read(descriptor, 10) for descriptor in theirs.descriptors] == readers
    for descriptor in theirs.descriptors:
        os.close(descriptor)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("count", [9, 65, MAX_DESCRIPTORS])
def test_a_message_has_room_for_the_sockets_of_all_workers(count: int):
    """At most 64 workers, and a lock."""
    ours, theirs = Link.pair()
    sent(ours, count)
    assert received(theirs, 1) == [{"count": count}]
    assert len(theirs.descriptors) == count
    for descriptor in theirs.descriptors:
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_descriptors_that_do_not_arrive_are_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link, "MAX_DESCRIPTORS", 2)
    ours, theirs = Link.pair()
    sent(ours, 9)
    with pytest.raises(DescriptorsLost, match="too many open files"):
        theirs.receive()
    for descriptor in theirs.descriptors:
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_the_end_of_the_other_side_is_noticed_and_no_error_of_a_sender():
    ours, theirs = Link.pair()
    theirs.send({"last": True})
    theirs.close()
    assert received(ours, 1) == [{"last": True}]
    with pytest.raises(EOFError):
        ours.receive()
    ours.send({"nobody": "reads this"})
    ours.close()


def test_who_does_not_wait_gets_nothing_when_there_is_nothing():
    ours, theirs = Link.pair()
    ours.set_blocking(False)
    assert ours.receive() == []
    ours.close()
    theirs.close()
