"""Store locations: parses ``embedded``, ``redis``, a Redis URL or a path, and opens that store. Knows no record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gptmock.errors import WrongPlace
from gptmock.redis_urls import RedisAddress
from gptmock.stores.store import Store

STATE_FILE = "state.db"
KEY_FILE = "encryption.key"


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a store: an SQLite state file or a Redis; exactly one of the two is given."""

    file: Path | None = None
    redis_url: str | None = field(default=None, repr=False)
    """May hold a password."""

    @classmethod
    def named(cls, word: str, *, home: Path, redis_url: str | None) -> Place:
        """
        Parse a location from the command line.

        Args:
            word: ``embedded`` for the state file in ``home``, ``redis`` for ``redis_url``, a Redis URL, or a path: a
                state file or its directory.
            home: ``GPTMOCK_HOME``.
            redis_url: ``GPTMOCK_REDIS_URL``, if it is set.

        Raises:
            WrongPlace: the word is none of these; the message does not repeat a URL, which may hold a password.
        """
        if word == "embedded":
            return cls(file=home / STATE_FILE)
        if word == "redis":
            if redis_url is None:
                raise WrongPlace("'redis' means the Redis of GPTMOCK_REDIS_URL, which is not set")
            return cls(redis_url=redis_url)
        if "://" in word:
            _check_address(word)
            return cls(redis_url=word)
        if not word:
            raise WrongPlace("a place is 'embedded', 'redis', an address of Redis, or a path")
        path = Path(word).expanduser().absolute()
        return cls(file=path / STATE_FILE if path.is_dir() else path)

    @property
    def shown(self) -> str:
        """The location for output: the path, or the URL without user and password."""
        if self.redis_url is None:
            return str(self.file)
        return RedisAddress.parse(self.redis_url).shown

    @property
    def key_file(self) -> Path | None:
        """The default file of the encryption key, beside the state file; ``None`` for Redis."""
        return None if self.file is None else self.file.with_name(KEY_FILE)

    def open(self, *, timeout_seconds: float | None = None) -> Store:
        """
        The store at this location; it connects when it is first used.

        Args:
            timeout_seconds: how long a call may take; ``None`` for as long as a server waits.

        Raises:
            WrongPlace: a URL that redis-py does not accept.
        """
        # Imported here: of the two libraries a process needs one.
        if self.redis_url is not None:
            from gptmock.stores.redis import TIMEOUT_SECONDS, open_redis  # noqa: PLC0415

            try:
                return open_redis(self.redis_url, timeout_seconds=timeout_seconds or TIMEOUT_SECONDS)
            except ValueError as error:
                raise WrongPlace(str(error)) from error
        from gptmock.stores.sqlite import SqliteStore  # noqa: PLC0415
        from gptmock.stores.sqlite_file import CALL_TIMEOUT_SECONDS  # noqa: PLC0415

        assert self.file is not None  # noqa: S101 - one of the two
        return SqliteStore(self.file, timeout_seconds=timeout_seconds or CALL_TIMEOUT_SECONDS)


def _check_address(url: str) -> None:
    try:
        RedisAddress.parse(url)
    except ValueError as error:
        raise WrongPlace(str(error)) from error
