"""
What a chunk costs on its way through the upstream client: our transport against stock httpx, as a ratio.

    python -m tests.benchmarks.transport
    python -m tests.benchmarks.transport --streams 100 --events 250 --pace 0.02

The upstream runs in a process of its own and sends one HTTP chunk per event; only the CPU time of the client is
counted. Rounds are interleaved and the median is shown, because the machine has other work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import httpx

from gptmock.upstream.aiohttp_transport import AiohttpTransport

_PAYLOAD = json.dumps(
    {
        "type": "response.output_text.delta",
        "sequence_number": 7,
        "item_id": "msg_0123456789abcdef",
        "output_index": 0,
        "content_index": 0,
        "delta": " twelve chars",
        "logprobs": [],
        "obfuscation": "UhEfsZjZrAcL",
    }
)
EVENT = f"event: response.output_text.delta\ndata: {_PAYLOAD}\n\n".encode()
_CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def main() -> None:
    """Run the rounds and print one JSON object."""
    parser = argparse.ArgumentParser(description="CPU per chunk of the upstream client, relative to stock httpx.")
    parser.add_argument("--streams", type=int, default=16, help="streams at once (default 16)")
    parser.add_argument("--events", type=int, default=1000, help="events in each stream (default 1000)")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between two events (default 0: fast)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    upstream = multiprocessing.get_context("spawn").Process(
        target=_upstream, args=(theirs, options.events, options.pace), daemon=True
    )
    upstream.start()
    port = ours.recv()
    costs: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(options.rounds):
        for name, make in CLIENTS.items():
            costs[name].append(_with_uvloop(_cost(make, port, options.streams, options.events)))
    upstream.terminate()
    medians = {name: statistics.median(values) for name, values in costs.items()}
    print(  # noqa: T201 - a report
        json.dumps(
            {
                "streams": options.streams,
                "events": options.events,
                "pace_seconds": options.pace,
                "microseconds_per_chunk": {name: round(value * 1e6, 2) for name, value in medians.items()},
                "stock_httpx_costs_times_ours": round(medians["stock httpx"] / medians["ours"], 2),
            },
            indent=2,
        )
    )


def _ours() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AiohttpTransport(), timeout=None)  # noqa: S113


def _stock() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)  # noqa: S113


CLIENTS: dict[str, Callable[[], httpx.AsyncClient]] = {"ours": _ours, "stock httpx": _stock}


async def _cost(make: Callable[[], httpx.AsyncClient], port: int, streams: int, events: int) -> float:
    async with make() as client:
        await _read(client, port, events)
        started = time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(_read(client, port, events))
        return (time.process_time() - started) / (streams * events)


async def _read(client: httpx.AsyncClient, port: int, events: int) -> None:
    async with client.stream("POST", f"http://127.0.0.1:{port}/", content=b"{}") as response:
        size = 0
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for block in response.stream:
            size += len(block)
    assert size == events * len(EVENT), size


def _with_uvloop(work: object) -> float:
    import uvloop  # noqa: PLC0415 - Sanic brings it where it exists

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return float(runner.run(work))  # type: ignore[arg-type]


def _upstream(answer: Connection, events: int, pace: float) -> None:
    asyncio.run(_serve(answer, events, pace))


async def _serve(answer: Connection, events: int, pace: float) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                writer.write(_HEAD)
                for _ in range(events):
                    writer.write(_CHUNK)
                    await (asyncio.sleep(pace) if pace else writer.drain())
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    answer.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    main()
