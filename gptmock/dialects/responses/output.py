"""
Normalises the item events of one Responses stream: ``.added`` events precede deltas, indexes count from 0 without gaps,
ids never change, and each text appears in its deltas, in its done event, in its part and in its item.

The upstream omits deltas, ``.added`` and ``.done`` events and ids. Missing events are generated; those that exist are
forwarded with all their members. A final text that contradicts the deltas already sent is not sent.

Must not know the Response object, nor SSE framing. Source: client contracts 3.4 and 3.5.
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
"""List of parts to the event that encloses an unknown part in it, and the event member with the part's index."""


@dataclass(slots=True)
class _Part:
    """One part of a message or reasoning item; or the text of a call, which has no index."""

    flow: Flow | None
    """``None`` for an unknown type of part, which is forwarded unchanged."""
    within: str = "content"
    """The item's list: ``content`` or ``summary``."""
    place: int = 0
    """Its index in that list for the client."""
    event: str = ""
    """It is enclosed by ``<event>.added`` and ``<event>.done``; empty for none."""
    shape: JsonObject = field(default_factory=dict)
    """The part as last sent."""
    text: GrowingText = field(default_factory=GrowingText)
    cited: list[JsonObject] = field(default_factory=list)
    """Its annotations."""
    text_done: bool = False
    """The text's ``.done`` event has been sent."""
    done: bool = False


