"""
The README's code blocks, each with the marker that stands before it: how it is run, or why it cannot be.

    <!-- run: KIND -->        tests/test_readme.py runs it as that kind
    <!-- not run: REASON -->  it stays unrun, and says why

``python tests/readme.py --test-command`` prints the command that runs all tests, for CI.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
_FENCE = re.compile(
    r"(?:^<!-- (?P<run>run|not run): (?P<how>[^\n]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One code block."""

    language: str
    text: str
    kind: str | None
    """How it is run; ``None`` when it is not."""
    reason: str | None
    """Why it is not run; ``None`` when it is, or when nobody has said."""
    line: int


def blocks(markdown: str | None = None) -> list[Block]:
    """All blocks of the README, in order."""
    text = README.read_text() if markdown is None else markdown
    return [
        Block(
            language=match["language"],
            text=match["text"],
            kind=match["how"] if match["run"] == "run" else None,
            reason=match["how"] if match["run"] == "not run" else None,
            line=text.count("\n", 0, match.start()) + 1,
        )
        for match in _FENCE.finditer(text)
    ]


def the_test_command() -> str:
    """The one command of the README that runs every test."""
    (command,) = [
        block.text.strip() for block in blocks() if block.text.rstrip().endswith(".venv/bin/python -m pytest")
    ]
    return command


if __name__ == "__main__" and sys.argv[1:] == ["--test-command"]:
    print(the_test_command())  # noqa: T201 - for CI's shell
