"""
The objects inside upstream events: response, output items, content parts, usage. A field is required only if the code
cannot work without it: the upstream omits and adds members without notice.

Source for fields: openai/openai-python ``types/responses/``, and streams recorded at the Codex backend (July 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias, get_args

import msgspec
from msgspec import Raw, Struct

from gptmock.errors import UpstreamBroken
from gptmock.protocol.surrogates import without_halves

TokenCount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""No more than a float holds exactly: counts are added up in several stores."""


class InputTokensDetails(Struct, frozen=True):
    """Tokens; ``cache_write_tokens`` appears from gpt-5.6 on."""

    cached_tokens: TokenCount = 0
    cache_write_tokens: TokenCount | None = None


class OutputTokensDetails(Struct, frozen=True):
    """Tokens."""

    reasoning_tokens: TokenCount = 0


class ResponseUsage(Struct, frozen=True):
    """``usage`` of a response, in tokens."""

    input_tokens: TokenCount = 0
    output_tokens: TokenCount = 0
    total_tokens: TokenCount = 0
    input_tokens_details: InputTokensDetails | None = None
    output_tokens_details: OutputTokensDetails | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Of the input; ``None`` if the upstream told no details."""
        return self.input_tokens_details.cached_tokens if self.input_tokens_details is not None else None

    @property
    def reasoning_tokens(self) -> int | None:
        """Of the output; ``None`` if the upstream told no details."""
        return self.output_tokens_details.reasoning_tokens if self.output_tokens_details is not None else None


def total_usage(usages: Sequence[ResponseUsage | None]) -> ResponseUsage | None:
    """The sum of several turns' usage; ``None`` if any of them has none, since a partial sum would be wrong."""
    known = [usage for usage in usages if usage is not None]
    if not known or len(known) < len(usages):
        return None
    inputs = [usage.input_tokens_details or InputTokensDetails() for usage in known]
    outputs = [usage.output_tokens_details or OutputTokensDetails() for usage in known]
    written = [one.cache_write_tokens for one in inputs if one.cache_write_tokens is not None]
    return ResponseUsage(
        input_tokens=sum(usage.input_tokens for usage in known),
        output_tokens=sum(usage.output_tokens for usage in known),
        total_tokens=sum(usage.total_tokens or usage.input_tokens + usage.output_tokens for usage in known),
        input_tokens_details=InputTokensDetails(
            cached_tokens=sum(one.cached_tokens for one in inputs),
            cache_write_tokens=sum(written) if written else None,
        ),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=sum(one.reasoning_tokens for one in outputs)),
    )


class ErrorBody(Struct, frozen=True):
    """The ``error`` object of a failed response or of a nested ``error`` event."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    resets_at: float | None = None
    resets_in_seconds: float | None = None


class IncompleteDetails(Struct, frozen=True):
    """Why a response stopped early: ``max_output_tokens`` or ``content_filter``."""

    reason: str | None = None


class ImageTokensDetails(Struct, frozen=True):
    """Tokens."""

    text_tokens: TokenCount = 0
    image_tokens: TokenCount = 0


class ImageUsage(Struct, frozen=True):
    """What making images took, in tokens; they are not in ``ResponseUsage``."""

    input_tokens: TokenCount = 0
    output_tokens: TokenCount = 0
    total_tokens: TokenCount = 0
    input_tokens_details: ImageTokensDetails | None = None
    output_tokens_details: ImageTokensDetails | None = None


class ToolUsage(Struct, frozen=True):
    """``tool_usage`` of a response."""

    image_gen: ImageUsage | None = None


class ResponseObject(Struct, frozen=True):
    """The members of ``response`` that are used. Since April 2026 ``output`` is empty in terminal events."""

    id: str = ""
    model: str | None = None
    service_tier: str | None = None
    usage: ResponseUsage | None = None
    error: ErrorBody | None = None
    incomplete_details: IncompleteDetails | None = None
    output: list[Raw] | None = None
    tool_usage: ToolUsage | None = None

    @property
    def spent(self) -> ResponseUsage | None:
        """``usage`` with what images took; ``None`` if neither is told."""
        images = None if self.tool_usage is None else self.tool_usage.image_gen
        if images is None or not (images.input_tokens or images.output_tokens):
            return self.usage
        made = ResponseUsage(input_tokens=images.input_tokens, output_tokens=images.output_tokens)
        return made if self.usage is None else total_usage([self.usage, made])


class Annotation(Struct, frozen=True):
    """A citation; only ``url_citation`` is shown to chat clients. Indexes count characters of the part's text."""

    type: str = ""
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class ContentPart(Struct, frozen=True):
    """A part of a message or of a reasoning item: ``output_text``, ``refusal``, ``summary_text``, ..."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[Annotation] | None = None


class MessageItem(Struct, frozen=True, tag_field="type", tag="message"):
    """An assistant message; ``phase`` is ``commentary`` or ``final_answer``, or absent in older streams."""

    id: str | None = None
    phase: str | None = None
    content: list[ContentPart] | None = None


class ReasoningItem(Struct, frozen=True, tag_field="type", tag="reasoning"):
    """A reasoning item: summary parts, and from some models the raw reasoning text in ``content``."""

    id: str | None = None
    summary: list[ContentPart] | None = None
    content: list[ContentPart] | None = None
    encrypted_content: str | None = None


class FunctionCallItem(Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call of a declared function. ``call_id`` pairs it with its output, ``id`` does not."""

    call_id: str
    name: str
    id: str | None = None
    arguments: str | None = None


