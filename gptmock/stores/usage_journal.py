"""
The turns of a worker that the store does not count yet, in a file that outlives a process that is killed. Knows the
files of one server, no store.

    usage/ID.journal    a line for each turn: its number, what it is counted under, its amounts

A journal is locked (``flock``) for as long as its worker lives; the kernel keeps what was written to it, so nothing is
synchronized with the disk. Whoever can lock a journal counts what the store lacks of it, and removes it. The store says
how many turns of a journal it counts, in the transaction that counts them (``stores.limits_and_usage``).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

log = logging.getLogger("gptmock.usage")

Counted: TypeAlias = tuple[int, str, str, str]
"""Days since 1970 in UTC, client key, account, model."""
MAX_BYTES = 4 * 1024 * 1024
"""While the store is away for long: what ends after that is lost if the worker is killed."""
_SUFFIX = ".journal"
_TRIES = 5
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class JournalLine(msgspec.Struct, frozen=True, array_like=True):
    """One turn."""

    number: int
    """From 1, in the order in which the turns ended."""
    counted: Counted
    amounts: dict[str, int]


_DECODE = msgspec.json.Decoder(JournalLine).decode


class UsageJournal:
    """
    The journal of this worker.

    Args:
        folder: of all journals of the server; made, mode 0700, if there is none.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._path, self._descriptor = _new_file(folder)
        self.id = self._path.stem
        self.count = 0
        """The number of the last turn."""
        self._bytes = 0
        self._is_broken = False

    def note(self, counted: Counted, amounts: Mapping[str, int]) -> None:
        """Write down a turn; an error is logged once, and the turn is counted from memory only."""
        self.count += 1
        line = msgspec.json.encode(JournalLine(self.count, counted, dict(amounts))) + b"\n"
        try:
            if not self._is_broken and self._bytes < MAX_BYTES:
                self._bytes += os.write(self._descriptor, line)
        except OSError as error:
            self._is_broken = True
            log.warning("usage.journal_failed", extra={"reason": str(error)})

    def settled(self, number: int) -> None:
        """Remove the turns up to this number: the store counts them."""
        try:
            if number >= self.count:
                os.ftruncate(self._descriptor, 0)
                self._bytes = 0
            else:
                self._keep_from(number + 1)
        except OSError as error:
            # The store knows which turns it counts.
            log.warning("usage.journal_failed", extra={"reason": str(error)})

    def close(self) -> None:
        """Let go of the journal; the file is removed unless it has turns that are not settled."""
        if self._bytes == 0:
            self._path.unlink(missing_ok=True)
        self._is_broken = True
        os.close(self._descriptor)

    def _keep_from(self, number: int) -> None:
        # Replaced by renaming: a process that is killed meanwhile leaves the one or the other.
        kept = [msgspec.json.encode(one) + b"\n" for one in _lines(self._descriptor) if one.number >= number]
        path = self._path.with_suffix(".new")
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._bytes = os.write(descriptor, b"".join(kept))
            path.rename(self._path)
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor


class LeftJournal:
    """A journal whose worker has ended, locked until it is closed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.id = path.stem
        self.lines = list(_lines(descriptor))

    def remove(self) -> None:
        """The store counts all of it."""
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(".new").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it; the next one who looks finds it if it is still there."""
        os.close(self._descriptor)


def open_journal(folder: Path | None) -> UsageJournal | None:
    """The journal of this worker, or ``None`` without a folder that can be written."""
    if folder is None:
        return None
    try:
        return UsageJournal(folder)
    except OSError as error:
        log.warning("usage.journal_failed", extra={"reason": str(error)})
        return None


def left_journals(folder: Path) -> Iterator[LeftJournal]:
    """The journals of workers that have ended; each is to be closed."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError:
            # Another worker has removed it, or this one has no descriptor left.
            continue
        if _locked(path, descriptor):
            yield LeftJournal(path, descriptor)
        else:
            os.close(descriptor)


def _new_file(folder: Path) -> tuple[Path, int]:
    for _ in range(_TRIES):
        path = folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        # Another worker that looked just now may have taken it for one that was left.
        if _locked(path, descriptor):
            return path, descriptor
        os.close(descriptor)
    raise OSError(errno.ENOLCK, "the journal of usage could not be locked")


def _locked(path: Path, descriptor: int) -> bool:
    """Whether the file could be locked, and still is the one at the path."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except OSError:
        return False


def _lines(descriptor: int) -> Iterator[JournalLine]:
    for line in os.pread(descriptor, 2 * MAX_BYTES, 0).split(b"\n"):
        try:
            yield _DECODE(line)
        except msgspec.DecodeError:
            # Empty after the last line end, or cut short by a full disk.
            continue
