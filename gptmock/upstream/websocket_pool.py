"""
The WebSockets of one worker: at most one for each conversation of an account, and one turn at a time on each. Knows how
old and how idle they may be, not how they are opened.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from gptmock.upstream.continuation import Continuation
from gptmock.upstream.websocket_connection import WebSocketConnection

Key: TypeAlias = tuple[str, str]
"""Account id and conversation."""


@dataclass(frozen=True, slots=True)
class PoolBounds:
    """Seconds, but ``count``."""

    count: int = 64
    """Connections of one worker."""
    idle: float = 300.0
    """Between two turns."""
    age: float = 55 * 60.0
    """No turn begins on an older one: the upstream ends them at 60 minutes."""


@dataclass(slots=True, eq=False)
class Place:
    """The place of one conversation in the pool."""

    key: Key
    connection: WebSocketConnection | None = None
    identity: tuple[str, ...] = ()
    """Of whoever the connection was opened for: the values of headers that belong to it for its whole life."""
    continuation: Continuation | None = None
    """What the next turn may continue."""
    is_busy: bool = True
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def usable(self, identity: tuple[str, ...], *, oldest: float) -> WebSocketConnection | None:
        """The connection, if a turn of this identity can go there; ``oldest`` by the loop's clock."""
        connection = self.connection
        if connection is None or not connection.is_usable:
            return None
        return connection if self.identity == identity and connection.opened_at > oldest else None

    def leave(self) -> None:
        """Close the connection, if there is one."""
        connection, self.connection = self.connection, None
        self.continuation = None
        if connection is not None:
            connection.close()


class WebSocketPool:
    """
    Places of conversations; made inside the running loop that uses it.

    Args:
        bounds: of all of them.
    """

    def __init__(self, bounds: PoolBounds) -> None:
        self._loop = asyncio.get_running_loop()
        self._bounds = bounds
        self._places: OrderedDict[Key, Place] = OrderedDict()
        """The one used last comes last."""

    def __len__(self) -> int:
        return len(self._places)

    @property
    def oldest(self) -> float:
        """When the oldest connection was opened on which a turn may begin, by the loop's clock."""
        return self._loop.time() - self._bounds.age

    def reserve(self, key: Key) -> Place | None:
        """
        The place of a conversation for one turn; ``release`` or ``drop`` ends the reservation.

        Returns ``None`` while another turn has it, and if all places are taken.
        """
        place = self._places.get(key)
        if place is not None:
            if place.is_busy:
                return None
            place.is_busy = True
            if place.timer is not None:
                place.timer.cancel()
            self._places.move_to_end(key)
            return place
        if len(self._places) >= self._bounds.count and not self._make_room():
            return None
        place = self._places[key] = Place(key)
        return place

    def release(self, place: Place) -> None:
        """The turn has ended: the connection waits for the next one."""
        if place.connection is None or self._places.get(place.key) is not place:
            self.drop(place)
            return
        place.is_busy = False
        place.timer = self._loop.call_later(self._bounds.idle, self.drop, place)

    def drop(self, place: Place) -> None:
        """Give the place up, and close its connection."""
        if place.timer is not None:
            place.timer.cancel()
        if self._places.get(place.key) is place:
            del self._places[place.key]
        place.leave()

    def gone(self, connection: WebSocketConnection) -> None:
        """A connection serves no more: between turns its place is free, within one its turn sees to it."""
        for place in self._places.values():
            if place.connection is connection:
                if place.is_busy:
                    place.connection = place.continuation = None
                else:
                    self.drop(place)
                return

    def close(self) -> None:
        """Close all connections."""
        for place in list(self._places.values()):
            self.drop(place)

    def _make_room(self) -> bool:
        """Drop the place that has been idle longest. Returns whether there was one."""
        idle = next((place for place in self._places.values() if not place.is_busy), None)
        if idle is not None:
            self.drop(idle)
        return idle is not None
