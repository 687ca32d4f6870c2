"""
The machine from events to pieces: each thing that the upstream tells is passed on once, at the first chance.

    event                                   piece
    output_text.delta                       Text
    output_text.done, content_part.done,
      output_item.done (message)            Text: the missing tail only
    refusal.delta / .done                   Refusal, likewise
    reasoning_summary_text.*, reasoning_text.*  Reasoning; of the two sources only the first seen per item
    output_item.added (a call)              CallOpened
    *_arguments.delta, *_input.delta        CallInput, held until the call is open
    *_arguments.done, output_item.done      CallInput: the missing tail only; opens the call if nobody did
    output_text.annotation.added            Cited; those only in done events as well
    output_item.done (reasoning)            ReasoningSealed, if it has encrypted content
    output_item.done (web search)           Searched
    output_item.done (an image)             ImageMade; nothing for image_generation_call.*
    output_item.done                        ItemEnded, if there were pieces of the item
    completed, incomplete                   tails from its output if it has any, then Finished
    failed, error                           nothing: a failure is no piece (protocol.failures)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from gptmock.protocol import events as ev
from gptmock.protocol.delta_runs import DeltaPlace
from gptmock.protocol.item_tracking import GrowingText, ItemTracker, TrackedItem
from gptmock.protocol.items import (
    Annotation,
    ContentPart,
    CustomToolCallItem,
    FunctionCallItem,
    ImageGenerationCallItem,
    MessageItem,
    OtherItem,
    OutputItem,
    ReasoningItem,
    WebSearchCallItem,
    decode_item,
)
from gptmock.protocol.output_items import hosted, names_of
from gptmock.protocol.output_parts import (
    CallInput,
    CallKind,
    CallOpened,
    Cited,
    Finished,
    ItemEnded,
    Piece,
    Reasoning,
    ReasoningSealed,
    ReasoningSource,
    Refusal,
    Text,
)
from gptmock.protocol.placeholders import PlaceholderFilter

_ContentEvent: TypeAlias = (
    ev.OutputTextDone | ev.ContentPartDone | ev.OutputTextAnnotationAdded | ev.RefusalDelta | ev.RefusalDone
)
_ReasoningEvent: TypeAlias = (
    ev.ReasoningSummaryTextDelta
    | ev.ReasoningSummaryTextDone
    | ev.ReasoningSummaryPartDone
    | ev.ReasoningTextDelta
    | ev.ReasoningTextDone
)


@dataclass(slots=True)
class _Part:
    """One part of a message."""

    number: int
    text: GrowingText = field(default_factory=GrowingText)
    cited: set[Annotation] = field(default_factory=set)


@dataclass(slots=True)
class _Thought(_Part):
    """A paragraph of reasoning; placeholders it begins with are not shown."""

    shown: PlaceholderFilter = field(default_factory=PlaceholderFilter)


@dataclass(slots=True)
class _Call:
    """One tool call; ``index`` is ``None`` until its name is known, and its input waits in ``held``."""

    index: int | None = None
    input: GrowingText = field(default_factory=GrowingText)
    held: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Item(TrackedItem):
    """One output item."""

    texts: dict[int, _Part] = field(default_factory=dict)
    refusals: dict[int, _Part] = field(default_factory=dict)
    thoughts: dict[int, _Thought] = field(default_factory=dict)
    source: ReasoningSource | None = None
    reasoning: int | None = None
    message: int | None = None
    call: _Call = field(default_factory=_Call)


@dataclass(frozen=True, slots=True)
class OpenText:
    """A text that grows, and what a delta of it is."""

    piece: Text | Reasoning | CallInput
    """Without the text."""
    grown: GrowingText
    item: _Item


class OutputAssembler:
    """Events of one turn in, pieces out. ``calls`` counts the tool calls opened so far."""

    __slots__ = ("_messages", "_reasonings", "_slots", "_texts", "_thoughts", "calls")

    def __init__(self) -> None:
        self._slots: ItemTracker[_Item] = ItemTracker(_Item)
        self._texts = 0
        self._thoughts = 0
        self._messages = 0
        self._reasonings = 0
        self.calls = 0

    def feed(self, event: ev.ResponseEvent) -> list[Piece]:  # noqa: C901 - one case for each kind of event
        """The pieces that this event adds; often none."""
        # Half of the events of a short turn; a pattern asks for one type after the other.
        if type(event) in ev.OPENINGS:
            return []
        match event:
            case ev.OutputTextDelta():
                return self._text(self._of(event), event.content_index, delta=event.delta)
            case (
                ev.OutputTextDone()
                | ev.ContentPartDone()
                | ev.OutputTextAnnotationAdded()
                | ev.RefusalDelta()
                | ev.RefusalDone()
            ):
                return self._content(event, self._of(event))
            case (
                ev.ReasoningSummaryTextDelta()
                | ev.ReasoningSummaryTextDone()
                | ev.ReasoningSummaryPartDone()
                | ev.ReasoningTextDelta()
                | ev.ReasoningTextDone()
            ):
                return self._reasoning(event, self._of(event))
            case ev.FunctionCallArgumentsDelta() | ev.CustomToolCallInputDelta():
                return self._call_input(self._of(event).call, event.delta)
            case ev.FunctionCallArgumentsDone(arguments=whole) | ev.CustomToolCallInputDone(input=whole):
                call = self._of(event).call
                return self._call_input(call, call.input.tail(whole), counted=True)
            case ev.OutputItemAdded():
                return self._item_added(event.item, event.output_index)
            case ev.OutputItemDone():
                return self._item_done(event.item, event.output_index)
            case ev.ResponseCompleted() | ev.ResponseIncomplete():
                return self._finish(event)
            case (
                ev.ResponseCreated()
                | ev.ResponseInProgress()
                | ev.ResponseQueued()
                | ev.ResponseMetadata()
                | ev.ContentPartAdded()
                | ev.ReasoningSummaryPartAdded()
                | ev.ImagePartial()
                | ev.ResponseFailed()
                | ev.ErrorEvent()
                | ev.OtherEvent()
            ):
                return []
            case _:
                assert_never(event)

    def _content(self, event: _ContentEvent, item: _Item) -> list[Piece]:
        match event:
            case ev.OutputTextDone():
                return self._text(item, event.content_index, whole=event.text)
            case ev.ContentPartDone():
                return self._content_done(item, event.content_index, event.part)
            case ev.OutputTextAnnotationAdded():
                return self._cite(self._text_part(item, event.content_index), [event.annotation])
            case ev.RefusalDelta():
                return self._refusal(item, event.content_index, delta=event.delta)
            case ev.RefusalDone():
                return self._refusal(item, event.content_index, whole=event.refusal)
            case _:
                assert_never(event)

    def _reasoning(self, event: _ReasoningEvent, item: _Item) -> list[Piece]:
        match event:
            case ev.ReasoningSummaryTextDelta():
                return self._thought(item, "summary", event.summary_index, delta=event.delta)
            case ev.ReasoningSummaryTextDone():
                return self._thought(item, "summary", event.summary_index, whole=event.text)
            case ev.ReasoningSummaryPartDone():
                return self._thought(item, "summary", event.summary_index, whole=event.part.text or "")
            case ev.ReasoningTextDelta():
                return self._thought(item, "text", event.content_index, delta=event.delta)
            case ev.ReasoningTextDone():
                return self._thought(item, "text", event.content_index, whole=event.text)
            case _:
                assert_never(event)

    # --- Runs ------------------------------------------------------------------

    def open_text(self, place: DeltaPlace) -> OpenText | None:
        """The text at this place, if a delta there adds a piece of text and does nothing else."""
        item = self._slots.settled(place.output_index, place.item_id)
        if item is None:
            return None
        kind = place.kind
        if kind is ev.OutputTextDelta:
            part = item.texts.get(place.index)
            if part is None or item.message is None:
                return None
            return OpenText(Text("", part=part.number, message=item.message), part.text, item)
        if kind is ev.FunctionCallArgumentsDelta or kind is ev.CustomToolCallInputDelta:
            call = item.call
            return None if call.index is None else OpenText(CallInput(call.index, ""), call.input, item)
        source: ReasoningSource = "summary" if kind is ev.ReasoningSummaryTextDelta else "text"
        thought = item.thoughts.get(place.index)
        if thought is None or item.source != source or not thought.shown.passing:
            return None
        reasoning = Reasoning("", part=thought.number, source=source, item=self._reasoning_number(item))
        return OpenText(reasoning, thought.text, item)

    def copied(self, text: OpenText, literals: list[bytes]) -> None:
        """Deltas of an open text that were passed on without ``feed``."""
        self._slots.last = text.item
        text.grown.copied(literals)

    # --- Items -----------------------------------------------------------------

    def _of(self, event: ev.InItem) -> _Item:
        return self._slots.of(event.output_index, event.item_id)

    def _item_added(self, item: OutputItem, output_index: int | None) -> list[Piece]:
        match item:
            case FunctionCallItem() | CustomToolCallItem():
                return self._open(self._slots.found(output_index, names_of(item), begins=True), item)
            case MessageItem() | ReasoningItem() | WebSearchCallItem() | ImageGenerationCallItem() | OtherItem():
                self._slots.found(output_index, names_of(item), begins=True)
                return []
            case _:
                assert_never(item)

    def _item_done(self, item: OutputItem, output_index: int | None) -> list[Piece]:
        slot = self._slots.found(output_index, names_of(item), begins=False)
        repeated, slot.done = slot.done, True
        pieces: list[Piece] = []
        match item:
            case MessageItem():
                for index, part in enumerate(item.content or ()):
                    pieces += self._content_done(slot, index, part)
            case ReasoningItem():
                for index, part in enumerate(item.summary or ()):
                    pieces += self._thought(slot, "summary", index, whole=part.text or "")
                for index, part in enumerate(item.content or ()):
                    pieces += self._thought(slot, "text", index, whole=part.text or "")
                if item.encrypted_content and not repeated:
                    pieces.append(ReasoningSealed(self._reasoning_number(slot), item.id, item.encrypted_content))
            case FunctionCallItem(arguments=whole) | CustomToolCallItem(input=whole):
                pieces += self._open(slot, item)
                pieces += self._call_input(slot.call, slot.call.input.tail(whole or ""), counted=True)
            case WebSearchCallItem() | ImageGenerationCallItem():
                pieces += [] if repeated else hosted(item)
            case OtherItem():
                pass
            case _:
                assert_never(item)
        return pieces if repeated else [*pieces, *_ended(slot)]

    # --- Text, refusal, reasoning ----------------------------------------------

    def _text_part(self, item: _Item, index: int) -> _Part:
        part = item.texts.get(index)
        if part is None:
            part = item.texts[index] = _Part(self._texts)
            self._texts += 1
        return part

    def _text(self, item: _Item, index: int, *, delta: str = "", whole: str = "") -> list[Piece]:
        part = self._text_part(item, index)
        text = part.text.more(delta) if delta else part.text.tail(whole)
        if not text:
            return []
        return [Text(text, part=part.number, message=self._message_number(item))]

    def _message_number(self, item: _Item) -> int:
        if item.message is None:
            item.message = self._messages
            self._messages += 1
        return item.message

    def _reasoning_number(self, item: _Item) -> int:
        if item.reasoning is None:
            item.reasoning = self._reasonings
            self._reasonings += 1
        return item.reasoning

    def _content_done(self, item: _Item, index: int, part: ContentPart) -> list[Piece]:
        if part.type == "refusal":
            return self._refusal(item, index, whole=part.refusal or "")
        if part.type != "output_text":
            return []
        pieces = self._text(item, index, whole=part.text or "")
        if part.annotations:
            pieces += self._cite(self._text_part(item, index), part.annotations)
        return pieces

    def _cite(self, part: _Part, annotations: list[Annotation]) -> list[Piece]:
        new = [one for one in annotations if one not in part.cited]
        part.cited.update(new)
        return [Cited(part.number, one) for one in new]

    def _refusal(self, item: _Item, index: int, *, delta: str = "", whole: str = "") -> list[Piece]:
        part = item.refusals.setdefault(index, _Part(0))
        text = part.text.more(delta) if delta else part.text.tail(whole)
        return [Refusal(text, self._message_number(item))] if text else []

    def _thought(
        self, item: _Item, source: ReasoningSource, index: int, *, delta: str = "", whole: str = ""
    ) -> list[Piece]:
        if not (delta or whole):
            return []
        item.source = item.source or source
        if item.source != source:
            return []
        part = item.thoughts.get(index)
        if part is None:
            part = item.thoughts[index] = _Thought(self._thoughts)
            self._thoughts += 1
        text = part.shown.feed(part.text.more(delta) if delta else part.text.tail(whole))
        if whole:
            text += part.shown.flush()
        if not text:
            return []
        return [Reasoning(text, part=part.number, source=source, item=self._reasoning_number(item))]

    # --- Calls -------------------------------------------------------------------

    def _open(self, item: _Item, wire: FunctionCallItem | CustomToolCallItem) -> list[Piece]:
        call = item.call
        if call.index is not None:
            return []
        call.index = self.calls
        self.calls += 1
        kind: CallKind = "function" if isinstance(wire, FunctionCallItem) else "custom"
        opened: list[Piece] = [CallOpened(call.index, kind=kind, call_id=wire.call_id, name=wire.name)]
        held, call.held = "".join(call.held), []
        return [*opened, CallInput(call.index, held)] if held else opened

    def _call_input(self, call: _Call, text: str, *, counted: bool = False) -> list[Piece]:
        if not text:
            return []
        if not counted:
            call.input.more(text)
        if call.index is None:
            call.held.append(text)
            return []
        return [CallInput(call.index, text)]

    # --- The end -------------------------------------------------------------------

    def _finish(self, event: ev.ResponseCompleted | ev.ResponseIncomplete) -> list[Piece]:
        response = event.response
        details = response.incomplete_details
        incomplete_reason = None
        if isinstance(event, ev.ResponseIncomplete):
            incomplete_reason = (details and details.reason) or "unknown"
        pieces: list[Piece] = []
        output = [decode_item(raw) for raw in response.output or ()]
        for place, index in self._slots.repeated(map(names_of, output)):
            pieces += self._item_done(output[place], index)
        finished = Finished(
            incomplete_reason=incomplete_reason,
            usage=response.usage,
            service_tier=response.service_tier,
            model=response.model,
        )
        return [*pieces, finished]


def _ended(item: _Item) -> list[ItemEnded]:
    if item.message is not None:
        return [ItemEnded("message", item.message)]
    if item.reasoning is not None:
        return [ItemEnded("reasoning", item.reasoning)]
    return [] if item.call.index is None else [ItemEnded("call", item.call.index)]