@dataclass(slots=True)
class _Item(TrackedItem):
    """One output item."""

    place: int | None = None
    """Its ``output_index`` for the client; ``None`` until it has begun."""
    shape: JsonObject = field(default_factory=dict)
    """The item as last sent."""
    parts: dict[tuple[str, int], _Part] = field(default_factory=dict)
    """By list (``content``, ``summary``) and the upstream's index in it."""
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
    Takes upstream events about items; each method returns the events to send to the client.

    Args:
        id_seed: generated ids are made of this and the item's index.
        names: tool name sent upstream to the client's name, where they differ.
    """

    __slots__ = ("_events", "_id_seed", "_names", "_started", "_tracker")

    def __init__(self, id_seed: str, names: Mapping[str, str]) -> None:
        self._id_seed = id_seed
        self._names = names
        self._tracker: ItemTracker[_Item] = ItemTracker(_Item)
        self._started: list[_Item] = []
        self._events: list[JsonObject] = []

    @property
    def items(self) -> list[JsonObject]:
        """The complete items, by ``output_index``."""
        return [item.shape for item in self._started if item.done]

    def added(self, raw: JsonObject, output_index: int | None) -> list[JsonObject]:
        """``output_item.added``."""
        sent = object_of(raw.get("item"))
        item = self._tracker.found(output_index, _names(sent), begins=True)
        if item.place is None and sent:
            self._begin(item, sent, raw)
        return self._flush()

    def done(self, raw: JsonObject, output_index: int | None) -> list[JsonObject]:
        """``output_item.done``."""
        sent = object_of(raw.get("item"))
        item = self._tracker.found(output_index, _names(sent), begins=False)
        self._finish_item(item, sent, raw, status="completed")
        return self._flush()

    def part_added(self, raw: JsonObject, event: InItem, *, within: str, index: int) -> list[JsonObject]:
        """``content_part.added`` or ``reasoning_summary_part.added``; ``within`` is ``content`` or ``summary``."""
        self._part(self._tracker.of(event.output_index, event.item_id), within, index, object_of(raw.get("part")), raw)
        return self._flush()

    def part_done(self, raw: JsonObject, event: InItem, *, within: str, index: int) -> list[JsonObject]:
        """``content_part.done`` or ``reasoning_summary_part.done``."""
        sent = object_of(raw.get("part"))
        item = self._tracker.of(event.output_index, event.item_id)
        part = self._part(item, within, index, sent)
        if part is not None:
            self._finish_part(item, part, sent, raw)
        return self._flush()

    def delta(self, flow: Flow, raw: JsonObject, event: InItem, *, index: int = 0) -> list[JsonObject]:
        """The ``.delta`` event of any text."""
        item = self._tracker.of(event.output_index, event.item_id)
        part = self._growing(item, flow, index)
        if part is not None and not part.text_done:
            part.text.more(raw["delta"])
            # The input of a call is buffered until an event names the tool.
            if item.place is not None:
                self._emit(item, part, raw, _with_logprobs(flow, raw))
        return self._flush()

    def open_text(self, place: DeltaPlace) -> OpenText | None:
        """The text at this place, if a delta of it becomes one event."""
        flow = FLOWS[place.kind]
        item = self._tracker.settled(place.output_index, place.item_id)
        if item is None or item.place is None or item.done or not place.is_regular:
            return None
        part = item.parts.get((flow.parts, place.index)) if flow.part else item.call
        if part is None or part.flow is not flow or part.text_done:
            return None
        where = {"item_id": item.shape["id"], "output_index": item.place}
        if part is not item.call:
            where[_LISTS[part.within][1]] = part.place
        return OpenText({"type": f"{flow.event}.delta"}, {**where, **_with_logprobs(flow, {})}, part.text, item)

    def copied(self, text: OpenText, literals: list[bytes]) -> None:
        """Deltas of an open text that were said without ``delta``."""
        self._tracker.last = text.item
        text.grown.copied(literals)

    def text_done(self, flow: Flow, raw: JsonObject, event: InItem, *, index: int = 0) -> list[JsonObject]:
        """The ``.done`` event of any text."""
        item = self._tracker.of(event.output_index, event.item_id)
        part = self._growing(item, flow, index)
        if part is not None and item.place is None:
            part.text.tail(raw[flow.member])
        elif part is not None:
            self._finish_text(item, part, raw[flow.member], raw)
        return self._flush()

    def cited(self, raw: JsonObject, event: InItem, *, index: int) -> list[JsonObject]:
        """``output_text.annotation.added``."""
        item = self._tracker.of(event.output_index, event.item_id)
        part = self._growing(item, TEXT, index)
        if part is not None and not part.done:
            self._cite(item, part, object_of(raw.get("annotation")), raw)
        return self._flush()

    def other(self, raw: JsonObject) -> list[JsonObject]:
        """An unknown event, unchanged but for ``output_index`` and ``item_id`` of its item."""
        index, item_id = raw.get("output_index"), raw.get("item_id")
        item = self._tracker.known(
            index if isinstance(index, int) else None, item_id if isinstance(item_id, str) else None
        )
        if item is not None and item.place is not None:
            here = {"output_index": item.place, "item_id": item.shape["id"]}
            raw = {**raw, **{name: value for name, value in here.items() if name in raw}}
        return [raw]

    def finish(self, output: Iterable[Any], *, status: str) -> list[JsonObject]:
        """
        End the turn: send what ``output`` has beyond the events so far, and finish all open items.

        Args:
            output: ``output`` of the terminal event; the upstream's is empty since April 2026.
            status: status of the items that no event has finished.
        """
        final = [object_of(one) for one in output]
        for place, index in self._tracker.repeated(map(_names, final)):
            self._finish_item(
                self._tracker.found(index, _names(final[place]), begins=False), final[place], {}, status=status
            )
        for item in self._started:
            self._finish_item(item, {}, {}, status=status)
        return self._flush()

    # --- Items ----------------------------------------------------------------------

    def _begin(self, item: _Item, sent: JsonObject, raw: JsonObject) -> None:
        kind = str(sent.get("type") or "")
        item.place = len(self._started)
        self._started.append(item)
        given = sent.get("id")
        item_id = (
            given if isinstance(given, str) and given else f"{PREFIXES.get(kind, 'item')}_{self._id_seed}{item.place}"
        )
        item.shape = {**sent, "type": kind, "id": item_id, **self._blank(kind, sent)}
        self._events.append(
            {**raw, "type": "response.output_item.added", "output_index": item.place, "item": item.shape}
        )
        flow = CALLS.get(kind)
        if flow is not None:
            item.call.flow = flow
            self._emit_delta(item, item.call, item.call.text.sent)

    def _blank(self, kind: str, sent: JsonObject) -> JsonObject:
        """The members of an item in ``output_item.added``, with empty content: events carry the content."""
        blank: JsonObject = {}
        if kind in WITH_STATUS:
            blank["status"] = sent.get("status") or "in_progress"
        if kind == "message":
            blank |= {"role": sent.get("role") or "assistant", "content": []}
        elif kind == "reasoning":
            blank |= {"summary": [], **({"content": []} if sent.get("content") is not None else {})}
        elif (flow := CALLS.get(kind)) is not None:
            name = sent.get("name")
            blank |= {"name": self._names.get(name, name), flow.member: ""} if isinstance(name, str) else {}
        return blank

    def _finish_item(self, item: _Item, sent: JsonObject, raw: JsonObject, *, status: str) -> None:
        if item.done or (item.place is None and not sent):
            return
        if item.place is None:
            self._begin(item, sent, {})
        kind = item.shape["type"]
        if sent.get("type") != kind:
            # The done event has an item of another type: finish the item that began with the content so far.
            sent = {}
        shape = {**item.shape, **sent, "id": item.shape["id"]}
        if kind in ("message", "reasoning"):
            shape |= self._finish_parts(item, sent)
        elif kind in CALLS:
            whole = sent.get(CALLS[kind].member)
            self._finish_text(item, item.call, whole if isinstance(whole, str) else "", {})
            shape |= {CALLS[kind].member: item.call.text.sent, "name": item.shape.get("name")}
        if kind in WITH_STATUS:
            shape["status"] = sent.get("status") or status
        item.shape = shape
        item.done = True
        self._events.append({**raw, "type": "response.output_item.done", "output_index": item.place, "item": shape})

    def _finish_parts(self, item: _Item, sent: JsonObject) -> JsonObject:
        """Finish every part; returns the item's lists of parts."""
        lists: JsonObject = {}
        for within in _LISTS:
            for index, one in enumerate(sent.get(within) or ()):
                part = self._part(item, within, index, one)
                if part is not None:
                    self._finish_part(item, part, one, {})
            parts = [part for (where, _), part in item.parts.items() if where == within]
            for part in parts:
                self._finish_part(item, part, {}, {})
            if parts:
                # ``item.parts`` is in the order of ``place``.
                lists[within] = [part.shape for part in parts]
        return lists

    # --- Parts ----------------------------------------------------------------------

    def _growing(self, item: _Item, flow: Flow, index: int) -> _Part | None:
        """The part that a text of this kind belongs to; ``None`` if the item is done or has another type."""
        if item.done:
            return None
        if flow.part:
            return self._part(item, flow.parts, index, {"type": flow.part})
        return item.call if item.place is None or item.call.flow is flow else None

    def _part(
        self, item: _Item, within: str, index: int, sent: JsonObject, raw: JsonObject | None = None
    ) -> _Part | None:
        """
        The part at this index, begun if it is new; ``None`` if the item cannot hold such a part.

        Args:
            item: the item.
            within: ``content`` or ``summary``.
            index: the upstream's index in it.
            sent: the part as the upstream sent it; its text is sent in deltas.
            raw: the ``.added`` event, if there is one.
        """
        flow = PARTS.get(str(sent.get("type") or ""))
        if item.place is None:
            is_reasoning = within == "summary" or flow is THOUGHT
            self._begin(item, {"type": "reasoning" if is_reasoning else "message"}, {})
        if item.done or not _fits(flow, item.shape["type"], within):
            return None
        part = item.parts.get((within, index))
        if part is None:
            part = self._begin_part(item, within, index, sent, raw)
        return part if part.flow is flow else None

    def _begin_part(self, item: _Item, within: str, index: int, sent: JsonObject, raw: JsonObject | None) -> _Part:
        flow = PARTS.get(str(sent.get("type") or ""))
        place = sum(where == within for where, _ in item.parts)
        enclosed = flow.part_event if flow is not None else _LISTS[within][0]
        event = str((raw or {}).get("type") or "").removesuffix(".added") or enclosed
        shape = sent if flow is None else {**sent, flow.member: ""}
        if flow is TEXT:
            # SDKs require both lists.
            shape |= {"annotations": [], "logprobs": []}
        part = item.parts[within, index] = _Part(flow, within, place, event, shape)
        if event:
            self._emit(item, part, raw or {}, {"type": f"{event}.added", "part": shape})
        return part

    def _finish_part(self, item: _Item, part: _Part, sent: JsonObject, raw: JsonObject) -> None:
        if part.done:
            return
        if part.flow is None:
            part.shape = sent or part.shape
        else:
            whole = sent.get(part.flow.member)
            self._finish_text(item, part, whole if isinstance(whole, str) else "", {})
            for annotation in sent.get("annotations") or ():
                if annotation not in part.cited:
                    self._cite(item, part, annotation, {})
            part.shape = {**part.shape, **sent, part.flow.member: part.text.sent}
            if part.flow is TEXT:
                part.shape |= {"annotations": part.cited, **_with_logprobs(TEXT, sent)}
        part.done = True
        if part.event:
            self._emit(item, part, raw, {"type": f"{part.event}.done", "part": part.shape})

    def _finish_text(self, item: _Item, part: _Part, whole: str, raw: JsonObject) -> None:
        if part.text_done or part.flow is None:
            return
        self._emit_delta(item, part, part.text.tail(whole))
        part.text_done = True
        members: JsonObject = {"type": f"{part.flow.event}.done", **_with_logprobs(part.flow, raw)}
        if part.flow.item == "function_call":
            members["name"] = item.shape.get("name")
        self._emit(item, part, raw, {**members, part.flow.member: part.text.sent})

    def _emit_delta(self, item: _Item, part: _Part, text: str) -> None:
        """Generate a delta, unless the text is empty."""
        if text and part.flow is not None:
            self._emit(
                item, part, {}, {"type": f"{part.flow.event}.delta", "delta": text, **_with_logprobs(part.flow, {})}
            )

    def _cite(self, item: _Item, part: _Part, annotation: JsonObject, raw: JsonObject) -> None:
        members = {
            "type": f"{TEXT.event}.annotation.added",
            "annotation_index": len(part.cited),
            "annotation": annotation,
        }
        part.cited.append(annotation)
        self._emit(item, part, raw, members)

    # --- Events ---------------------------------------------------------------------

    def _emit(self, item: _Item, part: _Part, raw: JsonObject, members: JsonObject) -> None:
        """Queue an event: ``raw`` with ``members`` replaced, and the client's ids and indexes."""
        where: JsonObject = {"item_id": item.shape["id"], "output_index": item.place}
        if part is not item.call:
            where[_LISTS[part.within][1]] = part.place
        event = {**raw, **members, **where}
        self._events.append(event if "type" in raw else {"type": members["type"], **where, **members})

    def _flush(self) -> list[JsonObject]:
        events, self._events = self._events, []
        return events


def object_of(value: Any) -> JsonObject:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _names(item: JsonObject) -> Names:
    return tuple(name for name in (item.get("id"), item.get("call_id")) if isinstance(name, str) and name)


def _fits(flow: Flow | None, kind: str, within: str) -> bool:
    if flow is not None:
        return flow.item == kind and flow.parts == within
    return kind == "reasoning" or (kind == "message" and within == "content")


def _with_logprobs(flow: Flow, raw: JsonObject) -> JsonObject:
    if flow is not TEXT:
        return {}
    logprobs = raw.get("logprobs")
    return {"logprobs": logprobs if isinstance(logprobs, list) else []}
