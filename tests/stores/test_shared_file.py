from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptmock.stores.shared_file import SharedFile


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "shared", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def test_whoever_has_the_file_reads_what_was_written_last(descriptor: int):
    one, other = SharedFile(descriptor), SharedFile(descriptor)
    assert one.read() is None
    for value in (b"a", b"b" * 100_000, b"c", b"d" * 5):
        one.write(value)
        assert other.read() == value
    assert os.fstat(descriptor).st_blocks * 512 < 1_000_000


def test_a_writer_that_is_killed_leaves_the_value_from_before(descriptor: int, monkeypatch: pytest.MonkeyPatch):
    file, write = SharedFile(descriptor), os.pwrite
    for number in range(3):
        file.write(b"whole %d" % number)

        def killed(to: int, data: bytes, at: int) -> int:
            write(to, data[:2], at)
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "pwrite", killed)
        with pytest.raises(KeyboardInterrupt):
            file.write(b"another")
        monkeypatch.undo()
        assert file.read() == b"whole %d" % number


def test_two_processes_write_one_after_the_other(descriptor: int):
    children = []
    for letter in (b"a", b"b"):
        if (pid := os.fork()) == 0:
            file = SharedFile(descriptor)
            wrong = 0
            for number in range(200):
                file.write(letter * (1000 + number))
                wrong += len(set(file.read() or b"")) != 1
            os._exit(min(wrong, 1))
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
