"""``RedisStore`` beyond the contract: round trips, INFO, ACLs. Outages are in ``test_redis_trouble.py``."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import BlockingConnectionPool, Redis, UnixDomainSocketConnection

from gptmock.errors import StoreUnavailable
from gptmock.stores.redis import RedisStore, open_redis
from gptmock.stores.redis_facts import RedisFacts
from gptmock.stores.store import SETTLED_SECONDS, Addition, FreedSlot, Quota, Record, WantedSlot
from tests.harness import wait_until
from tests.stores.servers import PATIENT_SECONDS, RedisServer, binary_of, patient_store, running

ACL = "~gptmock:* &gptmock:* +@read +@write +@scripting +@connection +@pubsub +@transaction -@dangerous +info +time"
"""What the documentation tells operators to allow."""


class Counting(UnixDomainSocketConnection):
    """Counts round trips: one for each time that something is sent."""

    trips = 0

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        Counting.trips += 1
        await super().send_packed_command(*args, **kwargs)


@pytest.fixture
async def counted(valkey: RedisServer) -> AsyncIterator[RedisStore]:
    pool = BlockingConnectionPool(
        connection_class=Counting, path=str(valkey.path), max_connections=1, protocol=2, driver_info=None
    )
    store = RedisStore(Redis(connection_pool=pool), prefix="counted", timeout_seconds=PATIENT_SECONDS)
    yield store
    await store.close()


QUOTAS = [Quota("n", 9, 50, 1), Quota("m", None, 5)]
CALLS = {
    "read": lambda store: store.read("a"),
    "read_many": lambda store: store.read_many([f"r{number}" for number in range(20)]),
    "write": lambda store: store.write("a", b"", expected=0),
    "delete": lambda store: store.delete("a"),
    "delete_version": lambda store: store.delete("a", expected=3),
    "acquire": lambda store: store.acquire("a", "me", ttl_seconds=5),
    "renew": lambda store: store.renew("a", "me", ttl_seconds=5),
    "lease_left": lambda store: store.lease_left("a", "me"),
    "release": lambda store: store.release("a", "me"),
    "add": lambda store: store.add([Addition(f"c{n}", {"n": 1, "m": 2}, 5 if n % 2 else None) for n in range(20)]),
    "totals": lambda store: store.totals("a"),
    "take_slot": lambda store: store.take_slot("a", "me", limit=1, ttl_seconds=5, quotas=QUOTAS),
    "extend_slots": lambda store: store.extend_slots("a", ["me", "you"], ttl_seconds=5),
    "quota_uses": lambda store: store.quota_uses("a", QUOTAS),
    "append": lambda store: store.append("a", b"x", keep=5),
    "entries": lambda store: store.entries("a", 5),
    "slots_taken": lambda store: store.slots_taken("a"),
    "free_slot": lambda store: store.free_slot("a", "me", quotas=QUOTAS),
    "exchange_slots": lambda store: store.exchange_slots(
        [FreedSlot(f"s{n}", "me", QUOTAS) for n in range(20)],
        [WantedSlot(f"s{n}", "me", 1, QUOTAS) for n in range(20)],
        ttl_seconds=5,
    ),
    "observe_all": lambda store: store.observe_all({f"o{n}": b"x" for n in range(20)}, stamp=1, ttl_seconds=5),
    "observe": lambda store: store.observe("a", b"x", stamp=1, ttl_seconds=5),
    "observed": lambda store: store.observed([f"o{number}" for number in range(20)]),
    "probe": lambda store: store.probe(),
}
NOTHING_TO_ASK = {
    "read_many": lambda store: store.read_many([]),
    "add": lambda store: store.add([]),
    "add_nothing": lambda store: store.add([Addition("a", {})]),
    "exchange_slots": lambda store: store.exchange_slots([], [], ttl_seconds=5),
    "observe_all": lambda store: store.observe_all({}, stamp=1, ttl_seconds=5),
    "observed": lambda store: store.observed([]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_is_one_round_trip(counted: RedisStore, name: str):
    await CALLS[name](counted)  # connects, and sends the script
    before = Counting.trips
    await CALLS[name](counted)
    assert Counting.trips - before == 1


@pytest.mark.parametrize("name", NOTHING_TO_ASK)
async def test_nothing_is_asked_in_no_round_trip(counted: RedisStore, name: str):
    await counted.probe()
    before = Counting.trips
    await NOTHING_TO_ASK[name](counted)
    assert Counting.trips == before


@pytest.fixture(params=["valkey", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if binary_of(name) is None:
        pytest.skip(f"no server of {name} here")
    return name


@pytest.fixture
def server(request: pytest.FixtureRequest, kind: str) -> RedisServer:
    found: RedisServer = request.getfixturevalue(kind)
    return found


async def test_everything_works_for_a_user_that_may_do_nothing_else(server: RedisServer):
    server.say("ACL", "SETUSER", "gateway", "reset", "on", ">s3cret-word", *ACL.split())
    store = patient_store(f"unix://gateway:s3cret-word@{server.path}")
    for call in CALLS.values():
        await call(store)
    assert await store.names("") == []
    assert (await store.describe()).role == "master"
    await store.close()
    other = patient_store(f"unix://gateway:s3cret-word@{server.path}", prefix="foreign")
    with pytest.raises(StoreUnavailable, match=r"^Redis does not allow its user a command that is needed\.$"):
        await other.probe()
    await other.close()


async def test_no_client_leaves_a_key_without_a_life_that_should_have_one(server: RedisServer):
    store = patient_store(server.url, prefix="lives")
    await store.write("w", b"", expected=0, ttl_seconds=50)
    await store.acquire("l", "me", ttl_seconds=50)
    await store.add([Addition("c", {"n": 1}, 50)])
    await store.take_slot("s", "me", limit=1, ttl_seconds=50)
    await store.take_slot("s", "you", limit=2, ttl_seconds=5)
    await store.free_slot("s", "you", quotas=[Quota("n", None, 50, 1), Quota("m", None, 5, 1)])
    await store.observe("o", b"", stamp=1, ttl_seconds=50)
    await store.probe()
    client = Redis(unix_socket_path=str(server.path), protocol=2)
    lives = {key: await client.pttl(key) async for key in client.scan_iter(match="lives:*")}
    await client.aclose()
    await store.close()
    assert len(lives) == 6
    # A slot can be freed with amounts for an hour after its expiry.
    assert 40_000 < lives.pop(b"lives:slots:{s}") - SETTLED_SECONDS * 1000 <= 50_000
    assert all(40_000 < life <= 50_000 for life in lives.values())


async def test_connections_are_few_and_named(server: RedisServer):
    store = patient_store(server.url, prefix="few", max_running=3)
    await asyncio.gather(*(store.read(f"r{number}") for number in range(60)))
    clients = server.say("CLIENT", "LIST").decode()
    await store.close()
    assert 1 <= len(re.findall(r"\bname=gptmock\b", clients)) <= 3
    assert "name=gptmock" not in server.say("CLIENT", "LIST").decode()


async def test_scripts_that_read_the_clock_reach_a_replica(kind: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with running(kind, "--port", port, "--repl-diskless-sync-delay", "0") as master, running(kind) as replica:
        replica.say("REPLICAOF", "127.0.0.1", port)
        wait_until(lambda: b"master_link_status:up" in replica.say("INFO", "replication"))
        store = patient_store(master.url)
        await store.take_slot("s", "me", limit=1, ttl_seconds=50)
        await store.observe("o", b"seen", stamp=1, ttl_seconds=50)
        wait_until(lambda: replica.say("HGET", "gptmock:observed:{o}", "b") == b"$4\r\nseen\r\n")
        assert replica.say("ZCARD", "gptmock:slots:{s}") == b":1\r\n"
        assert replica.say("ZSCORE", "gptmock:slots:{s}", "me") == master.say("ZSCORE", "gptmock:slots:{s}", "me")
        assert (await store.describe()).role == "master"
        await store.close()
        of_replica = patient_store(replica.url)
        assert (await of_replica.warnings())[-1].startswith("This Redis is a replica")
        await of_replica.close()


# --- What it says of itself -------------------------------------------------------------------


async def test_a_server_as_it_should_be_earns_no_warning(kind: str):
    with running(kind, "--appendonly", "yes") as server:
        store = patient_store(server.url)
        assert await store.warnings() == []
        assert (await store.describe()).append_only
        await store.close()


async def test_a_server_that_may_lose_logins_is_told_of(server: RedisServer):
    store = patient_store(server.url)
    server.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        facts = await store.describe()
        warnings = await store.warnings()
    finally:
        server.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await store.close()
    assert facts.evicts_tokens
    assert facts.version
    assert re.match(r"\d+\.\d+", facts.version)
    assert len(warnings) == 2
    assert warnings[0].startswith("Redis evicts any key when its memory is full (maxmemory-policy allkeys-lru)")
    assert warnings[1].startswith("Redis keeps no append-only file")


def test_warnings_say_what_to_do():
    assert RedisFacts().warnings() == []
    assert RedisFacts("7.2.4", "master", "noeviction", append_only=True).warnings() == []
    assert [text.split(":")[0] for text in RedisFacts(eviction_policy="volatile-ttl").warnings()] == [
        "Redis evicts keys that expire when its memory is full (maxmemory-policy volatile-ttl)"
    ]
    assert not RedisFacts(eviction_policy="volatile-ttl").evicts_tokens
    assert RedisFacts(role="slave").warnings() == [
        "This Redis is a replica: it takes no writes. Use the address of its master."
    ]


async def test_a_server_that_tells_nothing_is_no_error(server: RedisServer):
    server.say("ACL", "SETUSER", "silent", "reset", "on", ">word", "~*", "+@all", "-info")
    store = patient_store(f"unix://silent:word@{server.path}")
    assert await store.describe() == RedisFacts()
    assert await store.warnings() == []
    await store.close()


async def test_fakeredis_is_described_too():
    store = RedisStore(FakeAsyncRedis(), timeout_seconds=PATIENT_SECONDS)
    assert isinstance((await store.describe()).warnings(), list)
    await store.close()


# --- Addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://x:s3cret@h", "redis://u:s3cret@h:port/0"])
def test_what_is_no_address_is_refused_without_repeating_it(url: str):
    with pytest.raises(ValueError, match="begins with redis://, rediss://, unix://") as caught:
        open_redis(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["redis://h", "redis://u:p@h:1/2", "rediss://h:6380", "unix:///tmp/s", "redis://[::1]"])
async def test_what_is_an_address_is_not_connected_to_before_it_is_used(url: str):
    store = open_redis(url)
    await store.close()


async def test_a_numbered_database_is_one_of_its_own(server: RedisServer):
    zero, one = patient_store(server.url, prefix="db"), patient_store(f"{server.url}?db=1", prefix="db")
    await zero.write("a", b"0", expected=0)
    assert await one.read("a") is None
    assert await zero.read("a") == Record(1, b"0")
    await zero.close()
    await one.close()
