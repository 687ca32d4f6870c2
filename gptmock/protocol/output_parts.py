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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delta of a ``refusal`` part."""

    text: str


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
class Finished:
    """The turn ended with ``response.completed`` or ``response.incomplete``; a failed turn yields none."""

    incomplete_reason: str | None
    """``None`` when completed, else ``max_output_tokens``, ``content_filter`` or another upstream reason."""
    usage: ResponseUsage | None
    service_tier: str | None
    model: str | None


Piece: TypeAlias = Text | Reasoning | Refusal | CallOpened | CallInput | Cited | Finished
