"""
``POST /v1/completions``, outward and streamed: the choices one after another.

    state      event                      frames                              next
    new        any                        [echo]                              open
    open       text shown                 one chunk each                      open
    open       completed, incomplete      finish of this choice               new, if a prompt is left
    open       completed, incomplete      finish, [usage], [DONE]             ended, after the last
    new, open  failed, error              error frame                         ended
    new, open  end of the upstream        error frame                         ended
    ended      anything                   none                                ended

There is no role, and thinking is not shown. Source: client contracts 2 and 1.8.
"""

from __future__ import annotations

import msgspec

from gptmock.dialects.completions.wire import (
    ID_PREFIX,
    OBJECT,
    CompletionOptions,
    finish_reason,
    new_presenter,
    shown_text,
)
from gptmock.dialects.copying import Around, CopyingTranslator, Encode
from gptmock.dialects.dialect import ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import error_frame
from gptmock.dialects.openai_usage import completion_usage
from gptmock.dialects.presentation import Conclusion, Content, Shown
from gptmock.errors import GptmockError
from gptmock.protocol.events import ResponseEvent
from gptmock.protocol.items import ResponseUsage, total_usage

DONE = b"data: [DONE]\n\n"


class CompletionTranslator(CopyingTranslator[Shown, Shown]):
    """One streamed reply. What every chunk repeats is encoded once, here at the start."""

    __slots__ = (
        "_head",
        "_index",
        "_options",
        "_started",
        "_tail",
        "_usages",
    )

    def __init__(self, options: CompletionOptions, head: ReplyHead) -> None:
        fixed = {"id": ID_PREFIX + head.id, "object": OBJECT, "created": head.created, "model": options.model}
        self._head = b"data: " + json_bytes(fixed)[:-1] + b',"choices":['
        # With include_usage every chunk but the last says that it has none.
        self._tail = b'],"usage":null}\n\n' if options.include_usage else b"]}\n\n"
        self._options = options
        self._index = 0
        """Of the choice that is being written."""
        self._usages: list[ResponseUsage | None] = []
        """Of the choices that have ended."""
        self._started = False
        super().__init__(new_presenter(options))

    def _opening(self, _event: ResponseEvent, /) -> list[bytes]:
        if self._started:
            return []
        self._started = True
        echo = self._options.echoes[self._index] if self._options.echoes else ""
        return [self._chunk(echo)] if echo else []

    def _error_frame(self, failure: GptmockError, /) -> bytes:
        return error_frame(failure)

    def _frames(self, shown: Shown, /) -> list[bytes]:
        if isinstance(shown, Conclusion):
            return self._conclusion(shown)
        text = shown_text(shown)
        return [self._chunk(text)] if text else []

    def _encoder(self, shown: Shown, /) -> Encode | None:
        return Around(self._chunk("")) if isinstance(shown, Content) else None

    def _chunk(self, text: str, *, reason: str | None = None) -> bytes:
        choice = b'{"text":%s,"index":%d,"logprobs":null,"finish_reason":%s}'
        return self._head + choice % (json_bytes(text), self._index, json_bytes(reason)) + self._tail

    def _conclusion(self, end: Conclusion) -> list[bytes]:
        frames = [self._chunk("", reason=finish_reason(end))]
        self._usages.append(end.usage)
        self._index += 1
        if self._index <= len(self._options.further):
            self._begin(new_presenter(self._options))
            self._started = False
            return frames
        self._ended = True
        usage = total_usage(self._usages)
        if self._options.include_usage and usage is not None:
            frames.append(self._head + b'],"usage":' + msgspec.json.encode(completion_usage(usage)) + b"}\n\n")
        return [*frames, DONE]
