"""Translates the exceptions of redis-py into ``StoreUnavailable``."""

from __future__ import annotations

import ssl

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError

from gptmock.errors import StoreUnavailable

RETRY_AFTER_SECONDS = 1.0

_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (exceptions.BusyLoadingError, "is still loading its data"),
    ((exceptions.AuthenticationError, exceptions.AuthorizationError), "refuses the password or user"),
    (exceptions.NoPermissionError, "does not allow its user a command that is needed"),
    ((exceptions.TimeoutError, TimeoutError), "does not answer in time"),
    (exceptions.MaxConnectionsError, "has no free connection"),
    (MasterNotFoundError, "has no master by this name at its sentinels, or they cannot be reached"),
    (ssl.SSLCertVerificationError, "has a certificate that is not trusted; ssl_ca_certs in its URL names an authority"),
    (ssl.SSLError, "does not accept the TLS connection; it may speak no TLS, or want a client certificate"),
    ((exceptions.ConnectionError, OSError), "cannot be reached"),
    (exceptions.ReadOnlyError, "is a read-only replica"),
    (exceptions.OutOfMemoryError, "is out of memory"),
    (exceptions.ClusterDownError, "is a cluster that is down"),
    (exceptions.AskError, "is a cluster; its URL begins with redis+cluster://"),
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
    if isinstance(error, exceptions.ConnectionError | exceptions.RedisClusterException) and (tls := _tls_error(error)):
        return unavailable(tls)
    if isinstance(error, exceptions.RedisClusterException) and cause is not None:
        # No node knew the slots. A node that is no part of a cluster fails with the same type, without a cause.
        if isinstance(cause, exceptions.RedisClusterException):
            return _unavailable("is no cluster; its URL begins with redis:// or rediss://")
        if isinstance(cause, exceptions.AuthenticationError):
            return unavailable(cause)
    reason = next((text for types, text in _REASONS if isinstance(error, types)), None)
    if reason is None:
        # redis-py writes "Command # 1 (...) of pipeline caused error: ('" before a reply, and Redis 6 writes
        # "ERR Error running script (...): " before that of a command in a script, whose code then has a dash.
        text = str(error).rpartition(" of pipeline caused error: ")[2].lstrip("(\"'")
        first, *others = text.split() or [""]
        codes = [first, *(word[1:] for word in others if word.startswith("-"))]
        reason = next((_CODES[code] for code in codes if code in _CODES), "refused a command")
    return _unavailable(reason)


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """The error of TLS that led to this one."""
    origin: BaseException | None = error
    while origin is not None and not isinstance(origin, ssl.SSLError):
        origin = origin.__cause__ or origin.__context__
    return origin


def _unavailable(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"Redis {reason}.", retry_after_seconds=RETRY_AFTER_SECONDS)
