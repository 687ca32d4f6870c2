"""
Converts the presenter's output to Ollama's format: text, complete tool calls, ``done_reason``.

    presenter output            Ollama
    Content, Refusal            text; a blank line where one follows the other
    Thought                     ``thinking`` (rendered by the caller)
    CallOpened, CallInput       buffered to the end: Ollama sends calls complete, with their arguments as an object
    ImageMade                   buffered likewise: ``images`` of the last line, as base64
    Conclusion                  ``done_reason``, or an error for an ending that Ollama cannot express
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
from gptmock.protocol.output_parts import CallInput, CallOpened, ImageMade, Refusal

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaOptions:
    """What rendering a reply needs from its request."""

    shape: Shape
    """The format of a line, which differs between ``/api/chat`` and ``/api/generate``."""
    model: str
    """The client's model name, repeated in the reply."""
    style: ReasoningStyle = "reasoning-content"
    stops: tuple[str, ...] = ()
    """Stop sequences; emulated, see ``stop_sequences``."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Tool name sent upstream to the client's name, where they differ."""


@dataclass(slots=True)
class _Call:
    opened: CallOpened
    input: list[str] = field(default_factory=list)

    def arguments(self) -> msgspec.Raw | None:
        """The arguments reformatted to one line; ``None`` if they are not a JSON object."""
        text = "".join(self.input)
        if self.opened.kind == "custom":
            return msgspec.Raw(msgspec.json.encode({"input": text}))
        try:
            msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return None
        return msgspec.Raw(msgspec.json.format(text, indent=-1).encode())


class ReplyContent:
    """The content of one reply, streamed or collected."""

    __slots__ = ("_answered", "_calls", "_images", "_refused")

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._images: list[str] = []
        self._answered = False
        """Answer text has been shown."""
        self._refused = False
        """The last text was a refusal."""

    def text(self, shown: Content | Refusal) -> str:
        """The text to show: a refusal is shown as text, since Ollama has no member for it."""
        refused, self._refused = self._refused, isinstance(shown, Refusal)
        # Text that begins a new message already has its blank line from the presenter.
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
            held.append(text_of(b"".join(literals)))
            return b""

        return keep

    def take(self, shown: CallOpened | CallInput | ImageMade) -> None:
        """Buffer an image, a call, or a delta of its arguments."""
        if isinstance(shown, ImageMade):
            self._images.append(shown.data)
        elif isinstance(shown, CallOpened):
            self._calls[shown.index] = _Call(shown)
        else:
            self._calls[shown.index].input.append(shown.text)

    def images(self) -> dict[str, Any]:
        """The member ``images``; empty if there are none."""
        return {"images": self._images} if self._images else {}

    def calls(self, end: Conclusion) -> list[dict[str, Any]]:
        """
        All calls of the reply, as entries of ``tool_calls``.

        A call that is truncated because the reply reached its length limit is left out, since a client must not execute
        it; ``done_reason`` is then ``length``.

        Raises:
            UpstreamBroken: the arguments of a complete call are not a JSON object.
        """
        entries: list[dict[str, Any]] = []
        for call in self._calls.values():
            arguments = call.arguments()
            if arguments is not None:
                function = {"index": len(entries), "name": call.opened.name, "arguments": arguments}
                entries.append({"id": call.opened.call_id, "function": function})
            elif end.reason != "length":
                raise UpstreamBroken(
                    f"The model called '{call.opened.name}' with arguments that are no JSON object.",
                    code="invalid_tool_arguments",
                )
        return entries


def done_reason(end: Conclusion) -> str:
    """
    ``done_reason``: ``length``, or ``stop``, also after tool calls.

    Raises:
        UpstreamRefused: the content filter stopped the reply; Ollama has no ``done_reason`` for that.
    """
    if end.reason == "content_filter":
        raise UpstreamRefused(
            "The upstream's content filter stopped this answer.", code="content_filter", should_retry=False
        )
    return "length" if end.reason == "length" else "stop"
