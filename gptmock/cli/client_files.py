"""Changes the configuration file of a client: shows the difference, asks, keeps a backup, and takes it all back."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gptmock.cli.client_backups import find_backup, keep_backup, paths_with_backup, read_file, write_file
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.terminal import printable
from gptmock.client_setups.json_text import UnreadableText, json_with
from gptmock.client_setups.setup import ClientSetup, Configuration
from gptmock.client_setups.toml_text import toml_with

_SECRET = re.compile(
    r"""((?:key|token|secret|password|authorization|bearer|credential)\w*["']?\s*[:=]\s*)(["'])(?!\$|\{env:|none\b)[^"']+\2""",
    re.IGNORECASE,
)


def path_of(configuration: Configuration) -> Path:
    """The file that is changed: one that exists, else the one that the client would read."""
    return _candidates(configuration)[0]


def _candidates(configuration: Configuration) -> list[Path]:
    """Those that exist first."""
    given = os.environ.get(configuration.variable or "")
    folder = Path(given, configuration.below) if given else Path.home() / configuration.folder
    candidates = sorted((folder / name for name in configuration.names), key=lambda path: not path.exists())
    # A link stays a link, and its target is changed.
    return [path.resolve() for path in candidates]


def configure(setup: ClientSetup, configuration: Configuration, home: Path, *, yes: bool) -> bool:
    """
    Change the client's configuration, after the difference was shown and agreed to.

    Args:
        setup: whose.
        configuration: the values.
        home: ``GPTMOCK_HOME``, where the backup goes.
        yes: do not ask.

    Returns whether the configuration is now as wanted; false if the user said no.

    Raises:
        CommandFailed: the file cannot be read, understood or written.
        WrongUsage: nobody can be asked, and ``yes`` is false.
    """
    path = path_of(configuration)
    before = read_file(path)
    after = _changed(path, before, configuration, setup)
    if before == after:
        print(f"{path} is already set up.")
        return True
    _show_difference(path, before, after)
    if not _agreed(f"Write {path}?", yes=yes):
        print("Nothing was changed.")
        return False
    keep_backup(setup.name, path, before, after, home)
    write_file(path, after)
    print(f"{path} is written. Take it back with: gptmock launch {setup.name} --restore")
    return True


def restore(setup: ClientSetup, configuration: Configuration, home: Path, *, yes: bool) -> bool:
    """
    Put the backup of the file in use back, byte for byte; a file that did not exist is removed.

    Returns whether that was done; false if the user said no, who is asked if the file was changed since.

    Raises:
        CommandFailed: there is no backup of this file, or a file cannot be read or written.
        WrongUsage: as ``configure``.
    """
    kept = find_backup(setup.name, _candidates(configuration), home)
    others = [path for path in paths_with_backup(setup.name, home) if kept is None or path != kept.record.path]
    if kept is None:
        raise CommandFailed(_no_backup(setup, configuration, others))
    path, before = Path(kept.record.path), kept.before()
    current = read_file(path)
    if current != before:
        _show_difference(path, current, before)
        changed = current is not None and kept.has_edits(current)
        if changed and not _agreed(f"{path} was changed since. Put the backup back all the same?", yes=yes):
            print("Nothing was changed.")
            return False
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_file(path, before)
    kept.remove()
    print(f"{path} is as it was." if before is not None else f"{path} is removed; it did not exist before.")
    if others:
        print(_named_others(configuration, others))
    return True


def _no_backup(setup: ClientSetup, configuration: Configuration, others: Sequence[str]) -> str:
    if not others:
        return f"there is no backup of {setup.title}: gptmock launch {setup.name} --config makes one"
    return f"there is no backup of {path_of(configuration)}. {_named_others(configuration, others)}"


def _named_others(configuration: Configuration, others: Sequence[str]) -> str:
    how = f" To restore one of these, set {configuration.variable} to its folder." if configuration.variable else ""
    return f"There is a backup of {', '.join(others)}.{how}"


def _changed(path: Path, before: bytes | None, configuration: Configuration, setup: ClientSetup) -> bytes:
    if before is None:
        return f"{configuration.text}\n".encode()
    with_values = toml_with if configuration.format == "toml" else json_with
    try:
        return with_values(before.decode(), configuration.edits).encode()
    except (UnreadableText, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise CommandFailed(
            f"{path} is left as it is: {reason}. The lines to add by hand: gptmock launch {setup.name} --print"
        ) from error


def _show_difference(path: Path, before: bytes | None, after: bytes | None) -> None:
    """As ``diff -u`` does, with the secrets of the user's own lines hidden."""
    old, new = _lines(before), _lines(after)
    old_name, new_name = (str(path) if text is not None else "/dev/null" for text in (before, after))
    for line in difflib.unified_diff(old, new, old_name, new_name, lineterm="", n=2):
        print(_SECRET.sub(r"\1\2***\2", printable(line.replace("\t", "    "))))


def _lines(text: bytes | None) -> list[str]:
    shown = (text or b"").decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n")
    return shown.split("\n") if shown else []


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WrongUsage("there is no terminal to ask at; --yes writes without a question")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
