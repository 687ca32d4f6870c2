"""Cluster and Sentinel beyond the contract: facts, places of ``store migrate``, TLS with client certificates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores.locations import Place
from gptmock.stores.redis_cluster import RedisClusterStore
from gptmock.stores.redis_facts import RedisFacts, weakest
from gptmock.stores.redis_sentinel import RedisSentinelStore
from gptmock.stores.store import Addition
from tests.certificates import write_certificates
from tests.ports import free_port
from tests.stores.clusters import wait_for
from tests.stores.servers import PATIENT_SECONDS, RedisServer, binary_of, patient_store, running


async def test_names_of_all_nodes_and_their_facts(cluster: str):
    place = Place.named(cluster, home=Path("/"), redis_url=None)
    assert place.shown == cluster
    store = place.open(timeout_seconds=PATIENT_SECONDS)
    assert isinstance(store, RedisClusterStore)
    names = [f"facts{number:02}" for number in range(40)]
    for name in names:
        await store.write(name, name.encode(), expected=0)
    await store.add([Addition(name, {"n": 2}) for name in names])
    assert await store.names("facts") == names
    assert await store.counter_names("facts") == names
    assert [one.value for one in await store.read_many(names) if one is not None] == [name.encode() for name in names]
    facts = await store.describe()
    assert (facts.role, facts.append_only) == ("master", False)
    await store.close()


async def test_facts_behind_a_sentinel(sentinel: str):
    store = Place.named(sentinel, home=Path("/"), redis_url=None).open(timeout_seconds=PATIENT_SECONDS)
    assert isinstance(store, RedisSentinelStore)
    await store.probe()
    assert (await store.describe()).role == "master"
    await store.close()
    nobody = patient_store(sentinel.replace("/team", "/other"))
    with pytest.raises(StoreUnavailable, match=r"^Redis has no master by this name at its sentinels, or they cannot"):
        await nobody.probe()
    await nobody.close()


async def test_the_kind_in_the_address_is_wrong(cluster: str, valkey: RedisServer):
    one, *_ = cluster.removeprefix("redis+cluster://").split(",")
    single = patient_store(f"redis://{one}")
    with pytest.raises(StoreUnavailable, match=r"^Redis is a cluster; its URL begins with redis\+cluster://\.$"):
        await asyncio.gather(*(single.write(f"n{number}", b"", expected=0) for number in range(20)))
    await single.close()
    valkey_port = free_port()
    valkey.say("CONFIG", "SET", "port", str(valkey_port))
    no_cluster = patient_store(f"redis+cluster://127.0.0.1:{valkey_port}")
    with pytest.raises(StoreUnavailable, match=r"^Redis is no cluster; its URL begins with redis:// or rediss://\.$"):
        await no_cluster.probe()
    await no_cluster.close()
    valkey.say("CONFIG", "SET", "port", "0")


@pytest.mark.parametrize("scheme", ["redis+cluster", "redis+sentinel"])
async def test_nobody_is_there(scheme: str):
    store = patient_store(f"{scheme}://127.0.0.1:{free_port()}" + ("/team" if "sentinel" in scheme else ""))
    with pytest.raises(StoreUnavailable, match=r"^Redis .*cannot be reached\.$"):
        await store.probe()
    await store.close()


def test_the_weakest_facts_of_a_cluster():
    good, bad = RedisFacts("7.0", "master", "noeviction", True), RedisFacts("7.2", "master", "allkeys-lru", False)
    assert weakest([good, bad]) == RedisFacts("7.0", "master", "allkeys-lru", False)
    assert weakest([]) == RedisFacts()


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster"])
async def test_a_certificate_authority_and_a_client_certificate(tmp_path: Path, scheme: str):
    if binary_of("redis") is None:
        pytest.skip("no redis-server with TLS here: apt-get install redis-server")
    ca, certificate, key = write_certificates(tmp_path)
    port = free_port()
    words = ["--tls-port", str(port), "--tls-ca-cert-file", str(ca), "--tls-cert-file", str(certificate)]
    words += ["--tls-key-file", str(key), "--tls-auth-clients", "yes"]
    if scheme == "rediss+cluster":
        words += ["--tls-cluster", "yes", "--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with running("redis", *words) as server:
        if scheme == "rediss+cluster":
            server.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            wait_for(lambda: b"cluster_state:ok" in server.say("CLUSTER", "INFO"))
        url = f"{scheme}://127.0.0.1:{port}?ssl_ca_certs={ca}"
        store = patient_store(f"{url}&ssl_certfile={certificate}&ssl_keyfile={key}")
        await store.write("a", b"1", expected=0)
        assert await store.names("") == ["a"]
        await store.close()
        stranger = patient_store(url)
        with pytest.raises(StoreUnavailable, match="Redis"):
            await stranger.probe()
        await stranger.close()
        doubting = patient_store(f"{scheme}://127.0.0.1:{port}?ssl_certfile={certificate}&ssl_keyfile={key}")
        with pytest.raises(StoreUnavailable, match=r"^Redis has a certificate that is not trusted; ssl_ca_certs in"):
            await doubting.probe()
        await doubting.close()
