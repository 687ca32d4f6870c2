"""What happens in a Cluster: slots that move, masters that end, nodes of the URL that are gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from itertools import count

import pytest
from redis.crc import key_slot

from gptmock.errors import StoreUnavailable
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.redis import open_redis
from gptmock.stores.store import Store
from tests.stores.clusters import ClusterSet, running_cluster, wait_for
from tests.stores.servers import binary_of, patient_store
from tests.timing import generous

FULL = os.environ.get("GPTMOCK_FULL_FAULTS") == "1"
"""Frozen masters are tried in every run by tests/faults/test_failover.py."""
RECOVERY_SECONDS = generous(10.0)
_numbers = count()


@pytest.fixture(scope="module")
def nodes() -> Iterator[ClusterSet]:
    """Three masters with a replica each."""
    kind = "redis" if binary_of("redis") is not None else "valkey"
    with running_cluster(kind, replicas=3, node_timeout_ms=1000) as found:
        yield found


async def _until_written(store: Store, name: str, value: bytes) -> None:
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                await store.write(name, value, expected=0)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_slot_that_moves_is_served_all_the_time(nodes: ClusterSet):
    """Its keys are reached at both nodes, and afterwards at the new one, also over many connections at once."""
    prefix, name = f"move{next(_numbers)}", "acct:{moved}:record"
    store = patient_store(nodes.url, prefix=prefix)
    await store.write(name, b"1", expected=0)
    # Several connections to each node: with one, ASKING and the command share it by chance.
    await asyncio.gather(*(store.read(f"n{number}") for number in range(60)))
    key = f"{prefix}:record:{name}"
    source = nodes.master_of(key)
    target = next(one for one in map(nodes.master_of, map(str, range(99))) if one is not source)
    source_id, target_id = (nodes.ids[nodes.servers.index(one)] for one in (source, target))
    slot, port = str(key_slot(key.encode())), str(nodes.ports[nodes.servers.index(target)])
    target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    assert source.say("MIGRATE", "127.0.0.1", port, key, "0", "5000") == b"+OK\r\n"
    for version in (2, 3):
        found = await store.read(name)
        assert found is not None
        assert found.version == version - 1
        assert await store.write(name, b"%d" % version, expected=version - 1) is None
        assert await store.acquire(name, "me", ttl_seconds=5)
        assert all(await asyncio.gather(*(store.renew(name, "me", ttl_seconds=5) for _ in range(8))))
        assert await store.release(name, "me")
    for server in (target, source):
        assert server.say("CLUSTER", "SETSLOT", slot, "NODE", target_id) == b"+OK\r\n"
    assert (await store.read_many([name, name]))[1] is not None
    await store.close()


@pytest.mark.parametrize("manner", ["killed", "frozen"] if FULL else ["killed"])
async def test_a_promoted_replica_is_found(nodes: ClusterSet, manner: str):
    """Also by calls that are pipelines, and from a URL whose only node is the one that has ended."""
    prefix = f"ended{next(_numbers)}"
    name = "ended"
    master = nodes.master_of(f"{prefix}:record:{{{name}}}")
    url = f"redis+cluster://127.0.0.1:{nodes.ports[nodes.servers.index(master)]}"
    store = GuardedStore(open_redis(url, prefix=prefix))
    assert await store.write(name, b"kept", expected=0) is None
    # A replica that was slow to confirm it would be promoted without it, which is not what is tested here.
    await asyncio.to_thread(nodes.replicated, master)
    if manner == "killed":
        master.stop()
        await _until_read(store, name)
        master.start()
    else:
        with master.frozen():
            await _until_read(store, name)
    await asyncio.to_thread(wait_for, nodes.settled, seconds=60)
    await _until_read(store, name)
    await store.close()


async def _until_read(store: Store, name: str) -> None:
    """First it fails, for the master has ended; then it is served by another."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                found = await store.read(name)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                assert found is not None
                assert found.value == b"kept"
                return


async def test_without_a_master_for_a_slot_the_store_says_so_and_recovers():
    kind = "redis" if binary_of("redis") is not None else "valkey"
    with running_cluster(kind, node_timeout_ms=1000) as nodes:
        store = open_redis(nodes.url)
        await store.probe()
        master = nodes.servers[1]
        master.stop()
        with pytest.raises(StoreUnavailable, match=r"^Redis (cannot be reached|is a cluster that is down)"):
            await store.probe()
        await asyncio.to_thread(wait_for, lambda: b"cluster_state:fail" in nodes.servers[0].say("CLUSTER", "INFO"))
        for number in range(6):
            with pytest.raises(StoreUnavailable, match=r"^Redis (cannot be reached|is a cluster that is down)"):
                await store.write(f"n{number}", b"", expected=0)
        with pytest.raises(StoreUnavailable):
            await store.probe()
        master.start()
        await _until_written(store, "after", b"1")
        await store.probe()
        await store.close()
