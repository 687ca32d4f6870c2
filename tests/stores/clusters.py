"""Real Redis Clusters and sets of servers under Sentinel on loopback ports, of the servers of ``servers.py``."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis.crc import key_slot

from tests.ports import free_port
from tests.stores.servers import START_SECONDS, RedisServer, binary_of, running

SLOTS = 16384
_OFFSET, _CONFIRMED = re.compile(rb"master_repl_offset:(\d+)"), re.compile(rb"state=online,offset=(\d+)")


def wait_for(condition: Callable[[], bool], *, seconds: float = START_SECONDS) -> float:
    """
    Wait until it holds. Returns the seconds that it took.

    Raises:
        TimeoutError: it never did.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise TimeoutError
        time.sleep(0.02)
    return time.monotonic() - began


class ClusterSet:
    """Masters with their slots, and replicas; ``servers`` has all nodes, the first masters first."""

    def __init__(self, servers: list[RedisServer], ports: list[int]) -> None:
        self.servers = servers
        self.ports = ports
        self.ids = [server.say("CLUSTER", "MYID").split(b"\r\n")[1].decode() for server in servers]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)

    def master_of(self, key: str) -> RedisServer:
        """The server that the others call the master of a key's slot."""
        slot = key_slot(key.encode())
        for server in self.servers:
            try:
                lines = server.say("CLUSTER", "NODES").decode().splitlines()
            except OSError:
                continue
            for words in (line.split() for line in lines):
                ranges = [one.partition("-") for one in words[8:] if one[0].isdigit()] if len(words) > 8 else []
                if any(int(first) <= slot <= int(last or first) for first, _, last in ranges):
                    return self.servers[self.ids.index(words[0])]
        raise AssertionError("no node knows the slot")

    def settled(self) -> bool:
        """Whether every node knows every other, all slots are served, and every replica is in step with its master."""
        try:
            # In this order: a node that has just become a replica is seen as one.
            if not all(self._in_peace(server) for server in self.servers):
                return False
            online = sum(_in_step(server.say("INFO", "replication")) for server in self.servers)
            if online != len(self.servers) - MASTERS:
                return False
            return sum(b"master_link_status:up" in one.say("INFO", "replication") for one in self.servers) == online
        except OSError:
            return False

    def replicated(self, master: RedisServer) -> None:
        """Wait until the replicas of a master have all that it has now."""
        written = int(_OFFSET.findall(master.say("INFO", "replication"))[-1])
        wait_for(lambda: min(map(int, _CONFIRMED.findall(master.say("INFO", "replication"))), default=0) >= written)

    def _in_peace(self, server: RedisServer) -> bool:
        return _covered(server, len(self.servers)) and b"fail" not in server.say("CLUSTER", "NODES")


MASTERS = 3


