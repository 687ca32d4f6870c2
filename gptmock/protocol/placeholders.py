"""
Placeholders in reasoning summaries: some models open a paragraph with an HTML comment that stands for nothing. Knows
no event; text in, text out.
"""

from __future__ import annotations

import re

_LEADING_COMMENTS = re.compile(r"\A(?:\s*<!--.*?-->)+\s*", re.DOTALL)
_OPENING = "<!--"


class PlaceholderFilter:
    """
    One paragraph, cut anywhere, without the comments that it begins with.

    Holds back only while all there is may still be such a comment; nearly always it passes on from the first word.
    """

    __slots__ = ("_held", "passing")

    def __init__(self) -> None:
        self._held = ""
        self.passing = False
        """Everything that follows is shown as it comes."""

    def feed(self, text: str) -> str:
        """The text that can be shown now."""
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
        """The paragraph is over: what was held back and is no comment."""
        if self.passing:
            return ""
        self.passing = True
        rest = _LEADING_COMMENTS.sub("", self._held)
        return "" if rest.lstrip().startswith(_OPENING) else rest
