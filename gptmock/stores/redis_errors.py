"""Translates the exceptions of redis-py into ``StoreUnavailable``."""

from __future__ import annotations

from redis import exceptions

from gptmock.errors import StoreUnavailable

RETRY_AFTER_SECONDS = 1.0

_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (exceptions.BusyLoadingError, "is still loading its data"),
    ((exceptions.AuthenticationError, exceptions.AuthorizationError), "refuses the password or user"),
    (exceptions.NoPermissionError, "does not allow its user a command that is needed"),
    ((exceptions.TimeoutError, TimeoutError), "does not answer in time"),
    (exceptions.MaxConnectionsError, "has no free connection"),
    ((exceptions.ConnectionError, OSError), "cannot be reached"),
    (exceptions.ReadOnlyError, "is a read-only replica"),
    (exceptions.OutOfMemoryError, "is out of memory"),
    (exceptions.ClusterDownError, "is a cluster that is down"),
    (exceptions.RedisClusterException, "is a cluster that is down or cannot be reached"),
    (exceptions.InvalidResponse, "does not speak the Redis protocol"),
)
"""The reason for each exception of redis-py; the first match counts, so subclasses stand before their bases."""
_CODES = {
    "BUSY": "is busy with another program's script",
    "CLUSTERDOWN": "is a cluster that is down",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "is a replica that has lost its master",
    "MISCONF": "cannot save to its disk and takes no writes",
    "MOVED": "is a cluster; its URL begins with redis+cluster://",
    "NOAUTH": "asks for a password",
    "NOREPLICAS": "has too few replicas to take writes",
    "OOM": "is out of memory",
    "READONLY": "is a read-only replica",
    "WRONGPASS": "refuses the password or user",
}
"""The reason for each error reply of Redis, by its first word."""


def unavailable(error: BaseException) -> StoreUnavailable:
    """Translate an exception of redis-py. Its text is not repeated, since it may hold keys and values."""
    cause = error.__cause__
    if isinstance(error, exceptions.ConnectionError) and isinstance(cause, exceptions.RedisError | TimeoutError):
        # redis-py wraps errors that occur while it connects or waits for a connection.
        return unavailable(cause)
    reason = next((text for types, text in _REASONS if isinstance(error, types)), None)
    if reason is None:
        # redis-py writes "Command # 1 (...) of pipeline caused error: ('" before a reply, and Redis 6 writes
        # "ERR Error running script (...): " before that of a command in a script, whose code then has a dash.
        text = str(error).rpartition(" of pipeline caused error: ")[2].lstrip("(\"'")
        first, *others = text.split() or [""]
        codes = [first, *(word[1:] for word in others if word.startswith("-"))]
        reason = next((_CODES[code] for code in codes if code in _CODES), "refused a command")
    return StoreUnavailable(f"Redis {reason}.", retry_after_seconds=RETRY_AFTER_SECONDS)
