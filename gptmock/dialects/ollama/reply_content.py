"""
What the presenter shows, as Ollama's clients take it: one text, whole calls, an honest reason.

    shown                       told
    Content, Refusal            text; a blank line where one follows the other
    Thought                     ``thinking``, by whoever asks
    CallOpened, CallInput       kept until the end: calls are told whole, their arguments an object
    Conclusion                  ``done_reason``, or an error where Ollama has no word for the ending
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gptmock.dialects.copying import Encode
from gptmock.dialects.dialect import ReasoningStyle
from gptmock.dialects.ollama.line_encoder import Shape
from gptmock.dialects.presentation import Conclusion, Content
from gptmock.errors import UpstreamBroken, UpstreamRefused
from gptmock.protocol.delta_runs import text_of
from gptmock.protocol.output_parts import CallInput, CallOpened, Refusal

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaOptions:
    """What a request asks of its reply."""

    shape: Shape
    """Of a line, which differs between the two routes."""
    model: str
    """Repeated as the client wrote it."""
    style: ReasoningStyle = "reasoning-content"
    stops: tuple[str, ...] = ()
    """Stop sequences, emulated here since the upstream knows none."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Name sent upstream to the client's own, where they differ."""


@dataclass(slots=True)
class _Call:
    opened: CallOpened
    input: list[str] = field(default_factory=list)

    def arguments(self) -> msgspec.Raw | None:
        """The arguments as they were written, but on one line; ``None`` when they are no object."""
        text = "".join(self.input)
        if self.opened.kind == "custom":
            return msgspec.Raw(msgspec.json.encode({"input": text}))
        try:
            msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return None
        return msgspec.Raw(msgspec.json.format(text, indent=-1).encode())


class ReplyContent:
    """One reply, streamed or collected."""

    __slots__ = ("_answered", "_calls", "_refused")

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._answered = False
        """Something was told that is no refusal."""
        self._refused = False
        """A refusal was told last."""

    def text(self, shown: Content | Refusal) -> str:
        """The text of a piece: Ollama has no place of its own for a refusal."""
        refused, self._refused = self._refused, isinstance(shown, Refusal)
        # What follows an answer and a refusal has its blank line from the presenter, as a new message.
        gap = refused != self._refused and self._answered is self._refused
        self._answered = self._answered or not self._refused
        return _BETWEEN + shown.text if gap else shown.text

    @property
    def answers(self) -> bool:
        """Text was told last: more of it needs no blank line."""
        return self._answered and not self._refused

    def keeper(self, index: int) -> Encode:
        """Takes more of a call's arguments, and tells nothing of it."""
        held = self._calls[index].input

        def keep(literals: list[bytes]) -> bytes:
            held.append(text_of(literals))
            return b""

        return keep

    def take(self, shown: CallOpened | CallInput) -> None:
        """Remember a call, or more of its arguments."""
        if isinstance(shown, CallOpened):
            self._calls[shown.index] = _Call(shown)
        else:
            self._calls[shown.index].input.append(shown.text)

    def calls(self, end: Conclusion) -> list[dict[str, Any]]:
        """
        The calls of the whole reply, as entries of ``tool_calls``.

        A call that the end of an incomplete reply has cut is left out: the reason says that something is missing, and
        half a call must not be run.

        Raises:
            UpstreamBroken: a finished call has arguments that are no JSON object.
        """
        told: list[dict[str, Any]] = []
        for call in self._calls.values():
            arguments = call.arguments()
            if arguments is not None:
                function = {"index": len(told), "name": call.opened.name, "arguments": arguments}
                told.append({"id": call.opened.call_id, "function": function})
            elif end.reason != "length":
                raise UpstreamBroken(
                    f"The model called '{call.opened.name}' with arguments that are no JSON object.",
                    code="invalid_tool_arguments",
                )
        return told


def done_reason(end: Conclusion) -> str:
    """
    Why the reply ended, in Ollama's words: ``stop``, which tool calls end with too, or ``length``.

    Raises:
        UpstreamRefused: the content filter has cut it, and Ollama has no word for that.
    """
    if end.reason == "content_filter":
        raise UpstreamRefused(
            "The upstream's content filter stopped this answer.", code="content_filter", should_retry=False
        )
    return "length" if end.reason == "length" else "stop"
