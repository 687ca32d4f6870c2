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
from gptmock.dialects.copying import Around, DeltaCopier, Encode
from gptmock.dialects.dialect import CopiesDelta, ReplyHead
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.openai_errors import error_frame
from gptmock.dialects.openai_usage import completion_usage
from gptmock.dialects.presentation import Conclusion, Content, Shown
from gptmock.errors import GptmockError, UpstreamBroken
from gptmock.protocol.assembler import OutputAssembler
from gptmock.protocol.delta_runs import DeltaPlace, DeltaRun
from gptmock.protocol.events import ErrorEvent, ResponseFailed
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.items import ResponseUsage, total_usage
from gptmock.protocol.reader import Received

DONE = b"data: [DONE]\n\n"


class CompletionTranslator:
    """One streamed reply. What every chunk repeats is encoded once, here at the start."""

    __slots__ = (
        "_assembler",
        "_copier",
        "_ended",
        "_head",
        "_index",
        "_options",
        "_presenter",
        "_started",
        "_tail",
        "_usages",
        "failure",
    )

    def __init__(self, options: CompletionOptions, head: ReplyHead) -> None:
        fixed = {"id": ID_PREFIX + head.id, "object": OBJECT, "created": head.created, "model": options.model}
        self._head = b"data: " + json_bytes(fixed)[:-1] + b',"choices":['
        # With include_usage every chunk but the last says that it has none.
        self._tail = b'],"usage":null}\n\n' if options.include_usage else b"]}\n\n"
        self._options = options
        self._assembler = OutputAssembler()
        self._presenter = new_presenter(options)
        self._copier: DeltaCopier[Shown] = DeltaCopier(self._assembler, self._presenter, self._encoder)
        self._index = 0
        """Of the choice that is being written."""
        self._usages: list[ResponseUsage | None] = []
        """Of the choices that have ended."""
        self._started = False
        self._ended = False
        self.failure: GptmockError | None = None

    def feed(self, received: Received) -> list[bytes]:
        """The frames that this event adds."""
        if self._ended:
            return []
        self._copier.interrupted()
        event = received.event
        if isinstance(event, ResponseFailed | ErrorEvent):
            return self.finish(failure_of(event))
        frames: list[bytes] = []
        if not self._started:
            self._started = True
            if self._options.echoes and (echo := self._options.echoes[self._index]):
                frames.append(self._chunk(echo))
        try:
            pieces = self._assembler.feed(event)
        except UpstreamBroken as broken:
            return [*frames, *self.finish(broken)]
        for piece in pieces:
            for shown in self._presenter.feed(piece):
                frames += self._frames(shown)
        return frames

    def copy(self, run: DeltaRun) -> bytes | None:
        """See ``CopiesDeltas.copy``."""
        return b"" if self._ended else self._copier.feed(run)

    def lane(self, place: DeltaPlace) -> CopiesDelta | None:
        """See ``CopiesDeltas.lane``."""
        return None if self._ended else self._copier.lane(place)

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """One error frame, unless the reply has ended."""
        if self._ended:
            return []
        self._ended = True
        self.failure = cause or truncated()
        return [error_frame(self.failure)]

    def _frames(self, shown: Shown) -> list[bytes]:
        if isinstance(shown, Conclusion):
            return self._conclusion(shown)
        text = shown_text(shown)
        return [self._chunk(text)] if text else []

    def _encoder(self, shown: Shown) -> Encode | None:
        return Around(self._chunk("")) if isinstance(shown, Content) else None

    def _chunk(self, text: str, *, reason: str | None = None) -> bytes:
        choice = b'{"text":%s,"index":%d,"logprobs":null,"finish_reason":%s}'
        return self._head + choice % (json_bytes(text), self._index, json_bytes(reason)) + self._tail

    def _conclusion(self, end: Conclusion) -> list[bytes]:
        frames = [self._chunk("", reason=finish_reason(end))]
        self._usages.append(end.usage)
        self._index += 1
        if self._index <= len(self._options.further):
            self._assembler = OutputAssembler()
            self._presenter = new_presenter(self._options)
            self._copier = DeltaCopier(self._assembler, self._presenter, self._encoder)
            self._started = False
            return frames
        self._ended = True
        usage = total_usage(self._usages)
        if self._options.include_usage and usage is not None:
            frames.append(self._head + b'],"usage":' + msgspec.json.encode(completion_usage(usage)) + b"}\n\n")
        return [*frames, DONE]
