"""A real server in trouble: down, frozen, restarted, read-only, full, loading, behind another password."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest
from redis import exceptions

from gptmock.errors import StoreUnavailable
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.redis import MAX_RUNNING, RedisStore, open_redis
from gptmock.stores.redis_errors import unavailable
from gptmock.stores.store import Addition, FreedSlot, Record, WantedSlot
from tests.stores.contract import until
from tests.stores.servers import RedisServer, binary_of, patient_store, running
from tests.timing import generous

IN_TIME_SECONDS = generous(0.5)
SLOW_LOADING = [
    *("--enable-debug-command", "yes", "--key-load-delay", "1000"),
    *("--loading-process-events-interval-bytes", "1024"),
]


@pytest.fixture(params=["valkey", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if binary_of(name) is None:
        pytest.skip(f"no server of {name} here")
    return name


@pytest.fixture
def server(kind: str) -> Iterator[RedisServer]:
    with running(kind) as started:
        yield started


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    """With the timeout of a server that serves."""
    opened = open_redis(server.url)
    yield opened
    await opened.close()


@pytest.fixture
async def patient(server: RedisServer) -> AsyncIterator[RedisStore]:
    """Where no time is measured: a busy machine must not pass for trouble."""
    opened = patient_store(server.url)
    yield opened
    await opened.close()


async def refused(call: Awaitable[object]) -> tuple[float, StoreUnavailable]:
    """How long a call took to fail, and its message."""
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable) as caught:
        await call
    return time.perf_counter() - began, caught.value


async def test_a_process_that_is_held_up_does_not_blame_the_server(store: RedisStore):
    await store.write("a", b"1", expected=0)
    asking = [asyncio.ensure_future(store.read("a")) for _ in range(50)]
    for _ in range(2):
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - the loop does not turn, as on a machine that is far too busy
    assert {record.value for record in await asyncio.gather(*asking) if record is not None} == {b"1"}


async def test_a_server_that_is_down_is_noticed_at_once(server: RedisServer, store: RedisStore):
    await store.write("a", b"1", expected=0)
    server.stop()
    for _ in range(5):
        seconds, said = await refused(store.read("a"))
        assert seconds < IN_TIME_SECONDS
        assert said.message == "Redis cannot be reached."
        assert said.retry_after_seconds == 1.0


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}", "redis://user:s3cret@127.0.0.1:{port}/0"])
async def test_an_address_where_nobody_is(url: str):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    store = open_redis(url.format(port=port))
    seconds, said = await refused(store.read("a"))
    assert seconds < IN_TIME_SECONDS
    assert said.message == "Redis cannot be reached."
    assert said.__cause__ is not None
    await store.close()


async def test_a_name_that_no_resolver_knows():
    store = open_redis("redis://nowhere.invalid:6379")
    seconds, _ = await refused(store.read("a"))
    assert seconds < IN_TIME_SECONDS
    await store.close()


async def test_something_that_takes_connections_and_is_no_redis():
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        store = open_redis(f"redis://127.0.0.1:{port}")
        seconds, _ = await refused(store.read("a"))
        assert seconds < IN_TIME_SECONDS
        await store.close()


async def test_a_frozen_server_costs_half_a_second(server: RedisServer, store: RedisStore):
    await store.write("a", b"1", expected=0)
    with server.frozen():
        for _ in range(3):  # on a connection that was, then on new ones
            seconds, said = await refused(store.read("a"))
            assert 0.3 < seconds < IN_TIME_SECONDS
            assert said.message == "Redis does not answer in time."
    assert await store.read("a") == Record(1, b"1")


@pytest.mark.alone
async def test_a_frozen_server_costs_a_crowd_half_a_second(server: RedisServer, store: RedisStore):
    """More calls than the pool has connections: the timeout covers both the wait for a connection and the reply."""
    await asyncio.gather(*(store.read(f"r{number}") for number in range(40)))
    with server.frozen():
        # Twenty times as many as there are connections: in turn they would take eight seconds.
        took = await asyncio.gather(*(refused(store.read(f"r{number}")) for number in range(640)))
        assert max(seconds for seconds, _ in took) < 2 * IN_TIME_SECONDS
    assert await store.read("a") is None


async def test_what_nobody_waits_for_any_more_is_not_sent(server: RedisServer, store: RedisStore):
    await store.totals("c")
    with server.frozen():
        await asyncio.gather(*(refused(store.add([Addition("c", {"n": 1})])) for _ in range(20 * MAX_RUNNING)))
    began = time.perf_counter()
    assert (await store.totals("c")).get("n", 0) <= MAX_RUNNING
    assert time.perf_counter() - began < IN_TIME_SECONDS
    await asyncio.sleep(0.5)
    assert (await store.totals("c")).get("n", 0) <= MAX_RUNNING, "nor later"


@pytest.mark.alone
async def test_behind_the_breaker_only_the_first_one_waits(
    server: RedisServer, store: RedisStore, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gptmock.store")
    guarded = GuardedStore(store, open_seconds=0.4)
    await guarded.write("a", b"1", expected=0)
    with server.frozen():
        first, _ = await refused(guarded.read("a"))
        later = sorted([(await refused(guarded.read("a")))[0] for _ in range(200)])
    assert first < IN_TIME_SECONDS
    assert later[len(later) // 2] < 0.001
    assert later[-2] < generous(0.005)
    assert not guarded.available
    began = time.perf_counter()

    async def recovered() -> bool:
        try:
            return await guarded.read("a") == Record(1, b"1")
        except StoreUnavailable:
            return False

    await until(recovered)
    assert time.perf_counter() - began < 5
    assert [record.message for record in caplog.records if record.name == "gptmock.store"] == [
        "store.unavailable",
        "store.available",
    ]


async def test_a_restart_is_survived_by_every_script(server: RedisServer, patient: RedisStore):
    for _ in range(3):
        assert await patient.write("a", b"1", expected=0) is None
        assert await patient.delete("a", expected=1)
        assert await patient.acquire("l", "me", ttl_seconds=60)
        assert await patient.renew("l", "me", ttl_seconds=60)
        assert await patient.lease_left("l", "me") > 0
        assert await patient.release("l", "me")
        assert await patient.take_slot("s", "me", limit=1, ttl_seconds=60)
        assert await patient.slots_taken("s") == 1
        (answer,) = await patient.exchange_slots([FreedSlot("s", "me")], [WantedSlot("s", "you", 1)], ttl_seconds=60)
        assert (answer.taken, answer.slots) == (True, 1)
        await patient.free_slot("s", "you")
        assert await patient.observe("o", b"x", stamp=1, ttl_seconds=60)
        await patient.add([Addition("c", {"n": 1}, 60)])
        assert await patient.totals("c") == {"n": 1}
        server.restart()
        await asyncio.sleep(0.05)  # the loop hears of the cut, as it would in the time that a restart takes
    server.say("SCRIPT", "FLUSH")
    assert await patient.write("a", b"1", expected=0) is None


async def test_connections_cut_by_the_server_are_replaced(server: RedisServer, patient: RedisStore):
    await asyncio.gather(*(patient.read(f"r{number}") for number in range(20)))
    server.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)
    assert await asyncio.gather(*(patient.read(f"r{number}") for number in range(20))) == [None] * 20


async def test_a_replica_is_no_place_to_write(server: RedisServer, patient: RedisStore):
    await patient.write("a", b"1", expected=0)
    server.say("REPLICAOF", "127.0.0.1", "1")
    for call in (
        patient.probe(),
        patient.write("a", b"2", expected=1),
        patient.acquire("l", "me", ttl_seconds=5),
        patient.add([Addition("c", {"n": 1})]),
        patient.take_slot("s", "me", limit=1, ttl_seconds=5),
        patient.exchange_slots([], [WantedSlot("s", "me", 1)], ttl_seconds=5),
    ):
        _, said = await refused(call)
        assert said.message == "Redis is a read-only replica."
    server.say("REPLICAOF", "NO", "ONE")
    assert await patient.write("a", b"2", expected=1) is None


async def test_a_full_memory(server: RedisServer, patient: RedisStore):
    await patient.write("a", b"1", expected=0)
    await patient.acquire("l", "me", ttl_seconds=60)
    server.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.say("CONFIG", "SET", "maxmemory", "1")
    for call in (
        patient.probe(),
        patient.write("a", b"2", expected=1),
        patient.acquire("m", "me", ttl_seconds=5),
        patient.add([Addition("c", {"n": 1}), Addition("d", {"n": 1})]),
        patient.take_slot("s", "me", limit=1, ttl_seconds=5),
        patient.exchange_slots([], [WantedSlot("s", "me", 1)], ttl_seconds=5),
        patient.observe("o", b"x", stamp=1, ttl_seconds=5),
    ):
        _, said = await refused(call)
        assert said.message == "Redis is out of memory."
    assert await patient.read("a") == Record(1, b"1")
    assert await patient.release("l", "me")
    server.say("CONFIG", "SET", "maxmemory", "0")
    assert await patient.totals("c") == await patient.totals("d") == {}
    await patient.probe()


async def test_a_server_that_refuses_writes_for_reasons_of_its_own(server: RedisServer, patient: RedisStore):
    server.say("CONFIG", "SET", "min-replicas-to-write", "3")
    _, said = await refused(patient.probe())
    assert said.message == "Redis has too few replicas to take writes."


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "Redis refuses the password or user."),
        (":wr0ng", "Redis refuses the password or user."),
        ("who:wr0ng", "Redis refuses the password or user."),
    ],
)
async def test_another_password(server: RedisServer, user: str, message: str):
    server.say("CONFIG", "SET", "requirepass", "s3cret")
    store = patient_store(f"unix://{user}@{server.path}" if user else server.url)
    _, said = await refused(store.read("a"))
    assert said.message == message
    assert "wr0ng" not in repr(said.__cause__) + str(said.__cause__)
    await store.close()
    right = patient_store(f"unix://:s3cret@{server.path}")
    await right.probe()
    await right.close()


async def test_a_server_that_is_still_loading(kind: str):
    with running(kind, *SLOW_LOADING) as server:
        store = patient_store(server.url)
        await store.write("a", b"1", expected=0)
        for number in range(500):
            server.say("SET", f"filler{number}", "x" * 2000)
        loading = asyncio.ensure_future(asyncio.to_thread(server.say, "DEBUG", "RELOAD"))
        said = set()
        while not loading.done():
            try:
                await store.read("a")
            except StoreUnavailable as error:
                said.add(error.message)
            await asyncio.sleep(0.01)
        assert "Redis is still loading its data." in said
        assert await store.read("a") == Record(1, b"1")
        await store.close()


async def test_tls_that_the_other_side_does_not_speak(kind: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(kind, "--port", str(port)):
        store = open_redis(f"rediss://127.0.0.1:{port}")
        seconds, said = await refused(store.read("a"))
        assert seconds < IN_TIME_SECONDS
        assert said.message in ("Redis cannot be reached.", "Redis does not answer in time.")
        await store.close()


async def test_cancelled_by_thousands_no_connection_is_lost(server: RedisServer):
    store = patient_store(server.url, max_running=2)
    for number in range(2000):
        task = asyncio.ensure_future(store.read(f"r{number}"))
        await asyncio.sleep(0)
        if number % 3:
            await asyncio.sleep(0)
        task.cancel()
        if number % 50 == 0:
            await asyncio.gather(task, return_exceptions=True)
            assert await store.write(f"w{number}", b"%d" % number, expected=0) is None
            assert await store.read(f"w{number}") == Record(1, b"%d" % number)
    await store.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (exceptions.ConnectionError("Error 111 connecting to h:1"), "Redis cannot be reached."),
        (OSError(24, "Too many open files"), "Redis cannot be reached."),
        (exceptions.TimeoutError("x"), "Redis does not answer in time."),
        (TimeoutError(), "Redis does not answer in time."),
        (exceptions.MaxConnectionsError("x"), "Redis has no free connection."),
        (exceptions.BusyLoadingError("x"), "Redis is still loading its data."),
        (exceptions.AuthenticationError("x"), "Redis refuses the password or user."),
        (exceptions.NoPermissionError("x"), "Redis does not allow its user a command that is needed."),
        (exceptions.ReadOnlyError("x"), "Redis is a read-only replica."),
        (exceptions.OutOfMemoryError("x"), "Redis is out of memory."),
        (exceptions.InvalidResponse("x"), "Redis does not speak the Redis protocol."),
        (exceptions.MovedError("1 h:1"), "Redis is a cluster; its URL begins with redis+cluster://."),
        (exceptions.ResponseError("MISCONF Redis is configured"), "Redis cannot save to its disk and takes no writes."),
        (exceptions.ResponseError("BUSY Redis is busy"), "Redis is busy with another program's script."),
        (
            exceptions.ResponseError("Error running script (call to f_1): @user_script:5: -OOM command not allowed"),
            "Redis is out of memory.",
        ),
        (exceptions.ResponseError("WRONGTYPE Operation against BUSY s3cret"), "Redis refused a command."),
        (exceptions.ResponseError(""), "Redis refused a command."),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_each_error_means(error: Exception, message: str):
    said = unavailable(error)
    assert said.message == message
    assert said.code == "store_unavailable"
    assert said.status_hint == 503
    assert said.retry_after_seconds == 1.0
