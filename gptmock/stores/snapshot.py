"""
A sealed copy of what workers serve from, in a file of this server, for a worker that is started while the store is
away. Knows records, files and the seal; not what the records mean, except that the escrow may have newer tokens.

    in the file    the records of accounts, client keys and catalogues, the default account, the change counter, and
                   what was observed of limits; all sealed once more as a whole
    written        by every worker, after it has loaded a change
    read           once, by a worker that finds the store away when it starts

Whoever reads it knows what its siblings know. It refreshes nothing from it: a refresh needs a lease of the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from gptmock.accounts import Escrow
from gptmock.errors import SealBroken
from gptmock.stores.auth_file import write_private
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.catalogue import PREFIX as CATALOGUES
from gptmock.stores.changes import CHANGES
from gptmock.stores.codex_version import NAME as CODEX_VERSION
from gptmock.stores.limits_and_usage import observations_of
from gptmock.stores.memory import MemoryStore
from gptmock.stores.resealing import CHUNK, kind_of, sealed_records
from gptmock.stores.seal import Sealer
from gptmock.stores.store import Record
from gptmock.stores.token_bytes import encode_tokens
from gptmock.stores.vault import DEFAULT

log = logging.getLogger("gptmock.store")

FILE_NAME = "snapshot"
_KIND = "snapshot"
_FORMAT = 1
_TTL_SECONDS = 3600.0
"""Of observations while they are read; nobody waits for their end."""


class _Copy(msgspec.Struct, frozen=True):
    taken_at: float
    records: dict[str, tuple[int, bytes]]
    observations: dict[str, bytes]


_DECODE = msgspec.msgpack.Decoder(_Copy)


class SealedSnapshot:
    """
    Writes and reads the file.

    Args:
        folder: where it rests, private to this server and removed at its end; ``None`` keeps nothing.
        store: what is copied.
        sealer: seals the copy.
        escrow: tokens on their way to the store, which are newer than the store's.
        clock: Unix seconds.
    """

    def __init__(
        self, folder: Path | None, store: GuardedStore, sealer: Sealer, escrow: Escrow, *, clock: Callable[[], float]
    ) -> None:
        self._path = folder / FILE_NAME if folder is not None else None
        self._store = store
        self._sealer = sealer
        self._escrow = escrow
        self._clock = clock
        self._kept: int | None = None

    async def keep(self, revision: int) -> None:
        """
        Copy what the store holds, unless that was done at this revision of the change counter.

        Raises:
            StoreUnavailable: the store does not answer; the copy from before stays.
        """
        if self._path is None or revision == self._kept:
            return
        # Of the revision from before: what changes meanwhile is copied once more.
        self._kept = revision
        try:
            data = self._sealed(await self._taken())
            await asyncio.to_thread(_write, self._path, data)
        except OSError as error:
            # A full disk or a folder that is gone; tried again after the next change.
            log.warning("store.snapshot_not_written", extra={"reason": error.strerror or type(error).__name__})
        except BaseException:
            self._kept = None
            raise

    def outdate(self) -> None:
        """What is not counted has changed, such as a catalogue: copy anew at the next ``keep``."""
        self._kept = None

    @asynccontextmanager
    async def standing_in(self) -> AsyncIterator[bool]:
        """
        Let the copy answer in the place of the store meanwhile. For the start of a worker, before anything else uses
        the store: a write is lost. Yields whether there is a copy that opens.
        """
        copy = await self._found()
        if copy is None:
            yield False
            return
        place = MemoryStore()
        for name, (version, value) in copy.records.items():
            record = await self._newest(name, Record(version, value))
            await place.write(name, record.value, expected=0, version=record.version)
        for name, value in copy.observations.items():
            await place.observe(name, value, stamp=copy.taken_at, ttl_seconds=_TTL_SECONDS)
        log.info("store.snapshot_used", extra={"taken_seconds_ago": round(self._clock() - copy.taken_at, 1)})
        with self._store.answered_by(place):
            yield True

    async def _taken(self) -> _Copy:
        now = self._clock()
        records = dict(await sealed_records(self._store))
        names = [DEFAULT, CHANGES, *await self._store.names(CATALOGUES)]
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            found = await self._store.read_many(chunk)
            records |= {name: record for name, record in zip(chunk, found, strict=True) if record is not None}
        accounts = [_id_in(one) for one in records if kind_of(one) == "tokens"]
        observed = [CODEX_VERSION, *(name for account_id in accounts for name in observations_of(account_id))]
        values = await self._store.observed(observed)
        return _Copy(
            now,
            {name: (record.version, record.value) for name, record in records.items()},
            {name: value for name, value in zip(observed, values, strict=True) if value is not None},
        )

    def _sealed(self, copy: _Copy) -> bytes:
        return self._sealer.seal(msgspec.msgpack.encode(copy), kind=_KIND, name=FILE_NAME, version=_FORMAT)

    async def _found(self) -> _Copy | None:
        if self._path is None:
            return None
        try:
            sealed = await asyncio.to_thread(self._path.read_bytes)
            return _DECODE.decode(self._sealer.open(sealed, kind=_KIND, name=FILE_NAME, version=_FORMAT))
        except FileNotFoundError:
            return None
        except (OSError, SealBroken, msgspec.DecodeError) as error:
            log.warning("store.snapshot_unreadable", extra={"reason": str(error)})
            return None

    async def _newest(self, name: str, record: Record) -> Record:
        """The record, or what the escrow has in its place."""
        escrowed = await self._escrow.find(_id_in(name)) if kind_of(name) == "tokens" else None
        if escrowed is None or escrowed.version <= record.version:
            return record
        sealed = self._sealer.seal(encode_tokens(escrowed), kind="tokens", name=name, version=escrowed.version)
        return Record(escrowed.version, sealed)


def _write(path: Path, data: bytes) -> None:
    # Never made anew: a folder that is gone belonged to a server that has ended.
    if path.parent.is_dir():
        write_private(path, data)


def _id_in(name: str) -> str:
    return name.partition("{")[2].partition("}")[0]
