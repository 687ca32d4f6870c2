"""
The rules of names, versions and times to live that all stores share, and every key name on Redis.

    gptmock:record:{NAME}        hash    v version, b bytes                 expires as the write says, or never
    gptmock:lease:{NAME}         string  the owner                          expires with the lease
    gptmock:counter:{NAME}       hash    one field per counter              expires as the last addition says, or never
    gptmock:slots:{NAME}         zset    owner, end in ms by Redis's clock  expires with its longest slot
    gptmock:observed:{NAME}      hash    s stamp, b bytes                   expires as the observation says
    gptmock:probe                string  nothing                            gone in the round trip that makes it

Each key has one hash tag, and no script touches more than one key, so a Cluster may place them as it likes. A name
that has a tag of its own (``acct:{7}:tokens``) keeps it: those of one account then rest together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PREFIX = "gptmock"
MAX_NAME_BYTES = 512
MAX_MILLISECONDS = 10**14
"""Three thousand years: what is longer would not fit where Redis adds it to the present."""


def checked(name: str) -> str:
    """
    The name, if a store may use it.

    Raises:
        ValueError: empty, longer than ``MAX_NAME_BYTES``, or braces other than one tag that is a part of it.
    """
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"a name in a store has 1 to {MAX_NAME_BYTES} bytes")
    opened, closed = name.find("{"), name.find("}")
    if opened == closed == -1:
        return name
    one_of_each = name.count("{") == name.count("}") == 1
    if not one_of_each or closed < opened + 2 or closed - opened + 1 == len(name):
        raise ValueError("a name in a store has no braces, or one {tag} that is a part of it")
    return name


def successor(expected: int, version: int | None) -> int:
    """
    The version of a record that replaces ``expected``.

    Raises:
        ValueError: the one asked for is not newer.
    """
    if version is None:
        return expected + 1
    if version <= expected:
        raise ValueError(f"version {version} does not come after {expected}")
    return version


def milliseconds(seconds: float) -> int:
    """A time to live as stores keep it: whole milliseconds, at least one."""
    return math.ceil(min(max(seconds * 1000, 1), MAX_MILLISECONDS))


@dataclass(frozen=True, slots=True)
class Keys:
    """Names on Redis, under a prefix that tests change."""

    prefix: str = PREFIX

    def record(self, name: str) -> str:
        """Of a record."""
        return self._key("record", name)

    def lease(self, name: str) -> str:
        """Of a lease."""
        return self._key("lease", name)

    def counter(self, name: str) -> str:
        """Of the counters under a name."""
        return self._key("counter", name)

    def slots(self, name: str) -> str:
        """Of a set of slots."""
        return self._key("slots", name)

    def observed(self, name: str) -> str:
        """Of a last observation."""
        return self._key("observed", name)

    def probe(self) -> str:
        """Of what is written to see whether writing works."""
        return f"{self.prefix}:probe"

    def like(self, kind: str, prefix: str) -> str:
        """A ``SCAN`` pattern that matches all keys of a kind whose names begin so, and perhaps others."""
        literal = "".join(f"\\{letter}" if letter in "\\*?[]^-" else letter for letter in prefix)
        return f"{self.prefix}:{kind}:*{literal}*"

    def name(self, kind: str, key: str) -> str:
        """The name of what has that key."""
        body = key.removeprefix(f"{self.prefix}:{kind}:")
        return body[1:-1] if body.startswith("{") and body.endswith("}") else body

    def _key(self, kind: str, name: str) -> str:
        body = checked(name)
        return f"{self.prefix}:{kind}:{body}" if "{" in body else f"{self.prefix}:{kind}:{{{body}}}"
