"""
What a turn says, in the order it says it: the small language between the upstream's events and every dialect.

An upstream stream tells most things three times (delta, part done, item done) and some models only the last time.
The assembler tells each thing once. Must not know how anything looks to a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gptmock.protocol.items import Annotation, ResponseUsage

CallKind: TypeAlias = Literal["function", "custom"]
ReasoningSource: TypeAlias = Literal["summary", "text"]


@dataclass(frozen=True, slots=True)
class Text:
    """Answer text."""

    text: str
    part: int
    """Number of the text part in the turn, from 0; citations refer to it."""
    message: int
    """Number of the message in the turn, from 0; a model may comment before its final answer."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Thinking that may be shown."""

    text: str
    part: int
    """Number of the paragraph in the turn, from 0."""
    source: ReasoningSource


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines, in its own words."""

    text: str


@dataclass(frozen=True, slots=True)
class CallOpened:
    """A tool call begins."""

    index: int
    """Number of the call in the turn, from 0, by first sight."""
    kind: CallKind
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallInput:
    """More of a call's JSON arguments, or of a custom tool's free text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation of the part's text."""

    part: int
    annotation: Annotation


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn's one honest ending; a failed turn has none."""

    incomplete_reason: str | None
    """``None`` when completed, else ``max_output_tokens``, ``content_filter`` or what the upstream says."""
    usage: ResponseUsage | None
    service_tier: str | None
    model: str | None


Piece: TypeAlias = Text | Reasoning | Refusal | CallOpened | CallInput | Cited | Finished
