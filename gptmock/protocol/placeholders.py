"""
Removes leading HTML comments from reasoning summary parts: some models begin a part with an empty comment. Works on
text; knows no event.
"""

from __future__ import annotations

import re

_LEADING_COMMENTS = re.compile(r"\A(?:\s*<!--.*?-->)+\s*", re.DOTALL)
_OPENING = "<!--"


class PlaceholderFilter:
    """
    Filters one summary part that arrives in deltas.

    Buffers text only while it may still be a leading comment; usually nothing is buffered.
    """

    __slots__ = ("_held", "passing")

    def __init__(self) -> None:
        self._held = ""
        self.passing = False
        """Everything that follows is shown as it comes."""

    def feed(self, text: str) -> str:
        """Take a delta; returns the text that can be shown now."""
        if self.passing:
            return text
        self._held += text
        rest = _LEADING_COMMENTS.sub("", self._held)
        begun = rest.lstrip()
        if begun.startswith(_OPENING) or _OPENING.startswith(begun):
            return ""
        self.passing = True
        return rest

    def flush(self) -> str:
        """End the part; returns the buffered text if it is not a comment."""
        if self.passing:
            return ""
        self.passing = True
        rest = _LEADING_COMMENTS.sub("", self._held)
        return "" if rest.lstrip().startswith(_OPENING) else rest
