"""
``POST /v1/responses``, outward: the upstream's own events, made regular for those who read them strictly.

    state      event                       said                                                  next
    new        created                     created, what was held back                           open
    new        codex.*, metadata           as it is to a Codex client, else nothing              new
    new        unknown                     held back; as it is to a Codex client                 new
    new        any other                   created of our own making, then as in open            open
    open       queued, in_progress         with a whole Response object                          open
    open       items, parts, texts         as ``output`` has them                                open
    open       codex.*, metadata           as it is to a Codex client, else nothing              open
    open       unknown                     as it is                                              open
    open       completed, incomplete       what is still open is closed, then the Response       ended
    new, open  failed, error               error, failed                                         ended
    new, open  end of the upstream         error, failed                                         ended
    ended      anything                    nothing                                               ended

``sequence_number`` counts what is said. ``final`` is the whole Response once the turn has ended well. A translator
whose turn is to be stored withholds its last frame until it is told whether the response is stored.

Source: client contracts 3.5.
"""

from __future__ import annotations

import re
from typing import TypeAlias, assert_never

from gptmock.dialects.dialect import CopiesDelta, ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import error_members
from gptmock.dialects.responses.output import OpenText, OutputStream, object_of
from gptmock.dialects.responses.response_object import ResponseShape, ResponsesOptions
from gptmock.dialects.responses.text_kinds import FLOWS
from gptmock.errors import GptmockError, UpstreamBroken
from gptmock.protocol import events as ev
from gptmock.protocol.delta_runs import DeltaPlace, DeltaRun
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.items import decode_item
from gptmock.protocol.reader import Received
from gptmock.protocol.request import JsonObject

_PLAIN = re.compile(r"[\w.-]+\Z", re.ASCII)
_Status: TypeAlias = ev.ResponseInProgress | ev.ResponseQueued
_Terminal: TypeAlias = ev.ResponseCompleted | ev.ResponseIncomplete
_Text: TypeAlias = (
    ev.OutputTextDelta
    | ev.OutputTextDone
    | ev.RefusalDelta
    | ev.RefusalDone
    | ev.ReasoningSummaryTextDelta
    | ev.ReasoningSummaryTextDone
    | ev.ReasoningTextDelta
    | ev.ReasoningTextDone
    | ev.FunctionCallArgumentsDelta
    | ev.FunctionCallArgumentsDone
    | ev.CustomToolCallInputDelta
    | ev.CustomToolCallInputDone
)
_Part: TypeAlias = ev.ContentPartAdded | ev.ContentPartDone | ev.ReasoningSummaryPartAdded | ev.ReasoningSummaryPartDone
_Inner: TypeAlias = (
    _Status | _Terminal | _Text | _Part | ev.OutputItemAdded | ev.OutputItemDone | ev.OutputTextAnnotationAdded
)


