"""The shapes of a client's setup. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

KEY_VARIABLE = "GPTMOCK_API_KEY"
"""Holds the client key; setups name it and never contain the key."""
KEY = f"${KEY_VARIABLE}"
"""Stands for the client key in the environment of a client; a shell replaces it."""
NO_KEY = "none"
"""For clients that insist on a key where the server needs none."""

Text: TypeAlias = Literal["sh", "json", "toml", "yaml", "python", "javascript", "text"]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that the server lists."""

    name: str
    context_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server as a client is told of it."""

    url: str
    """Without ``/v1`` and without a slash at the end."""
    model: ServedModel
    small_model: str
    """For a client's background work, such as titles."""
    needs_key: bool = False

    @property
    def openai_url(self) -> str:
        """The base URL of OpenAI clients."""
        return f"{self.url}/v1"

    @property
    def shell_key(self) -> str:
        """The key in a shell command."""
        return KEY if self.needs_key else NO_KEY


@dataclass(frozen=True, slots=True)
class Item:
    """The item of a JSON array whose ``member`` is ``value``; part of an ``Edit``'s path."""

    member: str
    value: str


Path: TypeAlias = tuple["str | Item", ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """One value of a configuration file. In TOML the last part of the path is a key, the others name its table."""

    path: Path
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a client's own configuration file gets; everything else in the file stays as it is."""

    folder: str
    """Relative to the home directory, if ``variable`` is not set."""
    names: tuple[str, ...]
    """File names: the first one that exists is changed, else the first is created."""
    edits: tuple[Edit, ...]
    format: Literal["json", "toml"] = "json"
    variable: str | None = None
    """Environment variable with another folder."""
    below: str = ""
    """Folder below the one of ``variable``, such as ``opencode`` below ``XDG_CONFIG_HOME``."""

    @property
    def shown_path(self) -> str:
        """The usual path, for people."""
        return f"~/{self.folder}/{self.names[0]}"

    @property
    def text(self) -> str:
        """A whole file with these values only."""
        return toml_text(self.edits) if self.format == "toml" else json.dumps(json_document(self.edits), indent=2)


@dataclass(frozen=True, slots=True)
class SettingsOption:
    """An option whose value is a JSON document, or a file with one; a client uses one such document only."""

    option: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a client is started, without any change of its own configuration."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Values in which ``KEY`` stands for the client key."""
    without: tuple[str, ...] = ()
    """Variables that the client must not see."""
    switches: tuple[str, ...] = ()
    """Nor these, which make it use another provider; few people have them, so a line to type does not name them."""
    arguments: tuple[str, ...] = ()
    """Before those of the user."""
    settings: SettingsOption | None = None
    """Before these arguments; it matters only where the client's own configuration says otherwise."""
    needs_configuration: bool = False
    """The client reads its configuration file only, so that has to be written first."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text to copy."""

    title: str
    """Where it belongs: ``shell``, or the path of a file, or steps in a program."""
    language: Text
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSetup:
    """One client, and how it is set up for a server."""

    name: str
    """The word of ``gptmock launch``."""
    title: str
    snippets: Callable[[Target], Sequence[Snippet]]
    command: str | None = None
    """The program; ``None`` for a client that cannot be started from a terminal."""
    install: str = ""
    """A command that installs it."""
    page: str = ""
    """Where its makers say how it is installed."""
    start: Callable[[Target], Start] | None = None
    configuration: Callable[[Target], Configuration] | None = None


def json_document(edits: Sequence[Edit]) -> dict[str, Any]:
    """The object that has these values only."""
    document: dict[str, Any] = {}
    for edit in edits:
        *parents, last = edit.path
        place = document
        for index, part in enumerate(parents):
            assert isinstance(part, str)  # noqa: S101 - an item is the last part
            following = edit.path[index + 1]
            if isinstance(following, Item):
                place.setdefault(part, []).append(edit.value)
                break
            place = place.setdefault(part, {})
        else:
            assert isinstance(last, str)  # noqa: S101 - as above
            place[last] = edit.value
    return document


def toml_text(edits: Sequence[Edit]) -> str:
    """A TOML document with these values: those of the top first, then a table for each parent."""
    tables: dict[tuple[str, ...], list[str]] = {(): []}
    for edit in edits:
        names = [part for part in edit.path if isinstance(part, str)]
        # The strings, numbers and booleans of setups are the same in JSON and TOML.
        tables.setdefault(tuple(names[:-1]), []).append(f"{names[-1]} = {json.dumps(edit.value)}")
    parts = ["\n".join(([f"[{'.'.join(table)}]"] if table else []) + lines) for table, lines in tables.items() if lines]
    return "\n\n".join(parts)
