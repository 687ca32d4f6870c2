"""
The responses of one WebSocket, for ``previous_response_id``: kept for the life of the connection, stored or not.

Two responses of one conversation share their items, which are counted for each.
"""

from __future__ import annotations

from gptmock.conversations import MAX_SNAPSHOT_BYTES, Snapshot

MAX_RESPONSES = 16
MAX_BYTES = 2 * MAX_SNAPSHOT_BYTES


class ConnectionMemory:
    """The newest responses of a connection."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._bytes = 0

    def remember(self, snapshot: Snapshot) -> None:
        """Keep a response; the oldest ones go. One that is too large to be stored is not kept."""
        if snapshot.size_bytes > MAX_SNAPSHOT_BYTES:
            return
        self._snapshots[snapshot.response_id] = snapshot
        self._bytes += snapshot.size_bytes
        while len(self._snapshots) > MAX_RESPONSES or self._bytes > MAX_BYTES:
            self._bytes -= self._snapshots.pop(next(iter(self._snapshots))).size_bytes

    def find(self, response_id: str | None) -> Snapshot | None:
        """A response of this connection."""
        return None if response_id is None else self._snapshots.get(response_id)
