"""
Ports for the servers of tests. They lie below those that Linux gives to connections and to sockets without a port, and
each process of a run has its own: what is free when a test looks is free when its server has started.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

_FIRST = 20_000
"""Above all that browsers refuse to connect to."""
_EACH = 2_000
_PROCESSES = 5
_own = _FIRST + _EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _PROCESSES)
# Shuffled: two runs on one machine meet at few of them, and a program that takes the next port meets no later test.
_ports = itertools.cycle(random.sample(range(_own, _own + _EACH), _EACH))


def free_port() -> int:
    """A port at which nothing listens, and which no other process of this run is given."""
    for port in itertools.islice(_ports, _EACH):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
