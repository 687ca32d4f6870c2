"""
The output of one reply as Responses clients need it: items and parts begin before anything grows in them, indexes
count from 0 without gaps, ids stay, and every text is told by deltas, by its part and by its item alike.

The upstream leaves out deltas, openings, closings and ids; what is missing is said here, what is there passes with all
its members. Texts only grow: a final text that contradicts what was shown is not shown.

Must not know the response around the items, nor framing. Source: client contracts 3.4 and 3.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gptmock.dialects.responses.text_kinds import CALLS, FLOWS, PARTS, PREFIXES, TEXT, THOUGHT, WITH_STATUS, Flow
from gptmock.protocol.delta_runs import DeltaPlace
from gptmock.protocol.events import InItem
from gptmock.protocol.item_tracking import GrowingText, ItemTracker, Names, TrackedItem
from gptmock.protocol.request import JsonObject

_LISTS: Mapping[str, tuple[str, str]] = {
    "content": ("response.content_part", "content_index"),
    "summary": ("response.reasoning_summary_part", "summary_index"),
}
"""The lists of parts: what encloses one that we do not know, and the member that counts them."""


@dataclass(slots=True)
class _Part:
    """One part of a message or of a thought; or a call's one text, which has no index."""

    flow: Flow | None
    """``None`` for a type of part that we do not know: it passes as it is."""
    within: str = "content"
    place: int = 0
    event: str = ""
    """``<event>.added`` and ``.done`` are said of it."""
    shape: JsonObject = field(default_factory=dict)
    text: GrowingText = field(default_factory=GrowingText)
    cited: list[JsonObject] = field(default_factory=list)
    said: bool = False
    """The whole text has been said."""
    done: bool = False


@dataclass(slots=True)
class _Item(TrackedItem):
    """One output item."""

    place: int | None = None
    """Its ``output_index`` for the client; ``None`` until it has begun."""
    shape: JsonObject = field(default_factory=dict)
    """As it was last said."""
    parts: dict[tuple[str, int], _Part] = field(default_factory=dict)
    """By list, and by the upstream's index in it."""
    call: _Part = field(default_factory=lambda: _Part(None))


@dataclass(frozen=True, slots=True)
class OpenText:
    """A text that grows, and what is said of a delta besides its ``sequence_number``."""

    begin: JsonObject
    end: JsonObject
    grown: GrowingText
    item: _Item


