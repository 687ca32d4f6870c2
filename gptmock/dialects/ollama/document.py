"""``/api/chat`` and ``/api/generate``, outward and collected: the last line of the stream, with everything in it."""

from __future__ import annotations

from typing import Any, assert_never

from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.ollama.line_encoder import Lines
from gptmock.dialects.ollama.reply_content import OllamaOptions, ReplyContent, done_reason
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Thought
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.output_parts import CallInput, CallOpened, Refusal


def document(options: OllamaOptions, head: ReplyHead, folded: FoldedResponse) -> bytes:
    """
    The one object of ``stream: false``.

    Raises:
        GptmockError: the content filter, or a call whose arguments are no object, as in the stream.
    """
    presenter, telling = Presenter(options.style, options.stops, options.tool_names), ReplyContent()
    texts: list[str] = []
    thoughts: list[str] = []
    end: Conclusion | None = None
    for piece in (*folded.pieces, folded.finished):
        for shown in presenter.feed(piece):
            match shown:
                case Content() | Refusal():
                    texts.append(telling.text(shown))
                case Thought(text=text):
                    thoughts.append(text)
                case CallOpened() | CallInput():
                    telling.take(shown)
                case Conclusion():
                    end = shown
                case _:
                    assert_never(shown)
    assert end is not None  # noqa: S101 - Finished is the last piece, and the presenter concludes on it
    reason, calls = done_reason(end), telling.calls(end)
    beside: dict[str, Any] = {"thinking": "".join(thoughts)} if thoughts else {}
    if calls:
        beside["tool_calls"] = calls
    return Lines(options.shape, options.model, head).end(reason, end.usage, text="".join(texts), beside=beside)
