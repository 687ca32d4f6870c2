from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gptmock.server.streaming import Heartbeat, pump
from tests.harness import until
from tests.timing import generous

BEAT = b": alive\n\n"


class Client:
    """Takes blocks; ``reading`` cleared means that it does not read, so that ``send`` waits."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.blocks: list[bytes] = []
        self.inside = 0

    async def send(self, block: bytes) -> None:
        self.inside += 1
        assert self.inside == 1, "a block was written into another"
        await asyncio.sleep(0)
        await self.reading.wait()
        self.blocks.append(block)
        self.inside -= 1


async def spoken(*script: bytes | float) -> AsyncIterator[bytes]:
    for part in script:
        if isinstance(part, bytes):
            yield part
        else:
            await asyncio.sleep(part)


async def pumped(client: Client, *script: bytes | float, every_seconds: float) -> int:
    return await pump(spoken(*script), client.send, heartbeat=Heartbeat(BEAT, every_seconds))


async def test_blocks_go_out_as_they_come_and_are_counted():
    client = Client()
    assert await pumped(client, b"one", b"two", every_seconds=60) == 6
    assert client.blocks == [b"one", b"two"]


async def test_a_frame_that_is_ready_goes_before_any_heartbeat():
    client = Client()
    await pumped(client, b"one", 0.02, b"two", every_seconds=60)
    assert client.blocks == [b"one", b"two"]


async def test_when_nothing_comes_the_first_heartbeat_goes_out_at_once():
    client = Client()
    pumping = asyncio.ensure_future(pumped(client, 30.0, every_seconds=60))
    await until(lambda: client.blocks == [BEAT], seconds=generous(1))
    pumping.cancel()
    await asyncio.wait({pumping})


async def test_silence_is_filled_at_every_interval_and_only_then():
    client = Client()
    await pumped(client, b"one", 0.35, b"two", 0.02, b"three", every_seconds=0.1)
    assert client.blocks[0] == b"one"
    assert client.blocks[-2:] == [b"two", b"three"]
    assert 1 <= client.blocks.count(BEAT) <= 3


async def test_a_client_that_needs_events_gets_one_after_a_longer_silence():
    client = Client()
    heartbeat = Heartbeat(BEAT, 0.05, keepalive=b"event", keepalive_seconds=0.25)
    await pump(spoken(b"one", 1.0, b"two"), client.send, heartbeat=heartbeat)
    events = [number for number, block in enumerate(client.blocks) if block == b"event"]
    assert (client.blocks[0], client.blocks[-1]) == (b"one", b"two")
    assert 1 <= len(events) <= 4
    assert events[0] > 1, "comments go first"
    assert set(client.blocks[1 : events[0]]) == {BEAT}


async def test_a_busy_stream_has_no_heartbeat():
    client = Client()
    script: list[bytes | float] = [b"x", 0.005]
    await pumped(client, *script * 60, every_seconds=0.5)
    assert client.blocks == [b"x"] * 60


async def test_a_client_that_does_not_read_stops_the_reading():
    client, taken = Client(), 0

    async def frames() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x"

    client.reading.clear()
    pumping = asyncio.ensure_future(pump(frames(), client.send, heartbeat=Heartbeat(BEAT, 0.02)))
    await asyncio.sleep(0.2)
    assert taken == 1
    client.reading.set()
    assert await pumping == 100
    assert client.blocks == [b"x"] * 100, "a slow reader has had its sign of life: the frame itself"


@pytest.mark.parametrize("silent", [True, False])
async def test_a_client_that_leaves_takes_the_heart_with_it(silent: bool):  # noqa: FBT001
    client = Client()
    if not silent:
        client.reading.clear()
    script: list[bytes | float] = [30.0] if silent else [b"x", 30.0]
    pumping = asyncio.ensure_future(pumped(client, *script, every_seconds=0.01))
    await asyncio.sleep(0.05)
    pumping.cancel()
    await asyncio.wait({pumping})
    assert pumping.cancelled()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "heartbeat"] == []


async def test_a_fault_of_the_frames_is_the_pumps():
    async def frames() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    client = Client()
    with pytest.raises(ZeroDivisionError):
        await pump(frames(), client.send, heartbeat=Heartbeat(BEAT, 60))
    assert client.blocks == [b"one"]
