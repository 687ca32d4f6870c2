"""Messages between the processes of a server: JSON objects, one a line, and descriptors, over a Unix socket."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]

_READ_BYTES = 65536
MAX_DESCRIPTORS = 253
"""Of one message: ``SCM_MAX_FD``, the most that Linux passes. A server sends its lock and a socket for each worker."""


class DescriptorsLost(Exception):
    """The kernel has dropped descriptors of a message; the message says what to do."""

    def __init__(self) -> None:
        super().__init__("the server has too many open files to share its sockets; raise its limit (ulimit -n)")


class Link:
    """
    One end. It closes with its process, however that ends, which the other end notices.

    Args:
        end: a Unix stream socket, which this object owns from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._pending = b""
        self.descriptors: list[int] = []
        """Those that came with the messages, in their order; whoever takes one closes it."""

    @staticmethod
    def pair() -> tuple[Link, Link]:
        """Two ends of a new connection."""
        one, other = socket.socketpair()
        return Link(one), Link(other)

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._end.fileno()

    def send(self, message: Message, *descriptors: int) -> None:
        """Send a message; it is lost if the other end is closed or does not read."""
        data = json.dumps(message).encode() + b"\n"
        with suppress(OSError):
            if descriptors:
                socket.send_fds(self._end, [data], descriptors)
            else:
                self._end.sendall(data)

    def receive(self) -> list[Message]:
        """
        Wait for data, and return the messages that are complete now, perhaps none.

        Raises:
            EOFError: the other end is closed.
            DescriptorsLost: some did not arrive, because this process has too many open files.
        """
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._end, _READ_BYTES, MAX_DESCRIPTORS)
        except BlockingIOError:
            return []
        except OSError:
            data, descriptors, flags = b"", [], 0
        self.descriptors += descriptors
        if flags & socket.MSG_CTRUNC:
            raise DescriptorsLost
        if not data:
            raise EOFError
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def set_blocking(self, blocking: bool) -> None:  # noqa: FBT001 - as of a socket
        """Whether ``send`` and ``receive`` may wait."""
        self._end.setblocking(blocking)

    def detach(self) -> int:
        """Give the descriptor away; the object is of no use afterwards."""
        return self._end.detach()

    def close(self) -> None:
        """Close this end."""
        self._end.close()
