"""The backups of clients' configuration files, one for each file, and how such files are read and written."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gptmock.cli.errors import CommandFailed

_MAX_BYTES = 16 * 1024 * 1024
_RECORD, _BACKUP = "record.json", "backup"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a change; the backup lies beside it."""

    path: str
    existed: bool
    written: str
    """SHA-256 of what was written last."""
    edited: bool = False
    """Whether somebody else changed the file between two writes, so that what was written has those edits."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a file was before its first change, in a folder of its own."""

    folder: Path
    record: Record

    def before(self) -> bytes | None:
        """The text of the file; ``None`` if it did not exist."""
        return read_file(self.folder / _BACKUP) if self.record.existed else None

    def has_edits(self, current: bytes | None) -> bool:
        """Whether somebody else changed or removed the file since, and it is not as it was before."""
        if current == self.before():
            return False
        return self.record.edited or current is None or _digest(current) != self.record.written

    def remove(self) -> None:
        """Once it is put back."""
        for name in (_RECORD, _BACKUP):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            # Not empty where it holds those of other files.
            self.folder.rmdir()


def find_backup(client: str, paths: Sequence[Path], home: Path) -> Backup | None:
    """
    The backup of the first of these files that has one.

    Args:
        client: its name.
        paths: without links.
        home: ``GPTMOCK_HOME``.

    Raises:
        CommandFailed: the record of a backup is damaged.
    """
    for path in paths:
        # The folder of the client itself holds the one backup that earlier versions kept.
        for folder in (_folder(client, home), _folder(client, home) / _digest(str(path).encode())):
            record = _record(folder)
            if record is not None and record.path == str(path):
                return Backup(folder, record)
    return None


def paths_with_backup(client: str, home: Path) -> list[str]:
    """The files of a client that have a backup, in the order of their names."""
    folder = _folder(client, home)
    found = set()
    for place in (folder, *folder.glob("*/")):
        # A damaged one concerns its own file only.
        with suppress(CommandFailed):
            record = _record(place)
            if record is not None:
                found.add(record.path)
    return sorted(found)


def keep_backup(client: str, path: Path, before: bytes | None, after: bytes, home: Path) -> None:
    """
    Keep what a file was, before it is written. The backup is that of the first change; later ones only replace what was
    written.

    Args:
        client: its name.
        path: of the file, without links.
        before: its text; ``None`` if it does not exist.
        after: what will be written.
        home: ``GPTMOCK_HOME``.

    Raises:
        CommandFailed: the backup cannot be written, or its record is damaged.
    """
    earlier = find_backup(client, [path], home)
    if earlier is None:
        folder, existed = _folder(client, home) / _digest(str(path).encode()), before is not None
        if before is not None:
            write_file(folder / _BACKUP, before, mode=0o600)
    else:
        folder, existed = earlier.folder, earlier.record.existed
    edited = earlier is not None and earlier.has_edits(before)
    record = Record(str(path), existed, _digest(after), edited)
    write_file(folder / _RECORD, json.dumps(asdict(record)).encode(), mode=0o600)


def read_file(path: Path) -> bytes | None:
    """
    The text of a configuration file; ``None`` if there is none.

    Raises:
        CommandFailed: it cannot be read, or is too large for a configuration.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CommandFailed(f"{path} is too large for a configuration")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from error


def write_file(path: Path, text: bytes, *, mode: int | None = None) -> None:
    """
    Write a file in one step, with the mode that it had; a new one is for its owner only.

    Raises:
        CommandFailed: it cannot be written.
    """
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


def _folder(client: str, home: Path) -> Path:
    return home / "launch" / "backups" / client


def _record(folder: Path) -> Record | None:
    text = read_file(folder / _RECORD)
    try:
        return None if text is None else Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise CommandFailed(f"{folder / _RECORD} is damaged; the backup is {folder / _BACKUP}") from error


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
