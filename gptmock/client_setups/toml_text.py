"""Sets values in the text of a TOML file and keeps every other byte: order, indentation, comments. Pure."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from gptmock.client_setups.json_text import UnreadableText
from gptmock.client_setups.setup import Edit

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
"""TOML has no other line ends than LF and CRLF."""
_HEADER = re.compile(r"^\s*\[")
_BARE = re.compile(r"""["'\s]""")
_TOKEN = re.compile(
    r"(?P<string>\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<space>[ \t\r\n]+)"
    r"|(?P<opening>[\[{])"
    r"|(?P<closing>[\]}])"
    r"|(?P<word>,|[^\s\"'#\[\]{},]+)",
    re.DOTALL,
)
"""Of a value."""


def toml_with(text: str, edits: Sequence[Edit]) -> str:
    """
    The text with these values, each in the table of its path.

    The result is parsed and compared with what it should mean, since a line of a string may look like a table's head.

    Raises:
        UnreadableText: it is not TOML, or its tables are written in a way in which they cannot be changed line by line.
    """
    wanted = copy.deepcopy(toml_value(text))
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _LINE.findall(text)
    for edit in edits:
        names = [part for part in edit.path if isinstance(part, str)]
        if _get(wanted, names) == edit.value:
            continue
        _set(wanted, names, edit.value)
        lines = _with_value(lines, names, json.dumps(edit.value), newline)
    changed = "".join(lines)
    try:
        if tomllib.loads(changed) == wanted:
            return changed
    except tomllib.TOMLDecodeError:
        pass
    raise UnreadableText("its tables are written in a way that this command cannot change")


def toml_value(text: str) -> dict[str, Any]:
    """
    What a text means.

    Raises:
        UnreadableText: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableText(str(error)) from error


def _get(document: Any, names: Sequence[str]) -> Any:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _set(document: dict[str, Any], names: Sequence[str], value: Any) -> None:
    for name in names[:-1]:
        document = document.setdefault(name, {})
        if not isinstance(document, dict):
            raise UnreadableText(f"{name} is no table in it")
    document[names[-1]] = value


def _with_value(lines: list[str], names: Sequence[str], value: str, newline: str) -> list[str]:
    """In the place of the value that is there, else in a line of its own."""
    *table, key = names
    begin = _table_begin(lines, table)
    found = re.compile(rf"""^\s*["']?{re.escape(key)}["']?\s*=[ \t]*""")
    for place in range(begin if begin is not None else len(lines), len(lines)):
        if _HEADER.match(lines[place]):
            break
        lead = found.match(lines[place])
        if lead is not None:
            # A value may go on in further lines.
            rest = "".join(lines[place:])
            changed = lead.group() + value + rest[_value_end(rest, lead.end()) :]
            return [*lines[:place], *_LINE.findall(changed)]
    return _with_line(lines, names, f"{key} = {value}{newline}", newline)


def _value_end(text: str, start: int) -> int:
    """The place behind the last character of the value that begins at ``start``."""
    depth, place = 0, start
    while (token := _TOKEN.match(text, place)) is not None:
        if depth == 0 and token.lastgroup in ("space", "comment"):
            break
        depth += {"opening": 1, "closing": -1}.get(token.lastgroup or "", 0)
        place = token.end()
    return place


def _with_line(lines: list[str], names: Sequence[str], line: str, newline: str) -> list[str]:
    """With a new line at the end of its table."""
    table = names[:-1]
    lines = [*lines[:-1], _ended(lines[-1], newline)] if lines else []
    begin = _table_begin(lines, table)
    if begin is None:
        gap = [newline] if lines and lines[-1].strip() else []
        return [*lines, *gap, f"[{'.'.join(table)}]{newline}", line]
    end = next((place for place in range(begin, len(lines)) if _HEADER.match(lines[place])), len(lines))
    last = begin
    for place in range(begin, end):
        if lines[place].strip() and not lines[place].lstrip().startswith("#"):
            last = place + 1
    # At the top of a file the comment before the first table belongs to that table.
    gap = [newline] if not table and last == 0 and lines and lines[0].strip() else []
    return [*lines[:last], line, *gap, *lines[last:]]


def _ended(line: str, newline: str) -> str:
    return line if line.endswith("\n") else line + newline


def _table_begin(lines: Sequence[str], table: Sequence[str]) -> int | None:
    """The line behind the table's head; 0 for the top."""
    if not table:
        return 0
    head = f"[{'.'.join(table)}]"
    return next((place + 1 for place, line in enumerate(lines) if _BARE.sub("", line.partition("#")[0]) == head), None)