@contextmanager
def running_cluster(kind: str, *, replicas: int = 0, node_timeout_ms: int = 15_000) -> Iterator[ClusterSet]:
    """
    A Cluster of three masters, each with its share of the slots, and this many replicas in all.

    Raises:
        FileNotFoundError: there is no server of that kind here.
    """
    words = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)]
    words += ["--appendonly", "yes" if replicas else "no"]
    words += ["--repl-diskless-sync-delay", "0", "--repl-timeout", "5", "--repl-ping-replica-period", "1"]
    with ExitStack() as stack:
        servers, ports, buses = [], [], []
        for _ in range(MASTERS + replicas):
            port, bus = free_port(), free_port()
            servers.append(stack.enter_context(running(kind, "--port", str(port), "--cluster-port", str(bus), *words)))
            ports.append(port)
            buses.append(bus)
        for number, server in enumerate(servers):
            if number < MASTERS:
                first, last = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
                assert server.say("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == b"+OK\r\n"
            assert server.say("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)) == b"+OK\r\n"
        for port, bus in list(zip(ports, buses, strict=True))[1:]:
            servers[0].say("CLUSTER", "MEET", "127.0.0.1", str(port), str(bus))
        wait_for(lambda: all(_covered(server, len(servers)) for server in servers), seconds=60)
        found = ClusterSet(servers, ports)
        for number in range(replicas):
            replica, master = servers[MASTERS + number], found.ids[number % MASTERS]
            wait_for(lambda: replica.say("CLUSTER", "REPLICATE", master) == b"+OK\r\n", seconds=60)  # noqa: B023 - called at once
        wait_for(found.settled, seconds=60)
        yield found


def _in_step(info: bytes) -> int:
    """How many replicas have confirmed something. Until its first confirmation, one that is online gets no writes."""
    return len(re.findall(rb"state=online,offset=[1-9]", info))


def _covered(server: RedisServer, nodes: int) -> bool:
    said = server.say("CLUSTER", "INFO")
    return b"cluster_state:ok" in said and f"cluster_known_nodes:{nodes}\r".encode() in said


class SentinelSet:
    """One master, replicas and sentinels, all on loopback; tests kill and freeze the master."""

    def __init__(self, servers: list[RedisServer], ports: list[int], sentinels: list[RedisServer], url: str) -> None:
        self.servers = servers
        self.sentinels = sentinels
        self.url = url
        self._ports = ports

    def master_of(self, _key: str) -> RedisServer:
        """The one that has all keys."""
        return self.master()

    def master(self) -> RedisServer:
        """The server that the first sentinel calls the master."""
        said = self.sentinels[0].say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "team").split(b"\r\n")
        return self.servers[self._ports.index(int(said[4]))]

    def settled(self) -> bool:
        """Whether there is one master, with every other server as its replica in step, and every sentinel agrees."""
        try:
            said = self.master().say("INFO", "replication")
            roles = [b"role:master" in server.say("INFO", "replication") for server in self.servers]
            known = [self._known(sentinel) for sentinel in self.sentinels]
        except (OSError, IndexError, ValueError):
            return False
        replicas = len(self.servers) - 1
        return _in_step(said) == replicas and sum(roles) == 1 and all(known)

    def _known(self, sentinel: RedisServer) -> bool:
        said = sentinel.say("INFO", "sentinel")
        wanted = f"status=ok,address=127.0.0.1:{self._ports[self.servers.index(self.master())]}"
        counts = f"slaves={len(self.servers) - 1},sentinels={len(self.sentinels)}"
        return wanted.encode() in said and counts.encode() in said


@contextmanager
def running_sentinels(
    kind: str, *, replicas: int = 2, sentinels: int = 3, down_after_ms: int = 1000
) -> Iterator[SentinelSet]:
    """
    A master with replicas, watched by sentinels; the service is called ``team``.

    Raises:
        FileNotFoundError: there is no server of that kind here.
    """
    with ExitStack() as stack:
        ports = [free_port() for _ in range(replicas + 1)]
        servers: list[RedisServer] = []
        for port in ports:
            words = ["--port", str(port), "--appendonly", "yes", "--repl-diskless-sync-delay", "0"]
            words += ["--repl-timeout", "5", "--repl-ping-replica-period", "1", "--min-replicas-max-lag", "2"]
            words += ["--min-replicas-to-write", "1" if replicas else "0"]
            words += ["--replicaof", f"127.0.0.1 {ports[0]}"] if servers else []
            servers.append(stack.enter_context(running(kind, *words)))
        quorum = sentinels // 2 + 1
        watchers = [
            (port, stack.enter_context(_sentinel(kind, port, ports[0], quorum, down_after_ms)))
            for port in (free_port() for _ in range(sentinels))
        ]
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in watchers)
        found = SentinelSet(servers, ports, [one for _, one in watchers], f"redis+sentinel://{hosts}/team/0")
        wait_for(found.settled, seconds=60)
        yield found


@contextmanager
def _sentinel(kind: str, port: int, master: int, quorum: int, down_after_ms: int) -> Iterator[RedisServer]:
    binary = binary_of(kind)
    assert binary is not None
    directory = Path(tempfile.mkdtemp(prefix="gm-"))
    config = directory / "sentinel.conf"
    config.write_text(
        f"port {port}\nunixsocket {directory / 's'}\ndir {directory}\nlogfile {directory / 'log'}\n"
        f"sentinel monitor team 127.0.0.1 {master} {quorum}\nsentinel down-after-milliseconds team {down_after_ms}\n"
        "sentinel failover-timeout team 3000\nsentinel parallel-syncs team 2\n"
    )
    server = RedisServer(binary, directory, command=[str(binary), str(config), "--sentinel"])
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)