class ResponsesMachine:
    """Events of one turn in, events for the client out; no framing."""

    __slots__ = (
        "_around",
        "_codex",
        "_early",
        "_hides_plan",
        "_open",
        "_output",
        "_place",
        "_sequence",
        "_shape",
        "_show_padding",
        "_started",
        "ended",
        "failure",
        "final",
    )

    def __init__(self, options: ResponsesOptions, head: ReplyHead) -> None:
        self._codex = options.codex
        self._hides_plan = options.hides_plan
        self._show_padding = options.obfuscation
        self._shape = ResponseShape(options, head)
        self._output = OutputStream(head.id, options.tool_names)
        self._early: list[JsonObject] = []
        """What came before ``response.created`` and may only follow it."""
        self._started = False
        self._sequence = 0
        self._place: DeltaPlace | None = None
        """Where deltas are copied; ``None`` after anything that was not copied."""
        self._open: OpenText
        self._around: tuple[bytes, bytes]
        self.ended = False
        self.failure: GptmockError | None = None
        self.final: JsonObject | None = None
        """The Response of a turn that ended well."""

    def feed(self, received: Received) -> list[JsonObject]:
        """The events that this one becomes; often one."""
        self._place = None
        if self.ended:
            return []
        try:
            events = self._events(received.event, received.document())
        except UpstreamBroken as broken:
            events = self._farewell(broken)
        return [self._numbered(event) for event in events]

    def copy(self, run: DeltaRun) -> bytes | None:
        """Their frames (see ``CopiesDeltas.copy``); here with the framing, of which nothing else is known."""
        if self.ended:
            return b""
        if run.place is not self._place:
            text = self._output.open_text(run.place) if self._started else None
            if text is None:
                return None
            self._place, self._open = run.place, text
            self._around = _around(text)
        literals = run.literals
        self._output.copied(self._open, literals)
        begin, between = self._around
        number = self._sequence
        self._sequence += len(literals)
        if self._show_padding:
            return b"".join(
                [
                    b'%b%d%b%b"%b}\n\n' % (begin, number + count, between, literal, padding)
                    for count, (literal, padding) in enumerate(zip(literals, run.paddings, strict=True))
                ]
            )
        return b"".join(
            [b'%b%d%b%b"}\n\n' % (begin, number + count, between, one) for count, one in enumerate(literals)]
        )

    def lane(self, place: DeltaPlace) -> CopiesDelta | None:
        """See ``CopiesDeltas.lane``."""
        if self.ended or place is not self._place:
            return None
        begin, between = self._around
        frame = b'%b%%d%b%%b"%%b}\n\n' % (begin.replace(b"%", b"%%"), between.replace(b"%", b"%%"))
        shows_padding, copied = self._show_padding, self._open.grown.copied_one

        def copy(literal: bytes, padding: bytes) -> bytes:
            copied(literal)
            number = self._sequence
            self._sequence = number + 1
            return frame % (number, literal, padding if shows_padding else b"")

        return copy

    def fail(self, cause: GptmockError) -> list[JsonObject]:
        """The two events that end a failed turn, unless it has ended."""
        return [] if self.ended else [self._numbered(event) for event in self._farewell(cause)]

    def withdraw(self) -> None:
        """The last event was not said after all: the turn may still fail."""
        self.ended, self.final = False, None
        self._sequence -= 1

    def _farewell(self, cause: GptmockError) -> list[JsonObject]:
        """SDKs act on the first, which is flat as in the schema and nested as on the wire; Codex on the second."""
        self.ended, self.failure = True, cause
        flat = {"type": "error", "code": cause.code, "message": cause.message, "param": cause.param}
        failed = {"type": "response.failed", "response": self._shape.failed(cause, self._output.items)}
        return [{**flat, "error": error_members(cause)}, failed]

    def _numbered(self, event: JsonObject) -> JsonObject:
        if not self._show_padding:
            event.pop("obfuscation", None)
        numbered = {"type": event["type"], "sequence_number": self._sequence, **event}
        numbered["sequence_number"] = self._sequence
        self._sequence += 1
        return numbered

    def _events(self, event: ev.ResponseEvent, raw: JsonObject) -> list[JsonObject]:
        match event:
            case ev.ResponseFailed() | ev.ErrorEvent():
                self._shape.told(object_of(raw.get("response")))
                return self._farewell(failure_of(event))
            case ev.ResponseMetadata():
                return [raw] if self._codex else []
            case ev.OtherEvent() | ev.ImagePartial():
                return self._other(raw)
            case ev.ResponseCreated():
                return self._start(raw)
            case _:
                return [*self._start({}), *self._within(event, raw)]

    def _other(self, raw: JsonObject) -> list[JsonObject]:
        if self._codex:
            return self._output.other({**raw, "plan_type": None} if self._hides_plan and "plan_type" in raw else raw)
        if str(raw["type"]).startswith("codex."):
            return []
        if self._started:
            return self._output.other(raw)
        self._early.append(raw)
        return []

    def _start(self, raw: JsonObject) -> list[JsonObject]:
        """``response.created``, once, and what waited for it."""
        if self._started:
            return []
        self._started = True
        self._shape.told(object_of(raw.get("response")))
        early, self._early = self._early, []
        return [{**raw, "type": "response.created", "response": self._shape.running("in_progress")}, *early]

    def _within(self, event: _Inner, raw: JsonObject) -> list[JsonObject]:
        """What comes after ``response.created``."""
        match event:
            case ev.OutputItemAdded():
                return self._output.added(raw, event.output_index)
            case ev.OutputItemDone():
                return self._output.done(raw, event.output_index)
            case ev.OutputTextAnnotationAdded():
                return self._output.cited(raw, event, index=event.content_index)
            case ev.ResponseInProgress() | ev.ResponseQueued():
                return [self._status(event, raw)]
            case ev.ResponseCompleted() | ev.ResponseIncomplete():
                return self._end(event, raw)
            case (
                ev.ContentPartAdded()
                | ev.ContentPartDone()
                | ev.ReasoningSummaryPartAdded()
                | ev.ReasoningSummaryPartDone()
            ):
                return self._part(event, raw)
            case _:
                return self._text(event, raw)

    def _part(self, event: _Part, raw: JsonObject) -> list[JsonObject]:
        match event:
            case ev.ContentPartAdded(content_index=index):
                return self._output.part_added(raw, event, within="content", index=index)
            case ev.ContentPartDone(content_index=index):
                return self._output.part_done(raw, event, within="content", index=index)
            case ev.ReasoningSummaryPartAdded(summary_index=index):
                return self._output.part_added(raw, event, within="summary", index=index)
            case ev.ReasoningSummaryPartDone(summary_index=index):
                return self._output.part_done(raw, event, within="summary", index=index)
            case _:
                assert_never(event)

    def _text(self, event: _Text, raw: JsonObject) -> list[JsonObject]:
        flow = FLOWS[type(event)]
        index: int = getattr(event, flow.index) if flow.index else 0
        grow = self._output.delta if hasattr(event, "delta") else self._output.text_done
        return grow(flow, raw, event, index=index)

    def _status(self, event: _Status, raw: JsonObject) -> JsonObject:
        self._shape.told(object_of(raw.get("response")))
        status = "queued" if isinstance(event, ev.ResponseQueued) else "in_progress"
        return {**raw, "response": self._shape.running(status)}

    def _end(self, event: _Terminal, raw: JsonObject) -> list[JsonObject]:
        told = object_of(raw.get("response"))
        for one in event.response.output or ():
            # Judged before anything of it is repeated.
            decode_item(one)
        self._shape.told(told)
        status = "completed" if isinstance(event, ev.ResponseCompleted) else "incomplete"
        closing = self._output.finish(told.get("output") or (), status=status)
        self.ended = True
        self.final = self._shape.ended(status, self._output.items)
        # ``response.done`` is the WebSocket's name of it.
        return [*closing, {**raw, "type": f"response.{status}", "response": self.final}]


