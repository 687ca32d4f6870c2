"""Words that a completion script offers for an argument."""

from __future__ import annotations

import argparse
from collections.abc import Mapping


def with_words(action: argparse.Action, words: Mapping[str, str]) -> None:
    """Let shells offer these words for an argument that takes others too; each has its help."""
    action.completion_words = dict(words)  # type: ignore[attr-defined]


def words_of(action: argparse.Action) -> dict[str, str]:
    """What shells offer for an argument: its words, else its choices."""
    return dict(getattr(action, "completion_words", None) or dict.fromkeys(map(str, action.choices or ()), ""))
