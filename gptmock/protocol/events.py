"""
The upstream's events, one frozen struct for each that somebody acts on; everything else is ``OtherEvent``.

Names are the wire tag without ``response.``, in CapWords. Must not know what any client wants.
"""

from __future__ import annotations

from typing import TypeAlias, cast, get_args

import msgspec
from msgspec import Raw, Struct

from gptmock.protocol.items import (
    Annotation,
    ContentPart,
    ErrorBody,
    OutputItem,
    ResponseObject,
    decode_item,
    mended,
    type_of,
    wrong_shape,
)


class _Event(Struct, frozen=True, tag_field="type"):
    pass


class InItem(_Event, frozen=True, kw_only=True):
    """An event of one output item; either member may be missing, and ``item_id`` may change between events."""

    output_index: int | None = None
    item_id: str | None = None


class _InContent(InItem, frozen=True, kw_only=True):
    content_index: int = 0


class _InSummary(InItem, frozen=True, kw_only=True):
    summary_index: int = 0


class ResponseCreated(_Event, frozen=True, tag="response.created"):
    """The turn has an id."""

    response: ResponseObject


class ResponseInProgress(_Event, frozen=True, tag="response.in_progress"):
    """The turn runs."""


class ResponseQueued(_Event, frozen=True, tag="response.queued"):
    """The turn waits."""


class ResponseMetadata(_Event, frozen=True, tag="response.metadata"):
    """Words between the backend and its own client."""


class OutputItemAdded(Struct, frozen=True):
    """An item begins; its content follows."""

    item: OutputItem
    output_index: int | None = None


class OutputItemDone(Struct, frozen=True):
    """An item is complete, with all of its content."""

    item: OutputItem
    output_index: int | None = None


class ContentPartAdded(_InContent, frozen=True, kw_only=True, tag="response.content_part.added"):
    """A part of a message begins."""


class ContentPartDone(InItem, frozen=True, kw_only=True, tag="response.content_part.done"):
    """A part of a message is complete."""

    part: ContentPart
    content_index: int = 0


class OutputTextDelta(InItem, frozen=True, kw_only=True, tag="response.output_text.delta"):
    """More text."""

    delta: str
    content_index: int = 0


class OutputTextDone(InItem, frozen=True, kw_only=True, tag="response.output_text.done"):
    """The whole text of a part."""

    text: str
    content_index: int = 0


class OutputTextAnnotationAdded(InItem, frozen=True, kw_only=True, tag="response.output_text.annotation.added"):
    """A citation of the text so far."""

    annotation: Annotation
    content_index: int = 0


class RefusalDelta(InItem, frozen=True, kw_only=True, tag="response.refusal.delta"):
    """More of a refusal."""

    delta: str
    content_index: int = 0


class RefusalDone(InItem, frozen=True, kw_only=True, tag="response.refusal.done"):
    """The whole refusal."""

    refusal: str
    content_index: int = 0


class ReasoningSummaryPartAdded(_InSummary, frozen=True, kw_only=True, tag="response.reasoning_summary_part.added"):
    """A paragraph of the summary begins."""


class ReasoningSummaryPartDone(InItem, frozen=True, kw_only=True, tag="response.reasoning_summary_part.done"):
    """A paragraph of the summary is complete."""

    part: ContentPart
    summary_index: int = 0


class ReasoningSummaryTextDelta(InItem, frozen=True, kw_only=True, tag="response.reasoning_summary_text.delta"):
    """More of the summary."""

    delta: str
    summary_index: int = 0


class ReasoningSummaryTextDone(InItem, frozen=True, kw_only=True, tag="response.reasoning_summary_text.done"):
    """The whole text of a summary paragraph."""

    text: str
    summary_index: int = 0


