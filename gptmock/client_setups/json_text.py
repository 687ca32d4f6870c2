"""
Sets values in the text of a JSON file and keeps every other byte: order, indentation, comments, trailing commas. Reads
JSON with comments, and of JSON5 also unquoted names and single quotes. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gptmock.client_setups.setup import Edit, Item, Path

_TOKEN = re.compile(
    r"(?P<skip>[\s\ufeff]+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<mark>[{}\[\]:,])"
    r"|(?P<word>[^\s{}\[\]:,\"'/\ufeff]+)",
    re.DOTALL,
)
_MAX_DEPTH = 100


class UnreadableText(Exception):
    """The text is not what its format says, or has another shape than the client's documentation says."""


@dataclass(slots=True)
class _Node:
    """A value and where it stands; ``end`` is behind its last character."""

    start: int
    end: int = 0
    value: Any = None
    members: dict[str, _Node] | None = None
    children: list[_Node] = field(default_factory=list)


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise UnreadableText(f"unexpected character in line {text.count(chr(10), 0, place) + 1}")
            if match.lastgroup != "skip":
                self._tokens.append((match.lastgroup or "", match.group(), place))
            place = match.end()
        self._place = 0

    def document(self) -> _Node:
        node = self._value(0)
        if self._place != len(self._tokens):
            raise UnreadableText("more than one value")
        return node

    def _next(self) -> tuple[str, str, int]:
        if self._place == len(self._tokens):
            raise UnreadableText("it ends too early")
        self._place += 1
        return self._tokens[self._place - 1]

    def _value(self, depth: int) -> _Node:
        kind, text, start = self._next()
        if depth > _MAX_DEPTH:
            raise UnreadableText("it is nested too deeply")
        if text == "{" and kind == "mark":
            return self._object(start, depth)
        if text == "[" and kind == "mark":
            return self._array(start, depth)
        if kind == "mark":
            raise UnreadableText(f"unexpected {text}")
        return _Node(start, start + len(text), _scalar(kind, text))

    def _object(self, start: int, depth: int) -> _Node:
        node = _Node(start, members={}, value={})
        assert node.members is not None  # noqa: S101 - as made
        while True:
            kind, text, place = self._next()
            if (kind, text) == ("mark", "}"):
                node.end = place + 1
                return node
            name = str(_scalar(kind, text)) if kind == "string" else text
            if kind == "mark" or self._next()[1] != ":":
                raise UnreadableText("a member has no name")
            child = self._value(depth + 1)
            node.members[name] = child
            node.children.append(child)
            node.value[name] = child.value
            self._separated("}")

    def _array(self, start: int, depth: int) -> _Node:
        node = _Node(start, value=[])
        while True:
            kind, text, place = self._next()
            if (kind, text) == ("mark", "]"):
                node.end = place + 1
                return node
            self._place -= 1
            child = self._value(depth + 1)
            node.children.append(child)
            node.value.append(child.value)
            self._separated("]")

    def _separated(self, closing: str) -> None:
        kind, text, _ = self._next()
        if (kind, text) == ("mark", closing):
            self._place -= 1
        elif (kind, text) != ("mark", ","):
            raise UnreadableText(f"a comma or {closing} is missing before {text[:20]}")


def json_with(text: str, edits: Sequence[Edit]) -> str:
    """
    The text with these values.

    Raises:
        UnreadableText: it is not JSON, or a parent of a value is no object.
    """
    changed = text if text.strip(" \t\r\n\ufeff") else text + "{}"
    for edit in edits:
        changed = _with_value(changed, edit.path, edit.value)
    return changed


def json_value(text: str) -> Any:
    """
    What a text means.

    Raises:
        UnreadableText: it is not JSON.
    """
    return _Reader(text).document().value


def _with_value(text: str, path: Path, value: Any) -> str:
    place = _Reader(text).document()
    for index, part in enumerate(path):
        child = _child(place, part)
        if child is None:
            return _inserted(text, place, path[index:], value)
        place = child
    if place.value == value and type(place.value) is type(value):
        return text
    if place.members is not None and isinstance(value, dict) and place.members.keys() <= value.keys():
        # Member by member, so that what stands between them stays.
        for name, inner in value.items():
            text = _with_value(text, (*path, name), inner)
        return text
    return text[: place.start] + _dumped(text, place, value, inside=False) + text[place.end :]


def _child(place: _Node, part: str | Item) -> _Node | None:
    if isinstance(part, Item):
        if not isinstance(place.value, list):
            raise UnreadableText("a list was expected where it has something else")
        found = [
            child
            for child in place.children
            if isinstance(child.value, dict) and child.value.get(part.member) == part.value
        ]
        return found[-1] if found else None
    if place.members is None:
        raise UnreadableText(f"an object was expected around {part!r}, where it has something else")
    return place.members.get(part)


def _inserted(text: str, place: _Node, path: Path, value: Any) -> str:
    """With the rest of a path put in at the end of the object or list."""
    first, *rest = path
    for part in reversed(rest):
        value = [value] if isinstance(part, Item) else {part: value}
    lead = "" if isinstance(first, Item) else f"{json.dumps(first)}: "
    new = lead + _dumped(text, place, value, inside=True)
    inner = text[place.start + 1 : place.end - 1]
    kept = inner.rstrip()
    if place.children:
        last = place.children[-1].end - place.start - 1
        comma = "" if "," in _without_comments(inner[last:]) else ","
        kept = kept[:last] + comma + kept[last:]
        line = f"{_newline(text)}{_indent(text, place)}{_step(text, place)}" if "\n" in inner else " "
        ending = inner[len(inner.rstrip()) :]
    else:
        line = f"{_newline(text)}{_indent(text, place)}{_step(text, place)}"
        ending = f"{_newline(text)}{_indent(text, place)}"
    return text[: place.start + 1] + kept + line + new + ending + text[place.end - 1 :]


def _dumped(text: str, place: _Node, value: Any, *, inside: bool) -> str:
    step = _step(text, _Reader(text).document())
    indent = _indent(text, place) + (_step(text, place) if inside else "")
    lines = json.dumps(value, indent=step, ensure_ascii=False).split("\n")
    return f"{_newline(text)}{indent}".join(lines)


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent(text: str, place: _Node) -> str:
    """The white space that the line begins with in which the value begins."""
    line = text[text.rfind("\n", 0, place.start) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _step(text: str, place: _Node) -> str:
    """How much deeper the children of a value are indented."""
    for child in place.children:
        own, inner = _indent(text, place), _indent(text, child)
        if inner.startswith(own) and inner != own:
            return inner[len(own) :]
    return "\t" if "\n\t" in text else "  "


def _scalar(kind: str, text: str) -> Any:
    if kind == "string" and text.startswith("'"):
        text = json.dumps(text[1:-1].replace("\\'", "'"))
    try:
        return json.loads(text, strict=False)
    except ValueError:
        if kind == "string":
            raise UnreadableText(f"a string is not closed or has a wrong escape: {text[:10]}") from None
        # A number of JSON5, such as 0x10; it is only passed over.
        return text
