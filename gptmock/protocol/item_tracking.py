"""
Finds the output item that an event belongs to. Upstream events refer to items by ``output_index``, by ``item_id``, by
both or by neither, and an item's id may change between two events. Knows no event and no shape of any item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from gptmock.protocol.delta_runs import text_of

Names: TypeAlias = tuple[str | None, ...]
"""The identifiers of an item: its ``id``, and the ``call_id`` of a tool call."""


@dataclass(slots=True)
class TrackedItem:
    """One output item. Subclasses add the state that they keep for it."""

    index: int | None = None
    """The upstream's ``output_index``; ``None`` if no event gave one."""
    named: bool = False
    """Whether an event gave an index or an id."""
    done: bool = False


_Item = TypeVar("_Item", bound=TrackedItem)


class ItemTracker(Generic[_Item]):
    """The items of one turn by index and id. ``last`` is the item of the latest event."""

    __slots__ = ("_by_id", "_by_index", "_make", "last")

    def __init__(self, make: Callable[[], _Item]) -> None:
        self._make = make
        self._by_index: dict[int, _Item] = {}
        self._by_id: dict[str, _Item] = {}
        self.last: _Item | None = None

    def of(self, output_index: int | None, item_id: str | None) -> _Item:
        """The item of an event inside an item, such as a delta; a new one if no earlier event was about that item."""
        item = self.known(output_index, item_id)
        if item is None:
            # Neither index nor id: the upstream closes one item before it opens the next.
            current = self.last if output_index is None and item_id is None else None
            item = current if current is not None and not current.done else self._make()
        return self._registered(item, output_index, item_id)

    def found(self, output_index: int | None, names: Names, *, begins: bool) -> _Item:
        """The item of ``output_item.added`` (``begins``) or ``output_item.done``; a new one if it is unknown."""
        item = self.known(output_index, *names)
        last = self.last
        if item is None and not begins and last is not None and not last.done:
            # A done event without identifiers ends the last item, and so does one whose item began without any.
            nameless = output_index is None and not any(names)
            item = last if nameless or not last.named else None
        return self._registered(item or self._make(), output_index, *names)

    def known(self, output_index: int | None, *names: str | None) -> _Item | None:
        """The item with this index or one of these identifiers, or ``None``."""
        item = self._by_index.get(output_index) if output_index is not None else None
        for name in names:
            if item is None and name is not None:
                item = self._by_id.get(name)
                if item is not None and output_index is not None and item.index is not None:
                    # The same id at another index is another item.
                    item = None
        return item

    def settled(self, output_index: int | None, item_id: str | None) -> _Item | None:
        """The item that ``of`` returns for these, if it would change nothing but ``last``; else ``None``."""
        item = self._by_index.get(output_index) if output_index is not None else None
        if item_id is None:
            return item
        by_id = self._by_id.get(item_id)
        if output_index is None:
            return by_id
        return item if item is by_id else None

    def repeated(self, output: Iterable[Names]) -> Iterator[tuple[int, int | None]]:
        """
        Match the ``output`` of a terminal event with the items of the stream.

        Yields the position of each matching item in ``output`` and the index to pass to ``found``; ``None`` if the
        item is found by its identifiers. Positions are taken for stream indexes unless an id says otherwise. Items
        that the stream did not have are new only if the stream had none at all.
        """
        nothing_seen = self.last is None
        for place, names in enumerate(output):
            if not nothing_seen and self.known(None, *names) is not None:
                yield place, None
            elif nothing_seen or place in self._by_index:
                yield place, place

    def _registered(self, item: _Item, output_index: int | None, *names: str | None) -> _Item:
        if output_index is not None:
            self._by_index[output_index] = item
            item.index, item.named = output_index, True
        for name in names:
            if name is not None:
                self._by_id[name] = item
                item.named = True
        self.last = item
        return item


class GrowingText:
    """The part of a text that was sent already, so that a done event sends only what the deltas lacked."""

    __slots__ = ("_literals", "_sent")

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._literals = bytearray()
        """Of what was sent since then, one behind the other: decoded when somebody asks for it."""

    def more(self, delta: str) -> str:
        """Add a delta, and return it."""
        if self._literals:
            self._decode()
        self._sent.append(delta)
        return delta

    def copied(self, literals: list[bytes]) -> None:
        """Deltas that were sent undecoded (``DeltaRun.literals``)."""
        self._literals += b"".join(literals)

    @property
    def copied_one(self) -> Callable[[bytes], None]:
        """As ``copied``, for one delta."""
        return self._literals.extend

    def tail(self, whole: str) -> str:
        """
        The end of ``whole`` that was not sent yet; it counts as sent from now on.

        Empty if ``whole`` does not begin with what was sent: text that a client has received cannot be changed.
        """
        sent = self.sent
        if len(whole) <= len(sent) or not whole.startswith(sent):
            return ""
        return self.more(whole[len(sent) :])

    @property
    def sent(self) -> str:
        """The text sent so far."""
        if self._literals:
            self._decode()
        if len(self._sent) > 1:
            self._sent = ["".join(self._sent)]
        return self._sent[0] if self._sent else ""

    def _decode(self) -> None:
        self._sent.append(text_of(self._literals))
        # The buffer stays the same: ``copied_one`` adds to it.
        self._literals.clear()
