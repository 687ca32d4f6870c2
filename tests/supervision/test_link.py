from __future__ import annotations

import os

import pytest

from gptmock.supervision.link import Link


def received(link: Link, count: int) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    while len(messages) < count:
        messages += link.receive()
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
