"""The arguments of a client: those of its setup and the user's, with one document where both give settings."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptmock.cli.client_process import NO_PROXY, with_hosts
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.client_setups.json_text import UnreadableText, json_value
from gptmock.client_setups.setup import Start


@dataclass(frozen=True, slots=True)
class _Given:
    """An option of the user's: the place of the word with its value, and what stands before the value there."""

    place: int
    lead: str
    value: str


@contextmanager
def client_arguments(start: Start, given: Sequence[str], url: str) -> Iterator[list[str]]:
    """
    The arguments, for as long as the client runs.

    A client uses one document of settings only. If the user gives one too, both are merged, and what the setup says has
    precedence. The merged one is in a file until the context ends, since every process can read arguments.

    Args:
        start: of the client.
        given: the user's arguments.
        url: of the server, which no proxy of the user's settings is asked for.

    Raises:
        CommandFailed: the user's settings cannot be read.
        WrongUsage: the option has no value.
    """
    settings = start.settings
    if settings is None:
        yield [*start.arguments, *given]
        return
    options = list(_options(given, settings.option))
    if not options:
        yield [settings.option, json.dumps(settings.document), *start.arguments, *given]
        return
    merged: dict[str, Any] = {}
    for option in options:
        merged = _merged(merged, _document(option.value, settings.option))
    merged = _with_hosts(_merged(merged, settings.document), url)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(merged, file)
        file.flush()
        words = list(given)
        # At its own place, since a list of another option may end there.
        for option in options:
            words[option.place] = option.lead + file.name
        yield [*start.arguments, *words]


def _options(given: Sequence[str], name: str) -> Iterator[_Given]:
    """Up to ``--``, behind which there are no options."""
    words = list(given[: given.index("--")] if "--" in given else given)
    place = 0
    while place < len(words):
        if words[place] == name:
            place += 1
            if place == len(words):
                raise WrongUsage(f"{name} needs a value: a file or a JSON object")
            yield _Given(place, "", words[place])
        elif words[place].startswith(f"{name}="):
            yield _Given(place, f"{name}=", words[place].removeprefix(f"{name}="))
        place += 1


def _document(value: str, name: str) -> dict[str, Any]:
    is_text = value.lstrip().startswith("{")
    shown = "the text" if is_text else value
    try:
        document = json_value(value if is_text else Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandFailed(f"{shown} of {name} cannot be read: {error.strerror}") from error
    except (UnreadableText, ValueError) as error:
        reason = str(error) if isinstance(error, UnreadableText) else "it is not UTF-8"
        raise CommandFailed(f"{shown} of {name} is not JSON: {reason}") from error
    if not isinstance(document, dict):
        raise CommandFailed(f"{shown} of {name} is not a JSON object")
    return document


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        own = merged.get(name)
        merged[name] = _merged(own, value) if isinstance(own, dict) and isinstance(value, Mapping) else value
    return merged


def _with_hosts(settings: dict[str, Any], url: str) -> dict[str, Any]:
    environment = settings.get("env", {})
    lists = {name: with_hosts(str(environment[name]), url) for name in NO_PROXY if name in environment}
    return {**settings, "env": {**environment, **lists}} if lists else settings
