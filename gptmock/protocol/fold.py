"""Collects the events of a turn into one value, for ``stream: false``. Knows no dialect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from gptmock.protocol.assembler import OutputAssembler
from gptmock.protocol.events import ErrorEvent, ResponseFailed
from gptmock.protocol.failures import failure_of, truncated
from gptmock.protocol.output_parts import CallInput, Finished, Piece, Reasoning, Refusal, Text
from gptmock.protocol.reader import Received

_TEXTUAL = (Text, Reasoning, Refusal, CallInput)


@dataclass(frozen=True, slots=True)
class FoldedResponse:
    """The output of a complete turn, in order of arrival, and how it ended."""

    pieces: tuple[Piece, ...]
    """Output parts without ``Finished``; consecutive deltas of one part or call are joined."""
    finished: Finished
    events: tuple[Received, ...] = ()
    """All events up to the terminal one; empty unless ``keep_events`` was set."""


class ResponseFold:
    """
    Builds one ``FoldedResponse`` from the events of a turn.

    Args:
        keep_events: keep the raw events too, for a reply that forwards them, unknown ones included.
    """

    __slots__ = ("_assembler", "_finished", "_kept", "_pieces")

    def __init__(self, *, keep_events: bool = False) -> None:
        self._kept: list[Received] | None = [] if keep_events else None
        self._assembler = OutputAssembler()
        self._pieces: list[Piece] = []
        self._finished: Finished | None = None

    def feed(self, received: Received) -> None:
        """
        Take one event; events after the terminal one are ignored.

        Raises:
            GptmockError: the turn failed; see ``protocol.failures.failure_of``.
        """
        if self._finished is not None:
            return
        if self._kept is not None:
            self._kept.append(received)
        event = received.event
        if isinstance(event, ResponseFailed | ErrorEvent):
            raise failure_of(event)
        for piece in self._assembler.feed(event):
            if isinstance(piece, Finished):
                self._finished = piece
            else:
                self._pieces.append(piece)

    def finish(self) -> FoldedResponse:
        """
        The stream has ended.

        Raises:
            UpstreamBroken: it ended without a terminal event.
        """
        if self._finished is None:
            raise truncated()
        return FoldedResponse(
            pieces=join_neighbours(self._pieces), finished=self._finished, events=tuple(self._kept or ())
        )


def join_neighbours(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Join consecutive deltas of the same text part, refusal or call."""
    joined: list[Piece] = []
    for _, group in groupby(pieces, key=_without_text):
        run = list(group)
        first = run[0]
        if isinstance(first, _TEXTUAL) and len(run) > 1:
            text = "".join(piece.text for piece in run if isinstance(piece, _TEXTUAL))
            run = [replace(first, text=text)]
        joined += run
    return tuple(joined)


def _without_text(piece: Piece) -> Piece:
    return replace(piece, text="") if isinstance(piece, _TEXTUAL) else piece
