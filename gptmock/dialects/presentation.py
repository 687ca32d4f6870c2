"""
From what a turn says to what a client is shown: think tags, stop sequences, blank lines between messages, citations
that point into the shown text, one finish reason. The same machine serves streamed and collected replies.

    piece        style        shown
    Reasoning    think-tags   Content "<think>" + text; one pair of tags per run, closed before anything else
    Reasoning    hidden       nothing
    Reasoning    the others   Thought, paragraphs separated by a blank line
    Text         any          Content; messages separated by a blank line; cut at a stop sequence
    Refusal      any          Refusal
    CallOpened   any          CallOpened under the client's own name; nothing after a stop sequence
    CallInput    any          CallInput
    Cited        any          kept for the Conclusion
    ImageMade    any          ImageMade; nothing after a stop sequence
    Searched, ReasoningSealed, ItemEnded    nothing
    Finished     any          Conclusion

Must not know any client's field names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never

from gptmock.dialects.dialect import ReasoningStyle
from gptmock.dialects.stop_sequences import StopFilter
from gptmock.protocol.delta_runs import text_of
from gptmock.protocol.items import Annotation, ResponseUsage
from gptmock.protocol.output_parts import (
    CallInput,
    CallOpened,
    Cited,
    Finished,
    ImageMade,
    ItemEnded,
    Piece,
    Reasoning,
    ReasoningSealed,
    ReasoningSource,
    Refusal,
    Searched,
    Text,
)

_BETWEEN = "\n\n"
_THINK_BLOCK = re.compile(r"\s*<think>.*?</think>\n*", re.DOTALL)
FinishReason: TypeAlias = Literal["stop", "length", "content_filter", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Content:
    """Text of the answer, think tags included."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Thinking that is shown beside the answer."""

    text: str
    source: ReasoningSource


