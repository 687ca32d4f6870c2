"""Makes the clients of redis-py for a parsed URL: one endpoint, Sentinel, Cluster. None of them reads a replica."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from redis.asyncio import ConnectionPool, Redis, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gptmock.redis_urls import SENTINEL_OPTIONS, RedisAddress
from gptmock.stores.cluster_client import ClusterClient

HEALTH_CHECK_SECONDS = 30
STALLED = 5
"""A call lasts at most this many timeouts when this process itself is held up (a busy event loop)."""
UNBOUNDED = 2**31
"""Pools fail at their limit instead of waiting, or wait at some cost: ``RedisStore`` limits the running commands."""


def single(address: RedisAddress, *, timeout_seconds: float, client_name: str) -> Redis:
    """
    A client of one endpoint.

    Raises:
        ValueError: redis-py does not accept the URL.
    """
    pool = ConnectionPool.from_url(address.url, max_connections=UNBOUNDED, **_options(timeout_seconds, client_name))
    return Redis(connection_pool=pool)


def sentinel(address: RedisAddress, *, timeout_seconds: float, client_name: str) -> Redis:
    """
    A client of the master that the sentinels name; every new connection asks them again.

    Raises:
        ValueError: redis-py does not accept an option of the URL.
    """
    given, own = _given(address), dict(address.options)
    tls = {name: value for name, value in given.items() if name.startswith("ssl")}
    credentials = {name.removeprefix("sentinel_"): own[name] for name in SENTINEL_OPTIONS if name in own}
    # A sentinel that does not answer holds up the others, which are asked after it: no longer than one call.
    patience = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
    common = _options(timeout_seconds, client_name)
    sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(address.nodes), sentinel_kwargs={**common, **patience, **tls, **credentials}
    )
    client: Redis = sentinels.master_for(
        address.service, db=address.database, max_connections=UNBOUNDED, **common, **given
    )
    return client


def cluster(address: RedisAddress, *, timeout_seconds: float, client_name: str) -> ClusterClient:
    """
    A client of a Cluster; it finds the other nodes by those in the URL.

    Raises:
        ValueError: redis-py does not accept an option of the URL.
    """
    return ClusterClient(
        startup_nodes=[ClusterNode(host, port) for host, port in address.nodes],
        dynamic_startup_nodes=False,  # the URL's nodes may be names whose addresses change
        # A MOVED reply changes the map of the slots. Reading the whole map again would close connections in use.
        reinitialize_steps=0,
        max_connections=UNBOUNDED,
        **_options(timeout_seconds, client_name),
        **_given(address),
    )


def _options(timeout_seconds: float, client_name: str) -> dict[str, Any]:
    return {
        # ``RedisStore._run`` has the caller's timeout; these longer ones end commands whose caller has left.
        "socket_timeout": STALLED * timeout_seconds,
        "socket_connect_timeout": STALLED * timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "client_name": client_name,
        "decode_responses": False,
        "protocol": 2,  # RESP2 needs no HELLO, so a new connection is ready sooner
        "driver_info": None,
    }


def _given(address: RedisAddress) -> dict[str, Any]:
    """User, password and options of TLS as redis-py itself reads them from a URL."""
    query = urlencode([(name, value) for name, value in address.options if name not in SENTINEL_OPTIONS])
    user = f"{address.user_info}@" if address.user_info else ""
    given: dict[str, Any] = dict(parse_url(f"redis://{user}host?{query}"))
    given.pop("host", None)
    return {**given, "ssl": True} if address.tls else given
