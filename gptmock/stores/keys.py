"""
The rules for names, versions and times to live that all stores share, and all Redis key names.

    gptmock:record:{NAME}        hash    v version, b bytes                 TTL given by the write, or none
    gptmock:lease:{NAME}         string  the owner                          TTL of the lease
    gptmock:counter:{NAME}       hash    one field per counter              TTL given by the last addition, or none
    gptmock:slots:{NAME}         zset    owner, end in ms by Redis's clock  an hour more than its longest slot
    gptmock:quota:{NAME}         hash    COUNTER:n used, COUNTER:e end, ms  TTL of its longest window
    gptmock:log:{NAME}           list    entries, the newest first          none; the length is limited
    gptmock:observed:{NAME}      hash    s stamp, b bytes                   TTL given by the observation
    gptmock:probe                string  empty                              deleted in the round trip that sets it

Each key has one hash tag, and no script touches keys of more than one, so the keys may be on any node of a Cluster. A
name with a tag of its own (``acct:{7}:tokens``) keeps it: the keys of one account are then in one slot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PREFIX = "gptmock"
MAX_NAME_BYTES = 512
MAX_MILLISECONDS = 10**14
"""Three thousand years: Redis refuses a TTL that overflows when it is added to the current time."""


def checked(name: str) -> str:
    """
    Validate a name and return it.

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
        ValueError: ``version`` is not greater than ``expected``.
    """
    if version is None:
        return expected + 1
    if version <= expected:
        raise ValueError(f"version {version} does not come after {expected}")
    return version


def milliseconds(seconds: float) -> int:
    """A time to live in whole milliseconds, rounded up, at least 1."""
    return math.ceil(min(max(seconds * 1000, 1), MAX_MILLISECONDS))


@dataclass(frozen=True, slots=True)
class Keys:
    """The Redis key of each kind of thing, under a prefix (tests use another one)."""

    prefix: str = PREFIX

    def record(self, name: str) -> str:
        """The key of a record."""
        return self._key("record", name)

    def lease(self, name: str) -> str:
        """The key of a lease."""
        return self._key("lease", name)

    def counter(self, name: str) -> str:
        """The key of the counters under a name."""
        return self._key("counter", name)

    def slots(self, name: str) -> str:
        """The key of a set of slots."""
        return self._key("slots", name)

    def quota(self, name: str) -> str:
        """The key of the quotas beside a set of slots; in the same slot of a Cluster."""
        return self._key("quota", name)

    def log(self, name: str) -> str:
        """The key of a log."""
        return self._key("log", name)

    def observed(self, name: str) -> str:
        """The key of a last observation."""
        return self._key("observed", name)

    def probe(self, number: int | None = None) -> str:
        """The key that ``probe`` sets; numbered ones lie in several slots of a Cluster."""
        return f"{self.prefix}:probe" if number is None else f"{self.prefix}:probe:{number}"

    def like(self, kind: str, prefix: str) -> str:
        """A ``SCAN`` pattern for the keys of a kind whose names have this prefix; it may match others too."""
        literal = "".join(f"\\{letter}" if letter in "\\*?[]^-" else letter for letter in prefix)
        return f"{self.prefix}:{kind}:*{literal}*"

    def name(self, kind: str, key: str) -> str:
        """The name in a key of this kind."""
        body = key.removeprefix(f"{self.prefix}:{kind}:")
        return body[1:-1] if body.startswith("{") and body.endswith("}") else body

    def _key(self, kind: str, name: str) -> str:
        body = checked(name)
        return f"{self.prefix}:{kind}:{body}" if "{" in body else f"{self.prefix}:{kind}:{{{body}}}"
