"""Fill in the middle (FIM): turns a prefix and a suffix, as code editors send them, into input items."""

from __future__ import annotations

from gptmock.protocol.request import InputItem, InputText, Message

_FILL_IN = (
    "The user's message holds the text before a gap, in <before> tags, and the text after it, in <after> tags. "
    "Answer with exactly the text that belongs in the gap, so that the three parts read on without a seam: repeat "
    "nothing of either side, explain nothing, and put no code fence around it."
)


def fill_in_the_middle_items(before: str, after: str) -> list[InputItem]:
    """The instruction and the user message that ask for the text between ``before`` and ``after``."""
    gap = f"<before>{before}</before><after>{after}</after>"
    return [Message("developer", [InputText(_FILL_IN)]), Message("user", [InputText(gap)])]
