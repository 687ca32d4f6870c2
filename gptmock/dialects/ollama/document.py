"""Renders the one object of ``/api/chat`` and ``/api/generate`` for ``stream: false``."""

from __future__ import annotations

from typing import Any, assert_never

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.ollama.line_encoder import Lines
from gptmock.dialects.ollama.reply_content import OllamaOptions, ReplyContent, done_reason
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Thought
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.output_parts import CallInput, CallOpened, ImageMade, Refusal


def document(options: OllamaOptions, head: ReplyHead, folded: FoldedResponse) -> bytes:
    """
    The last line of a stream, with the complete content in it.

    Raises:
        GptmockError: see ``done_reason`` and ``ReplyContent.calls``.
    """
    presenter, content = Presenter(options.style, options.stops, options.tool_names), ReplyContent()
    texts: list[str] = []
    thoughts: list[str] = []
    end: Conclusion | None = None
    for piece in (*folded.pieces, folded.finished):
        for shown in presenter.feed(piece):
            match shown:
                case Content() | Refusal():
                    texts.append(content.text(shown))
                case Thought(text=text):
                    thoughts.append(text)
                case CallOpened() | CallInput() | ImageMade():
                    content.take(shown)
                case Conclusion():
                    end = shown
                case _:
                    assert_never(shown)
    assert end is not None  # noqa: S101 - Finished is the last piece, and the presenter concludes on it
    reason, calls = done_reason(end), content.calls(end)
    members: dict[str, Any] = {"thinking": "".join(thoughts)} if thoughts else {}
    if calls:
        members["tool_calls"] = calls
    members |= content.images()
    return Lines(options.shape, options.model, head).end(reason, end.usage, text="".join(texts), beside=members)
