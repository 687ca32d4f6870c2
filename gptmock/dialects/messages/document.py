"""Renders the ``message`` object for ``stream: false``, with the same blocks as the stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.messages.blocks import Blocks, is_object
from gptmock.dialects.messages.shown import (
    BlockClosed,
    BlockOpened,
    CitationDelta,
    InputDelta,
    Shown,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from gptmock.dialects.messages.wire import Ending, MessagesOptions, message, usage_members
from gptmock.protocol.fold import FoldedResponse


def document(options: MessagesOptions, head: ReplyHead, folded: FoldedResponse) -> bytes:
    """The ``message`` object (next doors A.4)."""
    blocks = Blocks(options, head.id, lambda: head.progress.account_id)
    pieces = (*folded.pieces, folded.finished)
    return rendered(options, head, [shown for piece in pieces for shown in blocks.feed(piece)])


def rendered(options: MessagesOptions, head: ReplyHead, shown: Iterable[Shown]) -> bytes:
    """The ``message`` object of everything that is shown; the last of it is the ``Ending``."""
    content: list[dict[str, Any]] = []
    inputs: list[str] = []
    end = Ending("end_turn")
    for one in shown:
        match one:
            case BlockOpened(block=block):
                content.append(dict(block))
                inputs = []
            case InputDelta(text=text):
                inputs.append(text)
            case BlockClosed():
                if "input" in content[-1]:
                    content[-1]["input"] = _input("".join(inputs))
            case Ending():
                end = one
            case _:
                _add(content[-1], one)
    return message(head.id, options.model, content, end.members(), usage_members(end.usage, searches=end.searches))


def _add(block: dict[str, Any], delta: TextDelta | ThinkingDelta | SignatureDelta | CitationDelta) -> None:
    match delta:
        case TextDelta(text=text):
            block["text"] += text
        case ThinkingDelta(text=text):
            block["thinking"] += text
        case SignatureDelta(signature=signature):
            block["signature"] = signature
        case CitationDelta(citation=citation):
            block.setdefault("citations", []).append(citation)
        case _:
            assert_never(delta)


def _input(text: str) -> Any:
    """The input of a tool; an empty object where the upstream wrote none that is whole."""
    return msgspec.Raw(msgspec.json.format(text, indent=-1).encode()) if text and is_object(text) else {}
