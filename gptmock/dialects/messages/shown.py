"""What the blocks of a message are made of, in the order in which a stream shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from gptmock.dialects.messages.wire import Ending


@dataclass(frozen=True, slots=True)
class BlockOpened:
    """A content block begins."""

    block: dict[str, Any]
    """As in ``content_block_start``."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text."""

    text: str
    part: int = -1
    """As ``Text.part``."""


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More of the thinking's summary."""

    text: str


@dataclass(frozen=True, slots=True)
class SignatureDelta:
    """The signature of a thinking block; the last delta in it."""

    signature: str


@dataclass(frozen=True, slots=True)
class InputDelta:
    """More of the JSON text of a tool's input."""

    text: str
    call: int = -1
    """As ``CallInput.index``."""


@dataclass(frozen=True, slots=True)
class CitationDelta:
    """A source of the text."""

    citation: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BlockClosed:
    """The block that was opened last is complete."""


def not_shown(data: str) -> str:
    """
    The text in place of an image that was made.

    Args:
        data: base64.
    """
    return f"[image, {-(-len(data) * 3 // 4000)} kB, not shown]"


Shown: TypeAlias = (
    BlockOpened | TextDelta | ThinkingDelta | SignatureDelta | InputDelta | CitationDelta | BlockClosed | Ending
)
