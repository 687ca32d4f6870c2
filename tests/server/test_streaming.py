from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gptmock.server.streaming import ClientSink, Heartbeat, Heartbeats
from tests.harness import until
from tests.timing import generous

BEAT = b": alive\n\n"


class MemoryWire:
    """Takes blocks; ``reading`` cleared means that the client does not read, so that the buffer is full."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.blocks: list[bytes] = []
        self.ended = False
        self.unsent_bytes = 0
        self.aborted = asyncio.Event()

    async def begin(self, block: bytes) -> None:
        assert not self.blocks, "the head goes first, once"
        await asyncio.sleep(0)
        await self.reading.wait()
        self.blocks.append(block)

    def write(self, block: bytes) -> bool:
        assert self.blocks, "nothing goes before the head"
        assert not self.ended
        assert block
        self.blocks.append(block)
        return self.reading.is_set()

    async def writable(self) -> None:
        await self.reading.wait()

    def unsent(self) -> int:
        return self.unsent_bytes

    def abort(self) -> None:
        self.aborted.set()

    async def end(self, block: bytes) -> None:
        await self.reading.wait()
        self.ended = True
        if block:
            self.blocks.append(block)


@asynccontextmanager
async def sinking(wire: MemoryWire, *, every_seconds: float, **more: object) -> AsyncIterator[ClientSink]:
    async with ClientSink(wire, Heartbeat(BEAT, every_seconds, **more), Heartbeats()) as sink:  # type: ignore[arg-type]
        yield sink


async def told(wire: MemoryWire, *script: bytes | float, every_seconds: float, **more: object) -> ClientSink:
    """Play a script of blocks and silences in seconds, as the gateway writes a reply; the last block ends it."""
    async with sinking(wire, every_seconds=every_seconds, **more) as sink:
        await sink.ready()
        *script_before, last = script
        for part in script_before:
            if isinstance(part, float):
                await asyncio.sleep(part)
            elif not sink.write(part):
                await sink.ready()
        assert isinstance(last, bytes)
        await sink.end(last)
    return sink


async def test_blocks_go_out_as_they_come_and_are_counted():
    wire = MemoryWire()
    sink = await told(wire, b"one", b"two", b"last", every_seconds=60)
    assert wire.blocks == [b"one", b"two", b"last"]
    assert (sink.sent_bytes, sink.begun, sink.complete, wire.ended) == (10, True, True, True)


async def test_a_reply_of_one_block_has_a_head_too():
    wire = MemoryWire()
    assert (await told(wire, b"last", every_seconds=60)).complete
    assert (wire.blocks, wire.ended) == ([b"last"], True)


async def test_a_frame_that_is_ready_goes_before_any_heartbeat():
    wire = MemoryWire()
    await told(wire, b"one", 0.02, b"two", every_seconds=60)
    assert wire.blocks == [b"one", b"two"]


async def test_when_nothing_comes_the_first_heartbeat_goes_out_at_once():
    wire = MemoryWire()
    async with sinking(wire, every_seconds=60):
        await until(lambda: wire.blocks == [BEAT], seconds=generous(1))


async def test_a_frame_that_comes_while_the_head_is_sent_follows_it():
    wire = MemoryWire()
    wire.reading.clear()
    async with sinking(wire, every_seconds=60) as sink:
        await asyncio.sleep(0.1)
        assert not sink.write(b"one")
        waiting = asyncio.ensure_future(sink.ready())
        wire.reading.set()
        await waiting
        assert sink.write(b"two")
    assert wire.blocks == [BEAT, b"one", b"two"]


async def test_silence_is_filled_at_every_interval_and_only_then():
    wire = MemoryWire()
    await told(wire, b"one", 0.35, b"two", 0.02, b"three", every_seconds=0.1)
    assert wire.blocks[0] == b"one"
    assert wire.blocks[-2:] == [b"two", b"three"]
    assert 1 <= wire.blocks.count(BEAT) <= 4


async def test_a_client_that_needs_events_gets_one_after_a_longer_silence():
    wire = MemoryWire()
    await told(wire, b"one", 1.0, b"two", every_seconds=0.05, keepalive=b"event", keepalive_seconds=0.25)
    events = [number for number, block in enumerate(wire.blocks) if block == b"event"]
    assert (wire.blocks[0], wire.blocks[-1]) == (b"one", b"two")
    assert 1 <= len(events) <= 4
    assert events[0] > 1, "comments go first"
    assert set(wire.blocks[1 : events[0]]) == {BEAT}


async def test_a_busy_stream_has_no_heartbeat():
    wire = MemoryWire()
    script: list[bytes | float] = [b"x", 0.005]
    await told(wire, *script * 60, b"x", every_seconds=0.5)
    assert wire.blocks == [b"x"] * 61


async def test_one_timer_serves_all_streams_and_stops_with_the_last():
    heartbeats, wires = Heartbeats(), [MemoryWire() for _ in range(3)]
    sinks = [ClientSink(wire, Heartbeat(BEAT, 0.05), heartbeats) for wire in wires]
    for sink in sinks:
        await sink.__aenter__()
        sink.write(b"one")
        await sink.ready()
    await until(lambda: all(wire.blocks.count(BEAT) > 2 for wire in wires), seconds=generous(2))
    for sink in sinks:
        await sink.__aexit__()
    counts = [len(wire.blocks) for wire in wires]
    await asyncio.sleep(0.15)
    assert [len(wire.blocks) for wire in wires] == counts
    assert heartbeats._timer is None


async def test_a_client_that_does_not_read_is_not_written_to():
    wire = MemoryWire()
    async with sinking(wire, every_seconds=60) as sink:
        sink.write(b"one")
        await sink.ready()
        wire.reading.clear()
        assert not sink.write(b"two")
        waiting = asyncio.ensure_future(sink.ready())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        wire.reading.set()
        await waiting


async def test_a_client_that_does_not_read_has_no_heartbeats():
    wire = MemoryWire()
    async with sinking(wire, every_seconds=0.04) as sink:
        sink.write(b"one")
        await sink.ready()
        wire.unsent_bytes = 100
        await asyncio.sleep(0.3)
        assert wire.blocks == [b"one"]
        wire.unsent_bytes = 0
        await until(lambda: wire.blocks[-1] == BEAT, seconds=generous(1))
        assert not wire.aborted.is_set()


async def test_a_client_that_does_not_read_for_too_long_is_disconnected():
    wire = MemoryWire()
    async with ClientSink(wire, Heartbeat(BEAT, 60), Heartbeats(), stall_seconds=0.2) as sink:
        sink.write(b"one")
        await sink.ready()
        for unsent in (10_000, 9_000, 8_000, 8_500, 8_000):
            # It reads slowly. The frames written in between are longer than what is added to the rest.
            sink.write(b"x" * 1_000)
            wire.unsent_bytes = unsent
            await asyncio.sleep(0.1)
        assert not wire.aborted.is_set()
        for _ in range(3):
            # It does not read: the rest grows by all that is written.
            sink.write(b"x" * 100)
            wire.unsent_bytes += 105
        async with asyncio.timeout(generous(1)):
            await wire.aborted.wait()


async def test_only_the_last_frame_makes_a_reply_complete():
    wire = MemoryWire()
    async with sinking(wire, every_seconds=60) as sink:
        sink.write(b"one")
        await sink.ready()
        wire.reading.clear()
        ending = asyncio.ensure_future(sink.end(b"last"))
        await asyncio.sleep(0.02)
        assert not sink.complete
        wire.reading.set()
        await ending
        assert sink.complete


@pytest.mark.parametrize("silent", [True, False])
async def test_a_client_that_leaves_takes_the_heart_with_it(silent: bool):  # noqa: FBT001
    wire = MemoryWire()
    wire.reading.clear()

    async def stream() -> None:
        async with sinking(wire, every_seconds=0.01) as sink:
            if not silent:
                sink.write(b"x")
            await sink.ready()
            await asyncio.sleep(30)

    streaming = asyncio.ensure_future(stream())
    await asyncio.sleep(0.05)
    streaming.cancel()
    await asyncio.wait({streaming})
    assert streaming.cancelled()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "heartbeat"] == []