class ReasoningTextDelta(InItem, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    """More raw thinking."""

    delta: str
    content_index: int = 0


class ReasoningTextDone(InItem, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    """The whole raw thinking."""

    text: str
    content_index: int = 0


class FunctionCallArgumentsDelta(InItem, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"):
    """More arguments of a call."""

    delta: str


class FunctionCallArgumentsDone(InItem, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    """The whole arguments of a call."""

    arguments: str


class CustomToolCallInputDelta(InItem, frozen=True, kw_only=True, tag="response.custom_tool_call_input.delta"):
    """More input of a custom tool call."""

    delta: str


class CustomToolCallInputDone(InItem, frozen=True, kw_only=True, tag="response.custom_tool_call_input.done"):
    """The whole input of a custom tool call."""

    input: str


class ImagePartial(InItem, frozen=True, kw_only=True, tag="response.image_generation_call.partial_image"):
    """An image that is not finished yet, as base64."""

    partial_image_b64: str
    partial_image_index: int = 0


class ResponseCompleted(_Event, frozen=True, tag="response.completed"):
    """The turn ended well."""

    response: ResponseObject


class ResponseIncomplete(_Event, frozen=True, tag="response.incomplete"):
    """The turn ended early, for the reason in ``incomplete_details``."""

    response: ResponseObject


class ResponseFailed(_Event, frozen=True, tag="response.failed"):
    """The turn failed; also stands for ``response.cancelled``."""

    response: ResponseObject


class ErrorEvent(_Event, frozen=True, tag="error"):
    """A failure outside of any response; flat in the public API, nested in the Codex backend's own form."""

    message: str | None = None
    code: str | int | None = None
    param: str | None = None
    error: ErrorBody | None = None


class OtherEvent(Struct, frozen=True):
    """A type that we do not know. Ignored by every dialect but ``responses``, which forwards it."""

    type: str


ResponseEvent: TypeAlias = (
    ResponseCreated
    | ResponseInProgress
    | ResponseQueued
    | ResponseMetadata
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | OutputTextAnnotationAdded
    | RefusalDelta
    | RefusalDone
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | ImagePartial
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | ErrorEvent
    | OtherEvent
)


class _ItemAdded(_Event, frozen=True, tag="response.output_item.added"):
    item: Raw
    output_index: int | None = None


class _ItemDone(_Event, frozen=True, tag="response.output_item.done"):
    item: Raw
    output_index: int | None = None


class _ResponseCancelled(_Event, frozen=True, tag="response.cancelled"):
    response: ResponseObject


class _ResponseDone(_Event, frozen=True, tag="response.done"):
    """The WebSocket's alias of ``response.completed``."""

    response: ResponseObject


_KNOWN_EVENT: TypeAlias = (
    ResponseCreated
    | ResponseInProgress
    | ResponseQueued
    | ResponseMetadata
    | _ItemAdded
    | _ItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | OutputTextAnnotationAdded
    | RefusalDelta
    | RefusalDone
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | ImagePartial
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | _ResponseCancelled
    | _ResponseDone
    | ErrorEvent
)


OPENINGS = frozenset({ResponseCreated, ResponseInProgress, ContentPartAdded, ReasoningSummaryPartAdded})
"""Events that announce what is to come, and add nothing to the output."""

_EVENT: msgspec.json.Decoder[_KNOWN_EVENT] = msgspec.json.Decoder(_KNOWN_EVENT)
_REWRITTEN = frozenset({_ItemAdded, _ItemDone, _ResponseCancelled, _ResponseDone})
_EVENT_TAGS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(_KNOWN_EVENT))


def decode_event(data: bytes) -> ResponseEvent | None:
    """
    The event in one JSON text.

    Returns ``None`` for what is no event at all: no JSON, no object, no ``type``. The stream goes on without it.

    Raises:
        UpstreamBroken: a known type with a wrong shape, with the JSON path in the message.
    """
    try:
        known = _EVENT.decode(data)
    except msgspec.ValidationError as error:
        return _unknown_event(data, error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        again = mended(data)
        return decode_event(again) if again != data else None
    except RecursionError:
        return None
    # Four patterns less for nearly every event.
    if type(known) not in _REWRITTEN:
        return cast("ResponseEvent", known)
    match known:
        case _ItemAdded(item=raw, output_index=index):
            return OutputItemAdded(item=decode_item(raw), output_index=index)
        case _ItemDone(item=raw, output_index=index):
            return OutputItemDone(item=decode_item(raw), output_index=index)
        case _ResponseCancelled(response=response):
            return ResponseFailed(response=response)
        case _ResponseDone(response=response):
            return ResponseCompleted(response=response)
        case _:
            return known


def _unknown_event(data: bytes, error: msgspec.ValidationError) -> OtherEvent | None:
    kind = type_of(data)
    if kind is None:
        return None
    if kind in _EVENT_TAGS:
        raise wrong_shape(kind, error) from error
    return OtherEvent(type=kind)
