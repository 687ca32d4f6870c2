"""
Which output item an event belongs to. The upstream names items by ``output_index``, by ``item_id``, by both or by
neither, and an id may change between two events. Knows no event and no shape of any item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from gptmock.protocol.delta_runs import text_of

Names: TypeAlias = tuple[str | None, ...]
"""All that an item is called: its id, and a call's call id."""


@dataclass(slots=True)
class TrackedItem:
    """One output item; whoever keeps more about it derives from this."""

    index: int | None = None
    named: bool = False
    """It has an index or an id."""
    done: bool = False


_Slot = TypeVar("_Slot", bound=TrackedItem)


class ItemTracker(Generic[_Slot]):
    """The items of one turn, found by whatever the upstream calls them. ``last`` is the one spoken of last."""

    __slots__ = ("_by_id", "_by_index", "_make", "last")

    def __init__(self, make: Callable[[], _Slot]) -> None:
        self._make = make
        self._by_index: dict[int, _Slot] = {}
        self._by_id: dict[str, _Slot] = {}
        self.last: _Slot | None = None

    def of(self, output_index: int | None, item_id: str | None) -> _Slot:
        """The slot of an event inside an item; a new one if nobody has spoken of that item."""
        slot = self.known(output_index, item_id)
        if slot is None:
            # Neither index nor id: the upstream closes one item before it opens the next.
            current = self.last if output_index is None and item_id is None else None
            slot = current if current is not None and not current.done else self._make()
        return self._named(slot, output_index, item_id)

    def found(self, output_index: int | None, names: Names, *, begins: bool) -> _Slot:
        """The slot of an item that begins, or that is complete."""
        slot = self.known(output_index, *names)
        last = self.last
        if slot is None and not begins and last is not None and not last.done:
            # What ends without a name is what was last begun; what was begun without one may end with one.
            nameless = output_index is None and not any(names)
            slot = last if nameless or not last.named else None
        return self._named(slot or self._make(), output_index, *names)

    def known(self, output_index: int | None, *names: str | None) -> _Slot | None:
        """The slot of this index or of one of these names, if there is one."""
        slot = self._by_index.get(output_index) if output_index is not None else None
        for name in names:
            if slot is None and name is not None:
                slot = self._by_id.get(name)
                if slot is not None and output_index is not None and slot.index is not None:
                    # The same id at another index is another item.
                    slot = None
        return slot

    def settled(self, output_index: int | None, item_id: str | None) -> _Slot | None:
        """The slot that ``of`` gives for them, if that would change nothing but ``last``."""
        slot = self._by_index.get(output_index) if output_index is not None else None
        if item_id is None:
            return slot
        by_id = self._by_id.get(item_id)
        if output_index is None:
            return by_id
        return slot if slot is by_id else None

    def repeated(self, output: Iterable[Names]) -> Iterator[tuple[int, int | None]]:
        """
        Which items of a final output count, each as its place there and the index to find its slot with.

        Indexes of the final output are those of the stream unless an id says otherwise; an unseen item is new only
        if all are.
        """
        nothing_seen = self.last is None
        for place, names in enumerate(output):
            if not nothing_seen and self.known(None, *names) is not None:
                yield place, None
            elif nothing_seen or place in self._by_index:
                yield place, place

    def _named(self, slot: _Slot, output_index: int | None, *names: str | None) -> _Slot:
        if output_index is not None:
            self._by_index[output_index] = slot
            slot.index, slot.named = output_index, True
        for name in names:
            if name is not None:
                self._by_id[name] = slot
                slot.named = True
        self.last = slot
        return slot


class GrowingText:
    """One growing text: what was sent, so that a repetition sends nothing."""

    __slots__ = ("_literals", "_sent")

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._literals: list[bytes] = []
        """Of what was sent since then: decoded when somebody asks for it."""

    def more(self, delta: str) -> str:
        """A delta: all of it is new."""
        if self._literals:
            self._decode()
        self._sent.append(delta)
        return delta

    def copied(self, literals: list[bytes]) -> None:
        """Deltas that were sent undecoded (``DeltaRun.literals``)."""
        self._literals += literals

    def tail(self, whole: str) -> str:
        """
        What of the whole text was not sent yet.

        A final text that does not begin with what was sent adds nothing: what a client has seen cannot be taken back.
        """
        sent = self.sent
        if len(whole) <= len(sent) or not whole.startswith(sent):
            return ""
        return self.more(whole[len(sent) :])

    @property
    def sent(self) -> str:
        """All of it so far."""
        if self._literals:
            self._decode()
        if len(self._sent) > 1:
            self._sent = ["".join(self._sent)]
        return self._sent[0] if self._sent else ""

    def _decode(self) -> None:
        self._sent.append(text_of(self._literals))
        self._literals = []
