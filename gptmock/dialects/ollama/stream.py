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

from gptmock.dialects.copying import Around, DeltaCopier, Encode
from gptmock.dialects.dialect import CopiesDelta, ReplyHead
from gptmock.dialects.ollama.line_encoder import Lines
from gptmock.dialects.ollama.reply_content import OllamaOptions, ReplyContent, done_reason
from gptmock.dialects.ollama_errors import error_line
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown, Thought
from gptmock.errors import GptmockError
from gptmock.protocol.assembler import OutputAssembler
from gptmock.protocol.delta_runs import DeltaPlace, DeltaRun
from gptmock.protocol.events import ErrorEvent, ResponseFailed
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.ndjson import ndjson_line
from gptmock.protocol.output_parts import CallInput, CallOpened, ImageMade, Refusal
from gptmock.protocol.reader import Received


class OllamaTranslator:
    """One streamed reply of either route."""

    __slots__ = ("_assembler", "_copier", "_ended", "_lines", "_presenter", "_telling", "failure")

    def __init__(self, options: OllamaOptions, head: ReplyHead) -> None:
        self._lines = Lines(options.shape, options.model, head)
        self._assembler = OutputAssembler()
        self._presenter = Presenter(options.style, options.stops, options.tool_names)
        self._telling = ReplyContent()
        self._copier: DeltaCopier[Shown] = DeltaCopier(self._assembler, self._presenter, self._encoder)
        self._ended = False
        self.failure: GptmockError | None = None

    def feed(self, received: Received) -> list[bytes]:
        """The lines that this event adds."""
        if self._ended:
            return []
        self._copier.interrupted()
        event = received.event
        if isinstance(event, ResponseFailed | ErrorEvent):
            return self.finish(failure_of(event))
        lines: list[bytes] = []
        try:
            for piece in self._assembler.feed(event):
                for shown in self._presenter.feed(piece):
                    lines += self._told(shown)
        except GptmockError as error:
            return [*lines, *self.finish(error)]
        return lines

    def copy(self, run: DeltaRun) -> bytes | None:
        """See ``CopiesDeltas.copy``."""
        return b"" if self._ended else self._copier.feed(run)

    def lane(self, place: DeltaPlace) -> CopiesDelta | None:
        """See ``CopiesDeltas.lane``."""
        return None if self._ended else self._copier.lane(place)

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """One error line, unless the reply has ended."""
        if self._ended:
            return []
        self._ended = True
        self.failure = cause or truncated()
        return [error_line(self.failure)]

    def _told(self, shown: Shown) -> list[bytes]:
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

    def _encoder(self, shown: Shown) -> Encode | None:
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
