"""
The corpus of bad inputs: one TOML file for each case, in a folder for each kind.

Every file has ``about``, the rule that the input breaks, and what is expected. In ``sends`` and ``stream`` every
character is one byte (Latin-1): ``\\u0000`` is NUL, ``\\r`` before a line end makes it CRLF. Other texts are UTF-8.
``[fill]`` names words that are replaced by a text that is repeated, which would be too long to write down.

Every fixed fault adds a case.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    about: str
    expected: dict[str, Any]
    """All other members of the file."""
    fill: dict[str, str]

    def text(self, member: str) -> str:
        """A text of the file, with its words replaced."""
        text = str(self.expected[member])
        for word, filling in self.fill.items():
            text = text.replace(word, filling)
        return text

    def octets(self, member: str) -> bytes:
        """The same as bytes."""
        return self.text(member).encode("latin-1")


def cases(kind: str) -> list[Case]:
    """The cases of a folder."""
    return [_case(path) for path in sorted((FOLDER / kind).glob("*.toml"))]


def _case(path: Path) -> Case:
    members = tomllib.loads(path.read_text())
    fill = {word: each["text"] * each["times"] for word, each in members.pop("fill", {}).items()}
    return Case(path.stem, members.pop("about"), members, fill)


def name_of(case: Case) -> str:
    """For pytest."""
    return case.name
