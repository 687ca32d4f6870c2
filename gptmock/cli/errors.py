"""How a command ends when it does not end well."""

from __future__ import annotations


class CommandFailed(Exception):
    """One clear line for stderr; exit code 1."""


class WrongUsage(Exception):
    """A clear line for each mistake on stderr; exit code 2."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
