"""What text completion chunks and documents have in common: reply options, presenter, finish reason."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown
from gptmock.protocol.output_parts import Refusal
from gptmock.protocol.request import ResponsesRequest

ID_PREFIX = "cmpl-"
OBJECT = "text_completion"
"""``object`` of documents and of chunks, as in the OpenAI API (ChatMock sent ``text_completion.chunk``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOptions:
    """What rendering a reply needs from its request."""

    model: str
    """The client's model name, repeated in the reply."""
    include_usage: bool = False
    stops: tuple[str, ...] = ()
    """Stop sequences; emulated, see ``stop_sequences``."""
    further: tuple[ResponsesRequest, ...] = ()
    """The requests of all prompts but the first; each is an upstream turn."""
    echoes: tuple[str, ...] = ()
    """With ``echo``: the prompts, which precede the output in each choice."""


def new_presenter(options: CompletionOptions) -> Presenter:
    """The presenter of one choice; reasoning is hidden."""
    return Presenter("hidden", options.stops, {})


def shown_text(shown: Shown) -> str:
    """The text for one piece of output: answer text or refusal; a tool call has none."""
    return shown.text if isinstance(shown, Content | Refusal) else ""


def finish_reason(conclusion: Conclusion) -> str:
    """``finish_reason``: ``stop``, ``length`` or ``content_filter``; the API has no others."""
    return "stop" if conclusion.reason == "tool_calls" else conclusion.reason
