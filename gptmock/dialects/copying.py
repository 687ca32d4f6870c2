"""
The fast way of a delta: its JSON literal is copied from the upstream's event into the client's frame. Must not decide
what is shown: it copies only where assembler and presenter say that a delta is shown as it is and alone.

A read from the upstream takes one of three ways:

    read                                      way
    one delta, at the place of the last run   the lane: ``RunFinder.further``, ``CopiesDeltas.lane``, the client's wire
    runs of deltas                            ``RunFinder.cut``, ``CopiesDeltas.copy``
    anything else                             ``decode_event``, ``Translator.feed``

The lane is for the pace of a model, where nearly every read is a single delta. It has no object for the event, and no
step between the rooms that a delta does not need. ``CodexEventStream.deliver`` opens it after a batch that ends with a
run (``protocol.upstream.OpensLane``): the gateway's consumer joins the translator's copying function with the client's
``write``. The first read that is anything else closes it, so assembler and presenter stand exactly where ``copy`` would
have left them. No event in it ends a turn, so nobody has to look for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeAlias, TypeVar

from gptmock.dialects.dialect import (
    CopiesDelta,
    CopiesDeltas,
    Translator,
    supports,
)
from gptmock.errors import GptmockError
from gptmock.protocol.assembler import OpenText, OutputAssembler
from gptmock.protocol.delta_runs import DeltaPlace, DeltaRun
from gptmock.protocol.events import ErrorEvent, ResponseEvent, ResponseFailed
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.output_parts import CallInput, Piece, Reasoning, Text
from gptmock.protocol.reader import Batch, Received, received_of

Encode: TypeAlias = Callable[[list[bytes]], bytes]
"""From the literals of deltas, without quotes, to their frames."""

_Shown = TypeVar("_Shown")
_Told = TypeVar("_Told")
_Told_co = TypeVar("_Told_co", covariant=True)


class PassesDeltas(Protocol[_Shown]):
    """What decides how the pieces of a reply are shown (``presentation.Presenter``)."""

    def passes(self, piece: Text | Reasoning | CallInput, /) -> _Shown | None:
        """What any text of this piece is shown as, if it is shown as it is and alone; its own text does not matter."""

    def copied(self, shown: _Shown, literals: list[bytes], /) -> None:
        """Text was shown without ``feed``, after ``passes``."""

    def copied_one(self, shown: _Shown, /) -> Callable[[bytes], None] | None:
        """As ``copied``, for one text at a time; ``None`` if nobody has to be told."""


class Presents(PassesDeltas[_Shown], Protocol[_Shown, _Told_co]):
    """The same, for the pieces themselves."""

    def feed(self, piece: Piece, /) -> Iterable[_Told_co]:
        """What a piece is shown as."""


class Around:
    """
    An ``Encode`` made from a frame with an empty text: what stands before and behind it is the same in all.

    Args:
        frame: its last ``""`` is the text.
    """

    __slots__ = ("_between", "before", "behind")

    def __init__(self, frame: bytes) -> None:
        before, _, behind = frame.rpartition(b'""')
        self.before, self.behind = before + b'"', b'"' + behind
        self._between = self.behind + self.before

    def __call__(self, literals: list[bytes]) -> bytes:
        """See ``Encode``."""
        return self.before + self._between.join(literals) + self.behind


def batch_translator(translator: Translator) -> Callable[[Batch], bytes]:
    """The frames of all events of a batch, the runs in it copied where the translator can."""
    copy = translator.copy if supports(translator, CopiesDeltas) else None

    def translate(batch: Batch) -> bytes:
        frames: list[bytes] = []
        for one in batch:
            if isinstance(one, Received):
                frames += translator.feed(one)
            else:
                frames += _translated(one, translator, copy)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    return translate


def lane_of(translator: Translator) -> Callable[[DeltaPlace], CopiesDelta | None]:
    """See ``CopiesDeltas.lane``; of any translator."""
    return translator.lane if supports(translator, CopiesDeltas) else lambda _: None


def _translated(run: DeltaRun, translator: Translator, copy: Callable[[DeltaRun], bytes | None] | None) -> list[bytes]:
    if copy is None:
        return [frame for received in received_of(run) for frame in translator.feed(received)]
    copied = copy(run)
    if copied is not None:
        return [copied]
    # Often the first delta opens the text, and the others only add to it.
    first, rest = run.parted()
    frames = translator.feed(received_of(first)[0])
    if rest is not None and (copied := copy(rest)) is not None:
        return [*frames, copied]
    return [*frames, *_translated(rest, translator, None)] if rest is not None else frames


class DeltaCopier(Generic[_Shown]):
    """
    Copies the runs of one reply.

    Args:
        assembler: of the reply; told of what was copied.
        presenter: likewise.
        encoder: what the frames of a further delta are, for what it is shown as; ``None`` if it has to be encoded.
    """

    __slots__ = ("_assembler", "_encode", "_encoder", "_place", "_presenter", "_shown", "_text")

    def __init__(
        self,
        assembler: OutputAssembler,
        presenter: PassesDeltas[_Shown],
        encoder: Callable[[_Shown], Encode | None],
    ) -> None:
        self._assembler = assembler
        self._presenter = presenter
        self._encoder = encoder
        self._place: DeltaPlace | None = None
        """Where deltas are copied; ``None`` after anything that was not copied."""
        self._text: OpenText
        self._shown: _Shown
        self._encode: Encode

    def interrupted(self) -> None:
        """An event was translated in the ordinary way."""
        self._place = None

    def feed(self, run: DeltaRun) -> bytes | None:
        """The frames of a run; ``None`` if its events have to be translated one by one."""
        if run.place is not self._place and not self._begins(run.place):
            return None
        return self._copy(run.literals)

    def lane(self, place: DeltaPlace) -> CopiesDelta | None:
        """See ``CopiesDeltas.lane``."""
        if place is not self._place:
            return None
        encode = self._encode
        copied, shown = self._text.grown.copied_one, self._presenter.copied_one(self._shown)
        if not isinstance(encode, Around):
            return lambda literal, _: self._copy([literal])
        before, behind = encode.before, encode.behind

        def copy(literal: bytes, _: bytes) -> bytes:
            copied(literal)
            if shown is not None:
                shown(literal)
            return b"%b%b%b" % (before, literal, behind)

        return copy

    def _copy(self, literals: list[bytes]) -> bytes:
        self._assembler.copied(self._text, literals)
        self._presenter.copied(self._shown, literals)
        return self._encode(literals)

    def _begins(self, place: DeltaPlace) -> bool:
        text = self._assembler.open_text(place)
        shown = None if text is None else self._presenter.passes(text.piece)
        encode = None if shown is None else self._encoder(shown)
        if text is None or shown is None or encode is None:
            return False
        self._place, self._text, self._shown, self._encode = place, text, shown, encode
        return True


class CopyingTranslator(ABC, Generic[_Shown, _Told]):
    """
    What the streamed replies of the dialects share: the way of an event to its frames, that of a run of deltas, and the
    one end. A dialect says what the frames of its things are.

    Args:
        presenter: of the first reply.
    """

    __slots__ = ("_assembler", "_copier", "_ended", "_presenter", "failure")

    def __init__(self, presenter: Presents[_Shown, _Told]) -> None:
        self._ended = False
        self.failure: GptmockError | None = None
        self._begin(presenter)

    def _begin(self, presenter: Presents[_Shown, _Told]) -> None:
        """Stand before a reply."""
        self._assembler = OutputAssembler()
        self._presenter = presenter
        self._copier = DeltaCopier(self._assembler, presenter, self._encoder)

    def feed(self, received: Received) -> list[bytes]:
        """The frames that this event adds."""
        if self._ended:
            return []
        self._copier.interrupted()
        event = received.event
        if isinstance(event, ResponseFailed | ErrorEvent):
            return self.finish(failure_of(event))
        frames = self._opening(event)
        try:
            for piece in self._assembler.feed(event):
                for shown in self._presenter.feed(piece):
                    frames += self._frames(shown)
        except GptmockError as error:
            return [*frames, *self.finish(error)]
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
        return [self._error_frame(self.failure)]

    def _opening(self, _event: ResponseEvent, /) -> list[bytes]:
        """What comes before the frames of an event: only for the first one, in most dialects nothing."""
        return []

    @abstractmethod
    def _frames(self, shown: _Told, /) -> list[bytes]:
        """The frames of one thing that is shown."""

    @abstractmethod
    def _encoder(self, shown: _Shown, /) -> Encode | None:
        """What the frames of a further delta are; see ``DeltaCopier``."""

    @abstractmethod
    def _error_frame(self, failure: GptmockError, /) -> bytes:
        """The frame that ends a reply which failed."""
