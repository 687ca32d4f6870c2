"""Changes the configuration file of a client: shows the difference, asks, keeps a backup, and takes it all back."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.terminal import printable
from gptmock.client_setups.json_text import UnreadableText, json_with
from gptmock.client_setups.setup import ClientSetup, Configuration
from gptmock.client_setups.toml_text import toml_with

_SECRET = re.compile(
    r"""((?:key|token|secret|password|authorization|bearer|credential)\w*["']?\s*[:=]\s*)(["'])(?!\$|\{env:|none\b)[^"']+\2""",
    re.IGNORECASE,
)
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Record:
    """What is known of a change; the backup lies beside it."""

    path: str
    existed: bool
    written: str
    """SHA-256 of what was written."""


def path_of(configuration: Configuration) -> Path:
    """The file that is changed: one that exists, else the one that the client would read."""
    given = os.environ.get(configuration.variable or "")
    folder = Path(given, configuration.below) if given else Path.home() / configuration.folder
    candidates = [folder / name for name in configuration.names]
    # A link stays a link, and its target is changed.
    return next((path for path in candidates if path.exists()), candidates[0]).resolve()


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
    before = _read(path)
    after = _changed(path, before, configuration, setup)
    if before == after:
        print(f"{path} is already set up.")
        return True
    _show_difference(path, before, after)
    if not _agreed(f"Write {path}?", yes=yes):
        print("Nothing was changed.")
        return False
    _keep(setup, path, before, after, home)
    _write(path, after)
    print(f"{path} is written. Take it back with: gptmock launch {setup.name} --restore")
    return True


def restore(setup: ClientSetup, home: Path, *, yes: bool) -> bool:
    """
    Put the backup of ``configure`` back, byte for byte; a file that did not exist is removed.

    Returns whether that was done; false if the user said no, who is asked if the file was changed since.

    Raises:
        CommandFailed: there is no backup, or a file cannot be read or written.
        WrongUsage: as ``configure``.
    """
    folder = _folder(setup, home)
    record = _record(folder)
    if record is None:
        raise CommandFailed(f"there is no backup of {setup.title}: gptmock launch {setup.name} --config makes one")
    path = Path(record.path)
    current, before = _read(path), _read(folder / "backup") if record.existed else None
    if current != before:
        _show_difference(path, current, before)
        changed = current is not None and _digest(current) != record.written
        if changed and not _agreed(f"{path} was changed since. Put the backup back all the same?", yes=yes):
            print("Nothing was changed.")
            return False
        if before is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, before)
    for name in ("record.json", "backup"):
        (folder / name).unlink(missing_ok=True)
    print(f"{path} is as it was." if before is not None else f"{path} is removed; it did not exist before.")
    return True


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
    old, new = ((text or b"").decode("utf-8", "replace").split("\n") for text in (before, after))
    old_name, new_name = (str(path) if text is not None else "/dev/null" for text in (before, after))
    for line in difflib.unified_diff(old, new, old_name, new_name, lineterm="", n=2):
        print(_SECRET.sub(r"\1\2***\2", printable(line.replace("\t", "    "))))


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WrongUsage("there is no terminal to ask at; --yes writes without a question")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _folder(setup: ClientSetup, home: Path) -> Path:
    return home / "launch" / "backups" / setup.name


def _keep(setup: ClientSetup, path: Path, before: bytes | None, after: bytes, home: Path) -> None:
    """The backup is that of the first change; later ones only replace what was written."""
    folder = _folder(setup, home)
    earlier = _record(folder)
    existed = before is not None
    if earlier is not None and earlier.path == str(path):
        existed = earlier.existed
    elif before is not None:
        _write(folder / "backup", before, mode=0o600)
    record = _Record(str(path), existed, _digest(after))
    _write(folder / "record.json", json.dumps(asdict(record)).encode(), mode=0o600)


def _record(folder: Path) -> _Record | None:
    text = _read(folder / "record.json")
    try:
        return None if text is None else _Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise CommandFailed(f"{folder / 'record.json'} is damaged; the backup is {folder / 'backup'}") from error


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CommandFailed(f"{path} is too large for a configuration")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, text: bytes, *, mode: int | None = None) -> None:
    """In one step, with the mode that the file had; a new one is for its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if mode is None:
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(part).chmod(mode)
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
