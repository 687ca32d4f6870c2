"""What chunks and documents of text completions share besides text: options, presenter, finish reason."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown
from gptmock.protocol.output_parts import Refusal
from gptmock.protocol.request import ResponsesRequest

ID_PREFIX = "cmpl-"
OBJECT = "text_completion"
"""Of documents and of chunks: the ancestors' ``text_completion.chunk`` is not what the API says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOptions:
    """What a text completion request asks of its reply."""

    model: str
    """Repeated as the client wrote it."""
    include_usage: bool = False
    stops: tuple[str, ...] = ()
    """Stop sequences, emulated here since the upstream knows none."""
    further: tuple[ResponsesRequest, ...] = ()
    """The requests of all prompts but the first, each an upstream turn of its own."""
    echoes: tuple[str, ...] = ()
    """The prompts, which precede their answers; none without ``echo``."""


def new_presenter(options: CompletionOptions) -> Presenter:
    """The presenter of one choice: thinking has no place here."""
    return Presenter("hidden", options.stops, {})


def shown_text(shown: Shown) -> str:
    """The text of one shown thing; a refusal is text too, where there is no other place for it, and a call is none."""
    return shown.text if isinstance(shown, Content | Refusal) else ""


def finish_reason(conclusion: Conclusion) -> str:
    """One of ``stop``, ``length`` and ``content_filter``, which is all that the API knows."""
    return "stop" if conclusion.reason == "tool_calls" else conclusion.reason