class ResponsesTranslator:
    """One streamed reply."""

    __slots__ = ("_end", "_machine", "_withholds")

    def __init__(self, options: ResponsesOptions, head: ReplyHead) -> None:
        self._machine = ResponsesMachine(options, head)
        self._withholds = options.stored
        self._end: JsonObject | None = None
        """The last event, while it is withheld."""

    @property
    def failure(self) -> GptmockError | None:
        """See ``Translator.failure``."""
        return self._machine.failure

    @property
    def answer(self) -> bytes | None:
        """See ``WithholdsItsEnd.answer``."""
        return None if self._end is None else json_bytes(self._end["response"])

    def feed(self, received: Received) -> list[bytes]:
        """The frames that this event adds."""
        events = self._machine.feed(received)
        if self._withholds and events and self._machine.final is not None:
            self._end = events.pop()
        return [_frame(event) for event in events]

    def copy(self, run: DeltaRun) -> bytes | None:
        """See ``CopiesDeltas.copy``."""
        return self._machine.copy(run)

    def lane(self, place: DeltaPlace) -> CopiesDelta | None:
        """See ``CopiesDeltas.lane``."""
        return self._machine.lane(place)

    def settle(self, *, stored: bool) -> list[bytes]:
        """See ``WithholdsItsEnd.settle``."""
        if self._end is None:
            return []
        end, self._end = self._end, None
        return [_frame({**end, "response": {**end["response"], "store": stored}})]

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """Two frames that tell of the failure, unless the reply has ended."""
        if self._end is not None:
            self._end = None
            self._machine.withdraw()
        return [_frame(event) for event in self._machine.fail(cause or truncated())]


def _around(text: OpenText) -> tuple[bytes, bytes]:
    """The frame of a delta: before its number, and between that and the text, which is the last member but padding."""
    frame = _frame({**text.begin, "sequence_number": 0, **text.end, "delta": ""})
    begin, _, rest = frame.partition(b'"sequence_number":0')
    return begin + b'"sequence_number":', rest.removesuffix(b'"}\n\n')


def _frame(event: JsonObject) -> bytes:
    """With its type as the event's name too: SDKs read the JSON, plainer clients the name."""
    data = b"data: " + json_bytes(event) + b"\n\n"
    kind = str(event["type"])
    # A name that is no word would break the frame; there the JSON has to do.
    return b"event: " + kind.encode() + b"\n" + data if _PLAIN.match(kind) else data