class CustomToolCallItem(Struct, frozen=True, tag_field="type", tag="custom_tool_call"):
    """A call of a declared custom tool, with free text as input."""

    call_id: str
    name: str
    id: str | None = None
    input: str | None = None


class WebSearchCallItem(Struct, frozen=True, tag_field="type", tag="web_search_call"):
    """A hosted web search; see ``search_action``."""

    id: str | None = None
    # Decoded leniently: no dialect may fail because an action has a new form.
    action: Raw = Raw()


class ImageGenerationCallItem(Struct, frozen=True, tag_field="type", tag="image_generation_call"):
    """An image of the hosted tool; ``result`` is base64, and absent where none was made."""

    id: str | None = None
    result: str | None = None
    revised_prompt: str | None = None
    output_format: str | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None


class SearchSource(Struct, frozen=True):
    """A page that a search has found."""

    url: str = ""


class SearchAction(Struct, frozen=True):
    """``action`` of a web search call: ``search``, or ``open_page`` and others without a query."""

    type: str = ""
    query: str | None = None
    queries: list[str] | None = None
    sources: list[SearchSource] | None = None


class OtherItem(Struct, frozen=True):
    """An item of an unknown type."""

    type: str = ""


OutputItem: TypeAlias = (
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | CustomToolCallItem
    | WebSearchCallItem
    | ImageGenerationCallItem
    | OtherItem
)

_KNOWN_ITEM: TypeAlias = (
    MessageItem | ReasoningItem | FunctionCallItem | CustomToolCallItem | WebSearchCallItem | ImageGenerationCallItem
)


class _Typed(Struct, frozen=True):
    type: str


_ITEM: msgspec.json.Decoder[_KNOWN_ITEM] = msgspec.json.Decoder(_KNOWN_ITEM)
_TYPED = msgspec.json.Decoder(_Typed)
_ITEM_TAGS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(_KNOWN_ITEM))


def decode_item(raw: Raw) -> OutputItem:
    """
    Decode an output item; ``OtherItem`` for an unknown type.

    Raises:
        UpstreamBroken: a known type with a wrong shape.
    """
    try:
        return _ITEM.decode(raw)
    except msgspec.ValidationError as error:
        kind = type_of(raw)
        if kind in _ITEM_TAGS:
            raise wrong_shape(f"item {kind}", error) from error
        return OtherItem(type=kind or "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        # msgspec does not validate a ``Raw`` member while it decodes the event around it.
        again = mended(bytes(raw))
        return OtherItem() if again == bytes(raw) else decode_item(Raw(again))
    except RecursionError:
        return OtherItem()


def search_action(item: WebSearchCallItem) -> SearchAction:
    """The action of a web search call; an empty one if it is absent or has an unknown form."""
    try:
        return msgspec.json.decode(item.action, type=SearchAction)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return SearchAction()


def type_of(data: bytes | Raw) -> str | None:
    """The ``type`` member of a JSON object, or ``None`` if there is none."""
    try:
        return _TYPED.decode(data).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def mended(data: bytes) -> bytes:
    """
    Repair JSON text: undecodable bytes (as the SSE standard says) and lone surrogates (which JSON can escape and UTF-8
    cannot encode) become U+FFFD. Text that is broken otherwise is returned unchanged.
    """
    return without_halves(data.decode("utf-8", "replace").encode())


def wrong_shape(what: str, error: msgspec.ValidationError) -> UpstreamBroken:
    """The error for a known type with a wrong shape; msgspec names the JSON path and the types, never the value."""
    return UpstreamBroken(
        f"The upstream sent {what} in a shape that cannot be read: {error}", code="upstream_bad_event"
    )
