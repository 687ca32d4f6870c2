"""
``/api/chat`` and ``/api/generate``, outward and streamed.

    state   event                     lines                                                    next
    open    something shown           one each; calls and images wait                          open
    open    completed, incomplete     one for each call, then the last with images, done and
                                      numbers                                                  ended
    open    content filter, a call
            without an object         error line                                               ended
    open    failed, error             error line                                               ended
    open    end of the upstream       error line                                               ended
    ended   anything                  none                                                     ended

Source: client contracts 5.5 and 5.6.
"""

from __future__ import annotations

from typing import assert_never

from gptmock.dialects.copying import Around, CopyingTranslator, Encode
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.ollama.line_encoder import Lines
from gptmock.dialects.ollama.reply_content import OllamaOptions, ReplyContent, done_reason
from gptmock.dialects.ollama_errors import error_line
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown, Thought
from gptmock.errors import GptmockError
from gptmock.protocol.ndjson import ndjson_line
from gptmock.protocol.output_parts import CallInput, CallOpened, ImageMade, Refusal


class OllamaTranslator(CopyingTranslator[Shown, Shown]):
    """One streamed reply of either route."""

    __slots__ = ("_lines", "_telling")

    def __init__(self, options: OllamaOptions, head: ReplyHead) -> None:
        self._lines = Lines(options.shape, options.model, head)
        self._telling = ReplyContent()
        super().__init__(Presenter(options.style, options.stops, options.tool_names))

    def _error_frame(self, failure: GptmockError, /) -> bytes:
        return error_line(failure)

    def _frames(self, shown: Shown, /) -> list[bytes]:
        match shown:
            case Content() | Refusal():
                return [self._lines.text(self._telling.text(shown))]
            case Thought(text=text):
                return [self._lines.beside("thinking", text)]
            case CallOpened() | CallInput() | ImageMade():
                self._telling.take(shown)
                return []
            case Conclusion():
                return self._conclusion(shown)
            case _:
                assert_never(shown)

    def _encoder(self, shown: Shown, /) -> Encode | None:
        match shown:
            case Content() if self._telling.answers:
                return Around(self._lines.text(""))
            case Thought():
                return Around(self._lines.beside("thinking", ""))
            case CallInput(index=index):
                return self._telling.keeper(index)
            case _:
                return None

    def _conclusion(self, end: Conclusion) -> list[bytes]:
        reason = done_reason(end)
        calls = [self._lines.beside("tool_calls", [call]) for call in self._telling.calls(end)]
        self._ended = True
        return [*calls, ndjson_line(self._lines.end(reason, end.usage, beside=self._telling.images()))]
