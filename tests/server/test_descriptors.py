from __future__ import annotations

import subprocess
import sys

import pytest

from gptmock.server.descriptors import (
    DEFAULT_CONNECTIONS,
    DEFAULT_STREAMS,
    MAX_EXCESS,
    RESERVED,
    capacity,
)

RAISES = """
import logging, resource
logging.basicConfig(level=logging.DEBUG)
from gptmock.server.descriptors import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(256, 1000), (1000, 1000)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int):
    script = RAISES.format(soft=soft, hard=hard)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(hard)] * 3
    assert ("descriptor_limit_raised" in ran.stderr) is (soft < hard)


@pytest.mark.parametrize("descriptors", [64, 128, 256, 1024, 4096, 20_000, 65_536])
@pytest.mark.parametrize("asked", [None, 1, 100, 1_000_000])
def test_all_of_them_together_never_exceed_the_descriptors(descriptors: int, asked: int | None):
    room = capacity(descriptors, max_connections=asked, max_streams=asked)
    assert min(room.connections, room.streams, room.excess) >= 1
    if descriptors > 2 * RESERVED:
        # A stream has a connection of its own to the upstream.
        assert room.connections + room.streams + room.excess <= descriptors - RESERVED
    assert room.connections <= (asked or DEFAULT_CONNECTIONS)
    assert room.streams <= (asked or DEFAULT_STREAMS)
    assert room.excess <= MAX_EXCESS


def test_the_defaults():
    assert capacity(20_000).streams == DEFAULT_STREAMS
    assert capacity(20_000).connections == DEFAULT_CONNECTIONS
    small = capacity(256)
    assert (small.connections, small.streams, small.excess) == (84, 84, 24)
