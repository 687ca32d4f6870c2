from __future__ import annotations

import contextlib
import errno
import socket
import sys
from pathlib import Path

import pytest

from gptmock.supervision.listening import (
    Unlistenable,
    bind_tcp_for,
    bind_unix,
    remove_socket_file,
    socket_file,
)


def test_workers_share_an_address_and_nobody_else_does():
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(one) for one in bind_tcp_for(3, "127.0.0.1", 0)]
        assert len(bound) == (3 if sys.platform == "linux" else 1)
        (address,) = {one.getsockname() for one in bound}
        for one in bound:
            one.listen()
        for workers in (1, 3):
            with pytest.raises(OSError, match="in use") as refused:
                bind_tcp_for(workers, *address)
            assert refused.value.errno == errno.EADDRINUSE


def test_a_name_with_both_kinds_of_address_is_bound_by_the_older_one():
    (bound,) = bind_tcp_for(1, "localhost", 0)
    with bound:
        assert bound.family == socket.AF_INET


def test_the_file_of_a_socket_is_removed_unless_another_server_has_taken_its_place(tmp_path: Path):
    path = tmp_path / "s"
    with bind_unix(path, mode=0o600) as ours:
        file = socket_file(ours)
        assert file is not None
        assert path.stat().st_mode & 0o777 == 0o600
        ours.listen()
        with pytest.raises(Unlistenable, match="in use"):
            bind_unix(path, mode=0o600)
    with bind_unix(path, mode=0o666) as theirs:
        remove_socket_file(*file)
        assert path.is_socket()
        other = socket_file(theirs)
        assert other is not None
        remove_socket_file(*other)
        assert not path.exists()
