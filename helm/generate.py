"""
Makes ``values.schema.json`` and the table of values in ``README.md`` from the comments of ``values.yaml``, and copies
the dashboard and the alert rules of ``deploy`` into the chart, which can read nothing outside itself.

    python helm/generate.py            writes all of them
    python helm/generate.py --check    exits 1 if one of them is not in step

A comment that begins with ``# --`` describes the value below it; ``# @schema {...}`` in it is JSON Schema for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "gptmock"
COPIES = {
    CHART / "files" / "dashboard.json": CHART.parent.parent / "deploy" / "grafana" / "gptmock.json",
    CHART / "files" / "gptmock.rules.yml": CHART.parent.parent / "deploy" / "prometheus" / "gptmock.rules.yml",
}
_BEGIN, _END = "<!-- values: made by helm/generate.py -->\n", "<!-- end of values -->"
_SCHEMA = "@schema "
_TYPES = {"bool": "boolean", "int": "integer", "str": "string", "seq": "array", "map": "object", "null": "null"}


@dataclass(frozen=True, slots=True)
class Value:
    """One value with its default and its comment."""

    path: tuple[str, ...]
    kind: str
    """JSON Schema's name of the default's type."""
    default: Any
    description: str
    schema: dict[str, Any] | None
    """What ``@schema`` says; ``None`` without it."""
    is_section: bool
    """A map whose members have comments of their own."""


class UndocumentedValue(Exception):
    """A value has no comment that describes it."""


def values(text: str) -> Iterator[Value]:
    """
    All values in order, sections before their members.

    Raises:
        UndocumentedValue: a value that is no section has no description.
    """
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    yield from _members(root, (), text.split("\n"))


def _members(node: yaml.MappingNode, above: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, key.value)
        description, schema = _comment(lines, key.start_mark.line)
        is_section = (
            isinstance(value, yaml.MappingNode) and bool(value.value) and not value.flow_style and schema is None
        )
        if not is_section and not description:
            raise UndocumentedValue(".".join(path))
        default = yaml.SafeLoader("").construct_document(value)
        kind = _TYPES[value.tag.rpartition(":")[2]]
        yield Value(path, kind, default, description, schema, is_section)
        if is_section:
            yield from _members(value, path, lines)


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any] | None]:
    """The description and the schema in the comment that ends above a line."""
    begin = line
    while begin and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    words, schema, described = [], None, False
    for text in (one.lstrip().removeprefix("#").strip() for one in lines[begin:line]):
        if text.startswith(_SCHEMA):
            schema = json.loads(text.removeprefix(_SCHEMA))
        elif text.startswith("--") or described:
            described = True
            words.append(text.removeprefix("--").strip())
    return " ".join(words), schema


def schema_document(found: list[Value]) -> dict[str, Any]:
    """The JSON Schema of all values. Unknown members are refused, except where a comment allows them."""
    root: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the gptmock chart",
        "type": "object",
        "additionalProperties": False,
        # Helm passes it to every chart.
        "properties": {"global": {"type": "object"}},
    }
    for value in found:
        place = root
        for name in value.path[:-1]:
            place = place["properties"][name]
        place["properties"][value.path[-1]] = _schema(value)
    return root


def _schema(value: Value) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": value.kind}
    if value.description:
        schema["description"] = value.description
    if value.is_section:
        return {**schema, "additionalProperties": False, "properties": {}}
    return {**schema, "default": value.default, **(value.schema or {})}


def table(found: list[Value]) -> str:
    """The table of README.md."""
    rows = [
        f"| `{'.'.join(value.path)}` | `{json.dumps(value.default)}` | {value.description} |"
        for value in found
        if not value.is_section
    ]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows, ""])


def documents() -> dict[Path, str]:
    """The generated files with what should be in them."""
    found = list(values((CHART / "values.yaml").read_text(encoding="utf-8")))
    readme = CHART / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return {
        **{copy: source.read_text(encoding="utf-8") for copy, source in COPIES.items()},
        CHART / "values.schema.json": json.dumps(schema_document(found), indent=2, ensure_ascii=False) + "\n",
        readme: f"{before}{_BEGIN}{table(found)}{_END}{after}",
    }


def main() -> int:
    """Write the files, or say which are not in step."""
    wrong = [
        path for path, text in documents().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if sys.argv[1:] == ["--check"]:
        for path in wrong:
            sys.stderr.write(f"{path}: run python helm/generate.py\n")
        return 1 if wrong else 0
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
