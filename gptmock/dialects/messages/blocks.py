"""
The machine from pieces to content blocks, which follow one another and never overlap (next doors A.4 and A.5). The same
machine serves streamed and collected messages.

    piece                     shown
    Text, Refusal             TextDelta in a text block for each message; cut at a stop sequence
    Cited                     CitationDelta
    Reasoning                 ThinkingDelta in a thinking block for each item, if thinking is shown
    ReasoningSealed           SignatureDelta at the end of its block, if there are thinking blocks
    CallOpened, CallInput     InputDelta in a tool_use block
    Searched                  a server_tool_use block and a web_search_tool_result block
    ImageMade                 a text block that says so: no client shows a data URL
    ItemEnded                 BlockClosed
    Finished                  what was held back, then Ending

One item is shown at a time: pieces of others are held back until it has ended. A block is opened with its first
content, so an item without any has no block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

import msgspec

from gptmock.dialects.messages.shown import (
    BlockClosed,
    BlockOpened,
    CitationDelta,
    InputDelta,
    Shown,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    not_shown,
)
from gptmock.dialects.messages.signatures import SealedReasoning, signature_of
from gptmock.dialects.messages.wire import Ending, MessagesOptions, incomplete_ending, refusal_details
from gptmock.dialects.stop_sequences import StopFilter
from gptmock.protocol.item_tracking import GrowingText
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
    Refusal,
    Searched,
    Text,
)

_BETWEEN = "\n\n"
_Key: TypeAlias = tuple[str, int]


@dataclass(slots=True)
class _Item:
    """The item that is shown now, and its block if it has one."""

    key: _Key
    opened: bool = False
    thought: int | None = None
    """``Reasoning.part`` of what was shown last."""
    signature: str = ""
    call: CallOpened | None = None
    has_input: bool = False


class Blocks:
    """
    Pieces of one turn in, blocks out.

    Args:
        options: of the reply.
        head_id: makes the ids of server tool calls.
        account_id: the account that serves the turn, for signatures.
    """

    __slots__ = (
        "_account_id",
        "_closed",
        "_current",
        "_found",
        "_head_id",
        "_held",
        "_inputs",
        "_options",
        "_parts",
        "_places",
        "_refusal",
        "_searches",
        "_stop",
        "_tool_used",
        "has_content",
    )

    def __init__(self, options: MessagesOptions, head_id: str, account_id: Callable[[], str | None]) -> None:
        self._options = options
        self._head_id = head_id
        self._account_id = account_id
        self._stop = StopFilter(options.stops)
        self._current: _Item | None = None
        self._held: dict[_Key, list[Piece]] = {}
        """Pieces of other items, by item in order of appearance."""
        self._closed: set[_Key] = set()
        self._parts: dict[int, GrowingText] = {}
        """The text of each part, which citations quote."""
        self._places: dict[int, int] = {}
        """The message of each part."""
        self._inputs: dict[int, GrowingText] = {}
        """The input of each call."""
        self._refusal: list[str] = []
        self._found = 0
        self._searches = 0
        """Those of ``_found`` that were shown."""
        self._tool_used = False
        self.has_content = False
        """A block was opened."""

    def feed(self, piece: Piece) -> list[Shown]:
        """What this piece adds; often one thing, sometimes none."""
        if isinstance(piece, Finished):
            return [*self.close(), self._ending(piece)]
        if self._stop.hit:
            return []
        key = self._key(piece)
        if key is None:
            return []
        current = self._current
        if current is not None and current.key != key:
            self._held.setdefault(key, []).append(piece)
            return []
        if key in self._closed:
            return self._late(key, piece)
        if current is None:
            self._current = _Item(key)
        return [*self._take(piece), *self._next()] if self._ends(piece) else self._take(piece)

    def close(self) -> list[Shown]:
        """The upstream has ended: what is open is closed, and what was held back is shown."""
        shown: list[Shown] = []
        while self._current is not None or self._held:
            shown += [*self._close(), *self._next()]
        return shown

    def passes(self, piece: Text | Reasoning | CallInput) -> TextDelta | ThinkingDelta | InputDelta | None:
        """What any text of this piece is shown as, if it is shown as it is and alone (``copying.PassesDeltas``)."""
        current = self._current
        if current is None or not current.opened or current.key != self._key(piece) or self._stop.hit:
            return None
        match piece:
            case Text(part=part):
                return None if self._stop.active or part not in self._parts else TextDelta("", part)
            case Reasoning(part=part):
                return ThinkingDelta("") if part == current.thought else None
            case CallInput(index=index):
                is_function = current.call is not None and current.call.kind == "function"
                return InputDelta("", index) if is_function and current.has_input else None
            case _:
                assert_never(piece)

    def copied(self, shown: TextDelta | ThinkingDelta | InputDelta, literals: list[bytes]) -> None:
        """Text was shown without ``feed``, after ``passes``."""
        if isinstance(shown, TextDelta):
            self._parts[shown.part].copied(literals)
        elif isinstance(shown, InputDelta):
            self._inputs[shown.call].copied(literals)

    def copied_one(self, shown: TextDelta | ThinkingDelta | InputDelta) -> Callable[[bytes], None] | None:
        """As ``copied``, for one text at a time; ``None`` if nobody has to be told."""
        if isinstance(shown, TextDelta):
            return self._parts[shown.part].copied_one
        return self._inputs[shown.call].copied_one if isinstance(shown, InputDelta) else None

    # --- One item at a time -------------------------------------------------------------

    def _key(self, piece: Piece) -> _Key | None:
        match piece:
            case Text(message=number, part=part):
                self._places[part] = number
                return ("message", number)
            case Refusal(message=number):
                return ("message", number)
            case Cited(part=part):
                number_of = self._places.get(part)
                return None if number_of is None else ("message", number_of)
            case Reasoning(item=number) | ReasoningSealed(item=number):
                return ("reasoning", number)
            case CallOpened(index=number) | CallInput(index=number):
                return ("call", number)
            case ItemEnded(kind=kind, number=number):
                return (kind, number)
            case Searched() | ImageMade():
                self._found += 1
                return ("hosted", self._found)
            case Finished():
                return None
            case _:
                assert_never(piece)

    def _ends(self, piece: Piece) -> bool:
        return isinstance(piece, ItemEnded | Searched | ImageMade)

    def _late(self, key: _Key, piece: Piece) -> list[Shown]:
        """Text of a message that has ended already: a block of its own. Other blocks cannot be changed any more."""
        if not isinstance(piece, Text | Refusal) or self._current is not None:
            return []
        self._current = _Item(key)
        return [*self._take(piece), *self._close()]

    def _next(self) -> list[Shown]:
        """Show what was held back, up to an item that has not ended."""
        shown: list[Shown] = []
        while self._current is None and self._held:
            key = next(iter(self._held))
            pieces = self._held.pop(key)
            for piece in pieces:
                if self._stop.hit:
                    break
                if key in self._closed:
                    shown += self._late(key, piece)
                    continue
                self._current = self._current or _Item(key)
                shown += self._take(piece)
        return shown

    def _take(self, piece: Piece) -> list[Shown]:
        current = self._current
        assert current is not None  # noqa: S101 - set by the callers
        match piece:
            case Text() | Refusal():
                return self._text(current, piece)
            case Cited():
                return self._cite(current, piece)
            case Reasoning():
                return self._think(current, piece)
            case ReasoningSealed():
                current.signature = self._sign(piece)
                return []
            case CallOpened() | CallInput():
                return self._call(current, piece)
            case Searched():
                return [*self._search(piece), *self._close()]
            case ImageMade(data=data):
                return [*self._show(current, not_shown(data)), *self._close()]
            case ItemEnded():
                return self._close()
            case Finished():
                return []
            case _:
                assert_never(piece)

    def _open(self, current: _Item, block: dict[str, Any]) -> list[Shown]:
        if current.opened:
            return []
        current.opened = self.has_content = True
        return [BlockOpened(block)]

    def _close(self) -> list[Shown]:
        current, self._current = self._current, None
        if current is None:
            return []
        self._closed.add(current.key)
        shown: list[Shown] = []
        if current.key[0] == "message":
            shown += self._show(current, self._stop.flush())
        if current.signature:
            shown += [*self._open(current, _THINKING), SignatureDelta(current.signature)]
        if current.call is not None:
            shown += self._last_input(current, current.call)
        return [*shown, BlockClosed()] if current.opened else shown

    # --- Text ---------------------------------------------------------------------------

    def _text(self, current: _Item, piece: Text | Refusal) -> list[Shown]:
        if isinstance(piece, Refusal):
            self._refusal.append(piece.text)
            return self._show(current, piece.text)
        self._parts.setdefault(piece.part, GrowingText()).more(piece.text)
        shown = self._show(current, self._stop.feed(piece.text), piece.part)
        return [*shown, *self._close()] if self._stop.hit else shown

    def _show(self, current: _Item, text: str, part: int = -1) -> list[Shown]:
        return [*self._open(current, {"type": "text", "text": ""}), TextDelta(text, part)] if text else []

    def _cite(self, current: _Item, cited: Cited) -> list[Shown]:
        annotation = cited.annotation
        if annotation.type != "url_citation" or not annotation.url or not current.opened:
            return []
        text = self._parts[cited.part].sent
        return [
            CitationDelta(
                {
                    "type": "web_search_result_location",
                    "url": annotation.url,
                    "title": annotation.title or annotation.url,
                    "cited_text": text[annotation.start_index or 0 : annotation.end_index or 0],
                    "encrypted_index": "",
                }
            )
        ]

    # --- Thinking -----------------------------------------------------------------------

    def _think(self, current: _Item, piece: Reasoning) -> list[Shown]:
        if self._options.thinking != "shown":
            return []
        before, current.thought = current.thought, piece.part
        gap = _BETWEEN if before is not None and before != piece.part else ""
        return [*self._open(current, _THINKING), ThinkingDelta(gap + piece.text)]

    def _sign(self, piece: ReasoningSealed) -> str:
        if self._options.thinking == "none":
            return ""
        sealed = SealedReasoning(self._account_id() or "", piece.id or "", piece.encrypted_content)
        return signature_of(sealed, self._options.sealing, self._options.tenant)

    # --- Tools --------------------------------------------------------------------------

    def _call(self, current: _Item, piece: CallOpened | CallInput) -> list[Shown]:
        if isinstance(piece, CallOpened):
            current.call, self._tool_used = piece, True
            self._inputs[piece.index] = GrowingText()
            name = self._options.tool_names.get(piece.name, piece.name)
            return self._open(current, {"type": "tool_use", "id": piece.call_id, "name": name, "input": {}})
        if current.call is None:
            return []
        self._inputs[piece.index].more(piece.text)
        if current.call.kind == "custom":
            return []
        current.has_input = True
        return [InputDelta(piece.text, piece.index)]

    def _last_input(self, current: _Item, call: CallOpened) -> list[Shown]:
        if call.kind == "custom":
            return [InputDelta(msgspec.json.encode({"input": self._inputs[call.index].sent}).decode())]
        return [] if current.has_input else [InputDelta("{}")]

    def _search(self, piece: Searched) -> list[Shown]:
        self._searches += 1
        tool_id = f"srvtoolu_{self._head_id[:24]}{self._searches:02d}"
        found = [
            {"type": "web_search_result", "url": url, "title": url, "encrypted_content": "", "page_age": None}
            for url in piece.urls
        ]
        self.has_content = True
        return [
            BlockOpened({"type": "server_tool_use", "id": tool_id, "name": "web_search", "input": {}}),
            InputDelta(msgspec.json.encode({"query": piece.query}).decode()),
            BlockClosed(),
            BlockOpened({"type": "web_search_tool_result", "tool_use_id": tool_id, "content": found}),
            BlockClosed(),
        ]

    # --- The end ------------------------------------------------------------------------

    def _ending(self, finished: Finished) -> Ending:
        ending = self._how(finished.incomplete_reason)
        return Ending(ending.reason, ending.sequence, ending.details, finished.usage, self._searches)

    def _how(self, incomplete: str | None) -> Ending:
        explanation = "".join(self._refusal) or None
        if incomplete is not None and not self._stop.hit and not (self._tool_used and self._calls_are_whole()):
            reason = incomplete_ending(incomplete)
            return Ending(reason, details=refusal_details(None, explanation) if reason == "refusal" else None)
        if self._tool_used:
            return Ending("tool_use")
        if self._stop.hit:
            return Ending("stop_sequence", self._stop.matched)
        if explanation is not None:
            return Ending("refusal", details=refusal_details(None, explanation))
        return Ending("end_turn")

    def _calls_are_whole(self) -> bool:
        """Cut arguments must not be run: then the limit is the reason."""
        return all(is_object(inward.sent) for inward in self._inputs.values())


_THINKING: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}


def is_object(text: str) -> bool:
    """Whether a tool's input is whole; none at all is the empty object."""
    try:
        msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
