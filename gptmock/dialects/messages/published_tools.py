"""
The schemas of Anthropic's client-side tools, which a request names by type only: the client runs them itself.

Source: Anthropic's documentation of the bash, text editor and memory tools (November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_TEXT = {"type": "string"}


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": required}


_EDITING = {
    "path": {"type": "string", "description": "Absolute path to the file or directory."},
    "file_text": {"type": "string", "description": "The content of the file to create."},
    "old_str": {"type": "string", "description": "The text to replace; it must be unique in the file."},
    "new_str": {"type": "string", "description": "The text to put in its place."},
    "insert_line": {"type": "integer", "description": "The line after which to insert; 0 for the beginning."},
    "insert_text": {"type": "string", "description": "The text to insert."},
    "view_range": {
        "type": "array",
        "items": {"type": "integer"},
        "description": "First and last line to view; -1 for the end of the file.",
    },
}

PUBLISHED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bash_": {
            "description": "Run a command in a bash shell that keeps its state between calls.",
            "input_schema": _object(
                {
                    "command": {"type": "string", "description": "The command to run."},
                    "restart": {"type": "boolean", "description": "Restart the shell instead of running a command."},
                },
                [],
            ),
        },
        "text_editor_": {
            "description": "View, create and edit text files.",
            "input_schema": _object(
                {"command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]}, **_EDITING},
                ["command", "path"],
            ),
        },
        "memory_": {
            "description": "Keep notes in files below /memories, which outlive the conversation.",
            "input_schema": _object(
                {
                    "command": {
                        "type": "string",
                        "enum": ["view", "create", "str_replace", "insert", "delete", "rename"],
                    },
                    **_EDITING,
                    "old_path": _TEXT,
                    "new_path": _TEXT,
                },
                ["command"],
            ),
        },
    }
)
"""Prefix of the type to description and schema."""
