"""
File descriptors of the serving process: raises the soft limit, and derives from it how many connections and streams a
worker may have. Knows no connection.

A client's connection takes one descriptor, a stream one more for its connection to the upstream. Some are reserved for
everything else (the store, Redis, sign-in calls, the log: 26 in an idle worker), and some for connections over the
limit, so that they get an answer.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

if sys.platform != "win32":
    import resource

log = logging.getLogger("gptmock.server")

DEFAULT_CONNECTIONS = 10_000
"""Bounds memory where descriptors are plenty: an idle connection takes 7 kB, one with a head of 16 KiB 24 kB."""
DEFAULT_STREAMS = 5_000
"""The same for streams, which take some 40 kB each."""
RESERVED = 64
MAX_EXCESS = 1024
"""Of connections over the limit; each is there for some milliseconds, or for ``excess_seconds`` if it says nothing."""
_MIN_EXCESS = 8
_WANTED = 65_536
"""More is of no use, and macOS refuses to raise the limit to "unlimited"."""
_UNKNOWN_LIMIT = 512
"""Where the platform does not tell: the C library of Windows."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much one worker takes on at a time."""

    connections: int
    """Of clients, idle ones included."""
    streams: int
    """Model calls in progress, streamed or not."""
    excess: int
    """Connections beyond ``connections`` that are answered with a 503; those beyond these are closed at once."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of this process as far as the hard limit allows; returns the soft limit."""
    if sys.platform == "win32":
        return _UNKNOWN_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    wanted = _WANTED if hard == infinite else min(hard, _WANTED)
    if soft == infinite or soft >= wanted:
        return _WANTED if soft == infinite else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    log.debug("server.descriptor_limit_raised", extra={"was": soft, "now": wanted})
    return wanted


def capacity(descriptors: int, *, max_connections: int | None = None, max_streams: int | None = None) -> Capacity:
    """
    What a worker with so many descriptors can take on.

    Args:
        descriptors: the soft limit.
        max_connections: the operator's limit; more than the descriptors allow is reduced to that.
        max_streams: likewise.
    """
    usable = max(2 * _MIN_EXCESS, descriptors - RESERVED)
    excess = max(_MIN_EXCESS, min(MAX_EXCESS, usable // 8))
    rest = usable - excess
    streams = min(max_streams or DEFAULT_STREAMS, rest // 2)
    return Capacity(min(max_connections or DEFAULT_CONNECTIONS, rest - streams), streams, excess)
