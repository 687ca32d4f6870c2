"""
The output of a turn as a sequence of parts, without repetition: what ``OutputAssembler`` makes of upstream events and
dialects render.

An upstream stream carries most content three times (``delta``, part ``done``, ``output_item.done``), and some models
send only the last. The assembler yields each content once. Must not know any client format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gptmock.protocol.items import Annotation, ResponseUsage

CallKind: TypeAlias = Literal["function", "custom"]
ReasoningSource: TypeAlias = Literal["summary", "text"]
ItemKind: TypeAlias = Literal["message", "reasoning", "call"]


@dataclass(frozen=True, slots=True)
class Text:
    """A delta of ``output_text``."""

    text: str
    part: int
    """Number of the text part in the turn, from 0; ``Cited.part`` refers to it."""
    message: int
    """Number of the message item in the turn, from 0; a commentary message may precede the final answer."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A delta of a reasoning summary (``summary``) or of raw reasoning (``text``)."""

    text: str
    part: int
    """Number of the summary or reasoning part in the turn, from 0."""
    source: ReasoningSource
    item: int = 0
    """Number of the reasoning item in the turn, from 0; an item may have several parts."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delta of a ``refusal`` part."""

    text: str
    message: int = 0
    """As ``Text.message``."""


@dataclass(frozen=True, slots=True)
class CallOpened:
    """A function call or custom tool call begins."""

    index: int
    """Number of the call in the turn, from 0, in the order in which the calls began."""
    kind: CallKind
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallInput:
    """A delta of a call's JSON ``arguments``, or of a custom tool's ``input``."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Cited:
    """An annotation of a text part."""

    part: int
    """As ``Text.part``."""
    annotation: Annotation


@dataclass(frozen=True, slots=True)
class ReasoningSealed:
    """The encrypted content of a reasoning item, which a client may send back; before its ``ItemEnded``."""

    item: int
    """As ``Reasoning.item``; the item may have shown no text at all."""
    id: str | None
    encrypted_content: str


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """Nothing more comes of this item; only for items that other pieces were about, and once for each."""

    kind: ItemKind
    number: int
    """``Text.message``, ``Reasoning.item`` or ``CallOpened.index``."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A hosted web search has ended."""

    id: str | None
    query: str
    urls: tuple[str, ...]
    """Its sources, if the request asked for them (``include``)."""


@dataclass(frozen=True, slots=True)
class ImageMade:
    """A finished image of the hosted tool."""

    data: str
    """Base64."""
    id: str | None = None
    revised_prompt: str | None = None
    """What the tool was asked for, where the model has put it differently."""
    output_format: str | None = None
    """``png``, ``jpeg`` or ``webp``, if it is told."""
    size: str | None = None
    quality: str | None = None
    background: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn ended with ``response.completed`` or ``response.incomplete``; a failed turn yields none."""

    incomplete_reason: str | None
    """``None`` when completed, else ``max_output_tokens``, ``content_filter`` or another upstream reason."""
    usage: ResponseUsage | None
    service_tier: str | None
    model: str | None


Piece: TypeAlias = (
    Text
    | Reasoning
    | Refusal
    | CallOpened
    | CallInput
    | Cited
    | ReasoningSealed
    | ItemEnded
    | Searched
    | ImageMade
    | Finished
)
