"""Exceptions that end a command with an exit code."""

from __future__ import annotations


class CommandFailed(Exception):
    """The command failed: one line on stderr, exit code 1."""


class WrongUsage(Exception):
    """Wrong options or settings: one line on stderr for each mistake, exit code 2."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