@dataclass(frozen=True, slots=True)
class Citation:
    """A source; indexes count characters of the whole shown content."""

    url: str
    title: str
    start_index: int
    end_index: int


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How the reply ends."""

    reason: FinishReason
    citations: tuple[Citation, ...]
    usage: ResponseUsage | None
    service_tier: str | None


Shown: TypeAlias = Content | Thought | Refusal | CallOpened | CallInput | ImageMade | Conclusion


class Presenter:
    """Pieces of one turn in, what is shown out."""

    __slots__ = (
        "_cited",
        "_counted",
        "_message",
        "_names",
        "_offsets",
        "_opened",
        "_paragraph",
        "_stop",
        "_style",
        "_thinking",
        "_uncounted",
    )

    def __init__(self, style: ReasoningStyle, stops: tuple[str, ...], names: Mapping[str, str]) -> None:
        self._style = style
        self._stop = StopFilter(stops)
        self._names = names
        self._thinking = False
        """A think tag is open."""
        self._paragraph: int | None = None
        """The reasoning part shown last."""
        self._message: int | None = None
        """The message shown last."""
        self._offsets: dict[int, int] = {}
        """Where each text part begins in the content."""
        self._counted = 0
        """Characters of content shown, but for those of ``_uncounted``."""
        self._uncounted = bytearray()
        """Literals that were shown undecoded, one behind the other."""
        self._cited: list[Cited] = []
        self._opened: set[int] = set()

    def feed(self, piece: Piece) -> list[Shown]:
        """What this piece adds; often one thing, sometimes none."""
        match piece:
            case Text():
                return self._text(piece)
            case Reasoning():
                return self._reasoning(piece)
            case Refusal():
                return [*self._pause(), piece]
            case CallOpened() | ImageMade():
                return [] if self._stop.hit else [*self._pause(), self._whole(piece)]
            case CallInput():
                return [piece] if piece.index in self._opened else []
            case Cited():
                self._cited.append(piece)
                return []
            case ReasoningSealed() | ItemEnded() | Searched():
                return []
            case Finished():
                return [*self._pause(), self._conclusion(piece)]
            case _:
                assert_never(piece)

    def passes(self, piece: Text | Reasoning | CallInput) -> Shown | None:
        """
        What any text of this piece is shown as, if it is shown as it is and alone.

        Args:
            piece: its own text does not matter.
        """
        match piece:
            case Text(part=part, message=message):
                plain = not (self._stop.active or self._thinking) and message == self._message and part in self._offsets
                return Content("") if plain else None
            case Reasoning(part=part, source=source):
                if self._style == "hidden" or self._stop.active or part != self._paragraph:
                    return None
                if self._style == "think-tags":
                    return Content("") if self._thinking else None
                return Thought("", source)
            case CallInput(index=index):
                return CallInput(index, "") if index in self._opened else None
            case _:
                assert_never(piece)

    def copied(self, shown: Shown, literals: list[bytes]) -> None:
        """Text was shown without ``feed``, after ``passes``."""
        if isinstance(shown, Content):
            self._uncounted += b"".join(literals)

    def copied_one(self, shown: Shown) -> Callable[[bytes], None] | None:
        """As ``copied``, for one text at a time; ``None`` if nobody has to be told."""
        return self._uncounted.extend if isinstance(shown, Content) else None

    @property
    def _length(self) -> int:
        """Characters of content shown so far."""
        if self._uncounted:
            self._counted += len(text_of(self._uncounted))
            # The buffer stays the same: ``copied_one`` adds to it.
            self._uncounted.clear()
        return self._counted

    def _text(self, piece: Text) -> list[Shown]:
        if self._stop.hit:
            return []
        shown = self._close_thinking()
        text = piece.text
        if self._message is not None and piece.message != self._message:
            text = _BETWEEN + text
        self._message = piece.message
        if piece.part not in self._offsets:
            self._offsets[piece.part] = self._length + self._stop.held + len(text) - len(piece.text)
        return [*shown, *self._content(self._stop.feed(text))]

    def _content(self, text: str) -> list[Shown]:
        self._counted += len(text)
        return [Content(text)] if text else []

    def _reasoning(self, piece: Reasoning) -> list[Shown]:
        if self._style == "hidden" or self._stop.hit:
            return []
        before, self._paragraph = self._paragraph, piece.part
        if self._style != "think-tags":
            gap = _BETWEEN if before is not None and before != piece.part else ""
            return [Thought(gap + piece.text, piece.source)]
        shown = self._flush()
        if self._thinking:
            return [*shown, *self._content((_BETWEEN if before != piece.part else "") + piece.text)]
        self._thinking = True
        # A delta of its own: pydantic-ai knows a tag in a stream only as a whole delta. It took a thought before a call
        # for the final answer.
        return [*shown, *self._content("<think>"), *self._content(piece.text)]

    def _whole(self, piece: CallOpened | ImageMade) -> CallOpened | ImageMade:
        if isinstance(piece, ImageMade):
            return piece
        self._opened.add(piece.index)
        return replace(piece, name=self._names.get(piece.name, piece.name))

    def _pause(self) -> list[Shown]:
        """Something other than text follows: nothing stays held back, no tag stays open."""
        return [*self._flush(), *self._close_thinking()]

    def _flush(self) -> list[Shown]:
        return self._content(self._stop.flush())

    def _close_thinking(self) -> list[Shown]:
        if not self._thinking:
            return []
        self._thinking = False
        return self._content("</think>")

    def _conclusion(self, finished: Finished) -> Conclusion:
        return Conclusion(
            reason=self._reason(finished),
            citations=tuple(self._citations()),
            usage=finished.usage,
            service_tier=finished.service_tier,
        )

    def _reason(self, finished: Finished) -> FinishReason:
        if self._stop.hit:
            return "tool_calls" if self._opened else "stop"
        if finished.incomplete_reason == "content_filter":
            return "content_filter"
        if finished.incomplete_reason is not None:
            # Cut arguments must not be run: "length" wins over the calls.
            return "length"
        return "tool_calls" if self._opened else "stop"

    def _citations(self) -> Iterable[Citation]:
        for cited in self._cited:
            annotation = cited.annotation
            if annotation.type != "url_citation" or not annotation.url or cited.part not in self._offsets:
                continue
            citation = _shifted(annotation, self._offsets[cited.part])
            if citation.end_index <= self._length:
                yield citation


def _shifted(annotation: Annotation, offset: int) -> Citation:
    return Citation(
        url=annotation.url or "",
        title=annotation.title or "",
        start_index=(annotation.start_index or 0) + offset,
        end_index=(annotation.end_index or 0) + offset,
    )


def shown_style(style: ReasoningStyle, *, json_format: bool) -> ReasoningStyle:
    """Think tags would break a JSON answer: there the thinking goes beside it."""
    return "reasoning-content" if json_format and style == "think-tags" else style


def without_thinking(text: str) -> str:
    """An answer of the history without its leading think blocks: what we showed of the reasoning, nobody said."""
    end = 0
    while (block := _THINK_BLOCK.match(text, end)) is not None:
        end = block.end()
    return text[end:]
