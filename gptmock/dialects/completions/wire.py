"""What text completions put on the wire besides text, for chunks and documents alike."""

from __future__ import annotations

from gptmock.dialects.dialect import Turn
from gptmock.dialects.presentation import Conclusion, Content, Presenter, Shown
from gptmock.protocol.output_parts import Refusal

ID_PREFIX = "cmpl-"
OBJECT = "text_completion"
"""Of documents and of chunks: the ancestors' ``text_completion.chunk`` is not what the API says."""


def new_presenter(turn: Turn) -> Presenter:
    """The presenter of one choice: thinking has no place here."""
    return Presenter("hidden", turn.stops, turn.tool_names)


def shown_text(shown: Shown) -> str:
    """The text of one shown thing; a refusal is text too, where there is no other place for it, and a call is none."""
    return shown.text if isinstance(shown, Content | Refusal) else ""


def finish_reason(conclusion: Conclusion) -> str:
    """One of ``stop``, ``length`` and ``content_filter``, which is all that the API knows."""
    return "stop" if conclusion.reason == "tool_calls" else conclusion.reason