class OutputStream:
    """
    The upstream's words about items in, what is said of them out; each method returns the events it adds.

    Args:
        mark: what made-up ids are made of.
        names: upstream name of a tool to the client's own, where they differ.
    """

    __slots__ = ("_begun", "_mark", "_names", "_said", "_slots")

    def __init__(self, mark: str, names: Mapping[str, str]) -> None:
        self._mark = mark
        self._names = names
        self._slots: ItemTracker[_Item] = ItemTracker(_Item)
        self._begun: list[_Item] = []
        self._said: list[JsonObject] = []

    @property
    def items(self) -> list[JsonObject]:
        """The items that are complete, in the order of their indexes."""
        return [item.shape for item in self._begun if item.done]

    def added(self, raw: JsonObject, output_index: int | None) -> list[JsonObject]:
        """``output_item.added``."""
        told = object_of(raw.get("item"))
        item = self._slots.found(output_index, _names(told), begins=True)
        if item.place is None and told:
            self._begin(item, told, raw)
        return self._flush()

    def done(self, raw: JsonObject, output_index: int | None) -> list[JsonObject]:
        """``output_item.done``."""
        told = object_of(raw.get("item"))
        item = self._slots.found(output_index, _names(told), begins=False)
        self._finish_item(item, told, raw, status="completed")
        return self._flush()

    def part_added(self, raw: JsonObject, event: InItem, *, within: str, index: int) -> list[JsonObject]:
        """``content_part.added`` and ``reasoning_summary_part.added``; ``within`` is the list."""
        self._part(self._slots.of(event.output_index, event.item_id), within, index, object_of(raw.get("part")), raw)
        return self._flush()

    def part_done(self, raw: JsonObject, event: InItem, *, within: str, index: int) -> list[JsonObject]:
        """``content_part.done`` and ``reasoning_summary_part.done``."""
        told = object_of(raw.get("part"))
        item = self._slots.of(event.output_index, event.item_id)
        part = self._part(item, within, index, told)
        if part is not None:
            self._finish_part(item, part, told, raw)
        return self._flush()

    def delta(self, flow: Flow, raw: JsonObject, event: InItem, *, index: int = 0) -> list[JsonObject]:
        """Any ``.delta``."""
        item = self._slots.of(event.output_index, event.item_id)
        part = self._growing(item, flow, index)
        if part is not None and not part.said:
            part.text.more(raw["delta"])
            # The input of a call waits until somebody has said what is called.
            if item.place is not None:
                self._say(item, part, raw, _with_logprobs(flow, raw))
        return self._flush()

    def open_text(self, place: DeltaPlace) -> OpenText | None:
        """The text at this place, if a delta of it becomes one event."""
        flow = FLOWS[place.kind]
        item = self._slots.settled(place.output_index, place.item_id)
        if item is None or item.place is None or item.done or not place.is_regular:
            return None
        part = item.parts.get((flow.parts, place.index)) if flow.part else item.call
        if part is None or part.flow is not flow or part.said:
            return None
        where = {"item_id": item.shape["id"], "output_index": item.place}
        if part is not item.call:
            where[_LISTS[part.within][1]] = part.place
        return OpenText({"type": f"{flow.event}.delta"}, {**where, **_with_logprobs(flow, {})}, part.text, item)

    def copied(self, text: OpenText, literals: list[bytes]) -> None:
        """Deltas of an open text that were said without ``delta``."""
        self._slots.last = text.item
        text.grown.copied(literals)

    def text_done(self, flow: Flow, raw: JsonObject, event: InItem, *, index: int = 0) -> list[JsonObject]:
        """Any ``.done`` of a text."""
        item = self._slots.of(event.output_index, event.item_id)
        part = self._growing(item, flow, index)
        if part is not None and item.place is None:
            part.text.tail(raw[flow.member])
        elif part is not None:
            self._finish_text(item, part, raw[flow.member], raw)
        return self._flush()

    def cited(self, raw: JsonObject, event: InItem, *, index: int) -> list[JsonObject]:
        """``output_text.annotation.added``."""
        item = self._slots.of(event.output_index, event.item_id)
        part = self._growing(item, TEXT, index)
        if part is not None and not part.done:
            self._cite(item, part, object_of(raw.get("annotation")), raw)
        return self._flush()

    def other(self, raw: JsonObject) -> list[JsonObject]:
        """An event that we do not know: as it is, but with the index and the id that its item has here."""
        index, item_id = raw.get("output_index"), raw.get("item_id")
        item = self._slots.known(
            index if isinstance(index, int) else None, item_id if isinstance(item_id, str) else None
        )
        if item is not None and item.place is not None:
            here = {"output_index": item.place, "item_id": item.shape["id"]}
            raw = {**raw, **{name: value for name, value in here.items() if name in raw}}
        return [raw]

    def finish(self, output: Iterable[Any], *, status: str) -> list[JsonObject]:
        """
        The turn has ended: what its final output has beyond the stream is said, and what is open is closed.

        Args:
            output: of the terminal event; the upstream's is empty since April 2026.
            status: of the items that nobody has closed.
        """
        final = [object_of(one) for one in output]
        for place, index in self._slots.repeated(map(_names, final)):
            self._finish_item(
                self._slots.found(index, _names(final[place]), begins=False), final[place], {}, status=status
            )
        for item in self._begun:
            self._finish_item(item, {}, {}, status=status)
        return self._flush()

    # --- Items ----------------------------------------------------------------------

    def _begin(self, item: _Item, told: JsonObject, raw: JsonObject) -> None:
        kind = str(told.get("type") or "")
        item.place = len(self._begun)
        self._begun.append(item)
        given = told.get("id")
        item_id = (
            given if isinstance(given, str) and given else f"{PREFIXES.get(kind, 'item')}_{self._mark}{item.place}"
        )
        item.shape = {**told, "type": kind, "id": item_id, **self._blank(kind, told)}
        self._said.append({**raw, "type": "response.output_item.added", "output_index": item.place, "item": item.shape})
        flow = CALLS.get(kind)
        if flow is not None:
            item.call.flow = flow
            self._tell(item, item.call, item.call.text.sent)

    def _blank(self, kind: str, told: JsonObject) -> JsonObject:
        """What an item of this kind begins with: its content follows in events."""
        blank: JsonObject = {}
        if kind in WITH_STATUS:
            blank["status"] = told.get("status") or "in_progress"
        if kind == "message":
            blank |= {"role": told.get("role") or "assistant", "content": []}
        elif kind == "reasoning":
            blank |= {"summary": [], **({"content": []} if told.get("content") is not None else {})}
        elif (flow := CALLS.get(kind)) is not None:
            name = told.get("name")
            blank |= {"name": self._names.get(name, name), flow.member: ""} if isinstance(name, str) else {}
        return blank

    def _finish_item(self, item: _Item, told: JsonObject, raw: JsonObject, *, status: str) -> None:
        if item.done or (item.place is None and not told):
            return
        if item.place is None:
            self._begin(item, told, {})
        kind = item.shape["type"]
        if told.get("type") != kind:
            # Another item in the place of the one that began: that one ends with what was said of it.
            told = {}
        shape = {**item.shape, **told, "id": item.shape["id"]}
        if kind in ("message", "reasoning"):
            shape |= self._finish_parts(item, told)
        elif kind in CALLS:
            whole = told.get(CALLS[kind].member)
            self._finish_text(item, item.call, whole if isinstance(whole, str) else "", {})
            shape |= {CALLS[kind].member: item.call.text.sent, "name": item.shape.get("name")}
        if kind in WITH_STATUS:
            shape["status"] = told.get("status") or status
        item.shape = shape
        item.done = True
        self._said.append({**raw, "type": "response.output_item.done", "output_index": item.place, "item": shape})

    def _finish_parts(self, item: _Item, told: JsonObject) -> JsonObject:
        """Close every part; returns the lists that hold them."""
        lists: JsonObject = {}
        for within in _LISTS:
            for index, one in enumerate(told.get(within) or ()):
                part = self._part(item, within, index, one)
                if part is not None:
                    self._finish_part(item, part, one, {})
            parts = [part for (where, _), part in item.parts.items() if where == within]
            for part in parts:
                self._finish_part(item, part, {}, {})
            if parts:
                # They began in the order of their places.
                lists[within] = [part.shape for part in parts]
        return lists

    # --- Parts ----------------------------------------------------------------------

    def _growing(self, item: _Item, flow: Flow, index: int) -> _Part | None:
        """Where a text of this flow grows; ``None`` if nothing can be added to it any more."""
        if item.done:
            return None
        if flow.part:
            return self._part(item, flow.parts, index, {"type": flow.part})
        return item.call if item.place is None or item.call.flow is flow else None

    def _part(
        self, item: _Item, within: str, index: int, told: JsonObject, raw: JsonObject | None = None
    ) -> _Part | None:
        """
        The part at this place, begun if it is new; ``None`` if the item has no room for such a part.

        Args:
            item: the item.
            within: ``content`` or ``summary``.
            index: the upstream's index in it.
            told: the part as it is told; its text is left to events.
            raw: the event that opens it, if there is one.
        """
        flow = PARTS.get(str(told.get("type") or ""))
        if item.place is None:
            thought = within == "summary" or flow is THOUGHT
            self._begin(item, {"type": "reasoning" if thought else "message"}, {})
        if item.done or not _fits(flow, item.shape["type"], within):
            return None
        part = item.parts.get((within, index))
        if part is None:
            part = self._begin_part(item, within, index, told, raw)
        return part if part.flow is flow else None

    def _begin_part(self, item: _Item, within: str, index: int, told: JsonObject, raw: JsonObject | None) -> _Part:
        flow = PARTS.get(str(told.get("type") or ""))
        place = sum(where == within for where, _ in item.parts)
        enclosed = flow.part_event if flow is not None else _LISTS[within][0]
        event = str((raw or {}).get("type") or "").removesuffix(".added") or enclosed
        shape = told if flow is None else {**told, flow.member: ""}
        if flow is TEXT:
            # The lists that SDKs demand.
            shape |= {"annotations": [], "logprobs": []}
        part = item.parts[within, index] = _Part(flow, within, place, event, shape)
        if event:
            self._say(item, part, raw or {}, {"type": f"{event}.added", "part": shape})
        return part

    def _finish_part(self, item: _Item, part: _Part, told: JsonObject, raw: JsonObject) -> None:
        if part.done:
            return
        if part.flow is None:
            part.shape = told or part.shape
        else:
            whole = told.get(part.flow.member)
            self._finish_text(item, part, whole if isinstance(whole, str) else "", {})
            for annotation in told.get("annotations") or ():
                if annotation not in part.cited:
                    self._cite(item, part, annotation, {})
            part.shape = {**part.shape, **told, part.flow.member: part.text.sent}
            if part.flow is TEXT:
                part.shape |= {"annotations": part.cited, **_with_logprobs(TEXT, told)}
        part.done = True
        if part.event:
            self._say(item, part, raw, {"type": f"{part.event}.done", "part": part.shape})

    def _finish_text(self, item: _Item, part: _Part, whole: str, raw: JsonObject) -> None:
        if part.said or part.flow is None:
            return
        self._tell(item, part, part.text.tail(whole))
        part.said = True
        told: JsonObject = {"type": f"{part.flow.event}.done", **_with_logprobs(part.flow, raw)}
        if part.flow.item == "function_call":
            told["name"] = item.shape.get("name")
        self._say(item, part, raw, {**told, part.flow.member: part.text.sent})

    def _tell(self, item: _Item, part: _Part, text: str) -> None:
        """A delta of our own making."""
        if text and part.flow is not None:
            self._say(
                item, part, {}, {"type": f"{part.flow.event}.delta", "delta": text, **_with_logprobs(part.flow, {})}
            )

    def _cite(self, item: _Item, part: _Part, annotation: JsonObject, raw: JsonObject) -> None:
        told = {
            "type": f"{TEXT.event}.annotation.added",
            "annotation_index": len(part.cited),
            "annotation": annotation,
        }
        part.cited.append(annotation)
        self._say(item, part, raw, told)

    # --- Saying ---------------------------------------------------------------------

    def _say(self, item: _Item, part: _Part, raw: JsonObject, told: JsonObject) -> None:
        """The upstream's event with our words in it, at the place that the client knows."""
        where: JsonObject = {"item_id": item.shape["id"], "output_index": item.place}
        if part is not item.call:
            where[_LISTS[part.within][1]] = part.place
        event = {**raw, **told, **where}
        self._said.append(event if "type" in raw else {"type": told["type"], **where, **told})

    def _flush(self) -> list[JsonObject]:
        said, self._said = self._said, []
        return said


def object_of(value: Any) -> JsonObject:
    """The value if it is an object; anything else says nothing."""
    return value if isinstance(value, dict) else {}


def _names(told: JsonObject) -> Names:
    return tuple(name for name in (told.get("id"), told.get("call_id")) if isinstance(name, str) and name)


def _fits(flow: Flow | None, kind: str, within: str) -> bool:
    if flow is not None:
        return flow.item == kind and flow.parts == within
    return kind == "reasoning" or (kind == "message" and within == "content")


def _with_logprobs(flow: Flow, raw: JsonObject) -> JsonObject:
    if flow is not TEXT:
        return {}
    told = raw.get("logprobs")
    return {"logprobs": told if isinstance(told, list) else []}
