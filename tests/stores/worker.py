"""
Another process on the same place, for tests: ``python -m tests.stores.worker ADDRESS TASK ARGUMENT...``.

    increment NAME TIMES     adds one to a record so many times, by compare-and-set
    exclude NAME FILE TIMES  takes a lease, adds one to the number in a file without any lock of its own, gives it back
    visit NAME LIMIT TIMES   takes a slot and leaves it; prints the most slots that it ever saw taken
    acknowledge NAME         writes versions for ever and prints each one that was acknowledged
    open                     opens the place, and is content
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from gptmock.errors import StoreUnavailable
from gptmock.stores.sqlite import SqliteStore
from gptmock.stores.store import Store

HELD_SECONDS = 600.0
"""A TTL longer than any of these tasks, so that nothing expires before it is released."""
PATIENT_SECONDS = 60.0
"""Timeout of a reply; long, since on a busy machine server and client both wait for the processor."""


def open_address(address: str) -> Store:
    """The store at ``sqlite://PATH`` or ``unix://SOCKET#PREFIX``."""
    if address.startswith("sqlite://"):
        return SqliteStore(Path(address.removeprefix("sqlite://")), timeout_seconds=PATIENT_SECONDS)
    from gptmock.stores.redis import open_redis  # noqa: PLC0415 - a worker on SQLite starts sooner without

    url, _, prefix = address.partition("#")
    return open_redis(url, prefix=prefix, timeout_seconds=PATIENT_SECONDS)


async def increment(store: Store, name: str, times: str) -> None:
    for _ in range(int(times)):
        stands = await store.read(name)
        while True:
            version, number = (stands.version, int(stands.value)) if stands and stands.value else (0, 0)
            stands = await store.write(name, b"%d" % (number + 1), expected=version)
            if stands is None:
                break


async def exclude(store: Store, name: str, file: str, times: str) -> None:
    path = Path(file)
    for number in range(int(times)):
        owner = f"{os.getpid()}-{number}"
        while not await store.acquire(name, owner, ttl_seconds=HELD_SECONDS):  # noqa: ASYNC110 - leases are polled for
            await asyncio.sleep(random.uniform(0.001, 0.01))
        found = int(path.read_text())  # noqa: ASYNC240 - nothing else runs in this loop
        await asyncio.sleep(0.001)
        path.write_text(str(found + 1))  # noqa: ASYNC240 - as above
        assert await store.release(name, owner)


async def visit(store: Store, name: str, limit: str, times: str) -> None:
    most = 0
    for number in range(int(times)):
        owner = f"{os.getpid()}-{number}"
        while not await store.take_slot(name, owner, limit=int(limit), ttl_seconds=HELD_SECONDS):  # noqa: ASYNC110 - as above
            await asyncio.sleep(random.uniform(0.001, 0.005))
        most = max(most, await store.slots_taken(name))
        await store.free_slot(name, owner)
    sys.stdout.write(f"{most}\n")


async def acknowledge(store: Store, name: str) -> None:
    while True:
        stands = await store.read(name)
        version = stands.version if stands else 0
        try:
            written = await store.write(name, b"%d" % (version + 1) * 500, expected=version) is None
        except StoreUnavailable:
            continue
        if written:
            sys.stdout.write(f"{version + 1}\n")
            sys.stdout.flush()


async def only_open(store: Store) -> None:
    await store.probe()


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "increment": increment,
    "exclude": exclude,
    "visit": visit,
    "acknowledge": acknowledge,
    "open": only_open,
}


async def main(address: str, task: str, *arguments: str) -> None:
    store = open_address(address)
    await TASKS[task](store, *arguments)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
